//! The outbox, step by step, and against a naive one.

mod model;

use heartbeat_proto::guest::CorrectiveAction;
use heartbeat_proto::vim::{AlarmState, GuestResponse};

use super::*;

const NOW: MonotonicTime = MonotonicTime::START;

fn at(secs: u64) -> MonotonicTime {
    NOW + Duration::from_secs(secs)
}

fn event(instance: u128, mark: &str, kind: EventKind) -> InstanceEvent {
    InstanceEvent { instance: InstanceId::from_u128(instance), hostname: mark.into(), kind }
}

fn state(instance: u128, mark: &str) -> InstanceEvent {
    let kind = EventKind::Service { reporting: true, heartbeating: true, restart_secs: 1 };
    event(instance, mark, kind)
}

fn alarm(instance: u128, mark: &str) -> InstanceEvent {
    let (state, repair_action) = (AlarmState::Failed, CorrectiveAction::Reboot);
    event(instance, mark, EventKind::Alarm { state, repair_action })
}

fn vote(instance: u128, mark: &str) -> InstanceEvent {
    let (response, reason) = (GuestResponse::Allow, "".into());
    event(instance, mark, EventKind::Action { event: "stop".into(), response, reason })
}

fn filled(events: impl IntoIterator<Item = InstanceEvent>) -> Outbox {
    let mut outbox = Outbox::default();
    for event in events {
        let _ = outbox.push(NOW, event);
    }
    outbox
}

/// Delivers everything, and gives the marks in the order in which the VIM got them.
fn drain(outbox: &mut Outbox, now: MonotonicTime) -> String {
    let mut marks = String::new();
    while let Some(event) = outbox.poll_event(now) {
        marks.push_str(&event.hostname);
        assert_eq!(outbox.handle_delivered(now).map(|(event, _)| event), Some(event));
    }
    marks
}

#[test]
fn what_is_pushed_is_delivered_in_this_order() {
    for (events, delivered) in [
        (vec![], ""),
        (vec![alarm(1, "a"), vote(2, "b"), state(1, "c"), state(3, "d")], "abcd"),
        // The last state of each instance, after what happened before it.
        (vec![state(1, "a"), alarm(1, "b"), state(1, "c")], "bc"),
        (vec![state(1, "a"), state(2, "b"), state(1, "c"), state(1, "d")], "bd"),
        // Alarms and votes are never merged, equal or not.
        (vec![alarm(1, "a"), alarm(1, "a"), vote(1, "b"), vote(1, "b")], "aabb"),
    ] {
        let mut outbox = filled(events);
        assert_eq!(drain(&mut outbox, NOW), delivered);
        assert_eq!((outbox.len(), outbox.oldest(NOW)), (0, None));
    }
}

#[test]
fn one_at_a_time_is_in_flight() {
    let mut outbox = filled([alarm(1, "a"), alarm(2, "b")]);
    assert_eq!(outbox.poll_event(NOW), Some(alarm(1, "a")));
    assert_eq!(outbox.poll_event(NOW), None);
    assert_eq!((outbox.len(), outbox.poll_timeout()), (2, None));
    assert_eq!(outbox.handle_delivered(at(3)), Some((alarm(1, "a"), Duration::from_secs(3))));
    assert_eq!(outbox.handle_delivered(at(3)), None, "it was told already");
    assert_eq!(outbox.poll_event(NOW), Some(alarm(2, "b")));
    assert_eq!(outbox.handle_refused(), Some(alarm(2, "b")));
    assert_eq!((outbox.handle_refused(), outbox.len()), (None, 0));
}

#[test]
fn a_failed_event_is_sent_again_first_and_later_and_later() {
    let mut outbox = filled([alarm(1, "a"), alarm(1, "b")]);
    let mut now = NOW;
    for pause in [1, 2, 4, 8, 16, 30, 30] {
        assert_eq!(outbox.poll_event(now), Some(alarm(1, "a")));
        let pause = Duration::from_secs(pause);
        assert_eq!(outbox.handle_failed(now, false), pause);
        assert_eq!(outbox.poll_timeout(), Some(now + pause));
        now = now + (pause - Duration::from_nanos(1));
        assert_eq!(outbox.poll_event(now), None, "too early");
        now = now + Duration::from_nanos(1);
    }
    assert_eq!(outbox.oldest(now), Some(Duration::from_secs(91)));
    assert_eq!(outbox.poll_event(now), Some(alarm(1, "a")));
    outbox.handle_delivered(now);
    assert_eq!(outbox.poll_event(now), Some(alarm(1, "b")), "at once after a success");
    assert_eq!(outbox.handle_failed(now, false), Duration::from_secs(1));
    // Refused is an answer: the VIM is there.
    let now = now + Duration::from_secs(1);
    assert_eq!(outbox.poll_event(now), Some(alarm(1, "b")));
    outbox.handle_refused();
    let _ = outbox.push(now, alarm(1, "c"));
    assert_eq!(outbox.poll_event(now), Some(alarm(1, "c")));
}

#[test]
fn a_new_event_does_not_shorten_the_pause() {
    let mut outbox = filled([alarm(1, "a")]);
    outbox.poll_event(NOW);
    outbox.handle_failed(NOW, false);
    let _ = outbox.push(NOW, alarm(2, "b"));
    assert_eq!(outbox.poll_event(NOW), None);
    assert_eq!(drain(&mut outbox, at(1)), "ab");
}

#[test]
fn a_state_in_flight_is_not_touched_but_not_sent_again_either_when_there_is_a_newer_one() {
    let mut outbox = filled([state(1, "a"), alarm(1, "b")]);
    assert_eq!(outbox.poll_event(NOW), Some(state(1, "a")));
    assert_eq!(outbox.push(NOW, state(1, "c")), Pushed::Queued);
    assert_eq!(outbox.push(NOW, state(1, "d")), Pushed::Replaced);
    assert_eq!(outbox.len(), 3);
    outbox.handle_failed(NOW, false);
    assert_eq!(drain(&mut outbox, at(1)), "bd");

    let mut outbox = filled([state(1, "a"), alarm(1, "b")]);
    outbox.poll_event(NOW);
    outbox.handle_failed(NOW, false);
    assert_eq!(drain(&mut outbox, at(1)), "ab", "none is newer");

    let mut outbox = filled([state(1, "a"), alarm(1, "b")]);
    outbox.poll_event(NOW);
    outbox.handle_failed(NOW, false);
    assert_eq!(outbox.push(NOW, state(1, "c")), Pushed::Replaced, "it waits again");
    assert_eq!(drain(&mut outbox, at(1)), "bc");
}

#[test]
fn with_an_instance_everything_of_it_goes_that_is_not_in_flight() {
    let events = [alarm(1, "a"), state(1, "b"), alarm(2, "c"), vote(1, "d"), alarm(1, "e")];
    let mut outbox = filled(events.clone());
    assert_eq!(outbox.handle_deleted(InstanceId::from_u128(1)), 4);
    assert_eq!(drain(&mut outbox, NOW), "c");

    let mut outbox = filled(events.clone());
    outbox.poll_event(NOW);
    assert_eq!(outbox.handle_deleted(InstanceId::from_u128(1)), 3);
    assert_eq!(outbox.len(), 2, "the one in flight stays");
    assert_eq!(outbox.handle_delivered(NOW).map(|(event, _)| event), Some(alarm(1, "a")));
    assert_eq!(drain(&mut outbox, NOW), "c");

    let mut outbox = filled(events);
    outbox.poll_event(NOW);
    outbox.handle_deleted(InstanceId::from_u128(1));
    // It is back before the failure is known.
    let _ = outbox.push(NOW, alarm(1, "f"));
    outbox.handle_failed(NOW, false);
    assert_eq!(drain(&mut outbox, at(1)), "cf", "it is not sent again");
    assert_eq!(outbox.handle_deleted(InstanceId::from_u128(1)), 0);
}

#[test]
fn a_full_outbox_gives_up_states_and_then_what_is_new() {
    let mut outbox = Outbox::with_capacity(3);
    for event in [state(1, "a"), alarm(1, "b"), state(2, "c")] {
        assert_eq!(outbox.push(NOW, event), Pushed::Queued);
    }
    assert_eq!(outbox.push(NOW, state(1, "d")), Pushed::Replaced, "takes no more room");
    assert_eq!(outbox.push(NOW, alarm(3, "e")), Pushed::MadeRoom(state(2, "c")));
    assert_eq!(outbox.push(NOW, state(3, "f")), Pushed::MadeRoom(state(1, "d")));
    assert_eq!(outbox.push(NOW, vote(3, "g")), Pushed::MadeRoom(state(3, "f")));
    assert_eq!(outbox.push(NOW, alarm(4, "h")), Pushed::Full(alarm(4, "h")));
    assert_eq!(outbox.push(NOW, state(4, "i")), Pushed::Full(state(4, "i")));
    assert_eq!(drain(&mut outbox, NOW), "beg");

    // The one in flight has a place, and keeps it.
    let mut outbox = Outbox::with_capacity(1);
    let _ = outbox.push(NOW, state(1, "a"));
    outbox.poll_event(NOW);
    assert_eq!(outbox.push(NOW, alarm(1, "b")), Pushed::Full(alarm(1, "b")));
}

/// Not a matter of minutes, as it would be if anything looked through the queue.
#[test]
fn a_full_outbox_is_as_quick_as_an_empty_one() {
    const ALL: u128 = CAPACITY as u128;
    let mut outbox = Outbox::default();
    for instance in 0..ALL {
        assert_eq!(outbox.push(NOW, state(instance, "a")), Pushed::Queued);
    }
    for instance in 0..ALL {
        assert_eq!(outbox.push(NOW, state(instance, "b")), Pushed::Replaced);
    }
    for instance in 0..ALL / 2 {
        assert_eq!(outbox.push(NOW, alarm(instance, "c")), Pushed::MadeRoom(state(instance, "b")));
    }
    for instance in 0..ALL / 2 {
        assert_eq!(outbox.handle_deleted(InstanceId::from_u128(instance)), 1);
    }
    assert_eq!(outbox.len(), CAPACITY / 2);
    assert_eq!(drain(&mut outbox, NOW), "b".repeat(CAPACITY / 2));
}

#[test]
fn an_event_that_the_vim_fails_over_lets_those_of_other_instances_go_first() {
    let mut outbox = filled([alarm(1, "a"), vote(1, "b"), alarm(2, "c"), state(3, "d")]);
    assert_eq!(outbox.poll_event(NOW), Some(alarm(1, "a")));
    let pause = outbox.handle_failed(NOW, true);
    // All of its instance is behind, in its order; what comes now of it is behind that.
    let _ = outbox.push(NOW, alarm(1, "e"));
    assert_eq!(drain(&mut outbox, NOW + pause), "cdabe");
}

#[test]
fn what_the_former_host_of_an_instance_said_goes_when_it_moves_but_not_its_votes() {
    let mut outbox =
        filled([alarm(1, "a"), vote(1, "b"), state(1, "c"), alarm(2, "d"), alarm(1, "e")]);
    assert_eq!(outbox.poll_event(NOW), Some(alarm(1, "a")));
    assert_eq!(outbox.handle_moved(InstanceId::from_u128(1)), 2);
    // Not even the one in flight is sent again.
    let pause = outbox.handle_failed(NOW, false);
    assert_eq!(drain(&mut outbox, NOW + pause), "bd");
}
