//! Who may command, who is answered, and what becomes of datagrams that are none.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use anyhow::Result;
use end_to_end::golden;
use end_to_end::host::{Host, INI, Setup, name_of};
use end_to_end::{SOON, id};
use lab::controller::Controller;
use lab::guest::Behaviour;

/// The second controller: another address, the same port.
fn standby(host: &Host) -> Result<Controller> {
    let ip: IpAddr = "127.0.0.3".parse()?;
    Controller::bind_to(SocketAddr::new(ip, host.controller.port()))
}

#[tokio::test]
async fn events_go_to_the_last_valid_commander_at_the_agents_port() -> Result<()> {
    let ini = format!("{INI}[security]\ncontrollers = 127.0.0.3, 127.0.0.4\n");
    let host = Setup::default().ini(&ini).controller("127.0.0.2".parse()?).start().await?;
    let server = host.address().await?;
    let standby = standby(&host)?;
    standby.set_server(server);
    let guest = host.guest(id(1), Behaviour::normal())?;
    // Before any command: to the controller of the command line.
    host.event("RUNNING", id(1)).await?;
    guest.exit("").await?;
    host.event("STOPPED", id(1)).await?;

    // The other one takes over; its answers come to the port of agents, wherever it sent from.
    let sender = UdpSocket::bind((standby.ip(), 0))?;
    sender.send_to(&golden::command("QRY_INST")?.bytes, server)?;
    standby.wait_for_arrival("answer", SOON, |arrival| name_of(arrival) == "QRY_INST").await?;
    guest.restart().await?;
    let running = |arrival: &lab::controller::Arrival| name_of(arrival) == "RUNNING";
    let arrival = standby.wait_for_arrival("RUNNING", SOON, running).await?;
    assert_eq!(arrival.from, server);

    // A third one with nothing valid to say moves nothing.
    let stranger = UdpSocket::bind(("127.0.0.4", host.controller.port()))?;
    let mut unsigned = golden::command("QRY_INST")?.bytes;
    unsigned[..18].fill(0);
    for bytes in [&unsigned[..], b"junk", &golden::command_bytes(0x1234, "{}")] {
        stranger.send_to(bytes, server)?;
    }
    host.counted("datagrams_malformed", 2).await?;
    host.counted("datagrams_unsigned", 1).await?;
    guest.exit("").await?;
    let stopped = |arrival: &lab::controller::Arrival| name_of(arrival) == "STOPPED";
    standby.wait_for_arrival("STOPPED", SOON, stopped).await?;
    stranger.set_nonblocking(true)?;
    assert!(stranger.recv(&mut [0; 2000]).is_err(), "a stranger is told nothing");

    // And back.
    guest.restart().await?;
    standby.wait_for_arrival("RUNNING", SOON, running).await?;
    host.query(id(1)).await?;
    guest.exit("").await?;
    host.event("STOPPED", id(1)).await?;
    let told: Vec<_> = standby.arrivals().iter().map(name_of).collect();
    assert_eq!(told, ["QRY_INST", "RUNNING", "STOPPED", "RUNNING"]);
    assert_eq!(host.told(id(1)), ["RUNNING", "STOPPED", "QRY_INST", "STOPPED"]);
    Ok(())
}

#[tokio::test]
async fn datagrams_that_are_none_are_counted_and_thrown_away() -> Result<()> {
    let host = Host::start().await?;
    let _guest = host.running(id(1), Behaviour::normal(), true).await?;
    let query = golden::command("QRY_INST")?.bytes;
    let signed = |signature: &[u8]| {
        let mut bytes = query.clone();
        bytes[..18].fill(0);
        bytes[..signature.len()].copy_from_slice(signature);
        bytes
    };
    let resized = |length| {
        let mut bytes = query.clone();
        bytes.resize(length, 0);
        bytes
    };
    let uuid = golden::INSTANCE;
    let add = |text: &str| golden::command_bytes(0x1111_0020, text);
    let malformed = [
        Vec::new(),
        vec![0],
        query[..99].to_vec(),
        resized(1061),
        resized(2000),
        resized(9000),
        signed(b"guest msg header"),
        signed(b"Guest msg header:"),
        signed(b"guest msg header:x"),
        golden::command_bytes(0x1111_0023, "{\"source\":\"\u{fffd}\"").replace_with_bad_utf8(),
        golden::command_bytes(0xdead_beef, "{\"source\":\"127.0.0.1\"}"),
        golden::command_bytes(0x0110_fead, "{\"source\":\"127.0.0.1\"}"),
        golden::command_bytes(0x1111_0023, ""),
        golden::command_bytes(0x1111_0023, "{\"source\":"),
        golden::command_bytes(0x1111_0023, "{}"),
        add("{}"),
        add(&format!(r#"{{"source":"x","uuid":"{uuid}","service":"heartbeat"}}"#)),
        add(&format!(r#"{{"source":"x","uuid":"{uuid}","service":"disk","state":"enabled"}}"#)),
        add(&format!(r#"{{"source":"x","uuid":"{uuid}","service":"heartbeat","state":"on"}}"#)),
        add(r#"{"source":"x","uuid":"../../etc/passwd","service":"heartbeat","state":"enabled"}"#),
        add(&format!(
            r#"{{"source":"x","uuid":"{}","service":"heartbeat","state":"enabled"}}"#,
            uuid.to_uppercase()
        )),
        golden::command_bytes(0x1111_0024, &format!(r#"{{"source":"x","uuid":"{uuid}"}}"#)),
    ];
    // First, for the log of all this is held to a rate.
    let unsigned = [signed(b""), signed(b"cgts mtc cmd req:")];
    for bytes in unsigned.iter().chain(&malformed) {
        host.controller.send_raw(bytes)?;
    }
    host.counted("datagrams_malformed", malformed.len() as u64).await?;
    host.counted("datagrams_unsigned", unsigned.len() as u64).await?;
    // Every length from the header's to the whole is fine, and so is junk in the fields that mean nothing.
    let mut odd = resized(1060);
    odd[18..72].fill(0xa5);
    odd[76..100].fill(0xa5);
    for bytes in [&query, &resized(1000), &odd] {
        host.controller.send_raw(bytes)?;
    }
    host.query(id(1)).await?;
    assert_eq!(host.metric("datagrams_malformed").await?, malformed.len() as u64);
    assert_eq!(host.instances().await?.len(), 1, "none of that made an instance");
    host.daemon.wait_log("the line", SOON, |line| line.contains("0xdeadbeef")).await?;
    let log = host.daemon.stderr();
    assert!(log.contains("2000 bytes, expected 100 to 1060"), "{log}");
    assert!(log.contains("not signed by guestAgent"), "{log}");
    assert!(log.contains("unknown command 0xdeadbeef"), "{log}");
    Ok(())
}

/// Bytes that are no text in place of the one character that is.
trait BadUtf8 {
    fn replace_with_bad_utf8(self) -> Self;
}

impl BadUtf8 for Vec<u8> {
    fn replace_with_bad_utf8(mut self) -> Self {
        for byte in self.iter_mut().filter(|byte| **byte > 0x7f) {
            *byte = 0xff;
        }
        self.extend_from_slice(b"}");
        self
    }
}

#[tokio::test]
async fn a_storm_of_junk_is_logged_at_a_bounded_rate() -> Result<()> {
    let host = Host::start().await?;
    // In portions that the socket's buffer has room for.
    let (portions, portion) = (50, 40);
    for n in 1..=portions {
        for _ in 0..portion {
            host.controller.send_raw(b"\x1b[2J junk")?;
        }
        host.counted_at_least("datagrams_malformed", n * portion).await?;
    }
    let junk = |log: &str| log.lines().filter(|line| line.contains("datagram thrown away")).count();
    let lines = junk(&host.daemon.stderr());
    // A burst of 20 and one a second.
    assert!((1..=60).contains(&lines), "{lines} lines about {} datagrams", portions * portion);
    Ok(())
}

/// Nobody listens at the controller for a while: the kernel says so, and the daemon goes on.
#[tokio::test]
async fn a_controller_that_is_away_is_told_again_when_it_is_back() -> Result<()> {
    let mut host = Host::start().await?;
    let guest = host.running(id(1), Behaviour::normal(), true).await?;
    let (server, address) =
        (host.address().await?, SocketAddr::new(host.controller.ip(), host.controller.port()));
    host.controller = Controller::bind("127.0.0.1".parse()?)?;
    for _ in 0..3 {
        let before = host.metric("datagrams_sent").await?;
        guest.exit("").await?;
        host.instance("it has left", id(1), |one| one["heartbeating"] == false).await?;
        guest.restart().await?;
        host.instance("it is back", id(1), |one| one["heartbeating"] == true).await?;
        host.counted_at_least("datagrams_sent", before + 1).await?;
    }
    host.controller = Controller::bind_to(address)?;
    host.controller.set_server(server);
    host.query(id(1)).await?;
    guest.exit("").await?;
    host.event("STOPPED", id(1)).await?;
    Ok(())
}

#[tokio::test]
async fn a_controller_that_is_given_by_its_name_is_told_as_soon_as_the_name_has_an_address()
-> Result<()> {
    // Ready means that MONITOR_READY has arrived.
    let host = Setup::default().controller_name("localhost").start().await?;
    let status = host.daemon.status().await?;
    let expected = format!("127.0.0.1:{}", host.controller.port());
    assert_eq!(status["controller"], expected.as_str());
    assert_eq!(host.metric("datagrams_unsent").await?, 0);
    Ok(())
}

#[tokio::test]
async fn an_event_that_cannot_be_sent_is_mentioned_in_the_log() -> Result<()> {
    let setup = Setup::default().controller_name("no-such-host.invalid");
    let mut host = setup.start_unready()?;
    host.daemon.wait_ready(SOON).await?;
    let _guest = host.guest(id(1), Behaviour::normal())?;
    let unsent = |line: &str| line.contains("event not sent") && line.contains("RUNNING");
    host.daemon.wait_log("the event that nobody got", SOON, unsent).await?;
    Ok(())
}
