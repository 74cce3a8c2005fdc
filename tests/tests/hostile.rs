//! Guests that mean harm, beside guests that do not (the issue, "It must show").

use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use end_to_end::host::{Host, all_beat, beats};
use end_to_end::raw::{self, RawChannel};
use end_to_end::{SOON, id};
use heartbeat_proto::guest::{EventType, HostMessage};
use lab::guest::{Behaviour, Flood, Guest, What};
use lab::wait::until;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// Everything that a lab guest can do to a host.
fn hostile(n: u128) -> Behaviour {
    match n % 9 {
        0 => Behaviour::flooding(Flood::Responses),
        1 => Behaviour::flooding(Flood::Inits),
        2 => Behaviour::flooding(Flood::Garbage),
        3 => Behaviour::flooding(Flood::Unsupported),
        4 => Behaviour::flooding(Flood::EndlessLine),
        5 => Behaviour { reads: false, ..Behaviour::flooding(Flood::Unsupported) },
        6 => Behaviour { reads: false, ..Behaviour::flooding(Flood::Inits) },
        7 => Behaviour::flooding(Flood::ShortLines),
        _ => Behaviour::fragmenting(),
    }
}

/// Hostile guests with a thread of their own, so that they take no time from the others.
struct Gang {
    thread: Option<std::thread::JoinHandle<()>>,
    end: Option<oneshot::Sender<()>>,
}

impl Gang {
    fn start(dir: &Path, guests: RangeInclusive<u128>) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let start = |n| {
            let _guard = runtime.enter();
            Guest::start(dir, id(n), Behaviour { remembers: 0, ..hostile(n) })
        };
        let guests = guests.map(start).collect::<Result<Vec<_>>>()?;
        let (end, ended) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let _ = runtime.block_on(ended);
            drop(guests);
        });
        Ok(Self { thread: Some(thread), end: Some(end) })
    }
}

impl Drop for Gang {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[tokio::test]
async fn fifty_hostile_guests_cost_twenty_normal_ones_nothing() -> Result<()> {
    const NORMAL: u128 = 20;
    const HOSTILE: u128 = 50;
    let host = Host::start().await?;
    let mut normal = Vec::new();
    for n in 1..=NORMAL {
        normal.push(host.running(id(n), Behaviour::normal(), true).await?);
    }
    let (before, lines) = (host.daemon.rss_kib()?, host.daemon.stderr().lines().count());
    // Nobody has asked for their faults to be reported, so every miss is a normal guest's.
    let _hostile = Gang::start(&host.channel_dir(), 101..=100 + HOSTILE)?;
    for n in 101..=100 + HOSTILE {
        host.instance("it is connected", id(n), |one| one["state"] != "disconnected").await?;
    }
    all_beat(&normal, 6).await?;
    let status = host.daemon.status().await?;
    let metric = |name: &str| status["metrics"][name].as_u64().context("no such metric");
    // It did happen.
    for name in ["malformed_messages", "long_messages", "inits_refused", "late_responses"] {
        assert!(metric(name)? > 0, "no {name} in {status}");
    }
    // It did no harm.
    assert_eq!(metric("misses")?, 0);
    for n in 1..=NORMAL {
        assert_eq!(host.told(id(n)), ["RUNNING"]);
    }
    for guest in &normal {
        assert_eq!(guest.counters().connections, 1);
    }
    let grown = host.daemon.rss_kib()?.saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB more for {HOSTILE} guests");
    let lines = host.daemon.stderr().lines().count() - lines;
    // Some for each guest that comes, and a few a second for all that it gets wrong.
    assert!(lines < 1000, "{lines} more lines of log");
    Ok(())
}

/// A guest that says nothing but nonsense, as fast as it can, is answered at a rate.
#[tokio::test]
async fn refusals_are_held_to_a_rate() -> Result<()> {
    let host = Host::start().await?;
    let guest = host.guest(id(1), Behaviour::flooding(Flood::Unsupported))?;
    host.counted_at_least("malformed_messages", 1000).await?;
    let nacks = guest.counters().nacks;
    assert!(nacks >= 1, "it is told at first");
    assert!(nacks < 200, "{nacks} refusals for a thousand lines");
    host.daemon.wait_log("the line", SOON, |line| line.contains("malformed message")).await?;
    let log = host.daemon.stderr();
    let lines = log.lines().filter(|line| line.contains("malformed message")).count();
    assert!((1..100).contains(&lines), "{lines} lines");
    Ok(())
}

/// The heartbeat goes on under its own flood: reading more slowly is not hanging up.
#[tokio::test]
async fn a_flood_is_slowed_down_and_not_cut_off() -> Result<()> {
    let host = Host::start().await?;
    let guest = host.guest(id(1), Behaviour::flooding(Flood::Garbage))?;
    host.counted_at_least("reads_put_off", 5).await?;
    assert_eq!(guest.counters().connections, 1);
    guest.change(|behaviour| behaviour.flood = None).await?;
    host.instance("it is heartbeating", id(1), |one| one["heartbeating"] == true).await?;
    beats(&guest, 2).await?;
    let said = |line: &str| line.contains("sends too much");
    let line = host.daemon.wait_log("warning", SOON, said).await?;
    assert!(line.text.contains("WARN"), "{line}");
    Ok(())
}

/// One that does not read gets what its channel takes and nothing that piles up; when it reads again, it is back.
#[tokio::test]
async fn a_stalled_reader_is_not_written_to_without_end() -> Result<()> {
    let host = Host::start().await?;
    let channel = RawChannel::bind(&host.channel_dir(), id(1))?;
    let mut guest = channel.accept().await?;
    let (_, number) = guest.init(&raw::init(1, 43, 600_000)).await?;
    guest.write(raw::response(4, number)).await?;
    host.event("RUNNING", id(1)).await?;
    // Each vote is a message that is not read.
    let skipped = async || host.metric("messages_skipped").await;
    for _ in 0..10_000 {
        if skipped().await? > 0 {
            break;
        }
        for _ in 0..10 {
            host.controller.vote(id(1), EventType::Stop)?;
        }
    }
    assert!(skipped().await? > 0, "ten thousand votes have room in a channel");
    // Neither does a challenge wait behind them.
    guest.write(raw::init(5, 44, 600_000)).await?;
    host.counted("inits", 2).await?;
    host.counted("challenges_skipped", 1).await?;
    // It reads again, and says `init` whenever it hears nothing, until that is acknowledged.
    let (mut last, mut acknowledged) = (44, 0);
    loop {
        match timeout(Duration::from_secs(1), guest.message()).await {
            Err(_) => {
                last += 1;
                guest.write(raw::init(6, last, 600_000)).await?;
            }
            Ok(message) => match message?.1 {
                HostMessage::InitAck { invocation_id } => acknowledged = invocation_id,
                HostMessage::Challenge { heartbeat_challenge } if acknowledged == last => {
                    guest.write(raw::response(7, heartbeat_challenge)).await?;
                    break;
                }
                HostMessage::ActionNotify { .. }
                | HostMessage::Challenge { .. }
                | HostMessage::Nack { .. } => {}
            },
        }
    }
    host.event("RUNNING", id(1)).await?;
    Ok(())
}

/// Hundreds of calls that a guest answers by hanging up cost the host nothing that adds up.
#[tokio::test]
async fn hanging_up_again_and_again_leaves_nothing_behind() -> Result<()> {
    let host = Host::start().await?;
    let guest = host.guest(id(1), Behaviour::silent())?;
    let files = {
        guest.wait_for("connection", SOON, |what| *what == What::Connected).await?;
        host.daemon.open_files()?
    };
    for _ in 0..3 {
        guest.kill().await?;
        guest.start_again().await?;
        guest.wait_for("connection", SOON, |what| *what == What::Connected).await?;
    }
    until("no file is left open", SOON, || host.daemon.open_files().is_ok_and(|now| now <= files))
        .await?;
    Ok(())
}
