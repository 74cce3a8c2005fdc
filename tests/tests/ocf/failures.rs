//! Daemons that hang, files that lie, and a script that is killed half-way.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use crate::resource::{Resource, lives, script};

/// A start must be over well before SM kills it, after 20 s.
const WELL_UNDER: Duration = Duration::from_secs(17);

fn sleeper() -> Result<(Child, Pid)> {
    let child = Command::new("sleep").arg("600").kill_on_drop(true).spawn()?;
    let pid = Pid::from_raw(child.id().context("sleep has ended")?.try_into()?);
    Ok((child, pid))
}

#[tokio::test]
async fn a_daemon_that_hangs_at_its_start_is_cleaned_up() -> Result<()> {
    let resource = Resource::new()?;
    // It waits for that before it takes its pidfile.
    resource.options("--wait-for /nonexistent/file")?;
    let outcome = resource.expect("start", 1).await?;
    assert!(outcome.took < WELL_UNDER && outcome.stderr.contains("not ready"), "{outcome:?}");
    assert_eq!(resource.processes(), []);
    resource.expect("monitor", 7).await?;
    resource.options("")?;
    resource.expect("start", 0).await?;
    Ok(())
}

#[tokio::test]
async fn one_that_hangs_and_does_not_listen_is_killed() -> Result<()> {
    let mut resource = Resource::new()?;
    // With the command line, so that it counts as one of the resource's processes.
    resource.replace_binary("trap '' TERM\nexec sh -c 'while :; do sleep 1; done' sh \"$@\"")?;
    let outcome = resource.expect("start", 1).await?;
    assert!(outcome.took < WELL_UNDER && outcome.stderr.contains("killed"), "{outcome:?}");
    assert_eq!(resource.processes(), []);
    resource.expect("monitor", 7).await?;
    Ok(())
}

#[tokio::test]
async fn one_that_ends_at_its_start_is_a_failure_that_says_why() -> Result<()> {
    let (resource, other) = (Resource::new()?, Resource::new()?);
    resource.expect("start", 0).await?;
    let log = fs::read_to_string(resource.path("log"))?;
    let port = log.split("http=127.0.0.1:").nth(1).and_then(|rest| rest.split(' ').next());
    let port = port.context("no port in the log")?;
    other.configure(&format!("[agent]\nrx_port = 0\nvim_cmd_port = {port}\n"))?;
    let outcome = other.expect("start", 1).await?;
    assert!(outcome.stderr.contains(port), "{outcome:?}");
    // It did not wait for what was over.
    assert!(outcome.took < Duration::from_secs(6), "{outcome:?}");
    other.expect("monitor", 7).await?;
    Ok(())
}

#[tokio::test]
async fn one_that_is_stuck_fails_its_monitor_and_can_be_replaced() -> Result<()> {
    let resource = Resource::new()?;
    resource.expect("start", 0).await?;
    let stuck = resource.pid()?;
    kill(stuck, Signal::SIGSTOP)?;
    let outcome = resource.expect("monitor", 1).await?;
    assert!(outcome.stderr.contains("no sign of life"), "{outcome:?}");
    resource.expect("status", 0).await?;
    let outcome = resource.expect("start", 0).await?;
    assert!(outcome.took < WELL_UNDER, "{outcome:?}");
    assert!(!lives(stuck), "the stuck one is still there");
    let stuck = resource.pid()?;
    assert_eq!(resource.processes(), [stuck]);
    resource.expect("monitor", 0).await?;
    kill(stuck, Signal::SIGSTOP)?;
    resource.expect("stop", 0).await?;
    assert_eq!(resource.processes(), []);
    resource.expect("monitor", 7).await?;
    Ok(())
}

#[tokio::test]
async fn what_a_killed_daemon_left_means_nothing() -> Result<()> {
    let resource = Resource::new()?;
    resource.expect("start", 0).await?;
    let dead = resource.pid()?;
    kill(dead, Signal::SIGKILL)?;
    lab::wait::until("it is gone", end_to_end::SOON, || !lives(dead)).await?;
    assert!(resource.run_file("guestAgent.pid").is_file());
    resource.expect("monitor", 7).await?;
    resource.expect("status", 7).await?;
    resource.expect("start", 0).await?;
    assert_ne!(resource.pid()?, dead);
    resource.expect("monitor", 0).await?;
    resource.expect("stop", 0).await?;
    Ok(())
}

#[tokio::test]
async fn a_pidfile_with_the_pid_of_another_program_means_nothing() -> Result<()> {
    let resource = Resource::new()?;
    let (_child, other) = sleeper()?;
    fs::create_dir(resource.path("guest-agent"))?;
    for name in ["guestAgent.pid", "guestAgent.started"] {
        fs::write(resource.run_file(name), format!("{other}\n"))?;
    }
    resource.expect("monitor", 7).await?;
    resource.expect("reload", 7).await?;
    resource.expect("stop", 0).await?;
    assert!(lives(other));
    fs::write(resource.run_file("guestAgent.pid"), format!("{other}\n"))?;
    resource.expect("start", 0).await?;
    assert_ne!(resource.pid()?, other);
    resource.expect("stop", 0).await?;
    // A link to the pidfile of a daemon that is well.
    let guestagent = Resource::new()?;
    guestagent.expect("start", 0).await?;
    symlink(guestagent.run_file("guestAgent.pid"), resource.run_file("guestAgent.pid"))?;
    resource.expect("monitor", 7).await?;
    resource.expect("stop", 0).await?;
    guestagent.expect("monitor", 0).await?;
    assert!(lives(other));
    Ok(())
}

/// Kills the script alone, as soon as what it started hangs, and says which process that is.
async fn killed_midway(resource: &Resource) -> Result<Pid> {
    let mut start = resource.command(script()).arg("start").stderr(Stdio::null()).spawn()?;
    let begun = resource.hanging().await?;
    start.kill().await?;
    assert!(lives(begun));
    Ok(begun)
}

#[tokio::test]
async fn a_start_that_was_killed_midway_leaves_one_daemon_that_is_found() -> Result<()> {
    let resource = Resource::new()?;
    let go = resource.path("go");
    resource.options(&format!("--wait-for {}", go.display()))?;
    // It is neither running nor absent; a stop ends it.
    let begun = killed_midway(&resource).await?;
    resource.expect("monitor", 1).await?;
    resource.expect("status", 1).await?;
    resource.expect("stop", 0).await?;
    assert!(!lives(begun));
    resource.expect("monitor", 7).await?;
    // Another start puts one of its own in its place.
    let begun = killed_midway(&resource).await?;
    resource.options("")?;
    resource.expect("start", 0).await?;
    assert!(!lives(begun));
    assert_eq!(resource.processes(), [resource.pid()?]);
    resource.expect("stop", 0).await?;
    // It gets ready after all, and nobody starts a second one.
    resource.options(&format!("--wait-for {}", go.display()))?;
    let begun = killed_midway(&resource).await?;
    fs::write(&go, "")?;
    let ready = || resource.run_file("guestAgent.info").is_file();
    lab::wait::until("it is ready", end_to_end::SOON, ready).await?;
    resource.expect("monitor", 0).await?;
    resource.expect("start", 0).await?;
    assert_eq!(resource.processes(), [begun]);
    resource.expect("stop", 0).await?;
    assert_eq!(resource.processes(), []);
    Ok(())
}

/// As if the script had been killed when what begins the daemon had its lock and had not come to write down its number.
#[tokio::test]
async fn what_has_begun_and_is_not_known_yet_gets_no_second_one_beside_it() -> Result<()> {
    let resource = Resource::new()?;
    fs::create_dir(resource.path("guest-agent"))?;
    let mut first = Command::new("flock");
    let first = first.arg("-F").arg(resource.run_file("guestAgent.started")).args(["sleep", "600"]);
    let mut first = first.process_group(0).kill_on_drop(true).spawn()?;
    let group = Pid::from_raw(first.id().context("flock has ended")?.try_into()?);
    let locked = || {
        let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
        locks.lines().any(|line| line.contains(&format!(" {group} ")))
    };
    lab::wait::until("the lock is held", end_to_end::SOON, locked).await?;
    resource.expect("start", 1).await?;
    assert_eq!(resource.processes(), []);
    killpg(group, Signal::SIGKILL)?;
    first.wait().await?;
    resource.expect("start", 0).await?;
    Ok(())
}
