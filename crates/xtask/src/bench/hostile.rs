//! Guests that flood, fragment or never read: what they do to the others and to the daemon.
//!
//! They live on a thread of their own and begin as normal guests, so that what they cost as guests
//! is not counted as harm. Nor is code that the daemon had not used before: the kernel maps it in
//! pieces of 64 KiB, from files, and can take it back.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use lab::guest::{Behaviour, Flood, Guest};
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::Setup;
use super::figure::{Figure, Unit, largest, quantile};
use super::lateness::Lateness;
use super::schedule::{Challenge, lateness};
use super::site::{PATIENCE, Site, guest};

const INTERVAL: Duration = Duration::from_secs(1);
const NORMAL: u16 = 20;
/// The number of the first hostile guest.
const FIRST_HOSTILE: u16 = 100;
/// Between the start of one normal guest and the next, so that there is always one to be delayed.
const APART: Duration = Duration::from_millis(47);

fn hostile() -> Vec<Behaviour> {
    let floods = [
        Flood::Responses,
        Flood::Inits,
        Flood::Garbage,
        Flood::Unsupported,
        Flood::ShortLines,
        Flood::EndlessLine,
    ];
    let mut all: Vec<Behaviour> = floods.map(Behaviour::flooding).into();
    all.extend([Behaviour::fragmenting(), Behaviour::stalled()]);
    all.into_iter().map(|one| Behaviour { remembers: 0, ..one }).collect()
}

/// The thread that the hostile guests live on; they go when it is dropped.
struct Den {
    guests: Vec<Guest>,
    _leave: oneshot::Sender<()>,
}

impl Den {
    async fn open(channels: PathBuf, count: u16) -> Result<Self> {
        let (leave, left) = oneshot::channel::<()>();
        let (tell, told) = oneshot::channel();
        let live = move || -> Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let numbers = FIRST_HOSTILE..FIRST_HOSTILE + count;
                let born = |number| guest(&channels, number, Behaviour::forgetful());
                let guests: Result<Vec<Guest>> = numbers.map(born).collect();
                // Whoever waits for them may have given up; then nobody waits for the end either.
                drop(tell.send(guests));
                drop(left.await);
            });
            Ok(())
        };
        std::thread::Builder::new().name("hostile".into()).spawn(live)?;
        Ok(Self { guests: told.await.context("the hostile guests' thread ended")??, _leave: leave })
    }
}

pub(super) async fn measure(setup: &Setup) -> Result<Vec<Figure>> {
    let host = Site::new()?.start(setup, &[]).await?;
    let channels = host.site.channels();
    let behaviour = Behaviour { times_challenges: true, ..Behaviour::forgetful() };
    let mut normal = Vec::new();
    for number in 0..NORMAL {
        normal.push(guest(&channels, number, behaviour.clone().every(INTERVAL))?);
        sleep(APART).await;
    }
    host.watch(&normal).await?;
    let kinds = hostile();
    let den = Den::open(channels, u16::try_from(kinds.len())?).await?;
    let heartbeating = |guest: &Guest| guest.counters().responses > 0;
    lab::wait::until("hostile guests heartbeat", PATIENCE, || den.guests.iter().all(heartbeating))
        .await?;

    let peace = Instant::now();
    sleep(setup.pick(Duration::from_secs(6), Duration::from_secs(4))).await;
    let before = host.metrics().await?;
    let (rss, anonymous) = (host.daemon.rss_kib()?, host.daemon.anonymous_kib()?);
    let own = Lateness::begin(setup)?;
    let (war, cpu) = (Instant::now(), host.daemon.cpu_time()?);
    for (guest, kind) in den.guests.iter().zip(kinds) {
        guest.set(kind).await?;
    }
    sleep(setup.pick(Duration::from_secs(15), Duration::from_secs(6))).await;
    let cpu = host.daemon.cpu_time()?.saturating_sub(cpu).as_secs_f64();
    let share = cpu / war.elapsed().as_secs_f64() * 100.0;
    let growth = |after: u64, before: u64| after as f64 - before as f64;
    let anonymous = growth(host.daemon.anonymous_kib()?, anonymous);
    let rss = growth(host.daemon.rss_kib()?, rss);
    let own = own.end().await?;
    let after = host.metrics().await?;
    drop(den);
    host.stop().await?;

    let challenges: Vec<Challenge> = normal.iter().flat_map(|guest| since(peace, guest)).collect();
    let (quiet, noisy): (Vec<Challenge>, Vec<Challenge>) =
        challenges.into_iter().partition(|challenge| challenge.at < war);
    let (excused, judged): (Vec<Challenge>, Vec<Challenge>) =
        noisy.iter().partition(|challenge| own.stalled(challenge.late, challenge.at));
    let late = |some: &[Challenge]| some.iter().map(|one| one.late).collect::<Vec<_>>();
    let judged = late(&judged);
    let delay = |what: &str, value| Figure::new(what, Unit::Millis, value);
    let count = |what: &str, count: u64| Figure::new(what, Unit::Count, count as f64);
    let mut figures = vec![
        delay("a normal guest's challenge is late by, p99", quantile(&judged, 0.99)).at_most(5.0),
        delay("a normal guest's challenge is late by, largest", largest(&judged)).at_most(5.0),
        delay("for comparison: largest before the attack", largest(&late(&quiet))),
        delay("for comparison: largest, the machine's stalls included", largest(&late(&noisy))),
        count("challenges left out for such a stall", u64::try_from(excused.len())?),
    ];
    figures.extend(own.figures());
    figures.extend([
        Figure::new("growth of the daemon's memory", Unit::Kib, anonymous).at_most(64.0).every(),
        Figure::new("for comparison: with the code that is used now", Unit::Kib, rss),
        Figure::new("CPU, share of a core", Unit::Percent, share),
        count("for comparison: floods held up", after.reads_put_off - before.reads_put_off),
        count("false misses", after.misses - before.misses).at_most(0.0).every(),
        count("false LOSS", after.losses - before.losses).at_most(0.0).every(),
    ]);
    Ok(figures)
}

fn since(from: Instant, guest: &Guest) -> Vec<Challenge> {
    let mut times = guest.challenge_times();
    times.retain(|&at| at >= from);
    lateness(&times, INTERVAL)
}
