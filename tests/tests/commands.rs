//! Instances that the controller names, deletes and asks about.

use std::collections::HashSet;
use std::fs;

use anyhow::{Context, Result};
use end_to_end::golden;
use end_to_end::host::{Host, beats, name_of};
use end_to_end::raw::RawChannel;
use end_to_end::{SOON, id};
use heartbeat_proto::guest::EventType;
use lab::guest::{Behaviour, Guest, What};
use lab::wait::until;

#[tokio::test]
async fn a_query_is_answered_for_every_one_of_five_hundred_instances() -> Result<()> {
    let host = Host::start().await?;
    for n in 1..=500 {
        host.controller.add_instance(id(n), n % 2 == 0)?;
        if n % 50 == 0 {
            // The way there has room for so many at once, not for all.
            host.instance("it is added", id(n), |_| true).await?;
        }
    }
    let _guests: Vec<Guest> =
        (1..=20).map(|n| host.guest(id(n), Behaviour::normal())).collect::<Result<_>>()?;
    for n in 1..=20 {
        host.instance("it runs", id(n), |one| one["heartbeating"] == true).await?;
    }
    host.controller.query()?;
    let answers = || {
        let arrivals = host.controller.arrivals();
        arrivals.into_iter().filter(|arrival| name_of(arrival) == "QRY_INST").collect::<Vec<_>>()
    };
    until("all are told of", SOON, || answers().len() >= 500).await?;
    let answers = answers();
    assert_eq!(answers.len(), 500, "one answer for each");
    let instances: HashSet<_> = answers.iter().filter_map(|answer| answer.instance()).collect();
    assert_eq!(instances.len(), 500);
    for answer in answers {
        let n = (1..=500).find(|n| answer.instance() == Some(id(*n))).context("a stranger")?;
        let word = |on| if on { "enabled" } else { "disabled" };
        let wanted =
            format!(r#""reporting":"{}","heartbeating":"{}""#, word(n % 2 == 0), word(n <= 20));
        assert!(answer.text().contains(&wanted), "{}", answer.text());
    }
    Ok(())
}

/// Whoever can send datagrams can name instances; what that costs has a bound, and a guest that is there is not the one
/// to pay for it.
#[tokio::test]
async fn a_flood_of_named_instances_is_bounded_and_one_with_a_channel_is_always_taken() -> Result<()>
{
    let host = Host::start().await?;
    let guest = host.guest(id(1), Behaviour::normal())?;
    beats(&guest, 1).await?;
    for n in 1_000..6_000 {
        host.controller.add_instance(id(n), true)?;
        if n % 200 == 0 {
            // What it has taken in is what its socket had room for.
            host.instances().await?;
        }
    }
    host.counted_at_least("commands_refused", 1).await?;
    let known = host.instances().await?.len();
    assert!((4_000..=4_100).contains(&known), "{known} instances");
    host.controller.del_instance(id(1))?;
    host.forgotten(id(1)).await?;
    host.controller.add_instance(id(1), true)?;
    host.instance("it is taken", id(1), |one| one["provisioned"] == true).await?;
    Ok(())
}

#[tokio::test]
async fn a_deleted_instance_is_closed_and_forgotten_without_a_word() -> Result<()> {
    let host = Host::start().await?;
    let guest = host.running(id(1), Behaviour::normal(), true).await?;
    let other = host.running(id(2), Behaviour::normal(), true).await?;
    host.controller.del_instance(id(1))?;
    guest.wait_for("disconnection", SOON, |what| *what == What::Disconnected).await?;
    host.forgotten(id(1)).await?;
    // Asked again, it is still unknown: its channel alone does not bring it back.
    host.controller.query()?;
    host.event("QRY_INST", id(2)).await?;
    beats(&other, 2).await?;
    host.forgotten(id(1)).await?;
    assert_eq!(host.told(id(1)), ["RUNNING"], "the controller does not want to hear of it");
    assert_eq!(guest.counters().connections, 1);
    Ok(())
}

#[tokio::test]
async fn a_deleted_instance_comes_back_when_it_is_named_under_either_name() -> Result<()> {
    let host = Host::start().await?;
    for (n, older_name) in [(1, false), (2, true)] {
        let behaviour = Behaviour { older_name, ..Behaviour::normal() };
        let guest = host.guest(id(n), behaviour)?;
        host.event("RUNNING", id(n)).await?;
        host.controller.del_instance(id(n))?;
        host.forgotten(id(n)).await?;
        guest.wait_for("disconnection", SOON, |what| *what == What::Disconnected).await?;
        guest.restart().await?;
        host.controller.add_instance(id(n), true)?;
        let running = host.event("RUNNING", id(n)).await?;
        assert!(running.text().contains(r#""reporting":"enabled""#));
        // What happens to its file from now on is noticed as before.
        let outside = host.home().join("outside");
        fs::rename(guest.path(), &outside)?;
        host.event("STOPPED", id(n)).await?;
        guest.restart().await?;
        fs::rename(&outside, guest.path())?;
        host.event("RUNNING", id(n)).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_deleted_instance_comes_back_with_an_event_of_its_channel() -> Result<()> {
    let host = Host::start().await?;
    let guest = host.running(id(1), Behaviour::normal(), true).await?;
    host.controller.del_instance(id(1))?;
    host.forgotten(id(1)).await?;
    guest.remove().await?;
    guest.start_again().await?;
    let running = host.event("RUNNING", id(1)).await?;
    assert!(running.text().contains(r#""reporting":"disabled""#), "its record is gone");
    Ok(())
}

#[tokio::test]
async fn a_modified_instance_that_is_unknown_is_added() -> Result<()> {
    let host = Host::start().await?;
    host.controller.mod_instance(id(1), true)?;
    let added = host.instance("it is added", id(1), |_| true).await?;
    assert_eq!((&added["provisioned"], &added["reporting"]), (&true.into(), &true.into()));
    let guest = host.guest(id(1), Behaviour::normal())?;
    host.event("RUNNING", id(1)).await?;
    beats(&guest, 1).await?;
    Ok(())
}

/// The controller may know of an instance before its channel is there, and name it more than once.
#[tokio::test]
async fn an_instance_that_is_named_again_keeps_its_connection() -> Result<()> {
    let host = Host::start().await?;
    let guest = host.guest(id(1), Behaviour::normal())?;
    host.event("RUNNING", id(1)).await?;
    for reporting in [true, true, true] {
        host.controller.add_instance(id(1), reporting)?;
        host.controller.mod_instance(id(1), reporting)?;
    }
    host.query(id(1)).await?;
    beats(&guest, 2).await?;
    assert_eq!(host.told(id(1)), ["RUNNING", "QRY_INST"]);
    assert_eq!(guest.counters().connections, 1);
    Ok(())
}

#[tokio::test]
async fn commands_for_unknown_instances_are_counted_and_dropped() -> Result<()> {
    let host = Host::start().await?;
    host.controller.del_instance(id(1))?;
    host.controller.vote(id(1), EventType::Stop)?;
    host.controller.notify(id(1), EventType::Pause)?;
    host.counted("commands_unknown_instance", 3).await?;
    assert_eq!(host.instances().await?.len(), 0);
    assert_eq!(host.told(id(1)), [""; 0]);
    host.daemon.wait_log("the line", SOON, |line| line.contains("NOTIFY_INST")).await?;
    let log = host.daemon.stderr();
    for command in ["DEL_INST", "VOTE_INST", "NOTIFY_INST"] {
        assert!(log.contains(&format!("command={command} why=\"no such instance\"")), "{log}");
    }
    Ok(())
}

#[tokio::test]
async fn a_loopback_is_not_answered() -> Result<()> {
    let host = Host::start().await?;
    host.controller.add_instance(id(1), false)?;
    host.instance("it is added", id(1), |_| true).await?;
    host.controller.loopback()?;
    host.controller.send_raw(&golden::command_bytes(0x0101_0101, ""))?;
    host.counted("datagrams_received", 3).await?;
    host.query(id(1)).await?;
    let told: Vec<_> = host.controller.arrivals().iter().map(name_of).collect();
    assert_eq!(told, ["MONITOR_READY", "QRY_INST"]);
    assert_eq!(host.metric("datagrams_malformed").await?, 0);
    Ok(())
}

/// More commands than instances, in whatever order: nothing hangs, nothing is left over.
#[tokio::test]
async fn naming_and_deleting_in_turn_ends_with_the_last_word_and_leaves_nothing_open() -> Result<()>
{
    let host = Host::start().await?;
    let _channel = RawChannel::bind(&host.channel_dir(), id(1))?;
    host.instance("it is connected", id(1), |one| one["state"] == "waiting_init").await?;
    let files = host.daemon.open_files()?;
    for round in 1..=40 {
        host.controller.add_instance(id(1), true)?;
        host.controller.del_instance(id(1))?;
        host.counted_at_least("datagrams_received", 2 * round).await?;
    }
    host.forgotten(id(1)).await?;
    host.controller.add_instance(id(1), true)?;
    until("all but one connection are closed", SOON, || {
        host.daemon.open_files().is_ok_and(|now| now <= files)
    })
    .await?;
    let last =
        host.instance("it is connected", id(1), |one| one["state"] == "waiting_init").await?;
    assert_eq!(last["reporting"], true);
    Ok(())
}
