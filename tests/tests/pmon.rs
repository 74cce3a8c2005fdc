//! The platform's process monitor, pmon, played against the real guestServer: passive by its pidfile, active by pulses.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use end_to_end::SOON;
use end_to_end::host::{Host, Setup};
use lab::daemon::Daemon;
use lab::wait::{until, until_ok};

/// Long enough to say that no answer comes.
const SILENCE: Duration = Duration::from_millis(300);

/// pmon's side of active monitoring.
struct Pmon {
    socket: UdpSocket,
    active_port: u16,
}

impl Pmon {
    /// With a port for the daemon that nobody has.
    fn start() -> Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(SOON))?;
        let active_port = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
        Ok(Self { socket, active_port })
    }

    /// What the daemon's file has to say.
    fn ini(&self) -> Result<String> {
        let (own, active) = (self.socket.local_addr()?.port(), self.active_port);
        Ok(format!("[pmon]\nactive_port = {active}\npmon_port = {own}\n"))
    }

    fn say(&self, text: &str) -> Result<()> {
        self.socket.send_to(text.as_bytes(), ("127.0.0.1", self.active_port))?;
        Ok(())
    }

    fn hear(&self) -> Result<String> {
        let mut room = [0; 256];
        let length = loop {
            match self.socket.recv_from(&mut room) {
                Ok((length, _)) => break length,
                // A child was stopped or goes on: the signal of that.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        };
        Ok(String::from_utf8_lossy(&room[..length]).into_owned())
    }

    /// Nothing comes.
    fn hears_nothing(&self) -> Result<()> {
        self.socket.set_read_timeout(Some(SILENCE))?;
        let heard = self.hear();
        self.socket.set_read_timeout(Some(SOON))?;
        ensure!(heard.is_err(), "heard {heard:?}");
        Ok(())
    }
}

/// The process that the pidfile names, if it lives.
fn pid_in_file(daemon: &Daemon) -> Result<i32> {
    let text = std::fs::read_to_string(daemon.run_dir().join("guestServer.pid"))?;
    let pid: i32 = text.trim().parse()?;
    ensure!(std::path::Path::new(&format!("/proc/{pid}")).exists(), "{pid} does not live");
    Ok(pid)
}

#[tokio::test]
async fn passive_monitoring_sees_it_die_and_gets_a_new_one() -> Result<()> {
    let mut host = Host::start().await?;
    ensure!(pid_in_file(&host.daemon)? == host.daemon.pid());
    host.daemon.kill().await?;
    ensure!(pid_in_file(&host.daemon).is_err(), "the dead one counts as living");
    // As pmon does: the pidfile goes, then a new one is started.
    let (daemon, (controller, _home)) = host.split();
    let run_dir = daemon.run_dir();
    std::fs::remove_file(run_dir.join("guestServer.pid"))?;
    let dir = daemon.into_dir().await?;
    let args = ["--bind", "127.0.0.1", "--server-port", "0", "--controller", "127.0.0.1"];
    let port = controller.port().to_string();
    let channels = tempfile::tempdir()?;
    let channels = channels.path().to_str().context("an odd path")?;
    let args = args.into_iter().chain(["--agent-port", &port, "--channel-dir", channels]);
    let binary = lab::daemon::binary("guestServer")?;
    let mut again = Daemon::start_in(dir, &binary, args, &[])?;
    again.wait_ready(SOON).await?;
    ensure!(pid_in_file(&again)? == again.pid());
    Ok(())
}

#[tokio::test]
async fn pulses_are_answered_each_with_its_sequence_and_other_things_are_not() -> Result<()> {
    let pmon = Pmon::start()?;
    let host = Setup::default().ini(&pmon.ini()?).start().await?;
    for sequence in [1, 2, 3, 4_000_000_000_u32] {
        pmon.say(&format!("guestServer 12345678 {sequence}"))?;
        ensure!(pmon.hear()? == format!("guestServer edcba987 {sequence}"));
    }
    for other in [
        "guestServer 12345679 5",
        "guestAgent 12345678 5",
        "guestServer 12345678",
        "guestServer 12345678 x",
        "guestServer 12345678 5 6",
        "guestServer edcba987 5",
        "",
        "\u{1b}[2J",
    ] {
        pmon.say(other)?;
    }
    // They came before this one, which is answered alone.
    pmon.say("guestServer 12345678 9")?;
    ensure!(pmon.hear()? == "guestServer edcba987 9");
    pmon.hears_nothing()?;
    let said = |line: &str| line.contains("not a question of pmon's") && !line.contains('\u{1b}');
    host.daemon.wait_log("it is said", SOON, said).await?;
    let counted = async || {
        let text = host.daemon.request(r#"{"request":"metrics"}"#).await?;
        let text = text["openmetrics"].as_str().unwrap_or_default().to_owned();
        for wanted in [r#"{result="answered"} 5"#, r#"{result="ignored"} 8"#] {
            let line = |line: &str| line.starts_with("guest_server_pmon") && line.ends_with(wanted);
            ensure!(text.lines().any(line), "no {wanted} in {text}");
        }
        Ok(())
    };
    until_ok("they are counted", SOON, counted).await
}

#[tokio::test]
async fn a_stuck_daemon_does_not_answer_and_one_that_goes_on_does() -> Result<()> {
    let pmon = Pmon::start()?;
    let host = Setup::default().ini(&pmon.ini()?).start().await?;
    host.freeze().await?;
    pmon.say("guestServer 12345678 1")?;
    pmon.hears_nothing()?;
    host.thaw()?;
    ensure!(pmon.hear()? == "guestServer edcba987 1");
    Ok(())
}

#[tokio::test]
async fn it_is_off_by_default_and_a_change_needs_a_restart() -> Result<()> {
    let pmon = Pmon::start()?;
    let host = Host::start().await?;
    let port = pmon.active_port;
    let free = || UdpSocket::bind(("127.0.0.1", port)).is_ok();
    until("nobody listens", SOON, free).await?;
    std::fs::write(host.ini(), pmon.ini()?)?;
    host.daemon.signal(nix::sys::signal::Signal::SIGHUP)?;
    let said = |line: &str| line.contains("needs a restart") && line.contains("[pmon] active_port");
    host.daemon.wait_log("it is said", SOON, said).await?;
    ensure!(free(), "it listens");
    Ok(())
}
