//! Asking and telling guests of actions (protocol, "Votes and notifications").

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use end_to_end::host::{Host, beats};
use end_to_end::raw::{self, RawChannel, RawHost};
use end_to_end::{SOON, golden, id};
use heartbeat_proto::InstanceId;
use heartbeat_proto::guest::{EventType, HostMessage, VoteResult};
use lab::controller::Arrival;
use lab::guest::{Behaviour, Profile, Voting, What};
use serde_json::Value;

/// A guest with its own times for everything, the same as golden's but for votes.
fn voting(voting: Voting) -> Behaviour {
    let mut behaviour = Behaviour::voting(voting);
    // On the wire, one.
    behaviour.profile.settings.vote_secs = 0;
    behaviour
}

/// Waits for the end of a vote or notification, which has to be this.
async fn concluded(
    host: &Host,
    n: u128,
    kind: &str,
    event: &str,
    vote: &str,
    reason: &str,
) -> Result<Arrival> {
    let arrival = host.event("VOTE_NOTIFY", id(n)).await?;
    assert_eq!(arrival.text(), text(id(n), kind, event, vote, reason));
    Ok(arrival)
}

/// The text with the odd spacing of the golden ones.
fn text(instance: InstanceId, kind: &str, event: &str, vote: &str, reason: &str) -> String {
    format!(
        r#"{{"hostname":"vm", "uuid": "{instance}", "notification_type": "{kind}", "event-type": "{event}", "vote": "{vote}", "reason": "{reason}"}}"#
    )
}

#[tokio::test]
async fn what_a_guest_answers_is_what_the_controller_hears() -> Result<()> {
    let host = Host::start().await?;
    let guest = host.running(id(1), voting(Voting::Accept), true).await?;
    for event in EventType::ALL.iter().filter(|event| !suspends(event)) {
        host.controller.vote(id(1), event.clone())?;
        concluded(&host, 1, "revocable", event.as_str(), "accept", "").await?;
        host.controller.notify(id(1), event.clone())?;
        concluded(&host, 1, "irrevocable", event.as_str(), "complete", "").await?;
    }
    guest.change(|b| b.profile.voting = Voting::Reject("busy till 5".into())).await?;
    host.controller.vote(id(1), EventType::Stop)?;
    concluded(&host, 1, "revocable", "stop", "reject", "busy till 5").await?;
    for word in VoteResult::ALL {
        guest.change(|b| b.profile.voting = Voting::Say(*word, "so be it".into())).await?;
        host.controller.vote(id(1), EventType::LiveMigrateEnd)?;
        concluded(&host, 1, "revocable", "live_migrate_end", word.as_str(), "so be it").await?;
    }
    host.counted("votes_unanswered", 0).await?;
    Ok(())
}

/// What these do to the heartbeat is a matter of other tests.
fn suspends(event: &EventType) -> bool {
    matches!(event, EventType::Suspend | EventType::Pause | EventType::Unpause)
}

/// The bytes of the question, with the times of golden's guest: the table of the protocol row by row.
#[tokio::test]
async fn the_question_is_golden_and_its_time_is_that_of_the_action() -> Result<()> {
    let host = Host::start().await?;
    let channel = RawChannel::bind(&host.channel_dir(), id(1))?;
    let mut guest = channel.accept().await?;
    let (_, number) = guest.init(&raw::init(1, 42, 600_000)).await?;
    guest.write(raw::response(15, number)).await?;
    host.event("RUNNING", id(1)).await?;
    host.controller.vote(id(1), EventType::Reboot)?;
    assert_eq!(guest.read().await?, golden::line(false, "\"reboot\"")?);
    guest.write(raw::response(26, 0)).await?;
    host.counted("late_responses", 1).await?;
    host.controller.notify(id(1), EventType::Pause)?;
    assert_eq!(guest.read().await?, golden::line(false, "\"pause\"")?);
    for (events, told_ms) in [
        (&["stop", "reboot"][..], 11_000),
        (&["suspend", "resize_begin", "live_migrate_begin", "cold_migrate_begin"], 12_000),
        (&["resume", "resize_end", "live_migrate_end", "cold_migrate_end"], 13_000),
        (&["unknown", "bogus"], 10_000),
    ] {
        for &event in events {
            host.controller.vote(id(1), event.into())?;
            assert_eq!(asked(&mut guest).await?, (event.to_owned(), 10_000));
            if event == "suspend" {
                // Told of this, and then of something else, a guest counts as suspended.
                continue;
            }
            host.controller.notify(id(1), event.into())?;
            assert_eq!(asked(&mut guest).await?, (event.to_owned(), told_ms));
        }
    }
    Ok(())
}

async fn asked(guest: &mut RawHost) -> Result<(String, u64)> {
    loop {
        match guest.message().await?.1 {
            HostMessage::ActionNotify { event_type, timeout_ms, invocation_id, .. } => {
                ensure!(invocation_id == 42);
                return Ok((event_type.to_string(), timeout_ms));
            }
            HostMessage::Challenge { .. } => {}
            other => anyhow::bail!("not a question: {other:?}"),
        }
    }
}

#[tokio::test]
async fn silence_is_agreement_when_the_time_is_over() -> Result<()> {
    let host = Host::start().await?;
    let guest = host.running(id(1), voting(Voting::Never), true).await?;
    host.controller.vote(id(1), EventType::Stop)?;
    concluded(&host, 1, "revocable", "stop", "accept", "").await?;
    // An action that we do not know has the time of votes.
    host.controller.notify(id(1), "bogus".into())?;
    concluded(&host, 1, "irrevocable", "bogus", "complete", "").await?;
    host.counted("votes_unanswered", 2).await?;
    beats(&guest, 2).await?;
    assert_eq!(host.told(id(1)), ["RUNNING", "VOTE_NOTIFY", "VOTE_NOTIFY"]);
    Ok(())
}

#[tokio::test]
async fn an_answer_that_comes_too_late_is_counted_and_changes_nothing() -> Result<()> {
    let host = Host::start().await?;
    let late = Voting::Late(Duration::from_millis(2500));
    let _guest = host.running(id(1), voting(late), true).await?;
    host.controller.vote(id(1), EventType::Stop)?;
    concluded(&host, 1, "revocable", "stop", "accept", "").await?;
    assert_eq!(host.metric("votes_unexpected").await?, 0, "the time is over before the answer");
    host.counted("votes_unexpected", 1).await?;
    assert_eq!(host.told(id(1)), ["RUNNING", "VOTE_NOTIFY"]);
    Ok(())
}

#[tokio::test]
async fn a_newer_question_takes_the_place_of_an_older_one() -> Result<()> {
    let host = Host::start().await?;
    let behaviour = Behaviour {
        profile: Profile { voting: Voting::Never, ..Profile::default() },
        ..Behaviour::normal()
    };
    let guest = host.running(id(1), behaviour, true).await?;
    host.controller.vote(id(1), EventType::Stop)?;
    guest.wait_for("first question", SOON, is_question).await?;
    guest.change(|b| b.profile.voting = Voting::Reject("the second".into())).await?;
    host.controller.vote(id(1), EventType::Reboot)?;
    // In this order, and long before the ten seconds of the first are over.
    concluded(&host, 1, "revocable", "stop", "accept", "").await?;
    let second = concluded(&host, 1, "revocable", "reboot", "reject", "the second").await?;
    assert!(second.elapsed < Duration::from_secs(9), "{second}");
    Ok(())
}

fn is_question(what: &What) -> bool {
    matches!(what, What::Received { message: HostMessage::ActionNotify { .. }, .. })
}

#[tokio::test]
async fn two_quick_questions_are_both_concluded() -> Result<()> {
    let host = Host::start().await?;
    let guest = host.running(id(1), voting(Voting::Reject("no".into())), true).await?;
    for _ in 0..20 {
        host.controller.vote(id(1), EventType::Stop)?;
        host.controller.notify(id(1), EventType::Stop)?;
        // The first is answered in time or replaced, as it happens; the second is answered.
        let first = host.event("VOTE_NOTIFY", id(1)).await?.text();
        let allowed = [
            text(id(1), "revocable", "stop", "reject", "no"),
            text(id(1), "revocable", "stop", "accept", ""),
        ];
        assert!(allowed.contains(&first), "{first}");
        concluded(&host, 1, "irrevocable", "stop", "complete", "").await?;
    }
    assert_eq!(guest.counters().actions, 40);
    assert_eq!(guest.counters().nacks, 0);
    Ok(())
}

#[tokio::test]
async fn a_guest_that_cannot_be_asked_agrees() -> Result<()> {
    let host = Host::start().await?;
    host.controller.add_instance(id(1), true)?;
    host.controller.vote(id(1), EventType::Stop)?;
    concluded(&host, 1, "revocable", "stop", "accept", "").await?;
    host.controller.notify(id(1), EventType::Stop)?;
    concluded(&host, 1, "irrevocable", "stop", "complete", "").await?;
    Ok(())
}

/// What the guest says goes into JSON whole, or cut so that the JSON stays whole.
#[tokio::test]
async fn a_reason_that_is_long_and_full_of_quotes_stays_in_its_place() -> Result<()> {
    let host = Host::start().await?;
    let guest = host.running(id(1), voting(Voting::Accept), true).await?;
    for reason in [
        r#""}, "vote": "accept", "x": "\\"#.into(),
        "\"".repeat(224),
        "\u{1}\u{1b}[2J\n".repeat(40),
        "\u{7f}\u{9b}é€".repeat(20),
        "x".repeat(1000),
        "\u{1}".repeat(224),
    ] {
        let said: String = reason;
        let say = Voting::Say(VoteResult::Reject, said.clone());
        guest.change(|b| b.profile.voting = say).await?;
        host.controller.vote(id(1), EventType::Stop)?;
        let arrival = host.event("VOTE_NOTIFY", id(1)).await?;
        assert_eq!(arrival.bytes.len(), golden::EVENT_LEN);
        let text = arrival.text();
        let value: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
        assert_eq!(value["vote"], "reject");
        let told = value["reason"].as_str().context("no reason")?;
        assert!(said.starts_with(told), "{told:?} is no beginning of {said:?}");
        assert!(told.len() >= 100.min(said.len()), "{} of {} bytes", told.len(), said.len());
        assert!(!text.bytes().any(|byte| byte < b' '), "{text:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_paused_guest_is_left_in_peace_until_it_is_unpaused() -> Result<()> {
    let host = Host::start().await?;
    let interval = Duration::from_millis(500);
    let guest = host.running(id(1), voting(Voting::Accept).every(interval), true).await?;
    host.controller.notify(id(1), EventType::Pause)?;
    concluded(&host, 1, "irrevocable", "pause", "complete", "").await?;
    guest.freeze().await?;
    host.instance("it is paused", id(1), |one| one["state"] == "paused").await?;
    let witness = host.running(id(2), voting(Voting::Accept).every(interval), true).await?;
    witness.freeze().await?;
    host.event("LOSS", id(2)).await?;
    let paused = host.instance("it is paused", id(1), |one| one["state"] == "paused").await?;
    assert_eq!(paused["heartbeating"], true);
    guest.thaw().await?;
    host.controller.notify(id(1), EventType::Unpause)?;
    concluded(&host, 1, "irrevocable", "unpause", "complete", "").await?;
    beats(&guest, 2).await?;
    assert_eq!(host.told(id(1)), ["RUNNING", "VOTE_NOTIFY", "VOTE_NOTIFY"]);
    Ok(())
}

#[tokio::test]
async fn a_suspended_guest_is_stopped_and_its_channel_closed_until_it_is_resumed() -> Result<()> {
    let host = Host::start().await?;
    let guest = host.running(id(1), voting(Voting::Accept), true).await?;
    host.controller.vote(id(1), EventType::Suspend)?;
    concluded(&host, 1, "revocable", "suspend", "accept", "").await?;
    host.instance("asking does nothing", id(1), |one| one["heartbeating"] == true).await?;
    host.controller.notify(id(1), EventType::Suspend)?;
    concluded(&host, 1, "irrevocable", "suspend", "complete", "").await?;
    host.event("STOPPED", id(1)).await?;
    guest.wait_for("disconnection", SOON, |what| *what == What::Disconnected).await?;
    host.instance("it is suspended", id(1), |one| one["state"] == "suspended").await?;
    guest.restart().await?;
    host.controller.notify(id(1), EventType::Resume)?;
    host.event("RUNNING", id(1)).await?;
    assert_eq!(guest.counters().connections, 2);
    Ok(())
}
