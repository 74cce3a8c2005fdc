//! Many guests that heartbeat: from the start of the daemon to its end.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use lab::guest::{Behaviour, Guest};
use tokio::time::sleep;

use super::Setup;
use super::figure::{Figure, Unit, largest, median, quantile};
use super::lateness::Lateness;
use super::schedule::{self, lateness};
use super::site::{Host, Metrics, Site, millis};

const INTERVAL: Duration = Duration::from_secs(1);
/// From the last guest that heartbeats to the beginning of the measurement.
const SETTLE: Duration = Duration::from_secs(2);

/// What is known at one moment.
struct Moment {
    at: Instant,
    cpu: Duration,
    heartbeats: u64,
}

impl Moment {
    fn now(host: &Host, guests: &[Guest]) -> Result<Self> {
        let cpu = host.daemon.cpu_time()?;
        let heartbeats = guests.iter().map(|guest| guest.counters().responses).sum();
        Ok(Self { at: Instant::now(), cpu, heartbeats })
    }
}

pub(super) async fn measure(setup: &Setup, count: u16) -> Result<Vec<Figure>> {
    let site = Site::new()?;
    let behaviour = Behaviour { times_challenges: true, ..Behaviour::forgetful() }.every(INTERVAL);
    let guests = site.guests(0..count, &behaviour)?;
    let host = site.start(setup, &[]).await?;
    let ready = millis(host.ready);
    host.watch(&guests).await?;
    let connected = all_connected(&host, &guests);
    sleep(SETTLE).await;

    let before = host.metrics().await?;
    let own = Lateness::begin(setup)?;
    let begin = Moment::now(&host, &guests)?;
    sleep(setup.pick(Duration::from_secs(30), Duration::from_secs(10))).await;
    let end = Moment::now(&host, &guests)?;
    let own = own.end().await?;
    let rss = host.rss_mib()?;
    let after = host.metrics().await?;
    let stop = millis(host.stop().await?);

    let mut figures = faults(before, after);
    figures.extend(challenges(&guests, begin.at)?);
    figures.extend(own.figures());
    figures.extend(cost(&begin, &end, rss, count));
    figures.extend([
        Figure::new("start to READY=1, the sockets being there", Unit::Millis, ready)
            .at_most(500.0),
        Figure::new("start to all connected", Unit::Millis, millis(connected)),
        Figure::new("clean stop", Unit::Millis, stop).at_most(1000.0).every(),
    ]);
    Ok(figures)
}

/// From the daemon's start to the last connection.
fn all_connected(host: &Host, guests: &[Guest]) -> Duration {
    let at = |guest: &Guest| Some(guest.bound_at() + guest.connect_delay()?);
    let last = guests.iter().filter_map(at).max().unwrap_or(host.started);
    last.saturating_duration_since(host.started)
}

fn faults(before: Metrics, after: Metrics) -> Vec<Figure> {
    let none =
        |what: &str, count: u64| Figure::new(what, Unit::Count, count as f64).at_most(0.0).every();
    vec![
        none("false misses", after.misses - before.misses),
        none("false LOSS", after.losses - before.losses),
    ]
}

/// How punctual the challenges were that came after `from`.
fn challenges(guests: &[Guest], from: Instant) -> Result<Vec<Figure>> {
    let mut late = Vec::new();
    let mut periods = Vec::new();
    for guest in guests {
        let mut times = guest.challenge_times();
        times.retain(|&at| at >= from);
        late.extend(lateness(&times, INTERVAL).iter().map(|challenge| challenge.late));
        let period = schedule::period(&times);
        periods.push(period.with_context(|| format!("{} was not challenged", guest.instance()))?);
    }
    let lateness =
        |what: &str, value| Figure::new(format!("challenge lateness, {what}"), Unit::Millis, value);
    Ok(vec![
        lateness("median", median(&late)),
        lateness("p99", quantile(&late, 0.99)).at_most(20.0),
        lateness("largest", largest(&late)).at_most(20.0),
        Figure::new("real period for 1000 ms, median", Unit::Millis, median(&periods))
            .baseline("1020 ms"),
    ])
}

fn cost(begin: &Moment, end: &Moment, rss: f64, guests: u16) -> Vec<Figure> {
    let cpu = end.cpu.saturating_sub(begin.cpu).as_secs_f64();
    let heartbeats = (end.heartbeats - begin.heartbeats).max(1);
    let wall = end.at.duration_since(begin.at).as_secs_f64();
    let mut per_heartbeat = Figure::new(
        "CPU per heartbeat, user + system",
        Unit::Micros,
        cpu * 1e6 / heartbeats as f64,
    )
    .at_most(20.0);
    let mut memory = Figure::new("resident memory", Unit::Mib, rss)
        .at_most(12.0 + 4.0 * f64::from(guests) / 1024.0);
    if guests == 100 {
        per_heartbeat = per_heartbeat.baseline("69 µs");
        memory = memory.baseline("7.2 MiB");
    }
    vec![
        per_heartbeat,
        Figure::new("CPU, share of a core", Unit::Percent, cpu / wall * 100.0),
        memory,
    ]
}
