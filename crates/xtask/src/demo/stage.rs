//! What every story needs: a channel directory, a controller, the daemon, and the timeline.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use heartbeat_proto::control::ServerEvent;
use heartbeat_proto::guest::{EventType, VoteResult};
use heartbeat_proto::{HostId, InstanceId};
use lab::controller::Controller;
use lab::daemon::Daemon;
use tempfile::TempDir;

use super::timeline::{Timeline, Voice, millis};

/// How long anything may take before the story is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a machine may take to boot or reset under software emulation.
pub(super) const BOOT: Duration = Duration::from_secs(90);

/// The scene of a story. Everything in it ends with it.
pub(super) struct Stage {
    pub(super) dir: TempDir,
    pub(super) timeline: Timeline,
    controller: Controller,
    daemon: Daemon,
}

impl Stage {
    pub(super) async fn set(binary: &Path, title: &str) -> Result<Self> {
        let dir = TempDir::with_prefix("heartbeat-demo-")?;
        let channels = dir.path().join("channels");
        std::fs::create_dir(&channels)?;
        let timeline = Timeline::begin(title);
        let controller = Controller::bind(IpAddr::V4(Ipv4Addr::LOCALHOST))?;
        let agent_port = controller.port().to_string();
        let channels = channels.to_string_lossy();
        let mut daemon = Daemon::start(
            binary,
            [
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
                "--log-format",
                "json",
            ],
            &[],
        )?;
        let ready = daemon.wait_ready(PATIENCE).await?;
        timeline.tell(Voice::Good, "guestServer", &format!("ready after {}", millis(ready)));
        let stage = Self { dir, timeline, controller, daemon };
        stage.event("MONITOR_READY", |event| *event == ServerEvent::MonitorReady).await?;
        stage.tell(Voice::Good, "guestServer", "MONITOR_READY sent to the controller");
        Ok(stage)
    }

    pub(super) fn tell(&self, voice: Voice, who: &str, what: &str) {
        self.timeline.tell(voice, who, what);
    }

    pub(super) fn channels(&self) -> std::path::PathBuf {
        self.dir.path().join("channels")
    }

    /// Waits until the daemon has logged this of the guest.
    pub(super) async fn logged(&self, instance: InstanceId, what: &str) -> Result<()> {
        let instance = instance.to_string();
        self.daemon
            .wait_log(what, PATIENCE, |line| line.contains(what) && line.contains(&instance))
            .await?;
        Ok(())
    }

    /// Waits until the controller has received this, and says when.
    async fn event(&self, what: &str, wanted: impl FnMut(&ServerEvent) -> bool) -> Result<Instant> {
        self.event_within(what, PATIENCE, wanted).await
    }

    async fn event_within(
        &self,
        what: &str,
        patience: Duration,
        wanted: impl FnMut(&ServerEvent) -> bool,
    ) -> Result<Instant> {
        let arrival = self.controller.wait_for(what, patience, wanted).await;
        arrival.map(|arrival| arrival.at).with_context(|| format!("log:\n{}", self.daemon.stderr()))
    }

    pub(super) async fn heartbeating(
        &self,
        who: &str,
        instance: InstanceId,
        patience: Duration,
        how: &str,
    ) -> Result<()> {
        let running =
            |event: &ServerEvent| matches!(event, ServerEvent::Running(id, _) if *id == instance);
        let at = self.event_within("RUNNING", patience, running).await?;
        self.timeline.tell_at(at, Voice::Good, who, how);
        Ok(())
    }

    /// The controller switches the reporting of faults on.
    pub(super) fn enable_reporting(&self, instances: &[InstanceId]) -> Result<()> {
        self.controller.mod_host(HostId::from_u128(0xc0), true)?;
        for instance in instances {
            self.controller.mod_instance(*instance, true)?;
        }
        self.tell(Voice::Hand, "controller", "fault reporting enabled: MOD_HOST, MOD_INST");
        Ok(())
    }

    /// A guest has just fallen silent: a challenge is missed, then it is given up.
    pub(super) async fn loss(&self, who: &str, instance: InstanceId) -> Result<()> {
        let silent = Instant::now();
        self.logged(instance, "heartbeat missed").await?;
        self.tell(Voice::Warning, who, "misses a challenge; it gets another one");
        self.event("STOPPED", |e| matches!(e, ServerEvent::Stopped(id, _) if *id == instance))
            .await?;
        let lost = self.event("LOSS", |event| *event == ServerEvent::Loss(instance)).await?;
        let after = millis(lost.saturating_duration_since(silent));
        self.timeline.tell_at(lost, Voice::Bad, who, &format!("LOSS sent {after} after its end"));
        Ok(())
    }

    /// The controller asks whether the guest may be rebooted; the guest says no.
    pub(super) async fn rejected(&self, who: &str, instance: InstanceId, why: &str) -> Result<()> {
        self.controller.vote(instance, EventType::Reboot)?;
        self.tell(Voice::Hand, "controller", &format!("may {who} be rebooted? VOTE_INST"));
        let mut reason = None;
        let at = self
            .event("VOTE_NOTIFY", |event| {
                let ServerEvent::VoteNotify(id, vote) = event else { return false };
                reason = (*id == instance && vote.vote == VoteResult::Reject)
                    .then(|| vote.reason.to_string());
                reason.is_some()
            })
            .await?;
        let reason = reason.unwrap_or_default();
        anyhow::ensure!(reason == why, "the reason came as {reason:?}, not as {why:?}");
        let what = format!("rejects: \"{reason}\"; VOTE_NOTIFY sent");
        self.timeline.tell_at(at, Voice::Warning, who, &what);
        Ok(())
    }

    /// Stops the daemon and ends the story.
    pub(super) async fn end(mut self) -> Result<()> {
        let status = self.daemon.status().await?;
        let metrics = &status["metrics"];
        let counts = format!(
            "{} challenges, {} answered, {} missed, {} lost",
            metrics["challenges"], metrics["heartbeats"], metrics["misses"], metrics["losses"]
        );
        self.tell(Voice::Good, "guestServer", &counts);
        anyhow::ensure!(metrics["losses"] == 1, "more than one guest was lost: {metrics}");
        let asked = Instant::now();
        let exit = self.daemon.stop(PATIENCE).await?;
        anyhow::ensure!(exit.success(), "guestServer ended with {exit}");
        let what = format!("stopped cleanly in {}", millis(asked.elapsed()));
        self.tell(Voice::Good, "guestServer", &what);
        println!("\nThe story went as told, in {:.1} s.", self.timeline.elapsed().as_secs_f64());
        Ok(())
    }
}
