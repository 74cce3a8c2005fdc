//! The metrics of the real daemons: off by default, scraped, asked for in bad faith, moved by a reload.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use end_to_end::agent::{self, Site};
use end_to_end::host::{self, Host, INI, Setup, beats};
use end_to_end::scrape::{address, exchange, over_the_control_socket, scrape, shows, text};
use end_to_end::{SOON, id};
use lab::guest::Behaviour;
use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The usual file with metrics at any free port.
fn listening() -> String {
    format!("{INI}[metrics]\nlisten = 127.0.0.1:0\n")
}

/// An address that is free, most likely.
fn free() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// How many TCP sockets a process has.
fn tcp_sockets(pid: i32) -> Result<usize> {
    let tables =
        ["tcp", "tcp6"].map(|table| fs::read_to_string(format!("/proc/{pid}/net/{table}")));
    let tables: Vec<String> = tables.into_iter().collect::<Result<_, _>>()?;
    let inodes: Vec<&str> = tables
        .iter()
        .flat_map(|table| table.lines().skip(1))
        .filter_map(|line| line.split_ascii_whitespace().nth(9))
        .collect();
    let mut count = 0;
    for file in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let Ok(target) = fs::read_link(file?.path()) else { continue };
        let target = target.to_string_lossy();
        let inode = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
        count += usize::from(inode.is_some_and(|inode| inodes.contains(&inode)));
    }
    Ok(count)
}

/// Rewrites the configuration and has it read.
fn reload(host: &Host, ini: &str) -> Result<()> {
    fs::write(host.ini(), ini)?;
    host.daemon.signal(Signal::SIGHUP)
}

#[tokio::test]
async fn nothing_listens_unless_told_and_the_control_socket_tells_all_the_same() -> Result<()> {
    let host = Host::start().await?;
    let none = address(&host.daemon).await.err().context("it serves metrics")?;
    ensure!(none.to_string().contains("no address in"), "{none}");
    let _guest = host.running(id(1), Behaviour::normal(), true).await?;
    let said = over_the_control_socket(&host.daemon).await?;
    ensure!(said.value("guest_server_heartbeating_instances")? == 1.0);
    ensure!(tcp_sockets(host.daemon.pid())? == 0, "it has a TCP socket");
    let site = Site::start().await?;
    let none = address(&site.agent).await.err().context("it serves metrics")?;
    ensure!(none.to_string().contains("no address in"), "{none}");
    ensure!(tcp_sockets(site.agent.pid())? >= 1, "that of the VIM's commands is counted");
    let said = over_the_control_socket(&site.agent).await?;
    ensure!(said.value("guest_agent_outbox_events")? == 0.0);
    Ok(())
}

#[tokio::test]
async fn a_scrape_of_guest_server_shows_what_happened() -> Result<()> {
    let host = Setup::default().ini(&listening()).start().await?;
    let metrics = address(&host.daemon).await?;
    let guest = host.running(id(1), Behaviour::normal(), true).await?;
    beats(&guest, 3).await?;
    let before = scrape(metrics).await?;
    for (series, wanted) in [
        ("guest_server_heartbeating_instances", 1.0),
        ("guest_server_reporting_instances", 1.0),
        ("guest_server_commanded", 1.0),
        ("guest_server_losses_total", 0.0),
        (r#"guest_server_channel_connects_total{result="connected"}"#, 1.0),
        (r#"guest_server_datagrams_received_total{command="ADD_INST",fate="obeyed"}"#, 1.0),
        (r#"guest_server_datagrams_sent_total{command="RUNNING",fate="sent"}"#, 1.0),
    ] {
        ensure!(before.value(series)? == wanted, "{series}: {:#?}", before.0);
    }
    let trips = before.value("guest_server_round_trip_seconds_count")?;
    ensure!(trips >= 3.0 && trips == before.value("guest_server_heartbeats_total")?);
    let infinite = before.value(r#"guest_server_round_trip_seconds_bucket{le="+Inf"}"#)?;
    ensure!(trips == infinite && before.value("process_open_fds")? > 5.0);
    ensure!(before.value("process_resident_memory_bytes")? > 1e6);
    ensure!(!before.mentions("uuid="), "no series of single instances");
    guest.freeze().await?;
    host.event("LOSS", id(1)).await?;
    let lost = |scrape: &_| {
        Ok(end_to_end::scrape::Scrape::value(scrape, "guest_server_losses_total")? == 1.0)
    };
    let after = shows("the loss is shown", metrics, lost).await?;
    ensure!(after.value("guest_server_heartbeating_instances")? == 0.0);
    ensure!(after.value(r#"guest_server_instances{state="waiting_init"}"#)? == 1.0);
    // The same over the control socket, and in the status.
    let said = over_the_control_socket(&host.daemon).await?;
    ensure!(said.0.keys().eq(after.0.keys()));
    ensure!(host.metric("losses").await? == 1);
    Ok(())
}

#[tokio::test]
async fn a_scrape_of_guest_agent_shows_what_happened() -> Result<()> {
    let site = Site::start().await?;
    fs::write(site.ini(), "[metrics]\nlisten = 127.0.0.1:0\nper_instance = yes\n")?;
    site.agent.signal(Signal::SIGHUP)?;
    let served = |line: &str| line.contains("metrics are served here");
    let line = site.agent.wait_log("the address", SOON, served).await?.text;
    let word = line.split(' ').find_map(|word| word.strip_prefix("address="));
    let metrics: SocketAddr = word.context("no address")?.parse()?;
    let place = site.host(1, true).await?;
    let server = site.server(&place).await?;
    site.commander.switch_instance(id(1), &place.name, true).await?;
    server.set_heartbeating(id(1), true).await?;
    let series = |name: &str| name.to_owned();
    let alive = series(r#"guest_agent_instances{reporting="enabled",heartbeating="enabled"}"#);
    let delivered = r#"guest_agent_vim_events_total{kind="service",fate="delivered"}"#;
    let shown = shows("it is alive and told", metrics, |scrape| {
        Ok(scrape.value(&alive)? == 1.0 && scrape.value(delivered)? == 1.0)
    })
    .await?;
    let running = r#"{sender="guest_server",command="RUNNING",fate="taken"}"#;
    let added = r#"{sender="maintenance",command="ADD_HOST",fate="taken"}"#;
    for (series, wanted) in [
        (r#"guest_agent_hosts{reporting="enabled"}"#.to_owned(), 1.0),
        ("guest_agent_hosts_awaiting_vim".to_owned(), 0.0),
        (format!("guest_agent_datagrams_received_total{running}"), 1.0),
        (format!("guest_agent_datagrams_received_total{added}"), 1.0),
        ("guest_agent_vim_up".to_owned(), 1.0),
        ("guest_agent_outbox_events".to_owned(), 0.0),
        (r#"guest_agent_vim_request_seconds_count{kind="event"}"#.to_owned(), 1.0),
        ("guest_agent_vim_event_wait_seconds_count".to_owned(), 1.0),
        (
            r#"guest_agent_http_requests_total{route="switch_instance",status="200"}"#.to_owned(),
            1.0,
        ),
        (
            format!(
                r#"guest_agent_instance_heartbeating{{uuid="{}",host="{}"}}"#,
                id(1),
                place.name
            ),
            1.0,
        ),
    ] {
        ensure!(shown.value(&series)? == wanted, "{series}: {:#?}", shown.0);
    }
    Ok(())
}

#[tokio::test]
async fn clients_in_bad_faith_hold_up_neither_guests_nor_others_for_long() -> Result<()> {
    let host = Setup::default().ini(&listening()).start().await?;
    let metrics = address(&host.daemon).await?;
    let interval = Duration::from_millis(200);
    let guest = host.running(id(1), Behaviour::normal().every(interval), true).await?;
    let memory = host.daemon.anonymous_kib()?;
    // More than are served at once, none of which says what it wants.
    let mut slow = Vec::new();
    for _ in 0..12 {
        let mut stream = TcpStream::connect(metrics).await?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nX-Slow: ").await?;
        slow.push(stream);
    }
    beats(&guest, 10).await?;
    // They are closed without a word of metrics, and others have their turn.
    text(metrics).await?;
    for stream in &mut slow {
        let mut answer = Vec::new();
        let ended = timeout(SOON, stream.read_to_end(&mut answer)).await;
        ended.context("a slow client is kept")?.ok();
        ensure!(!String::from_utf8_lossy(&answer).contains("guest_server"));
    }
    for garbage in ["\0\0\0\0\r\n\r\n", "{\"request\":\"status\"}\n\r\n", "GET\r\n\r\n"] {
        let answer = exchange(metrics, garbage).await?;
        ensure!(answer.starts_with("HTTP/1.1 400 "), "{garbage:?}: {answer:?}");
    }
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
        ("DELETE /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "405"),
    ] {
        let answer = exchange(metrics, request).await?;
        ensure!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
    // As fast as one can, for as long as the guest takes for ten answers.
    let flood = async {
        loop {
            let mut stream = TcpStream::connect(metrics).await?;
            stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await?;
            slow.push(stream);
            if slow.len() > 200 {
                slow.clear();
            }
        }
    };
    tokio::select! {
        result = flood => { let _: Result<()> = result; }
        beats = beats(&guest, 10) => beats?,
    }
    ensure!(host.metric("losses").await? == 0 && host.metric("misses").await? == 0);
    ensure!(host.daemon.anonymous_kib()? < memory + 4096, "it grows");
    Ok(())
}

#[tokio::test]
async fn hup_moves_the_port_switches_series_and_says_what_changed() -> Result<()> {
    let host = Setup::default().ini(&listening()).start().await?;
    let first = address(&host.daemon).await?;
    let _guest = host.running(id(1), Behaviour::normal(), true).await?;
    let second = free()?;
    reload(&host, &format!("[client]\nhbs_failure_threshold = 3\n[metrics]\nlisten = {second}\n"))?;
    let changed = |what: &'static str, old: String, new: String| {
        let wanted = format!("what=\"{what}\" old={old} new={new}");
        move |line: &str| line.contains("configuration changed") && line.contains(&wanted)
    };
    let log = &host.daemon;
    let threshold = changed("[client] hbs_failure_threshold", "1".into(), "3".into());
    log.wait_log("the threshold", SOON, threshold).await?;
    let period = changed("[client] hbs_pulse_period", "\"100 ms\"".into(), "\"400 ms\"".into());
    log.wait_log("the period", SOON, period).await?;
    let listen = changed("[metrics] listen", "127.0.0.1:0".into(), second.to_string());
    log.wait_log("the address", SOON, listen).await?;
    log.wait_log("the sum", SOON, |line| line.contains("configuration reloaded changes=3")).await?;
    ensure!(!scrape(second).await?.mentions("uuid="));
    ensure!(TcpStream::connect(first).await.is_err(), "the former address is served still");

    // An address that cannot be bound: the former stays, the rest is taken.
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let bad = taken.local_addr()?;
    reload(&host, &format!("[metrics]\nlisten = {bad}\nper_instance = yes\n"))?;
    let stays = |line: &str| line.contains("ERROR") && line.contains("the former one stays");
    let line = log.wait_log("the refusal", SOON, stays).await?.text;
    let wanted = format!("cannot bind TCP {bad} ([metrics] listen)");
    ensure!(line.contains(&wanted), "{line}");
    let switched = changed("[metrics] per_instance", "no".into(), "yes".into());
    log.wait_log("the switch", SOON, switched).await?;
    let shown = scrape(second).await?;
    let uuid = id(1);
    ensure!(
        shown.value(&format!(r#"guest_server_instance_heartbeating{{uuid="{uuid}"}}"#))? == 1.0
    );

    // A bad file changes nothing, whatever else is in it.
    let third = free()?;
    reload(&host, &format!("[metrics]\nlisten = {third}\nper_instance = perhaps\n"))?;
    let refused =
        |line: &str| line.contains("not reloaded") && line.contains("per_instance = perhaps");
    log.wait_log("the bad file", SOON, refused).await?;
    ensure!(TcpStream::connect(third).await.is_err());
    ensure!(scrape(second).await?.mentions("uuid="));

    reload(&host, &format!("[metrics]\nlisten = {second}\nper_instance = yes\n"))?;
    let same = |line: &str| line.contains("configuration reloaded: nothing changed");
    log.wait_log("no change", SOON, same).await?;
    // A level that lets less through: said before it holds.
    reload(
        &host,
        &format!("[log]\nlevel = error\n[metrics]\nlisten = {second}\nper_instance = yes\n"),
    )?;
    let level = changed("log level", "info".into(), "error".into());
    log.wait_log("the level", SOON, level).await?;
    reload(&host, "[log]\nlevel = info\n")?;
    let off = changed("[metrics] listen", second.to_string(), "off".into());
    log.wait_log("the end", SOON, off).await?;
    ensure!(TcpStream::connect(second).await.is_err());
    Ok(())
}

#[tokio::test]
async fn guest_agent_keeps_its_address_when_the_new_one_is_bad() -> Result<()> {
    let site = Site::start().await?;
    let first = free()?;
    fs::write(site.ini(), format!("[metrics]\nlisten = {first}\n"))?;
    site.agent.signal(Signal::SIGHUP)?;
    site.agent.wait_log("reload", SOON, |line| line.contains("configuration reloaded")).await?;
    scrape(first).await?;
    fs::write(site.ini(), "[metrics]\nlisten = 192.0.2.1:9464\n")?;
    site.agent.signal(Signal::SIGHUP)?;
    let stays = |line: &str| line.contains("ERROR") && line.contains("the former one stays");
    let line = site.agent.wait_log("the refusal", SOON, stays).await?.text;
    ensure!(line.contains("cannot bind TCP 192.0.2.1:9464 ([metrics] listen)"), "{line}");
    let same = |line: &str| line.contains("nothing changed");
    site.agent.wait_log("no change", SOON, same).await?;
    scrape(first).await?;
    Ok(())
}

#[tokio::test]
async fn an_address_that_is_none_or_cannot_be_bound_is_named_at_the_start() -> Result<()> {
    let home = tempfile::tempdir()?;
    let ini = home.path().join("daemon.ini");
    let path = ini.to_str().context("an odd path")?;
    fs::write(&ini, "[metrics]\nlisten = :9100\n")?;
    for run in [host::run(&["--config", path]).await?, agent::run(&["--config", path]).await?] {
        let said = String::from_utf8_lossy(&run.stderr).into_owned();
        ensure!(run.status.code() == Some(2), "{said}");
        ensure!(said.contains("[metrics] listen = :9100: expected IP:PORT"), "{said}");
    }
    fs::write(&ini, "[metrics]\nlisten = 0.0.0.0:9100\nper_instance = yes\n")?;
    let check = ["--config", path, "--check-config"];
    for run in [host::run(&check).await?, agent::run(&check).await?] {
        let said = String::from_utf8_lossy(&run.stdout).into_owned();
        ensure!(said.contains("metrics-listen = 0.0.0.0:9100\n"), "{said}");
        ensure!(said.contains("metrics-per-instance = yes\n"), "{said}");
    }
    fs::write(&ini, "[metrics]\nlisten = 192.0.2.1:9100\n")?;
    let dir = home.path().to_str().context("an odd path")?;
    let args = ["--config", path, "--run-dir", dir, "--bind", "127.0.0.1", "--channel-dir", dir];
    let run = host::run(&[&args[..], &["--server-port", "0"]].concat()).await?;
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    ensure!(run.status.code() == Some(3), "{said}");
    ensure!(said.contains("cannot bind TCP 192.0.2.1:9100 ([metrics] listen)"), "{said}");
    Ok(())
}
