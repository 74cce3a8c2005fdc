//! From start to stop: readiness, files, signals.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use end_to_end::host::{Host, Setup, beats};
use end_to_end::{SOON, id};
use lab::daemon::{self, Daemon};
use lab::guest::{Behaviour, Guest, What};
use lab::wait::{until, until_ok};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

/// How long a stop may take; it should be less than a second, on a machine that has nothing else to do.
const STOP: Duration = Duration::from_secs(5);

fn files(run_dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(run_dir)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

#[tokio::test]
async fn a_ready_daemon_has_its_files_and_answers() -> Result<()> {
    let host = Host::start().await?;
    let run_dir = host.daemon.run_dir();
    assert_eq!(files(&run_dir)?, ["guestServer.info", "guestServer.pid", "guestServer.sock"]);
    let pid = fs::read_to_string(run_dir.join("guestServer.pid"))?;
    assert_eq!(pid, format!("{}\n", host.daemon.pid()));
    assert_eq!(fs::metadata(run_dir.join("guestServer.sock"))?.mode() & 0o777, 0o600);
    let status = host.daemon.status().await?;
    assert_eq!(status["pid"], host.daemon.pid());
    assert_eq!((&status["daemon"], &status["hostname"]), (&"guestServer".into(), &"vm".into()));
    let ready = host.daemon.wait_log("ready", SOON, |line| line.contains(" ready ")).await?;
    let address = format!(" address={} ", host.address().await?);
    assert!(ready.text.contains(&address), "port 0 is named: {}", ready.text);
    let odd = host.daemon.request(r#"{"request":"dance"}"#).await?;
    assert!(odd["error"].as_str().is_some_and(|why| why.contains("expected status")), "{odd}");
    Ok(())
}

/// Nothing that a supervisor relies on may be missing when it is told that the daemon is ready.
#[tokio::test]
async fn ready_is_said_only_when_everything_is_there_and_after_waiting() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (one, two) = (dir.path().join("one"), dir.path().join("deep/two"));
    let waits = ["--wait-for", &one.to_string_lossy(), "--wait-for", &two.to_string_lossy()]
        .map(ToString::to_string);
    let waits: Vec<&str> = waits.iter().map(String::as_str).collect();
    let host = Setup::default().args(&waits).start_unready()?;
    let waiting = |line: &str| line.contains("waiting for files");
    host.daemon.wait_log("waiting", SOON, waiting).await?;
    assert_eq!(files(&host.daemon.run_dir())?, [""; 0], "nothing is taken while it waits");
    assert!(host.daemon.notifications().is_empty());
    fs::write(&one, "")?;
    fs::create_dir(dir.path().join("deep"))?;
    fs::write(&two, "")?;
    let host = host.ready().await?;
    let names: Vec<_> = host.daemon.notifications().into_iter().map(|line| line.text).collect();
    assert_eq!(names[0], "READY=1");
    assert_eq!(files(&host.daemon.run_dir())?.len(), 3);
    Ok(())
}

#[tokio::test]
async fn a_daemon_that_waits_is_stopped_like_any_other() -> Result<()> {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut host =
            Setup::default().args(&["--wait-for", "/nonexistent/file"]).start_unready()?;
        let waiting = |line: &str| line.contains("waiting for files");
        host.daemon.wait_log("waiting", SOON, waiting).await?;
        // Others do not end the wait.
        host.daemon.signal(Signal::SIGHUP)?;
        host.daemon.signal(Signal::SIGUSR1)?;
        host.daemon.signal(signal)?;
        assert_eq!(host.daemon.wait_exit(STOP).await?.code(), Some(0));
        assert_eq!(files(&host.daemon.run_dir())?, [""; 0]);
    }
    Ok(())
}

#[tokio::test]
async fn a_stop_with_three_hundred_guests_is_quick_and_clean() -> Result<()> {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut host = Host::start().await?;
        let start = |n| host.guest(id(n), Behaviour::normal());
        let guests = (1..=300).map(start).collect::<Result<Vec<Guest>>>()?;
        for guest in &guests {
            until("it answers", SOON, || guest.counters().responses > 0).await?;
        }
        host.daemon.signal(signal)?;
        assert_eq!(host.daemon.wait_exit(STOP).await?.code(), Some(0));
        assert_eq!(files(&host.daemon.run_dir())?, [""; 0]);
        host.daemon.wait_notification("STOPPING=1", SOON).await?;
        for guest in &guests {
            guest.wait_for("disconnection", SOON, |what| *what == What::Disconnected).await?;
            assert!(guest.path().exists(), "a channel is its virtual machine's");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_daemon_that_was_killed_is_followed_by_another() -> Result<()> {
    let host = Host::start().await?;
    let guest = host.guest(id(1), Behaviour::normal())?;
    beats(&guest, 1).await?;
    let args: Vec<String> = fs::read_to_string(format!("/proc/{}/cmdline", host.daemon.pid()))?
        .trim_end_matches('\0')
        .split('\0')
        .skip(3)
        .map(ToString::to_string)
        .collect();
    let old = host.daemon.pid();
    let (daemon, _rest) = host.split();
    let dir = daemon.into_dir().await?;
    let left = files(&dir.path().join("run"))?;
    assert_eq!(left, ["guestServer.info", "guestServer.pid", "guestServer.sock"]);
    let mut daemon = Daemon::start_in(dir, &daemon::binary("guestServer")?, args, &[])?;
    daemon.wait_ready(SOON).await?;
    let pid = fs::read_to_string(daemon.run_dir().join("guestServer.pid"))?;
    assert_eq!(pid, format!("{}\n", daemon.pid()));
    assert_ne!(old, daemon.pid());
    assert_eq!(daemon.status().await?["pid"], daemon.pid());
    guest.restart().await?;
    beats(&guest, 1).await?;
    Ok(())
}

#[tokio::test]
async fn usr1_writes_the_health_file_anew() -> Result<()> {
    let host = Host::start().await?;
    let path = host.daemon.run_dir().join("guestServer.info");
    for _ in 0..3 {
        fs::remove_file(&path)?;
        host.daemon.signal(Signal::SIGUSR1)?;
        until("it is there", SOON, || path.exists()).await?;
        let text = fs::read_to_string(&path)?;
        assert!(text.starts_with("I'm healthy"), "{text}");
        // Anew, also when it is there.
        let before = fs::metadata(&path)?.ino();
        host.daemon.signal(Signal::SIGUSR1)?;
        until("it is another", SOON, || fs::metadata(&path).is_ok_and(|now| now.ino() != before))
            .await?;
    }
    // From the main loop itself: one that stands still does not.
    host.freeze().await?;
    fs::remove_file(&path)?;
    host.daemon.signal(Signal::SIGUSR1)?;
    let clock = Host::start().await?;
    let guest = clock.guest(id(1), Behaviour::normal().every(Duration::from_millis(100)))?;
    beats(&guest, 5).await?;
    assert!(!path.exists());
    host.thaw()?;
    until("it is there", SOON, || path.exists()).await?;
    Ok(())
}

#[tokio::test]
async fn hup_reloads_threshold_floor_and_level() -> Result<()> {
    let host = Host::start().await?;
    let guest =
        host.running(id(1), Behaviour::normal().every(Duration::from_millis(100)), true).await?;
    let reload = async |ini: &str| {
        fs::write(host.ini(), ini)?;
        host.daemon.signal(Signal::SIGHUP)
    };
    let status = async |threshold: u64, floor: u64| {
        let look = async || {
            let status = host.daemon.status().await?;
            ensure!(status["failure_threshold"] == threshold, "{status}");
            ensure!(status["pulse_period_ms"] == floor, "{status}");
            Ok(())
        };
        until_ok("the settings are in force", SOON, look).await
    };
    status(1, 100).await?;
    let ini = "[agent]\nrx_port = 1\n[client]\nhbs_failure_threshold = 7\nhbs_pulse_period = 300\n[log]\nlevel = debug\n";
    reload(ini).await?;
    status(7, 300).await?;
    host.daemon.wait_notification("READY=1", SOON).await?;
    host.controller.query()?;
    host.daemon.wait_log("debug lines", SOON, |line| line.contains(" DEBUG ")).await?;
    // Guests that are there are held to it, without connecting anew.
    guest.freeze().await?;
    host.daemon
        .wait_log("the last miss", SOON, |line| line.contains("misses=7 threshold=7"))
        .await?;
    host.event("LOSS", id(1)).await?;
    guest.thaw().await?;
    guest.restart().await?;
    host.event("RUNNING", id(1)).await?;
    assert_eq!(guest.counters().connections, 1);

    // A bad file changes nothing and says so.
    reload("[client]\nhbs_failure_threshold = 0\nhbs_pulse_period = 200\n").await?;
    let refused = |line: &str| line.contains("not reloaded");
    let line = host.daemon.wait_log("refusal", SOON, refused).await?.text;
    assert!(
        line.contains("ERROR") && line.contains("hbs_failure_threshold = 0: expected"),
        "{line}"
    );
    status(7, 300).await?;
    fs::remove_file(host.ini())?;
    host.daemon.signal(Signal::SIGHUP)?;
    host.daemon.wait_log("another refusal", SOON, refused).await?;
    status(7, 300).await?;
    // A port needs a restart, and that is said.
    reload("[client]\nrx_port = 9\nhbs_failure_threshold = 2\nhbs_pulse_period = 100\n").await?;
    status(2, 100).await?;
    beats(&guest, 1).await?;
    Ok(())
}

#[tokio::test]
async fn hup_names_what_needs_a_restart() -> Result<()> {
    let host = Host::start().await?;
    // The test's host has its ports from the command line, which wins; its own daemon has them from the file.
    let ini = host.home().join("other.ini");
    fs::write(&ini, "[agent]\nrx_port = 2401\n[client]\nrx_port = 0\n")?;
    let channels = host.channel_dir();
    let args = ["--config", &ini.to_string_lossy(), "--channel-dir", &channels.to_string_lossy()]
        .map(ToString::to_string);
    let rest =
        ["--bind", "127.0.0.1", "--controller", "127.0.0.1", "--hostname", "h"].map(String::from);
    let mut other =
        Daemon::start(&daemon::binary("guestServer")?, args.into_iter().chain(rest), &[])?;
    other.wait_ready(SOON).await?;
    fs::write(&ini, "[agent]\nrx_port = 2402\n[client]\nrx_port = 1\nhbs_failure_threshold = 5\n")?;
    other.signal(Signal::SIGHUP)?;
    for key in ["[agent] rx_port", "[client] rx_port"] {
        let named = |line: &str| line.contains("needs a restart") && line.contains(key);
        other.wait_log(key, SOON, named).await?;
    }
    other.wait_log("reload", SOON, |line| line.contains("configuration reloaded")).await?;
    assert_eq!(other.status().await?["failure_threshold"], 5);
    Ok(())
}

#[tokio::test]
async fn a_broken_pipe_is_no_reason_to_end() -> Result<()> {
    let host = Host::start().await?;
    nix::sys::signal::kill(Pid::from_raw(host.daemon.pid()), Signal::SIGPIPE)?;
    let guest = host.guest(id(1), Behaviour::normal())?;
    beats(&guest, 1).await?;
    Ok(())
}
