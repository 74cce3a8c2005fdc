//! The OCF agent with the real guestAgent, in directories and on ports of its own: what SM and Pacemaker ask of it.
//!
//! `cargo xtask test` runs this, as root, with ocf-tester from Debian's resource-agents.

mod failures;
mod resource;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use end_to_end::SOON;
use lab::daemon::Daemon;
use lab::wait::until;
use tokio::process::Command;
use tokio::time::timeout;

use crate::resource::{Resource, lives, run, script};

#[tokio::test]
async fn ocf_tester_finds_nothing() -> Result<()> {
    let resource = Resource::new()?;
    let mut tester = Command::new("ocf-tester");
    tester.args(["-n", "guest-agent"]);
    for (name, value) in &resource.parameters {
        tester.arg("-o").arg(format!("{name}={value}"));
    }
    tester.arg(script().canonicalize()?).kill_on_drop(true);
    let output = timeout(SOON * 6, tester.output()).await?.context("ocf-tester")?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("passed all tests"), "{said}");
    assert_eq!(resource.processes(), []);
    Ok(())
}

#[tokio::test]
async fn a_daemon_is_started_asked_and_stopped_as_often_as_one_likes() -> Result<()> {
    let resource = Resource::new()?;
    for action in ["monitor", "status", "reload"] {
        resource.expect(action, 7).await?;
    }
    resource.expect("stop", 0).await?;
    resource.expect("start", 0).await?;
    // It is ready at that moment, and where SM looks for it.
    let pid = resource.pid()?;
    let linked = fs::read_to_string(resource.path("guestAgent.pid"))?;
    assert_eq!(linked.trim(), pid.to_string());
    assert!(fs::read_to_string(resource.path("guestAgent.info"))?.starts_with("I'm healthy\n"));
    resource.expect("start", 0).await?;
    assert_eq!(resource.processes(), [pid]);
    let before = fs::metadata(resource.run_file("guestAgent.info"))?.ino();
    for action in ["monitor", "status", "reload"] {
        resource.expect(action, 0).await?;
    }
    assert_ne!(fs::metadata(resource.run_file("guestAgent.info"))?.ino(), before, "not asked");
    let log = || fs::read_to_string(resource.path("log")).unwrap_or_default();
    until("it has reloaded", SOON, || log().contains("configuration reloaded")).await?;
    resource.expect("stop", 0).await?;
    assert!(!lives(pid));
    resource.expect("stop", 0).await?;
    resource.expect("monitor", 7).await?;
    assert!(!resource.path("guestAgent.pid").is_symlink(), "a link is left");
    Ok(())
}

#[tokio::test]
async fn without_a_configuration_file_it_is_known_that_nothing_runs() -> Result<()> {
    let resource = Resource::new()?;
    fs::remove_file(resource.path("guestAgent.ini"))?;
    resource.expect("monitor", 7).await?;
    resource.expect("status", 7).await?;
    resource.expect("stop", 0).await?;
    for action in ["start", "reload", "validate-all"] {
        let outcome = resource.expect(action, 6).await?;
        assert!(outcome.stderr.contains("guestAgent.ini"), "{outcome:?}");
    }
    assert_eq!(resource.processes(), []);
    // One that runs is stopped all the same.
    resource.configure("[agent]\nrx_port = 0\nvim_cmd_port = 0\n")?;
    resource.expect("start", 0).await?;
    fs::remove_file(resource.path("guestAgent.ini"))?;
    resource.expect("monitor", 0).await?;
    resource.expect("stop", 0).await?;
    assert_eq!(resource.processes(), []);
    Ok(())
}

#[tokio::test]
async fn every_mistake_has_its_exit_code() -> Result<()> {
    let cases = [
        ("binary", "/nonexistent/guestAgent", 5),
        ("config", "/nonexistent/guestAgent.ini", 6),
        ("pid", "guestAgent.pid", 2),
        ("pid", "/run/another.pid", 2),
        ("dbg", "perhaps", 2),
        ("user", "no-such-account", 5),
    ];
    for (name, value, code) in cases {
        let mut resource = Resource::new()?;
        resource.set(name, value);
        for action in ["start", "validate-all"] {
            let outcome = resource.expect(action, code).await?;
            assert!(outcome.stderr.contains(value), "{name}={value}: {outcome:?}");
        }
        assert_eq!(resource.processes(), []);
    }
    let resource = Resource::new()?;
    resource.expect("promote", 3).await?;
    resource.expect("usage", 0).await?;
    resource.expect("meta-data", 0).await?;
    let outcome = run(&mut resource.command(script())).await?;
    assert_eq!(outcome.code, Some(2), "{outcome:?}");
    let outcome = run(resource.command(script()).args(["start", "now"])).await?;
    assert_eq!(outcome.code, Some(2), "{outcome:?}");
    // A bad file at a reload: it is said, and the daemon goes on.
    resource.expect("start", 0).await?;
    resource.configure("[agent]\nrx_port = many\n")?;
    let outcome = resource.expect("reload", 6).await?;
    assert!(outcome.stderr.contains("many"), "{outcome:?}");
    resource.expect("monitor", 0).await?;
    Ok(())
}

/// The script is run as nobody, who has neither the right to become root, nor to see what root's process is.
#[tokio::test]
async fn what_the_caller_may_not_do_has_its_exit_code() -> Result<()> {
    let resource = Resource::new()?;
    let copy = resource.path("script");
    fs::copy(script(), &copy)?;
    let as_nobody = async |action: &str| {
        let mut command = resource.command("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]);
        run(command.arg(&copy).arg(action)).await
    };
    let outcome = as_nobody("meta-data").await?;
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    resource.expect("start", 0).await?;
    for action in ["monitor", "status", "stop"] {
        let outcome = as_nobody(action).await?;
        assert_eq!(outcome.code, Some(4), "{action}: {outcome:?}");
    }
    resource.expect("monitor", 0).await?;
    Ok(())
}

#[tokio::test]
async fn the_daemon_runs_as_the_user_that_is_named() -> Result<()> {
    let mut resource = Resource::new()?;
    // Where cargo puts it may be out of others' reach.
    let binary = resource.path("guestAgent");
    fs::copy(lab::daemon::binary("guestAgent")?, &binary)?;
    resource.set("binary", &binary);
    resource.expect("start", 0).await?;
    resource.expect("stop", 0).await?;
    // Among what root's has left.
    resource.set("user", "nobody");
    resource.set("dbg", "true");
    resource.expect("start", 0).await?;
    let pid = resource.pid()?;
    assert_eq!(fs::metadata(format!("/proc/{pid}"))?.uid(), 65534);
    assert!(fs::read_to_string(format!("/proc/{pid}/cmdline"))?.contains("--log-level\0debug"));
    resource.expect("monitor", 0).await?;
    // An upgrade puts another file in the place of the program that runs.
    let new = resource.path("new");
    fs::copy(&binary, &new)?;
    fs::rename(&new, &binary)?;
    assert!(fs::read_link(format!("/proc/{pid}/exe"))?.to_string_lossy().ends_with(" (deleted)"));
    resource.expect("start", 0).await?;
    assert_eq!(resource.processes(), [pid]);
    resource.expect("stop", 0).await?;
    assert!(!lives(pid));
    Ok(())
}

#[tokio::test]
async fn all_descriptors_may_be_closed_and_the_process_group_be_killed() -> Result<()> {
    let resource = Resource::new()?;
    let mut command = resource.command("sh");
    command.args(["-c", "exec \"$0\" start <&- >&- 2>&- 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-"]);
    let outcome = run(command.arg(script())).await?;
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    let pid = resource.pid()?;
    let leads_to = |fd: u8| fs::read_link(format!("/proc/{pid}/fd/{fd}"));
    assert_eq!(leads_to(0)?.to_str(), Some("/dev/null"));
    assert_eq!((leads_to(1)?, leads_to(2)?), (resource.path("log"), resource.path("log")));
    // A process group and a session of its own, so that what ends the caller's does not end it.
    assert_eq!(nix::unistd::getpgid(Some(pid))?, pid);
    assert_eq!(nix::unistd::getsid(Some(pid))?, pid);
    resource.expect("monitor", 0).await?;
    resource.expect("stop", 0).await?;
    Ok(())
}

#[tokio::test]
async fn another_copy_on_the_machine_is_not_ours() -> Result<()> {
    let (resource, other) = (Resource::new()?, Resource::new()?);
    other.expect("start", 0).await?;
    resource.expect("monitor", 7).await?;
    resource.expect("start", 0).await?;
    resource.expect("stop", 0).await?;
    resource.expect("monitor", 7).await?;
    other.expect("monitor", 0).await?;
    Ok(())
}

#[tokio::test]
async fn two_starts_at_once_are_one_daemon() -> Result<()> {
    let resource = Resource::new()?;
    for _ in 0..5 {
        let (first, second) = tokio::join!(resource.run("start"), resource.run("start"));
        assert_eq!((first?.code, second?.code), (Some(0), Some(0)));
        assert_eq!(resource.processes(), [resource.pid()?]);
        resource.expect("monitor", 0).await?;
        resource.expect("stop", 0).await?;
    }
    Ok(())
}

/// One that the unit, the init script or somebody by hand has started is found by its pidfile.
#[tokio::test]
async fn a_daemon_that_another_has_started_is_taken_over() -> Result<()> {
    let mut resource = Resource::new()?;
    let ports = ["--agent-port", "0", "--mtc-command-port", "0", "--listen", "127.0.0.1:0"];
    let rest = ["--bind", "127.0.0.1", "--mtc", "127.0.0.1", "--floating-ip", "127.0.0.1"];
    let binary = lab::daemon::binary("guestAgent")?;
    let mut daemon = Daemon::start(&binary, ports.iter().chain(&rest), &[])?;
    daemon.wait_ready(SOON).await?;
    resource.set("pid", &daemon.run_dir().join("guestAgent.pid"));
    resource.expect("start", 0).await?;
    resource.expect("monitor", 0).await?;
    resource.expect("stop", 0).await?;
    let status = daemon.wait_exit(Duration::from_secs(5)).await?;
    assert!(status.success(), "{status}");
    Ok(())
}
