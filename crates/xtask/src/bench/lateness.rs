//! How late the load and the machine themselves are, so that it is not taken for the daemon's doing.
//!
//! A thread wakes every 10 ms and notes how late. On the daemon's core that is what the machine does
//! to any process there. On the load's core it also sends the moment to a task of the load's
//! runtime: what that task sees is how late the guests read what was written to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::sync::mpsc;

use super::Setup;
use super::figure::{Figure, Unit, largest, quantile};
use super::site::millis;

const PERIOD: Duration = Duration::from_millis(10);
/// Moments that wait for the runtime: ten seconds of them.
const DEPTH: usize = 1000;

/// Both measurements, going on.
pub(super) struct Lateness {
    machine: Ticker,
    load: Ticker,
    seen: tokio::task::JoinHandle<Vec<f64>>,
}

impl Lateness {
    /// Begins on the current runtime, the load's.
    pub(super) fn begin(setup: &Setup) -> Result<Self> {
        let machine = setup.cores.on_daemons(|| Ticker::start(None))??;
        let (sender, mut moments) = mpsc::channel::<Instant>(DEPTH);
        let load = Ticker::start(Some(sender))?;
        let seen = tokio::spawn(async move {
            let mut late = Vec::new();
            while let Some(planned) = moments.recv().await {
                late.push(millis(planned.elapsed()));
            }
            late
        });
        Ok(Self { machine, load, seen })
    }

    /// Ends, and gives the figures.
    pub(super) async fn end(self) -> Result<Vec<Figure>> {
        let machine = self.machine.stop()?;
        self.load.stop()?;
        let load = self.seen.await?;
        let figure = |what: &str, value| Figure::new(what, Unit::Millis, value);
        Ok(vec![
            figure("for comparison: the load's own lateness, p99", quantile(&load, 0.99)),
            figure("for comparison: the load's own lateness, largest", largest(&load)),
            figure("for comparison: a bare timer on the daemon's core, largest", largest(&machine)),
        ])
    }
}

/// A thread that wakes again and again.
struct Ticker {
    ending: Arc<AtomicBool>,
    thread: JoinHandle<Vec<f64>>,
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

    fn stop(self) -> Result<Vec<f64>> {
        self.ending.store(true, Ordering::Relaxed);
        self.thread.join().ok().context("the thread that measures lateness panicked")
    }
}

fn tick(ending: &AtomicBool, runtime: Option<&mpsc::Sender<Instant>>) -> Vec<f64> {
    let mut late = Vec::new();
    let mut planned = Instant::now();
    while !ending.load(Ordering::Relaxed) {
        planned = (planned + PERIOD).max(Instant::now());
        std::thread::sleep(planned.saturating_duration_since(Instant::now()));
        match runtime {
            // A runtime that is ten seconds behind has made itself known by then.
            Some(runtime) => drop(runtime.try_send(planned)),
            None => late.push(millis(planned.elapsed())),
        }
    }
    late
}
