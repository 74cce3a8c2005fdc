//! What every story needs: a compute host and a controller, with everything that belongs to them, on
//! loopback addresses and in a temporary directory.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use heartbeat_proto::{HostId, InstanceId};
use lab::daemon::Daemon;
use lab::maintenance::MtcAgent;
use lab::vim::{Commander, Vim, VimRequest};
use tempfile::TempDir;

use super::Binaries;
use super::timeline::{Timeline, Voice, millis};

/// How long anything may take before the story is given up.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// How long a machine may take to boot or reset under software emulation.
pub(super) const BOOT: Duration = Duration::from_secs(90);

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The name of the compute host.
const HOSTNAME: &str = "compute-0";

/// The scene of a story. Everything in it ends with it.
pub(super) struct Stage {
    pub(super) dir: TempDir,
    pub(super) timeline: Timeline,
    pub(super) vim: Vim,
    commander: Commander,
    server: Daemon,
    agent: Daemon,
    /// The binary of guestServer, which also asks the running one.
    server_binary: PathBuf,
    host: HostId,
    _mtc: MtcAgent,
}

impl Stage {
    /// Starts both daemons, with a VIM and an mtcAgent around them.
    pub(super) async fn set(binaries: &Binaries, title: &str) -> Result<Self> {
        let dir = TempDir::with_prefix("heartbeat-demo-")?;
        let channels = dir.path().join("channels");
        std::fs::create_dir(&channels)?;
        let timeline = Timeline::begin(title);
        let host = HostId::from_u128(0xc0);
        let vim = Vim::start(LOCALHOST)?;
        vim.set_host(host, HOSTNAME, false);
        let mtc = MtcAgent::start(LOCALHOST)?;
        mtc.add_host(host, HOSTNAME, "127.0.0.1")?;
        // The daemons have to know each other's port before they start.
        let server_port = UdpSocket::bind((LOCALHOST, 0))?.local_addr()?.port().to_string();

        let mtc_port = mtc.port().to_string();
        let mut agent = Daemon::start(
            &binaries.agent,
            [
                "--bind",
                "127.0.0.1",
                "--agent-port",
                "0",
                "--server-port",
                &server_port,
                "--listen",
                "127.0.0.1:0",
                "--vim",
                &vim.url(),
                "--mtc",
                "127.0.0.1",
                "--mtc-event-port",
                &mtc_port,
                "--mtc-command-port",
                "0",
                "--floating-ip",
                "127.0.0.1",
                "--hostname",
                "controller-0",
                "--log-format",
                "json",
            ],
            &[],
        )?;
        let ready = agent.wait_ready(PATIENCE).await?;
        timeline.tell(Voice::Good, "guestAgent", &format!("ready after {}", millis(ready)));
        let status = agent.status().await?;
        let port = |key: &str| {
            let address = status[key].as_str().and_then(|address| address.rsplit(':').next());
            address.map(str::to_owned).with_context(|| format!("no {key} in {status}"))
        };
        let commander = Commander::new(format!("127.0.0.1:{}", port("http")?).parse()?);
        mtc.wait_asked(PATIENCE).await?;
        agent.wait_log("host added", PATIENCE, |line| line.contains("host added")).await?;
        timeline.tell(Voice::Hand, "mtcAgent", "tells guestAgent of host compute-0: ADD_HOST");

        let channels = channels.to_string_lossy();
        let mut server = Daemon::start(
            &binaries.server,
            [
                "--bind",
                "127.0.0.1",
                "--server-port",
                &server_port,
                "--agent-port",
                &port("address")?,
                "--controller",
                "127.0.0.1",
                "--hostname",
                HOSTNAME,
                "--channel-dir",
                &channels,
                "--log-format",
                "json",
            ],
            &[],
        )?;
        let ready = server.wait_ready(PATIENCE).await?;
        timeline.tell(Voice::Good, "guestServer", &format!("ready after {}", millis(ready)));
        agent.wait_log("MONITOR_READY", PATIENCE, |line| line.contains("is ready")).await?;
        timeline.tell(Voice::Good, "guestServer", "has told guestAgent: MONITOR_READY");
        let server_binary = binaries.server.clone();
        Ok(Self { dir, timeline, vim, commander, server, agent, server_binary, host, _mtc: mtc })
    }

    pub(super) fn tell(&self, voice: Voice, who: &str, what: &str) {
        self.timeline.tell(voice, who, what);
    }

    pub(super) fn channels(&self) -> PathBuf {
        self.dir.path().join("channels")
    }

    /// Waits until guestServer has logged this of the guest.
    pub(super) async fn logged(&self, instance: InstanceId, what: &str) -> Result<()> {
        let instance = instance.to_string();
        let wanted = |line: &str| line.contains(what) && line.contains(&instance);
        self.server.wait_log(what, PATIENCE, wanted).await?;
        Ok(())
    }

    /// The VIM creates instances and switches their reporting on, over HTTP.
    pub(super) async fn create(&self, guests: &[(&str, InstanceId)]) -> Result<()> {
        for (_, instance) in guests {
            self.commander.add_instance(*instance, HOSTNAME).await?;
        }
        self.commander.switch_host(self.host, HOSTNAME, true).await?;
        for (_, instance) in guests {
            let answer = self.commander.switch_instance(*instance, HOSTNAME, true).await?;
            ensure!(answer["services"][0]["state"] == "enabled", "not enabled: {answer}");
        }
        self.tell(Voice::Hand, "VIM", "creates the instances and wants to hear of failures (HTTP)");
        Ok(())
    }

    async fn at_vim(
        &self,
        what: &str,
        patience: Duration,
        instance: InstanceId,
        wanted: impl Fn(&VimRequest) -> bool,
    ) -> Result<VimRequest> {
        let instance = instance.to_string();
        let wanted = |request: &VimRequest| request.instance() == instance && wanted(request);
        self.vim.wait_for(what, patience, wanted).await.with_context(|| {
            format!("guestAgent:\n{}\nguestServer:\n{}", self.agent.stderr(), self.server.stderr())
        })
    }

    /// Waits until the VIM knows that the guest is heartbeating.
    pub(super) async fn heartbeating(
        &self,
        who: &str,
        instance: InstanceId,
        patience: Duration,
        how: &str,
    ) -> Result<()> {
        let running = |request: &VimRequest| request.service()["status"] == "enabled";
        let request = self.at_vim("heartbeating", patience, instance, running).await?;
        self.timeline.tell_at(request.at, Voice::Good, who, &format!("{how}: the VIM knows"));
        Ok(())
    }

    /// A guest has just fallen silent: it misses a challenge, then another one.
    pub(super) async fn misses(&self, who: &str, instance: InstanceId) -> Result<()> {
        self.logged(instance, "heartbeat missed").await?;
        self.tell(Voice::Warning, who, "misses a challenge; it gets another one");
        self.logged(instance, "heartbeat lost").await?;
        self.tell(Voice::Bad, who, "is given up: guestServer sends STOPPED and LOSS");
        Ok(())
    }

    /// Waits until the VIM has the alarm of a guest that fell silent at `since`.
    pub(super) async fn alarm(
        &self,
        who: &str,
        instance: InstanceId,
        since: Instant,
    ) -> Result<()> {
        let failed = |request: &VimRequest| request.service()["state"] == "failed";
        let request = self.at_vim("the alarm", PATIENCE, instance, failed).await?;
        let after = millis(request.at.saturating_duration_since(since));
        let action = request.service()["repair-action"].clone();
        let what = format!("ALARM at the VIM, {after} after its end; repair action: {action}");
        self.timeline.tell_at(request.at, Voice::Bad, who, &what);
        Ok(())
    }

    /// The VIM asks whether the guest may be rebooted; the guest says no.
    pub(super) async fn rejected(&self, who: &str, instance: InstanceId, why: &str) -> Result<()> {
        let answer = self.commander.vote(instance, HOSTNAME, "reboot").await?;
        let what = format!(
            "may {who} be rebooted? (HTTP; it has {} s)",
            answer["timeout"].as_str().unwrap_or("?")
        );
        self.tell(Voice::Hand, "VIM", &what);
        let voted = |request: &VimRequest| request.event_type() == "action";
        let request = self.at_vim("the vote", PATIENCE, instance, voted).await?;
        let data = &request.json()["event-data"];
        ensure!(data["guest-response"] == "reject" && data["reason"] == why, "voted {data}");
        let what = format!("rejects: \"{why}\"; the VIM knows");
        self.timeline.tell_at(request.at, Voice::Warning, who, &what);
        Ok(())
    }

    /// What an operator sees, who asks the daemon on the command line.
    fn status(&self) -> Result<()> {
        let mut ask = Command::new(&self.server_binary);
        let output = ask.arg("status").arg("--run-dir").arg(self.server.run_dir()).output()?;
        ensure!(output.status.success(), "guestServer status: {output:?}");
        println!(
            "
$ guestServer status\n{}",
            String::from_utf8(output.stdout)?
        );
        Ok(())
    }

    /// Stops the daemons and ends the story, in which so many guests were lost.
    pub(super) async fn end(mut self, losses: u64) -> Result<()> {
        let server = self.server.status().await?;
        let metrics = &server["metrics"];
        let counts = format!(
            "challenges: {}, answered: {}, missed: {}; guests lost: {}",
            metrics["challenges"], metrics["heartbeats"], metrics["misses"], metrics["losses"]
        );
        self.tell(Voice::Good, "guestServer", &counts);
        ensure!(metrics["losses"] == losses, "not {losses} guests were lost: {metrics}");
        let agent = self.agent.status().await?;
        let metrics = &agent["metrics"];
        let counts = format!(
            "alarms: {}; events delivered to the VIM: {}, waiting: {}",
            metrics["alarms"], metrics["events_delivered"], agent["outbox"]["events"]
        );
        self.tell(Voice::Good, "guestAgent", &counts);
        ensure!(metrics["alarms"] == losses, "not {losses} alarms: {metrics}");
        self.status()?;
        let asked = Instant::now();
        for daemon in [&mut self.server, &mut self.agent] {
            let exit = daemon.stop(PATIENCE).await?;
            ensure!(exit.success(), "a daemon ended with {exit}");
        }
        let what = format!("stopped cleanly in {}", millis(asked.elapsed()));
        self.tell(Voice::Good, "both", &what);
        println!("\nThe story went as told, in {:.1} s.", self.timeline.elapsed().as_secs_f64());
        Ok(())
    }
}
