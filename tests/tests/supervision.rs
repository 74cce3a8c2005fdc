//! The watchdog, time that the daemon loses, and what it costs to do nothing.

use std::time::{Duration, Instant};

use anyhow::Result;
use end_to_end::host::{Host, Setup, all_beat, beats};
use end_to_end::{SOON, id};
use lab::guest::{Behaviour, Guest};
use lab::wait::until;

/// A watchdog that wants a sign of life every 100 ms.
fn watched() -> Setup {
    Setup::default().env("WATCHDOG_USEC", "200000")
}

fn pings(host: &Host) -> usize {
    host.daemon.notifications().iter().filter(|line| line.text == "WATCHDOG=1").count()
}

async fn pinged(host: &Host, count: usize) -> Result<()> {
    let wanted = pings(host) + count;
    until("the watchdog is pinged", SOON, || pings(host) >= wanted).await
}

#[tokio::test]
async fn the_watchdog_is_pinged_by_a_loop_that_turns_and_by_no_other() -> Result<()> {
    let host = watched().start().await?;
    let clock = watched().start().await?;
    pinged(&host, 5).await?;
    host.freeze().await?;
    // What was on its way has arrived when another one has pinged.
    pinged(&clock, 2).await?;
    let before = pings(&host);
    pinged(&clock, 6).await?;
    assert_eq!(pings(&host), before, "nobody is there to ping");
    host.thaw()?;
    pinged(&host, 3).await?;
    Ok(())
}

#[tokio::test]
async fn a_daemon_that_nobody_watches_does_not_ping() -> Result<()> {
    let host = Host::start().await?;
    // Meant for another process than ours.
    let wrapped = watched().env("WATCHDOG_PID", "1").start().await?;
    let clock = watched().start().await?;
    pinged(&clock, 5).await?;
    assert_eq!((pings(&host), pings(&wrapped)), (0, 0));
    Ok(())
}

/// A daemon that stands still for longer than any guest would be given.
#[tokio::test]
async fn time_that_the_daemon_lost_is_not_held_against_the_guests() -> Result<()> {
    let interval = Duration::from_millis(500);
    let normal = || Behaviour::normal().every(interval);
    let host = Host::start().await?;
    let mut guests = Vec::new();
    for n in 1..=5 {
        guests.push(host.running(id(n), normal(), true).await?);
    }
    let clock_host = Host::start().await?;
    let clock = clock_host.guest(id(9), normal())?;
    for _ in 0..2 {
        let late = host.metric("late_timers").await?;
        let misses = host.metric("misses").await?;
        host.freeze().await?;
        beats(&clock, 5).await?;
        host.thaw()?;
        all_beat(&guests, 2).await?;
        assert!(host.metric("late_timers").await? > late);
        assert_eq!(host.metric("misses").await?, misses, "it was not the guests");
    }
    let said = |line: &str| line.contains("not scheduled in time") && line.contains("late_ms=");
    host.daemon.wait_log("warning", SOON, said).await?;
    for n in 1..=5 {
        assert_eq!(host.told(id(n)), ["RUNNING"]);
    }
    // A guest that does fall silent is lost as ever.
    guests[0].freeze().await?;
    host.event("STOPPED", id(1)).await?;
    host.event("LOSS", id(1)).await?;
    Ok(())
}

/// Guests that answered, or died, while the daemon stood still: what had arrived counts, what had not does not.
#[tokio::test]
async fn a_guest_that_died_meanwhile_is_lost_afterwards() -> Result<()> {
    let interval = Duration::from_millis(500);
    let host = Host::start().await?;
    let dead = host.running(id(1), Behaviour::normal().every(interval), true).await?;
    let alive = host.running(id(2), Behaviour::normal().every(interval), true).await?;
    let clock_host = Host::start().await?;
    let clock: Guest = clock_host.guest(id(9), Behaviour::normal().every(interval))?;
    host.freeze().await?;
    dead.freeze().await?;
    beats(&clock, 5).await?;
    host.thaw()?;
    host.event("STOPPED", id(1)).await?;
    host.event("LOSS", id(1)).await?;
    beats(&alive, 1).await?;
    assert_eq!(host.told(id(2)), ["RUNNING"]);
    Ok(())
}

/// With no guests, nothing runs: a generous bound for what a bench measures exactly.
#[tokio::test]
async fn a_daemon_without_guests_sleeps() -> Result<()> {
    let host = Host::start().await?;
    host.controller.query()?;
    host.counted("datagrams_received", 1).await?;
    let (start, switches, time) =
        (Instant::now(), host.daemon.voluntary_ctxt_switches()?, host.daemon.cpu_time()?);
    let clock_host = Host::start().await?;
    let clock = clock_host.guest(id(1), Behaviour::normal())?;
    beats(&clock, 4).await?;
    let woken = host.daemon.voluntary_ctxt_switches()? - switches;
    let elapsed = start.elapsed();
    assert!(woken <= 10 * (elapsed.as_secs() + 1), "woken {woken} times in {elapsed:?}");
    let used = host.daemon.cpu_time()? - time;
    assert!(used < elapsed / 20, "{used:?} of {elapsed:?}");
    Ok(())
}
