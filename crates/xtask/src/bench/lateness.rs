//! How late the load and the machine themselves are, so that it is not taken for the daemon's doing.
//!
//! A thread wakes every 2 ms and notes how late. On the daemon's core that is what the machine does
//! to any process there: where we may, the thread goes before the daemon, and cannot be held up by
//! it. On the load's core it also sends the moment to a task of the load's runtime: what that task
//! sees is how late the guests read what was written to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::sync::mpsc;

use super::Setup;
use super::cores::is_before_others;
use super::figure::{Figure, Unit, largest, quantile};
use super::site::millis;

const PERIOD: Duration = Duration::from_millis(2);
/// Later than this, machine or load are said to have stalled.
const STALL: Duration = Duration::from_millis(1);
/// Moments that wait for the runtime: ten seconds of them.
const DEPTH: usize = 5000;

/// A moment that was planned, and by how much it was missed.
#[derive(Debug, Clone, Copy)]
struct Tick {
    planned: Instant,
    late: Duration,
}

impl Tick {
    fn now(planned: Instant) -> Self {
        Self { planned, late: planned.elapsed() }
    }
}

/// Both measurements, going on.
pub(super) struct Lateness {
    machine: Ticker,
    load: Ticker,
    seen: tokio::task::JoinHandle<Vec<Tick>>,
}

/// What was measured.
pub(super) struct Own {
    machine: Vec<Tick>,
    load: Vec<Tick>,
}

impl Lateness {
    /// Begins on the current runtime, the load's.
    pub(super) fn begin(setup: &Setup) -> Result<Self> {
        let machine = setup.cores.on_daemons(|| Ticker::start(None))??;
        let (sender, mut moments) = mpsc::channel::<Instant>(DEPTH);
        let load = Ticker::start(Some(sender))?;
        let seen = tokio::spawn(async move {
            let mut ticks = Vec::new();
            while let Some(planned) = moments.recv().await {
                ticks.push(Tick::now(planned));
            }
            ticks
        });
        Ok(Self { machine, load, seen })
    }

    /// Ends.
    pub(super) async fn end(self) -> Result<Own> {
        let machine = self.machine.stop()?;
        self.load.stop()?;
        Ok(Own { machine, load: self.seen.await? })
    }
}

impl Own {
    pub(super) fn figures(&self) -> Vec<Figure> {
        let load = late(&self.load);
        let figure = |what: &str, value| Figure::new(what, Unit::Millis, value);
        vec![
            figure("for comparison: the load's own lateness, p99", quantile(&load, 0.99)),
            figure("for comparison: the load's own lateness, largest", largest(&load)),
            self.machine(),
        ]
    }

    /// The machine's alone, for a load that does not live on a runtime.
    pub(super) fn machine(&self) -> Figure {
        let what = "for comparison: a bare timer on the daemon's core, largest";
        Figure::new(what, Unit::Millis, largest(&late(&self.machine)))
    }

    /// Whether machine or load stalled at some time in these milliseconds before `until`, so that
    /// what was late then need not be the daemon's doing.
    ///
    /// Never, where the daemon itself could have held up the thread that measures its core.
    pub(super) fn stalled(&self, before: f64, until: Instant) -> bool {
        let overlaps = |tick: &Tick| {
            let missed = tick.planned + tick.late;
            let since_missed = millis(until.saturating_duration_since(missed));
            tick.late > STALL && tick.planned <= until && since_missed <= before
        };
        is_before_others() && self.machine.iter().chain(&self.load).any(overlaps)
    }
}

fn late(ticks: &[Tick]) -> Vec<f64> {
    ticks.iter().map(|tick| millis(tick.late)).collect()
}

/// A thread that wakes again and again.
struct Ticker {
    ending: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Tick>>,
}

impl Ticker {
    fn start(runtime: Option<mpsc::Sender<Instant>>) -> Result<Self> {
        let ending = Arc::new(AtomicBool::new(false));
        let thread = std::thread::Builder::new().name("lateness".into()).spawn({
            let ending = Arc::clone(&ending);
            move || tick(&ending, runtime.as_ref())
        })?;
        Ok(Self { ending, thread })
    }

    fn stop(self) -> Result<Vec<Tick>> {
        self.ending.store(true, Ordering::Relaxed);
        self.thread.join().ok().context("the thread that measures lateness panicked")
    }
}

fn tick(ending: &AtomicBool, runtime: Option<&mpsc::Sender<Instant>>) -> Vec<Tick> {
    let mut ticks = Vec::new();
    let mut planned = Instant::now();
    while !ending.load(Ordering::Relaxed) {
        planned = (planned + PERIOD).max(Instant::now());
        std::thread::sleep(planned.saturating_duration_since(Instant::now()));
        match runtime {
            // A runtime that is ten seconds behind has made itself known by then.
            Some(runtime) => drop(runtime.try_send(planned)),
            None => ticks.push(Tick::now(planned)),
        }
    }
    ticks
}
