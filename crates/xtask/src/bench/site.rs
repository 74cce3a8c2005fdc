//! What every scenario needs: a channel directory, a controller, guests, and the daemon.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use heartbeat_proto::{HostId, InstanceId};
use lab::controller::Controller;
use lab::daemon::Daemon;
use lab::guest::{Behaviour, Guest};
use lab::wait;
use tempfile::TempDir;

use super::Setup;
use super::cores::put_after_load;

/// How long anything may take that is not measured, or is measured and far beyond its budget.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// Commands that are sent at once.
const BATCH: usize = 64;
/// After a batch, the daemon has this long to take it.
const BATCH_PAUSE: Duration = Duration::from_millis(5);

/// The place, without the daemon.
pub(super) struct Site {
    dir: TempDir,
    pub(super) controller: Controller,
}

/// The daemon at its place.
pub(super) struct Host {
    pub(super) site: Site,
    pub(super) daemon: Daemon,
    /// When the daemon was started.
    pub(super) started: Instant,
    /// How long after that it was ready.
    pub(super) ready: Duration,
}

impl Site {
    pub(super) fn new() -> Result<Self> {
        let site = Self {
            dir: TempDir::with_prefix("heartbeat-bench-")?,
            controller: Controller::bind(IpAddr::V4(Ipv4Addr::LOCALHOST))?,
        };
        std::fs::create_dir(site.channels())?;
        Ok(site)
    }

    pub(super) fn channels(&self) -> PathBuf {
        self.dir.path().join("channels")
    }

    /// Starts guests with these numbers, all of them at once.
    pub(super) fn guests(&self, numbers: Range<u16>, behaviour: &Behaviour) -> Result<Vec<Guest>> {
        let channels = self.channels();
        numbers.map(|number| guest(&channels, number, behaviour.clone())).collect()
    }

    /// Starts the daemon on its core, and waits until it is ready and has taken a command.
    pub(super) async fn start(self, setup: &Setup, env: &[(&str, &str)]) -> Result<Host> {
        let agent_port = self.controller.port().to_string();
        let channels = self.channels();
        let channels = channels.to_string_lossy();
        let args = [
            "--bind",
            "127.0.0.1",
            "--server-port",
            "0",
            "--agent-port",
            &agent_port,
            "--controller",
            "127.0.0.1",
            "--hostname",
            "compute-0",
            "--channel-dir",
            &channels,
        ];
        let started = Instant::now();
        let mut daemon = setup.cores.on_daemons(|| Daemon::start(&setup.server, args, env))??;
        let ready = daemon.wait_ready(PATIENCE).await?;
        put_after_load(daemon.pid())?;
        self.controller.next(PATIENCE).await.context("MONITOR_READY")?;
        self.controller.mod_host(HostId::from_u128(0xc0), true)?;
        let host = Host { site: self, daemon, started, ready };
        host.until("it is commanded", async |host| {
            Ok(host.daemon.status().await?["commanded"] == true)
        })
        .await?;
        Ok(host)
    }
}

/// A guest with this number.
pub(super) fn guest(channels: &Path, number: u16, behaviour: Behaviour) -> Result<Guest> {
    Guest::start(channels, InstanceId::from_u128(0x1_0000 + u128::from(number)), behaviour)
}

impl Host {
    async fn until(
        &self,
        what: &str,
        condition: impl AsyncFn(&Self) -> Result<bool>,
    ) -> Result<()> {
        wait::until_ok(what, PATIENCE, async || {
            condition(self).await?.then_some(()).context("not yet")
        })
        .await
    }

    /// Waits until all of these heartbeat, and has their faults reported.
    pub(super) async fn watch(&self, guests: &[Guest]) -> Result<()> {
        let heartbeating = |guest: &Guest| guest.counters().responses > 0;
        wait::until("all guests heartbeat", PATIENCE, || guests.iter().all(heartbeating)).await?;
        for batch in guests.chunks(BATCH) {
            for guest in batch {
                self.site.controller.mod_instance(guest.instance(), true)?;
            }
            tokio::time::sleep(BATCH_PAUSE).await;
        }
        self.until("the faults of all guests are reported", async |host| {
            let status = host.daemon.status().await?;
            let instances = status["instances"].as_array().context("no instances")?;
            let watched = instances
                .iter()
                .filter(|one| one["reporting"] == true && one["heartbeating"] == true);
            Ok(watched.count() == guests.len())
        })
        .await
    }

    /// Some of the daemon's own counters.
    pub(super) async fn metrics(&self) -> Result<Metrics> {
        let status = self.daemon.status().await?;
        let metric = |name: &str| {
            status["metrics"][name].as_u64().with_context(|| format!("no metric {name}"))
        };
        Ok(Metrics {
            misses: metric("misses")?,
            losses: metric("losses")?,
            reads_put_off: metric("reads_put_off")?,
        })
    }

    /// The daemon's memory, in MiB.
    pub(super) fn rss_mib(&self) -> Result<f64> {
        Ok(self.daemon.rss_kib()? as f64 / 1024.0)
    }

    /// Stops the daemon, and says how long that took.
    pub(super) async fn stop(mut self) -> Result<Duration> {
        let asked = Instant::now();
        let status = self.daemon.stop(PATIENCE).await?;
        let took = asked.elapsed();
        anyhow::ensure!(status.success(), "guestServer ended with {status}");
        Ok(took)
    }
}

/// What the daemon itself counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Metrics {
    pub(super) misses: u64,
    pub(super) losses: u64,
    /// Times that a guest sent more than is read.
    pub(super) reads_put_off: u64,
}

/// A duration in milliseconds.
pub(super) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
