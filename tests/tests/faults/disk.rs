//! The disk is full, or may not be written to.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use end_to_end::SOON;
use end_to_end::agent::SiteSetup;
use end_to_end::launch::Launch;
use lab::daemon::Daemon;
use lab::wait::until;
use nix::mount::MntFlags;
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::apart::{apart, read_only, small_disk};
use crate::rig::{Rig, refuses, says_once};

/// Daemons that nobody has anything to say to.
const UNASKED: [(&str, &[&str]); 2] = [
    ("guestServer", &["--bind", "127.0.0.1", "--controller", "127.0.0.1"]),
    ("guestAgent", &["--bind", "127.0.0.1", "--mtc", "127.0.0.1", "--floating-ip", "127.0.0.1"]),
];

/// Fills the file system of this directory to the last byte.
fn fill(dir: &Path) -> Result<()> {
    let mut file = fs::File::create(dir.join("filling"))?;
    for size in [4096, 1] {
        while file.write_all(&vec![b'x'; size]).is_ok() {}
    }
    Ok(())
}

/// Waits until a monitor that asks for the health file gets a new one.
async fn health_is_written(daemon: &Daemon, name: &str) -> Result<()> {
    let path = daemon.run_dir().join(name);
    let _ = fs::remove_file(&path);
    daemon.signal(Signal::SIGUSR1)?;
    let there = || fs::read_to_string(&path).is_ok_and(|text| text.starts_with("I'm healthy\n"));
    until("the health file is written", SOON, there).await
}

fn temporary() -> std::path::PathBuf {
    std::env::temp_dir()
}

#[test]
fn the_disk_fills_while_they_run() -> Result<()> {
    apart(async || {
        small_disk(&temporary(), 2048)?;
        let rig = Rig::start(3).await?;
        fill(&temporary())?;
        for daemon in [&rig.server.daemon, &rig.site.agent] {
            daemon.signal(Signal::SIGUSR1)?;
            says_once(daemon, &["ERROR", "cannot write the health file", "No space left"]).await?;
        }
        rig.well(&[]).await?;
        rig.a_death_is_told(0).await?;
        fs::remove_file(temporary().join("filling"))?;
        health_is_written(&rig.server.daemon, "guestServer.info").await?;
        health_is_written(&rig.site.agent, "guestAgent.info").await?;
        rig.a_death_is_told(1).await?;
        rig.well(&[0, 1]).await
    })
}

/// The log is a file on a full disk: its lines are lost, and nothing else is.
#[test]
fn the_disk_of_the_log_fills() -> Result<()> {
    apart(async || {
        let log = TempDir::new()?;
        small_disk(log.path(), 16)?;
        let to = |name: &str| Launch::after(&format!("exec 2>>{}/{name}", log.path().display()));
        let site = SiteSetup { launch: to("agent.log"), ..SiteSetup::default() };
        let rig = Rig::set_up(site, |server| server.launch = to("server.log"), 3).await?;
        fill(log.path())?;
        rig.well(&[]).await?;
        rig.a_death_is_told(0).await?;
        let length = |name: &str| fs::metadata(log.path().join(name)).map_or(0, |file| file.len());
        let before = ["agent.log", "server.log"].map(length);
        fs::remove_file(log.path().join("filling"))?;
        rig.a_death_is_told(1).await?;
        let grown = || ["agent.log", "server.log"].map(length) > before;
        until("both log again", SOON, grown).await?;
        let text = fs::read_to_string(log.path().join("server.log"))?;
        let last = text.lines().last().context("no line")?;
        ensure!(last.contains("heartbeat lost") || last.contains("reporting"), "{text}");
        rig.well(&[0, 1]).await?;
        // The thread's mounts go with it, but the directory is to be removed before.
        drop(rig);
        nix::mount::umount2(log.path(), MntFlags::MNT_DETACH)?;
        Ok(())
    })
}

#[test]
fn the_disk_is_full_at_the_start() -> Result<()> {
    apart(async || {
        for (name, args) in UNASKED {
            let dir = TempDir::new()?;
            let run_dir = dir.path().join("run");
            fs::create_dir(&run_dir)?;
            small_disk(&run_dir, 16)?;
            fill(&run_dir)?;
            let mut daemon = Launch::default().start_in(dir, name, args)?;
            refuses(&mut daemon, &["pidfile", "No space left", "--run-dir"]).await?;
            let left: Vec<_> = fs::read_dir(&run_dir)?
                .map(|file| file.map(|f| f.file_name()))
                .collect::<Result<_, _>>()?;
            ensure!(left == ["filling"], "left: {left:?}");
            fs::remove_file(run_dir.join("filling"))?;
            let mut daemon = Launch::default().start_in(daemon.into_dir().await?, name, args)?;
            daemon.wait_ready(SOON).await?;
            ensure!(daemon.stop(SOON).await?.success(), "{}", daemon.stderr());
            nix::mount::umount(&run_dir)?;
        }
        Ok(())
    })
}

#[test]
fn the_run_directory_becomes_read_only() -> Result<()> {
    apart(async || {
        small_disk(&temporary(), 2048)?;
        let mut rig = Rig::start(2).await?;
        let dirs = [rig.server.daemon.run_dir(), rig.site.agent.run_dir()];
        for dir in &dirs {
            read_only(dir, true)?;
        }
        for daemon in [&rig.server.daemon, &rig.site.agent] {
            daemon.signal(Signal::SIGUSR1)?;
            says_once(daemon, &["cannot write the health file", "Read-only"]).await?;
        }
        rig.well(&[]).await?;
        rig.a_death_is_told(0).await?;
        ensure!(rig.server.daemon.stop(SOON).await?.success(), "{}", rig.logs());
        says_once(&rig.server.daemon, &["cannot remove the pidfile", "Read-only"]).await?;
        for (name, args) in UNASKED {
            let dir = TempDir::new()?;
            let run_dir = dir.path().join("run");
            fs::create_dir(&run_dir)?;
            read_only(&run_dir, true)?;
            let mut daemon = Launch::default().start_in(dir, name, args)?;
            refuses(&mut daemon, &["pidfile", "Read-only", "--run-dir"]).await?;
        }
        for dir in &dirs {
            read_only(dir, false)?;
        }
        rig.server = rig.server.restart(async || Ok(())).await?;
        health_is_written(&rig.site.agent, "guestAgent.info").await?;
        rig.well(&[0]).await?;
        rig.a_death_is_told(1).await
    })
}
