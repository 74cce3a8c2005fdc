//! Guests that fall silent, with both daemons: how soon the VIM has the alarm.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use heartbeat_proto::{HostId, InstanceId};
use lab::daemon::Daemon;
use lab::guest::{Behaviour, Guest};
use lab::wait;
use tempfile::TempDir;
use tokio::time::sleep;

use super::super::Setup;
use super::super::cores::put_after_load;
use super::super::figure::{Figure, Unit, largest, median, smallest};
use super::super::site::{PATIENCE, guest};
use super::fleet::Size;
use super::site::{Agent, Site};

/// The interval of all guests.
const T: Duration = Duration::from_secs(1);
const SOONEST: f64 = 2.0;
/// Three intervals, and 50 ms for everything else.
const LATEST: f64 = 3.05;
/// Guests: their challenges come at as many points of the interval.
const GUESTS: u16 = 20;
/// No host but the one with the real guestServer.
const NO_FLEET: Size = Size { hosts: 0, instances: 0 };
const HOST: HostId = HostId::from_u128(0xc0);
const HOSTNAME: &str = "compute-0";

pub(in super::super) async fn measure(setup: &Setup) -> Result<Vec<Figure>> {
    let dir = TempDir::with_prefix("heartbeat-bench-")?;
    let channels = dir.path().join("channels");
    std::fs::create_dir(&channels)?;
    let site = Site::new(NO_FLEET).await?;
    site.mtc.add_host(HOST, HOSTNAME, "127.0.0.1")?;
    site.vim.set_host(HOST, HOSTNAME, true);
    let mut guests = Vec::new();
    for number in 0..GUESTS {
        let guest = guest(&channels, number, Behaviour::normal().every(T))?;
        site.vim.set_instance(HOST, guest.instance(), true);
        guests.push(guest);
    }
    let agent = site.start(setup).await?;
    let mut server = start_server(setup, &agent, &channels.to_string_lossy()).await?;
    watched(&server, &guests).await?;
    // Each guest begins anew, at its own point of the interval.
    for guest in &guests {
        guest.restart().await?;
        sleep(T / u32::from(GUESTS)).await;
    }
    sleep(T + T / 3).await;
    let seconds = fall_silent(&agent, &guests).await?;
    let status = server.stop(PATIENCE).await?;
    ensure!(status.success(), "guestServer ended with {status}");
    agent.stop().await?;
    let figure = |what: &str, value| {
        Figure::new(format!("silent to alarm, {what} of {GUESTS}"), Unit::Seconds, value)
    };
    Ok(vec![
        figure("soonest", smallest(&seconds)).at_least(SOONEST).every(),
        figure("median", median(&seconds)).baseline("2.04 to 3.07 s, to LOSS"),
        figure("latest", largest(&seconds)).at_most(LATEST).every(),
    ])
}

async fn start_server(setup: &Setup, agent: &Agent, channels: &str) -> Result<Daemon> {
    let server_port = agent.site.server_port.to_string();
    let agent_port = agent.address.port().to_string();
    let args = [
        ["--bind", "127.0.0.1"],
        ["--server-port", &server_port],
        ["--agent-port", &agent_port],
        ["--controller", "127.0.0.1"],
        ["--hostname", HOSTNAME],
        ["--channel-dir", channels],
    ];
    let start = || Daemon::start(&setup.server, args.as_flattened(), &[]);
    let mut server = setup.cores.on_daemons(start)??;
    server.wait_ready(PATIENCE).await?;
    put_after_load(server.pid())?;
    Ok(server)
}

/// Waits until all of these heartbeat and their faults are reported.
async fn watched(server: &Daemon, guests: &[Guest]) -> Result<()> {
    wait::until_ok("the faults of all guests are reported", PATIENCE, async || {
        let status = server.status().await?;
        let instances = status["instances"].as_array().context("no instances")?;
        let watched =
            instances.iter().filter(|one| one["reporting"] == true && one["heartbeating"] == true);
        (watched.count() == guests.len()).then_some(()).context("not yet")
    })
    .await
}

/// Seconds from each guest's last sign of life to the alarm at the VIM.
async fn fall_silent(agent: &Agent, guests: &[Guest]) -> Result<Vec<f64>> {
    let mut silent: HashMap<InstanceId, Instant> = HashMap::new();
    let _ = agent.site.vim.drain();
    for guest in guests {
        silent.insert(guest.instance(), Instant::now());
        guest.freeze().await?;
    }
    let mut seconds = Vec::new();
    for _ in guests {
        let failed = |request: &lab::vim::VimRequest| request.service()["state"] == "failed";
        let alarm = agent.site.vim.wait_for("an alarm", PATIENCE, failed).await?;
        let since = silent.remove(&alarm.instance().parse()?);
        let since = since.context("alarm of a guest that is lost already, or was never silent")?;
        seconds.push(alarm.at.saturating_duration_since(since).as_secs_f64());
    }
    Ok(seconds)
}
