//! Guests that answer, and guests that do not (protocol, "The heartbeat of one guest").

use std::time::Duration;

use anyhow::Result;
use end_to_end::host::{Host, Setup, all_beat, beats};
use end_to_end::raw::{self, RawChannel};
use end_to_end::{SOON, id};
use heartbeat_proto::guest::{CorrectiveAction, HostMessage};
use lab::guest::{Answering, Behaviour, Health, What};
use lab::wait::until;

/// Short enough not to have to be waited for, long enough for a machine that is busy.
const INTERVAL: Duration = Duration::from_millis(500);

fn normal() -> Behaviour {
    Behaviour::normal().every(INTERVAL)
}

#[tokio::test]
async fn a_guest_that_falls_silent_is_stopped_and_then_lost() -> Result<()> {
    let host = Host::start().await?;
    let guest = host.running(id(1), normal(), true).await?;
    beats(&guest, 2).await?;
    guest.freeze().await?;
    assert_eq!(host.next_event(id(1)).await?.event.map(|e| e.name()), Ok("STOPPED"));
    assert_eq!(host.next_event(id(1)).await?.event.map(|e| e.name()), Ok("LOSS"));
    assert!(host.metric("misses").await? >= 1, "one miss is forgiven");
    assert_eq!(host.metric("losses").await?, 1);
    host.instance("it may begin anew", id(1), |one| one["state"] == "waiting_init").await?;
    // It goes on where it was, notices that nobody asks any more, and starts over by itself.
    guest.thaw().await?;
    host.event("RUNNING", id(1)).await?;
    assert_eq!(host.told(id(1)), ["RUNNING", "STOPPED", "LOSS", "RUNNING"]);
    assert_eq!(guest.counters().connections, 1, "silence is no reason to close the channel");
    Ok(())
}

#[tokio::test]
async fn a_guest_that_never_answers_is_lost_without_having_run() -> Result<()> {
    let host = Host::start().await?;
    host.controller.add_instance(id(1), true)?;
    host.instance("it is provisioned", id(1), |_| true).await?;
    let guest = host.guest(id(1), Behaviour::init_then_silent().every(INTERVAL))?;
    host.event("LOSS", id(1)).await?;
    assert_eq!(host.told(id(1)), ["LOSS"]);
    assert!(guest.counters().challenges >= 2, "the first, and one after the miss");
    Ok(())
}

#[tokio::test]
async fn a_guest_that_answers_with_wrong_numbers_or_too_late_is_lost_all_the_same() -> Result<()> {
    let host = Host::start().await?;
    let wrong = host.running(id(1), normal(), true).await?;
    let late = host.running(id(2), normal(), true).await?;
    wrong.change(|b| b.profile.answering = Answering::WrongNumber).await?;
    host.event("STOPPED", id(1)).await?;
    host.event("LOSS", id(1)).await?;
    late.change(|b| b.profile.answering = Answering::Late(3 * INTERVAL)).await?;
    host.event("STOPPED", id(2)).await?;
    host.event("LOSS", id(2)).await?;
    assert!(host.metric("wrong_numbers").await? >= 2);
    Ok(())
}

#[tokio::test]
async fn a_guest_that_answers_within_its_interval_is_never_counted_as_missing() -> Result<()> {
    let host = Host::start().await?;
    let mut behaviour = Behaviour::late(Duration::from_millis(100));
    behaviour.profile.settings.heartbeat_interval_ms = 1500;
    let guest = host.running(id(1), behaviour, true).await?;
    beats(&guest, 3).await?;
    assert_eq!((host.metric("misses").await?, host.metric("wrong_numbers").await?), (0, 0));
    assert_eq!(host.told(id(1)), ["RUNNING"]);
    Ok(())
}

#[tokio::test]
async fn the_threshold_is_the_number_of_misses_that_are_forgiven() -> Result<()> {
    let ini = "[client]\nhbs_failure_threshold = 4\nhbs_pulse_period = 100\n";
    let host = Setup::default().ini(ini).start().await?;
    let guest = host.running(id(1), Behaviour::normal().every(INTERVAL / 2), true).await?;
    guest.freeze().await?;
    host.event("LOSS", id(1)).await?;
    host.daemon.wait_log("the line", SOON, |line| line.contains("heartbeat lost")).await?;
    let log = host.daemon.stderr();
    assert!(log.contains("misses=4 threshold=4") && !log.contains("misses=5"), "{log}");
    Ok(())
}

#[tokio::test]
async fn an_interval_below_the_floor_is_raised_to_it_with_a_warning() -> Result<()> {
    let ini = "[client]\nhbs_pulse_period = 1500\n";
    let host = Setup::default().ini(ini).start().await?;
    let mut fast = Behaviour::normal().every(Duration::from_millis(1));
    fast.times_challenges = true;
    let guest = host.guest(id(1), fast)?;
    beats(&guest, 3).await?;
    let times = guest.challenge_times();
    // Never earlier than the period, less what the first of two may have been late.
    for pair in times.windows(2) {
        assert!(pair[1] - pair[0] > Duration::from_millis(700), "{times:?}");
    }
    let line = |line: &str| line.contains("asks for a value out of bounds");
    let line = host.daemon.wait_log("warning", SOON, line).await?.text;
    assert!(line.contains("WARN") && line.contains("asked=1 used=1500"), "{line}");
    Ok(())
}

#[tokio::test]
async fn a_guest_that_is_not_well_is_reported_with_the_action_that_it_asks_for() -> Result<()> {
    let host = Host::start().await?;
    let guest = host.running(id(1), normal(), true).await?;
    let unwell = |corrective_action| {
        move |b: &mut Behaviour| {
            let log_msg = "sick \u{1b}[2J".into();
            b.profile.health = Health::Unhealthy { corrective_action, log_msg };
        }
    };
    for action in [CorrectiveAction::None, CorrectiveAction::Unknown] {
        let before = host.metric("unhealthy_responses").await?;
        guest.change(unwell(action)).await?;
        host.counted_at_least("unhealthy_responses", before + 1).await?;
    }
    assert_eq!(host.told(id(1)), ["RUNNING"], "no action, no event");
    for action in [CorrectiveAction::Stop, CorrectiveAction::Reboot, CorrectiveAction::Log] {
        guest.change(unwell(action)).await?;
        let text = format!(r#""heartbeating":"enabled","repair-action":"{action}","#);
        let wanted = |arrival: &lab::controller::Arrival| {
            end_to_end::host::name_of(arrival) == "ILLHEALTH" && arrival.text().contains(&text)
        };
        host.controller.wait_for_arrival("ILLHEALTH with the action", SOON, wanted).await?;
    }
    // The action of `init` is still the one for everything else.
    guest.change(|b| b.profile.health = Health::Healthy).await?;
    let answer = host.query(id(1)).await?;
    assert!(answer.text().contains(r#""repair-action":"reboot""#), "{}", answer.text());
    assert_eq!(host.metric("losses").await?, 0, "an unwell guest is alive");
    Ok(())
}

#[tokio::test]
async fn a_guest_that_leaves_is_stopped_and_never_lost() -> Result<()> {
    let host = Host::start().await?;
    let guest = host.running(id(1), normal(), true).await?;
    guest.exit("going \u{1b}[31m home").await?;
    host.event("STOPPED", id(1)).await?;
    // Long enough for a loss: another one is lost meanwhile.
    let other = host.running(id(2), normal(), true).await?;
    other.freeze().await?;
    host.event("LOSS", id(2)).await?;
    assert_eq!(host.told(id(1)), ["RUNNING", "STOPPED"]);
    // Nobody is asked, and nobody is hung up on.
    assert_eq!(guest.counters().connections, 1);
    guest.restart().await?;
    host.event("RUNNING", id(1)).await?;
    Ok(())
}

#[tokio::test]
async fn a_program_that_starts_over_is_acknowledged_and_stays_heartbeating() -> Result<()> {
    let host = Host::start().await?;
    let guest = host.running(id(1), normal(), true).await?;
    let first = guest.wait_for("init_ack", SOON, is_ack).await?;
    for _ in 0..3 {
        guest.restart().await?;
        host.event("RUNNING", id(1)).await?;
    }
    let again = guest.wait_for("another init_ack", SOON, is_ack).await?;
    assert_ne!(first.what, again.what, "of another invocation");
    beats(&guest, 2).await?;
    assert_eq!(host.told(id(1)), ["RUNNING"], "again and again, and never stopped");
    assert!(host.metric("inits").await? >= 4);
    Ok(())
}

fn is_ack(what: &What) -> bool {
    matches!(what, What::Received { message: HostMessage::InitAck { .. }, .. })
}

/// An `init` in the middle of a challenge is taken as well, with its new times.
#[tokio::test]
async fn an_init_is_acknowledged_in_any_state() -> Result<()> {
    let host = Host::start().await?;
    let channel = RawChannel::bind(&host.channel_dir(), id(1))?;
    let mut guest = channel.accept().await?;
    let (_, unanswered) = guest.init(&raw::init(1, 41, 600_000)).await?;
    let (sequence, number) = guest.init(&raw::init(9, 42, 600_000)).await?;
    assert_eq!(sequence, 11);
    assert_ne!(unanswered, number);
    guest.write(raw::response(12, unanswered)).await?;
    host.counted("wrong_numbers", 1).await?;
    guest.write(raw::response(13, number)).await?;
    host.event("RUNNING", id(1)).await?;
    let (sequence, _) = guest.init(&raw::init(20, 43, 600_000)).await?;
    assert_eq!(sequence, 22);
    assert_eq!(host.told(id(1)), ["RUNNING"]);
    Ok(())
}

#[tokio::test]
async fn guests_that_say_everything_in_pieces_or_twice_are_heartbeating_like_all_others()
-> Result<()> {
    let host = Host::start().await?;
    let behaviours = [Behaviour::fragmenting(), Behaviour::joining(3), Behaviour::normal()];
    let mut guests = Vec::new();
    for (n, behaviour) in behaviours.into_iter().enumerate() {
        guests.push(host.running(id(n as u128), behaviour.every(INTERVAL), true).await?);
    }
    all_beat(&guests, 4).await?;
    for guest in &guests {
        until("it is not told off", SOON, || guest.counters().nacks == 0).await?;
    }
    assert_eq!(host.metric("losses").await?, 0);
    assert!(host.metric("late_responses").await? > 0, "what is said twice is ignored once");
    Ok(())
}
