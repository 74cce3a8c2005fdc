//! A compute host for the tests with real virtual machines: guestServer, the controller that it reports to, and the
//! directory in which QEMU makes the channels.
//!
//! A test takes its turn with [`on_host`], or with [`alone_on_host`] when it needs the whole computer. Whatever it
//! started ends with it, also when it fails; then the error says what guestServer, the controller and the guests'
//! kernels had to say.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use heartbeat_proto::InstanceId;
use heartbeat_proto::control::ServerEvent;
use lab::controller::{Arrival, Controller};
use lab::daemon::{Daemon, binary};
use lab::vm::{Assets, Vm, VmConfig};
use lab::wait;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::SOON;

/// The only machine of most tests.
pub const INSTANCE: InstanceId = InstanceId::from_u128(0x8d80_875b_fa73_4ccb_bce3_1cd4_df10_4400);

/// The interval that the guests of most tests ask for, in milliseconds.
pub const INTERVAL_MS: u32 = 1000;

/// `hbs_failure_threshold`, so that a guest is lost after four to five intervals of silence.
///
/// The default of one is for machines with a processor of their own. These are emulated, several on two processors
/// that have more to do: one that does not get its turn for two seconds must not be taken for what the test did to
/// it. Where a test counts misses, it counts each, whatever the threshold.
pub const THRESHOLD: u64 = 3;

/// How long an event may take that a machine has to come up for, or to grow tired of waiting. Only what goes wrong
/// takes that long.
pub const PATIENCE: Duration = Duration::from_secs(100);

/// The name that guestServer is given for its host.
const HOSTNAME: &str = "compute-1";

/// Tests that run at once. Each keeps a processor busy while its machine comes up.
const AT_ONCE: u32 = 2;

static TURNS: Semaphore = Semaphore::const_new(AT_ONCE as usize);

/// How often the counters are looked at. They are asked for over a socket: more often would be work for the daemon.
const LOOK: Duration = Duration::from_millis(50);

/// Lines of each log in an error.
const LOG_LINES: usize = 60;

/// Runs a test on a host of its own, when it is its turn.
///
/// # Errors
///
/// Those of the test, with what the daemon, the controller and the guests saw; nothing to start machines from; the
/// daemon does not stop as it should.
pub async fn on_host(test: impl AsyncFnOnce(&mut Host) -> Result<()>) -> Result<()> {
    run(1, test).await
}

/// As [`on_host`], while no other test runs.
///
/// # Errors
/// See [`on_host`].
pub async fn alone_on_host(test: impl AsyncFnOnce(&mut Host) -> Result<()>) -> Result<()> {
    run(AT_ONCE, test).await
}

async fn run(turns: u32, test: impl AsyncFnOnce(&mut Host) -> Result<()>) -> Result<()> {
    let _turn = TURNS.acquire_many(turns).await?;
    let mut host = Host::new()?;
    let mut outcome = test(&mut host).await;
    if outcome.is_ok() {
        outcome = host.stop_server().await;
    }
    outcome.map_err(|error| anyhow!("{error:?}\n\n{}", host.account()))
}

/// A compute host; its machines belong to the test.
#[derive(Debug)]
pub struct Host {
    assets: Assets,
    controller: Controller,
    server: Option<Daemon>,
    dir: TempDir,
}

impl Host {
    fn new() -> Result<Self> {
        let assets = Assets::from_env()?;
        let controller = Controller::bind(IpAddr::V4(Ipv4Addr::LOCALHOST))?;
        // A short path: the names of sockets have to fit behind it.
        let dir = TempDir::with_prefix("vm-")?;
        let host = Self { assets, controller, server: None, dir };
        std::fs::create_dir(host.channel_dir())?;
        std::fs::write(host.config(), format!("[client]\nhbs_failure_threshold = {THRESHOLD}\n"))?;
        Ok(host)
    }

    /// Starts guestServer, and waits until the controller has heard of it.
    ///
    /// # Errors
    ///
    /// It does not start.
    pub async fn start_server(&mut self) -> Result<()> {
        let server = Daemon::start(&binary("guestServer")?, self.arguments(), &[])?;
        self.wait_server(server).await
    }

    /// Kills guestServer and starts it again, as its supervisor does.
    ///
    /// # Errors
    ///
    /// It does not start again.
    pub async fn restart_server(&mut self) -> Result<()> {
        let run_dir = self.server.take().context("no guestServer")?.into_dir().await?;
        let server = Daemon::start_in(run_dir, &binary("guestServer")?, self.arguments(), &[])?;
        self.wait_server(server).await
    }

    async fn wait_server(&mut self, server: Daemon) -> Result<()> {
        self.server.insert(server).wait_ready(SOON).await?;
        let ready = |event: &ServerEvent| matches!(event, ServerEvent::MonitorReady);
        self.controller.wait_for("MONITOR_READY", SOON, ready).await.map(drop)
    }

    async fn stop_server(&mut self) -> Result<()> {
        let server = self.server.as_mut().context("no guestServer")?;
        let status = server.stop(SOON).await?;
        ensure!(status.success(), "guestServer ended with {status}");
        Ok(())
    }

    fn arguments(&self) -> Vec<String> {
        let mut arguments: Vec<String> = ["--bind", "127.0.0.1", "--server-port", "0"]
            .into_iter()
            .chain(["--controller", "127.0.0.1", "--hostname", HOSTNAME, "--log-level", "debug"])
            .map(str::to_owned)
            .collect();
        let mut add = |option: &str, value: String| arguments.extend([option.to_owned(), value]);
        add("--agent-port", self.controller.port().to_string());
        add("--channel-dir", self.channel_dir().display().to_string());
        add("--config", self.config().display().to_string());
        arguments
    }

    fn channel_dir(&self) -> PathBuf {
        self.dir.path().join("channels")
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("guestServer.ini")
    }

    /// The controller that guestServer reports to.
    #[must_use]
    pub fn controller(&self) -> &Controller {
        &self.controller
    }

    /// Starts a machine, whose Linux has yet to come up.
    ///
    /// # Errors
    ///
    /// QEMU does not start.
    pub async fn boot(&self, instance: InstanceId, interval_ms: u32) -> Result<Vm> {
        let config = VmConfig {
            channel_dir: self.channel_dir(),
            uuid: instance.to_string(),
            name: "real".into(),
            interval_ms,
            workdir: self.dir.path().to_owned(),
        };
        Vm::start(&self.assets, &config).await
    }

    /// What most tests begin with: guestServer, and [`INSTANCE`] heartbeating with its faults reported.
    ///
    /// # Errors
    ///
    /// It does not come to that.
    pub async fn heartbeating_machine(&mut self) -> Result<Vm> {
        self.start_server().await?;
        self.controller.add_instance(INSTANCE, true)?;
        let vm = self.boot(INSTANCE, INTERVAL_MS).await?;
        self.expect(&["RUNNING"]).await?;
        Ok(vm)
    }

    /// Waits for the next event of an instance, whatever it is.
    ///
    /// # Errors
    ///
    /// There is none, or what came instead is nothing that guestServer may say.
    pub async fn next_event(&self) -> Result<ServerEvent> {
        let other = |arrival: &Arrival| !matches!(arrival.event, Ok(ServerEvent::MonitorReady));
        let arrival = self.controller.wait_for_arrival("event", PATIENCE, other).await?;
        ensure!(arrival.hostname == HOSTNAME, "not from {HOSTNAME}: {arrival}");
        arrival.event.map_err(|error| anyhow!("the controller cannot read an event: {error}"))
    }

    /// Waits until the next events are these, and no others come before or between.
    ///
    /// # Errors
    ///
    /// Another one comes, or none.
    pub async fn expect(&self, names: &[&str]) -> Result<()> {
        for name in names {
            let event = self.next_event().await.with_context(|| format!("{name} is expected"))?;
            ensure!(event.name() == *name, "{name} is expected, and {event:?} came");
        }
        Ok(())
    }

    /// What guestServer says of itself.
    ///
    /// # Errors
    ///
    /// It says nothing.
    pub async fn status(&self) -> Result<Value> {
        self.server.as_ref().context("no guestServer")?.status().await
    }

    /// What guestServer has counted since its start.
    ///
    /// # Errors
    ///
    /// It does not say.
    pub async fn counted(&self) -> Result<Counted> {
        Ok(Counted { before: None, after: self.status().await?["metrics"].take() })
    }

    /// Waits until guestServer has counted so many of something since its start, and returns all that it counted.
    ///
    /// # Errors
    ///
    /// It does not.
    pub async fn until_counted(&self, counter: &str, count: u64) -> Result<Counted> {
        self.until_counted_since(None, counter, count).await
    }

    /// As [`Host::until_counted`], from now on.
    ///
    /// # Errors
    /// See [`Host::until_counted`].
    pub async fn until_counted_anew(&self, counter: &str, count: u64) -> Result<Counted> {
        let before = self.counted().await?.after;
        self.until_counted_since(Some(before), counter, count).await
    }

    async fn until_counted_since(
        &self,
        before: Option<Value>,
        counter: &str,
        count: u64,
    ) -> Result<Counted> {
        wait::until_ok(&format!("{count} {counter} are counted"), PATIENCE, async || {
            let counted = Counted { before: before.clone(), ..self.counted().await? };
            let so_far = counted.of(counter)?;
            if so_far < count {
                sleep(LOOK).await;
                bail!("only {so_far}");
            }
            Ok(counted)
        })
        .await
    }

    /// What everybody has to say about a test that failed.
    fn account(&self) -> String {
        let mut account = String::new();
        let mut tell = |who: &str, words: &str| {
            let lines: Vec<&str> = words.lines().filter(|line| !line.trim().is_empty()).collect();
            let last = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
            // Writing to a text cannot fail.
            let _ = writeln!(account, "---- {who}, the last of {} lines:\n{last}", lines.len());
        };
        let arrivals: Vec<String> =
            self.controller.arrivals().iter().map(ToString::to_string).collect();
        tell("what the controller received", &arrivals.join("\n"));
        if let Some(server) = &self.server {
            tell("the log of guestServer", &server.stderr());
        }
        for entry in std::fs::read_dir(self.dir.path()).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".serial") || name.ends_with(".messages") {
                let words = std::fs::read(entry.path()).unwrap_or_default();
                tell(&name, &String::from_utf8_lossy(&words));
            }
        }
        account
    }
}

/// What guestServer counted in some time.
#[derive(Debug)]
pub struct Counted {
    /// The counters at the beginning of that time; nothing if they were zero.
    before: Option<Value>,
    after: Value,
}

impl Counted {
    /// How many of this.
    ///
    /// # Errors
    ///
    /// There is no such counter.
    pub fn of(&self, counter: &str) -> Result<u64> {
        let of = |all: &Value| all[counter].as_u64().with_context(|| format!("no {counter}"));
        Ok(of(&self.after)? - self.before.as_ref().map_or(Ok(0), of)?)
    }

    /// Makes sure that there were none of these.
    ///
    /// # Errors
    ///
    /// There were some.
    pub fn ensure_none(&self, counters: &[&str]) -> Result<()> {
        for counter in counters {
            let count = self.of(counter)?;
            ensure!(count == 0, "{count} {counter} were counted");
        }
        Ok(())
    }
}
