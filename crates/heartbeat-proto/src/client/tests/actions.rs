//! Votes and notifications.

use std::time::Duration;

use super::harness::{Guest, messages, note, withdraw};
use crate::client::{Action, Note, Output, Verdict};
use crate::guest::{
    ActionResponse, EventType, GuestMessage, HostMessage, NotificationType, VoteResult,
};

const VOTE: NotificationType = NotificationType::Revocable;

fn verdict(vote_result: VoteResult, log_msg: &str) -> Verdict {
    Verdict { vote_result, log_msg: log_msg.into() }
}

fn answer(invocation_id: u64, action: &Action, verdict: &Verdict) -> GuestMessage {
    GuestMessage::ActionResponse(ActionResponse {
        invocation_id,
        event_type: action.event_type.clone(),
        notification_type: action.notification_type,
        vote_result: verdict.vote_result,
        log_msg: verdict.log_msg.clone(),
    })
}

#[test]
fn the_verdict_is_told_with_the_session_and_the_action() {
    let (mut guest, id) = Guest::enabled();
    for (event, kind, said) in [
        (EventType::Stop, VOTE, verdict(VoteResult::Accept, "")),
        (EventType::Reboot, VOTE, verdict(VoteResult::Reject, "a backup runs")),
        (EventType::Pause, NotificationType::Irrevocable, verdict(VoteResult::Complete, "")),
        (EventType::Other("evacuate".into()), VOTE, verdict(VoteResult::Error, "what?")),
    ] {
        let action = guest.asked(id, event.clone(), kind, 9000);
        assert_eq!((&action.event_type, action.notification_type), (&event, kind));
        guest.client.handle_verdict(action.id, said.clone());
        let outputs = guest.outputs();
        assert_eq!(messages(&outputs), [answer(id, &action, &said)]);
        guest.client.handle_verdict(action.id, said);
        assert!(guest.outputs().is_empty(), "once");
    }
}

#[test]
fn the_time_is_that_of_the_host_less_a_second_for_the_way() {
    let (mut guest, id) = Guest::enabled();
    for (timeout_ms, limit_ms) in
        [(9000, 8000), (1001, 1), (1000, 1000), (1, 1), (0, 0), (u64::MAX, 86_400_000)]
    {
        let action = guest.asked(id, EventType::Stop, VOTE, timeout_ms);
        assert_eq!(action.limit, Duration::from_millis(limit_ms), "{timeout_ms}");
    }
}

#[test]
fn when_its_time_is_over_the_host_is_told_so() {
    let (mut guest, id) = Guest::enabled();
    let action = guest.asked(id, EventType::Stop, VOTE, 3000);
    assert_eq!(guest.due_in(), Some(Duration::from_secs(2)));
    assert!(guest.run(1999).is_empty());
    let outputs = guest.run(1);
    let said = verdict(VoteResult::Timeout, "no answer within 2000 ms");
    assert_eq!(outputs[0], withdraw(action.id));
    assert_eq!(messages(&outputs), [answer(id, &action, &said)]);
    guest.client.handle_verdict(action.id, verdict(VoteResult::Reject, "too late"));
    assert!(guest.outputs().is_empty());
}

#[test]
fn challenges_are_answered_meanwhile() {
    let (mut guest, id) = Guest::enabled();
    let _ = guest.asked(id, EventType::Stop, VOTE, 60_000);
    for number in 1..50 {
        let outputs = guest.after(1000).timeout();
        assert!(outputs.is_empty(), "{outputs:?}");
        assert!(guest.challenged(number).is_some());
    }
}

#[test]
fn a_newer_one_takes_its_place_and_the_older_is_not_answered() {
    let (mut guest, id) = Guest::enabled();
    let older = guest.asked(id, EventType::Stop, VOTE, 9000);
    let event_type = EventType::Reboot;
    let notify = HostMessage::ActionNotify {
        invocation_id: id,
        event_type: event_type.clone(),
        notification_type: VOTE,
        timeout_ms: 9000,
    };
    let outputs = guest.hears(notify);
    assert_eq!(outputs[0], withdraw(older.id));
    assert_eq!(outputs[1], note(Note::Withdrawn { event_type: EventType::Stop }));
    let Some(Output::Decide(newer)) = outputs.last() else { panic!("{outputs:?}") };
    assert_eq!(newer.event_type, event_type);
    guest.client.handle_verdict(older.id, verdict(VoteResult::Reject, "no"));
    assert!(guest.outputs().is_empty());
    guest.client.handle_verdict(newer.id, verdict(VoteResult::Accept, ""));
    assert_eq!(messages(&guest.outputs()).len(), 1);
}

#[test]
fn one_of_either_of_the_last_two_sessions_is_answered_in_that_one() {
    let (mut guest, first) = Guest::enabling();
    let second = guest.after(1000).ask();
    guest.hears(HostMessage::InitAck { invocation_id: first });
    // The host has taken the second `init` already, although its acknowledgement was lost: the answer is of that
    // session.
    let action = guest.asked(second, EventType::Stop, VOTE, 9000);
    let said = verdict(VoteResult::Accept, "");
    guest.client.handle_verdict(action.id, said.clone());
    assert_eq!(messages(&guest.outputs()), [answer(second, &action, &said)]);
}

#[test]
fn an_answer_after_another_init_is_of_the_new_session() {
    let (mut guest, _) = Guest::enabled();
    let settings = guest.client.settings().clone();
    let State { id, action } = open(&mut guest);
    let vote_secs = settings.vote_secs + 1;
    guest.client.handle_settings(guest.now, crate::client::Settings { vote_secs, ..settings });
    let newer = guest.ask();
    assert_ne!(id, newer);
    let said = verdict(VoteResult::Accept, "");
    guest.client.handle_verdict(action.id, said.clone());
    assert_eq!(messages(&guest.outputs()), [answer(newer, &action, &said)]);
}

struct State {
    id: u64,
    action: Action,
}

fn open(guest: &mut Guest) -> State {
    let crate::client::State::Enabled { invocation_id: id, .. } = guest.client.state() else {
        panic!("not enabled")
    };
    let action = guest.asked(id, EventType::Stop, VOTE, 9000);
    State { id, action }
}

#[test]
fn a_clean_stop_withdraws_it() {
    let (mut guest, id) = Guest::enabled();
    let action = guest.asked(id, EventType::Stop, VOTE, 9000);
    guest.client.handle_exit("");
    let outputs = guest.outputs();
    assert_eq!(outputs[0], withdraw(action.id));
    assert!(matches!(messages(&outputs)[..], [GuestMessage::Exit { .. }]));
    assert_eq!(guest.due_in(), None);
}

#[test]
fn one_of_another_session_is_ignored_and_the_guest_starts_over_once_in_a_while() {
    let (mut guest, id) = Guest::enabled();
    let notify = |invocation_id| HostMessage::ActionNotify {
        invocation_id,
        event_type: EventType::Stop,
        notification_type: VOTE,
        timeout_ms: 9000,
    };
    guest.after(300);
    for other in [id + 1, 0] {
        assert_eq!(guest.hears(notify(other)), [note(Note::WrongInvocation)]);
    }
    assert_eq!(guest.due_in(), Some(Duration::from_millis(700)), "the last init was 300 ms ago");
    // Challenges are of no session, and put nothing off.
    assert!(guest.challenged(4).is_some());
    assert_eq!(guest.due_in(), Some(Duration::from_millis(700)));
    guest.after(5000);
    let newer = guest.ask();
    guest.hears(HostMessage::InitAck { invocation_id: newer });
    guest.after(3000);
    let ack = HostMessage::InitAck { invocation_id: newer + 1 };
    assert_eq!(guest.hears(ack), [note(Note::WrongAck)]);
    assert_eq!(guest.due_in(), Some(Duration::ZERO));
}
