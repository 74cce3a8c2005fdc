//! A daemon stands still for a while, as under a debugger, a snapshot or a hypervisor without time for it.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lab::daemon::Daemon;
use nix::sys::signal::Signal;
use tokio::time::sleep;

use crate::apart::apart;
use crate::rig::{BOUND, Rig};

/// Stops one of the daemons that long, during which a guest dies.
fn stopped(
    seconds: u64,
    which: impl Fn(&Rig) -> &Daemon + Send + 'static,
    says: &'static [&'static str],
) -> Result<()> {
    apart(async move || {
        let rig = Rig::start(4).await?;
        let daemon = which(&rig);
        daemon.signal(Signal::SIGSTOP)?;
        // The fault's own duration.
        let half = Duration::from_secs(seconds) / 2;
        sleep(half).await;
        rig.guests[0].freeze().await?;
        sleep(half).await;
        daemon.signal(Signal::SIGCONT)?;
        rig.dead_since(0, Instant::now(), BOUND).await?;
        let log = daemon.stderr();
        let said = says.iter().all(|words| log.lines().any(|line| line.contains(words)));
        ensure!(said, "not all of {says:?} is said:\n{log}");
        rig.well(&[0]).await?;
        rig.a_death_is_told(1).await?;
        rig.well(&[0, 1]).await
    })
}

/// What an operator finds it by.
const LOST_TIME: &[&str] = &["not scheduled in time"];

fn guest_server(rig: &Rig) -> &Daemon {
    &rig.server.daemon
}

fn guest_agent(rig: &Rig) -> &Daemon {
    &rig.site.agent
}

#[test]
fn guest_server_stops_for_1_s() -> Result<()> {
    stopped(1, guest_server, LOST_TIME)
}

#[test]
fn guest_server_stops_for_10_s() -> Result<()> {
    stopped(10, guest_server, LOST_TIME)
}

#[test]
fn guest_server_stops_for_100_s() -> Result<()> {
    stopped(100, guest_server, LOST_TIME)
}

#[test]
fn guest_agent_stops_for_1_s() -> Result<()> {
    stopped(1, guest_agent, &[])
}

#[test]
fn guest_agent_stops_for_10_s() -> Result<()> {
    stopped(10, guest_agent, &[])
}

#[test]
fn guest_agent_stops_for_100_s() -> Result<()> {
    stopped(100, guest_agent, &[])
}
