//! Real virtual machines on a host of the tests.
//!
//! A test takes its turn with [`on_host`], or with [`alone_on_host`] when it needs the whole computer. Whatever it
//! started ends with it, also when it fails; then its output says what the controller, guestServer and the guests'
//! kernels had to say.

use std::ffi::{OsStr, OsString};
use std::fmt::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use heartbeat_proto::InstanceId;
use heartbeat_proto::control::ServerEvent;
use lab::controller::Arrival;
use lab::daemon::{Daemon, binary};
use lab::vm::{Assets, Vm, VmConfig};
use lab::wait;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::host::{Host, Setup};
use crate::{SOON, golden, id};

/// The only machine of most tests.
pub const INSTANCE: InstanceId = id(1);

/// What each guest gives for its name.
pub const NAME: &str = "real";

/// The interval that the guests of most tests ask for, in milliseconds.
pub const INTERVAL_MS: u32 = 1000;

/// That of guests whose faults are not reported, for whom there is no threshold: a single challenge without an
/// answer stops them. It must be what the test does to the guest, not a turn of its processor that came late.
pub const LONG_INTERVAL_MS: u32 = 3000;

/// `hbs_failure_threshold`, so that a guest is lost after four to five intervals of silence.
///
/// The default of one is for machines with a processor of their own. These are emulated, several on two processors
/// that have more to do: one that does not get its turn for two seconds must not be taken for what the test did to
/// it. Where a test counts misses, it counts each, whatever the threshold.
pub const THRESHOLD: u64 = 3;

/// How long an event may take that a machine has to come up for, or a guest to grow tired of waiting. Only what goes
/// wrong takes that long.
pub const PATIENCE: Duration = Duration::from_secs(180);

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
/// Those of the test; there is nothing to start machines from; the daemon does not start, or
/// does not stop as it should.
pub async fn on_host(test: impl AsyncFnOnce(&mut Host) -> Result<()>) -> Result<()> {
    run(1, test).await
}

/// As [`on_host`], while no other test with machines runs.
///
/// # Errors
/// See [`on_host`].
pub async fn alone_on_host(test: impl AsyncFnOnce(&mut Host) -> Result<()>) -> Result<()> {
    run(AT_ONCE, test).await
}

async fn run(turns: u32, test: impl AsyncFnOnce(&mut Host) -> Result<()>) -> Result<()> {
    Assets::from_env()?;
    let _turn = TURNS.acquire_many(turns).await?;
    let ini = format!("[client]\nhbs_failure_threshold = {THRESHOLD}\n");
    let mut host = Setup::default().ini(&ini).args(&["--log-level", "debug"]).start().await?;
    let mut outcome = test(&mut host).await;
    if outcome.is_ok() {
        outcome = stop(&mut host).await;
    }
    if outcome.is_err() {
        // The test's output is shown when it fails.
        eprintln!("{}", account(&host));
    }
    outcome
}

async fn stop(host: &mut Host) -> Result<()> {
    let status = host.daemon.stop(SOON).await?;
    ensure!(status.success(), "guestServer ended with {status}");
    Ok(())
}

/// What everybody has to say about a test that failed.
fn account(host: &Host) -> String {
    let mut account = String::new();
    let mut tell = |who: &str, words: &str| {
        let lines: Vec<&str> = words.lines().filter(|line| !line.trim().is_empty()).collect();
        let last = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
        // Writing to a text cannot fail.
        let _ = writeln!(account, "---- {who}, the last of {} lines:\n{last}", lines.len());
    };
    let arrivals: Vec<_> = host.controller.arrivals().iter().map(ToString::to_string).collect();
    tell("what the controller received", &arrivals.join("\n"));
    tell("the log of guestServer", &host.daemon.stderr());
    for entry in std::fs::read_dir(host.home()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".serial") || name.ends_with(".messages") {
            let words = std::fs::read(entry.path()).unwrap_or_default();
            tell(&name, &String::from_utf8_lossy(&words));
        }
    }
    account
}

/// Starts a machine, whose Linux has yet to come up.
///
/// # Errors
///
/// QEMU does not start.
pub async fn boot(host: &Host, instance: InstanceId, interval_ms: u32) -> Result<Vm> {
    let config = VmConfig {
        channel_dir: host.channel_dir(),
        uuid: instance.to_string(),
        name: NAME.into(),
        interval_ms,
        workdir: host.home(),
    };
    Vm::start(&Assets::from_env()?, &config).await
}

/// Starts [`INSTANCE`], whose faults are reported, and waits until it is heartbeating.
///
/// # Errors
///
/// It does not come to that.
pub async fn running(host: &Host) -> Result<Vm> {
    host.controller.add_instance(INSTANCE, true)?;
    let vm = boot(host, INSTANCE, INTERVAL_MS).await?;
    expect(host, &["RUNNING"]).await?;
    Ok(vm)
}

/// Kills guestServer, waits for what is to happen meanwhile, and starts it again as it was, but for its run directory.
///
/// # Errors
///
/// It does not get ready, or what is to happen does not.
pub async fn restart_server(
    host: &mut Host,
    meanwhile: impl AsyncFnOnce() -> Result<()>,
) -> Result<()> {
    let line = std::fs::read(format!("/proc/{}/cmdline", host.daemon.pid()))?;
    // The first three are the program, `--run-dir` and its value, which the new one gets anew.
    let words = line.split(|&byte| byte == 0).filter(|word| !word.is_empty()).skip(3);
    let arguments: Vec<OsString> = words.map(|word| OsStr::from_bytes(word).to_owned()).collect();
    host.daemon.kill().await?;
    meanwhile().await?;
    host.daemon = Daemon::start(&binary("guestServer")?, arguments, &[])?;
    host.daemon.wait_ready(SOON).await?;
    let ready = |event: &ServerEvent| matches!(event, ServerEvent::MonitorReady);
    host.controller.wait_for("MONITOR_READY", SOON, ready).await.map(drop)
}

/// Waits for the next event of any instance, whatever it is.
///
/// # Errors
///
/// There is none, or what came is nothing that guestServer may say.
pub async fn next_event(host: &Host) -> Result<ServerEvent> {
    let other = |arrival: &Arrival| !matches!(arrival.event, Ok(ServerEvent::MonitorReady));
    let arrival = host.controller.wait_for_arrival("event", PATIENCE, other).await?;
    ensure!(arrival.hostname == golden::HOSTNAME, "not from {}: {arrival}", golden::HOSTNAME);
    arrival.event.map_err(|error| anyhow!("the controller cannot read an event: {error}"))
}

/// Waits until the next events are these, and no others come before or between.
///
/// # Errors
///
/// Another one comes, or none.
pub async fn expect(host: &Host, names: &[&str]) -> Result<()> {
    for name in names {
        let event = next_event(host).await.with_context(|| format!("{name} is expected"))?;
        ensure!(event.name() == *name, "{name} is expected, and {event:?} came");
    }
    Ok(())
}

/// What guestServer has counted since its start.
///
/// # Errors
///
/// It does not say.
pub async fn counted(host: &Host) -> Result<Counted> {
    Ok(Counted { before: None, after: host.daemon.status().await?["metrics"].take() })
}

/// Waits until the guests have answered so many more challenges, and returns all that was counted meanwhile.
///
/// # Errors
///
/// They do not.
pub async fn heartbeats(host: &Host, count: u64) -> Result<Counted> {
    let before = Some(counted(host).await?.after);
    wait::until_ok(&format!("{count} challenges are answered"), PATIENCE, async || {
        let meanwhile = Counted { before: before.clone(), ..counted(host).await? };
        let answered = meanwhile.of("heartbeats")?;
        if answered < count {
            sleep(LOOK).await;
            bail!("only {answered}");
        }
        Ok(meanwhile)
    })
    .await
}

/// What guestServer counted in some time.
#[derive(Debug)]
pub struct Counted {
    /// The counters at the beginning of that time; nothing if they were zero.
    before: Option<Value>,
    after: Value,
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("counted were:")?;
        for counter in self.after.as_object().into_iter().flatten().map(|(counter, _)| counter) {
            match self.of(counter) {
                Ok(0) => {}
                Ok(count) => write!(f, " {count} {counter}")?,
                Err(error) => write!(f, " {error}")?,
            }
        }
        Ok(())
    }
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
            ensure!(self.of(counter)? == 0, "{counter} should be none; {self}");
        }
        Ok(())
    }
}
