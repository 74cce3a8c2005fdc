//! Who runs where, and before whom: the daemon on one core, the load on another, where there are
//! two, and both before whatever else the machine does, where we may: that is not to be measured.

use std::fmt;
use std::num::NonZero;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Real-time priorities: what measures the machine goes before the daemon.
const LOAD_PRIORITY: &str = "2";
const DAEMON_PRIORITY: &str = "1";

/// The thread that asks.
const THIS_THREAD: Pid = Pid::from_raw(0);

/// The core of the daemon and that of the load; none where there is only one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cores(Option<Pair>);

#[derive(Debug, Clone, Copy)]
struct Pair {
    daemon: usize,
    load: usize,
}

impl Cores {
    /// Takes the first and the last core that this process may use, and moves this thread, and with
    /// it all that it starts, to the last one.
    pub(super) fn split() -> Result<Self> {
        let allowed = sched_getaffinity(THIS_THREAD)?;
        let mut usable = (0..CpuSet::count()).filter(|&cpu| allowed.is_set(cpu).unwrap_or(false));
        let pair =
            usable.next().zip(usable.next_back()).map(|(daemon, load)| Pair { daemon, load });
        if let Some(pair) = pair {
            pin(pair.load)?;
        }
        Ok(Self(pair))
    }

    /// Does something on the daemon's core; what is started there stays there.
    pub(super) fn on_daemons<T>(self, start: impl FnOnce() -> T) -> Result<T> {
        let Some(pair) = self.0 else { return Ok(start()) };
        pin(pair.daemon)?;
        let started = start();
        pin(pair.load)?;
        Ok(started)
    }
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(Pair { daemon, load }) => {
                write!(f, "the daemon on core {daemon}, the load on {load}")
            }
            None => write!(f, "one core only, shared by the daemon and its load"),
        }
    }
}

fn pin(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(THIS_THREAD, &set).with_context(|| format!("cannot move to core {cpu}"))
}

/// A command that runs `program`, and all that it starts, before everything with an ordinary
/// priority; as everything else, where that is not allowed, or where daemon and load share a core
/// and would only be in each other's way.
pub(super) fn before_others(program: &Path) -> Command {
    let chrt = || {
        let mut chrt = Command::new("chrt");
        chrt.args(["--rr", LOAD_PRIORITY]);
        chrt
    };
    let allowed = chrt().arg("true").stderr(Stdio::null()).status();
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    if cores > 1 && allowed.is_ok_and(|status| status.success()) {
        let mut command = chrt();
        command.arg(program);
        return command;
    }
    Command::new(program)
}

/// Where this process runs [before others](before_others), the daemon comes right after it.
pub(super) fn put_after_load(daemon: i32) -> Result<()> {
    if is_before_others() {
        let mut chrt = Command::new("chrt");
        chrt.args(["--rr", "--pid", DAEMON_PRIORITY, &daemon.to_string()]);
        let status = chrt.status().context("cannot run chrt")?;
        ensure!(status.success(), "chrt: {status}");
    }
    Ok(())
}

/// Moves this thread, and with it all that it starts, behind those that run
/// [before others](before_others), where this one does too.
pub(super) fn come_after_others() -> Result<()> {
    if is_before_others() {
        let mut chrt = Command::new("chrt");
        chrt.args(["--other", "--pid", "0", &nix::unistd::gettid().to_string()]);
        let status = chrt.status().context("cannot run chrt")?;
        ensure!(status.success(), "chrt: {status}");
    }
    Ok(())
}

/// Whether this process runs [before others](before_others).
pub(super) fn is_before_others() -> bool {
    /// The real-time priority among the fields after the name, which ends with the last bracket.
    const RT_PRIORITY: usize = 37;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let priority =
        stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(RT_PRIORITY));
    priority.is_some_and(|priority| priority != "0")
}
