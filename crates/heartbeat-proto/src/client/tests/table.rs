//! The table of docs/protocol.md, "The guest's side", row by row.

use std::time::Duration;

use super::harness::{Guest, init, messages, note, settings, withdraw};
use crate::client::{Client, Health, Note, Output, Settings, State, Verdict};
use crate::guest::{
    ChallengeResponse, CorrectiveAction, GuestMessage, Health as Word, HostMessage, Init,
    MalformedKind,
};

fn response(number: u64) -> GuestMessage {
    GuestMessage::ChallengeResponse(ChallengeResponse {
        heartbeat_response: number,
        heartbeat_health: Word::Healthy,
        corrective_action: CorrectiveAction::None,
        log_msg: "".into(),
    })
}

fn state(guest: &Guest) -> &'static str {
    guest.client.state().as_str()
}

fn ack(invocation_id: u64) -> HostMessage {
    HostMessage::InitAck { invocation_id }
}

#[test]
fn disabled_until_the_port_is_open_and_then_init_at_once() {
    let mut guest = Guest::new();
    assert_eq!((state(&guest), guest.due_in()), ("disabled", None));
    assert!(guest.timeout().is_empty() && guest.challenged(7).is_none());
    guest.client.handle_opened(guest.now);
    assert_eq!((state(&guest), guest.due_in()), ("enabling", Some(Duration::ZERO)));
    let outputs = guest.timeout();
    assert_eq!(outputs[0], note(Note::Asking { before: 0 }));
    let [GuestMessage::Init(said)] = &messages(&outputs)[..] else { panic!("{outputs:?}") };
    let expected = Init {
        invocation_id: said.invocation_id,
        name: "vm".into(),
        heartbeat_interval_ms: 1000,
        vote_secs: 9,
        shutdown_notice_secs: 9,
        suspend_notice_secs: 9,
        resume_notice_secs: 14,
        restart_secs: 601,
        corrective_action: CorrectiveAction::Reboot,
    };
    assert_eq!(*said, expected, "each time with a second for the way");
    guest.client.handle_opened(guest.now);
    assert_eq!(guest.due_in(), Some(Duration::from_secs(1)), "open already");
}

#[test]
fn init_again_each_second_with_a_fresh_number() {
    let (mut guest, first) = Guest::enabling();
    assert_eq!(guest.due_in(), Some(Duration::from_secs(1)));
    let outputs = guest.run(3500);
    let mut ids: Vec<u64> = outputs.iter().filter_map(init).collect();
    assert!(outputs.contains(&note(Note::Asking { before: 3 })));
    ids.push(first);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 4);
    assert!(ids.iter().all(|id| (1..=0x7fff_ffff).contains(id)), "{ids:?}");
}

#[test]
fn a_number_is_never_zero() {
    for random in [0, 1, u32::MAX] {
        let mut client = Client::new(settings());
        client.handle_opened(crate::MonotonicTime::START);
        client.handle_timeout(crate::MonotonicTime::START, random);
        let outputs: Vec<Output> = std::iter::from_fn(|| client.poll_output()).collect();
        let id = outputs.iter().find_map(init).unwrap();
        assert!((1..=0x7fff_ffff).contains(&id), "{random}: {id}");
    }
}

#[test]
fn either_of_the_last_two_is_acknowledged_and_no_older_one() {
    for (which, enabled) in [(0, false), (1, true), (2, true)] {
        let (mut guest, first) = Guest::enabling();
        let second = guest.after(1000).ask();
        let third = guest.after(1000).ask();
        let outputs = guest.hears(ack([first, second, third][which]));
        let expected = if enabled { Note::Acknowledged } else { Note::WrongAck };
        assert_eq!(outputs, [note(expected)]);
        assert_eq!(state(&guest), if enabled { "enabled" } else { "enabling" });
    }
}

#[test]
fn of_two_acknowledgements_the_last_one_counts() {
    let (mut guest, first) = Guest::enabling();
    let second = guest.after(1000).ask();
    guest.hears(ack(first));
    guest.hears(ack(second));
    let State::Enabled { invocation_id, .. } = guest.client.state() else { panic!() };
    assert_eq!(invocation_id, second);
}

#[test]
fn a_challenge_is_answered_at_once_while_enabled_and_never_before() {
    let (mut guest, id) = Guest::enabling();
    assert_eq!(
        guest.hears(HostMessage::Challenge { heartbeat_challenge: 5 }),
        [note(Note::StaleChallenge)]
    );
    guest.hears(ack(id));
    assert_eq!(guest.challenged(0), Some(response(0)));
    assert_eq!(guest.challenged(0x7fff_ffff), Some(response(0x7fff_ffff)));
    let outputs = guest.hears(HostMessage::Challenge { heartbeat_challenge: 1 });
    assert_eq!(outputs.last(), Some(&note(Note::Answered { first: false })));
}

#[test]
fn the_answer_says_how_the_guest_is() {
    let (mut guest, _) = Guest::enabled();
    let corrective_action = CorrectiveAction::Stop;
    let log_msg = "no disk".into();
    guest.client.handle_health(Health::Unhealthy { corrective_action, log_msg });
    let Some(GuestMessage::ChallengeResponse(answer)) = guest.challenged(9) else { panic!() };
    assert_eq!(answer.heartbeat_health, Word::Unhealthy);
    assert_eq!((answer.corrective_action, &*answer.log_msg), (corrective_action, "no disk"));
    guest.client.handle_health(Health::Healthy);
    assert_eq!(guest.challenged(9), Some(response(9)));
}

#[test]
fn without_a_challenge_for_two_intervals_it_starts_over() {
    for (interval, patience) in [(400, 5000), (1000, 5000), (2500, 5000), (4000, 8000)] {
        let mut guest = Guest::new();
        let settings = Settings { heartbeat_interval_ms: interval, ..settings() };
        guest.client.handle_settings(guest.now, settings);
        guest.client.handle_opened(guest.now);
        let id = guest.ask();
        guest.after(100).hears(ack(id));
        assert_eq!(guest.due_in(), Some(Duration::from_millis(patience)), "{interval}");
        guest.after(300).challenged(1);
        assert_eq!(guest.due_in(), Some(Duration::from_millis(patience)), "{interval}");
        let outputs = guest.run(patience);
        let silent = Duration::from_millis(patience);
        assert_eq!(outputs[0], note(Note::Silent { silent }));
        assert!(outputs.iter().any(|output| init(output).is_some()));
        assert_eq!(state(&guest), "enabling");
        assert_eq!(guest.challenged(2), None);
    }
}

#[test]
fn time_that_the_program_lost_is_not_held_against_the_host() {
    let (mut guest, _) = Guest::enabled();
    let late = Duration::from_millis(1001);
    assert_eq!(guest.after(6001).timeout(), [note(Note::LostTime { late })]);
    assert_eq!(state(&guest), "enabled");
    assert_eq!(guest.due_in(), Some(Duration::from_secs(5)));
    // A little late is not lost.
    assert_eq!(
        guest.after(6000).timeout()[0],
        note(Note::Silent { silent: Duration::from_millis(12_001) })
    );
}

#[test]
fn disabled_when_the_port_closes_from_any_state() {
    let (mut guest, id) = Guest::enabling();
    guest.client.handle_closed();
    assert_eq!((state(&guest), guest.due_in()), ("disabled", None));
    // What was asked through the former connection is forgotten.
    guest.client.handle_opened(guest.now);
    assert_eq!(guest.hears(ack(id)), [note(Note::WrongAck)]);
    let id = guest.ask();
    guest.hears(ack(id));
    guest.client.handle_closed();
    assert_eq!((state(&guest), guest.due_in()), ("disabled", None));
    assert_eq!(guest.challenged(1), None);
}

#[test]
fn a_clean_stop_says_exit_and_nothing_after_it() {
    for enabled in [false, true] {
        let (mut guest, id) = if enabled { Guest::enabled() } else { Guest::enabling() };
        guest.client.handle_exit("stops");
        let exit = GuestMessage::Exit { log_msg: "stops".into() };
        assert_eq!(messages(&guest.outputs()), [exit]);
        guest.client.handle_opened(guest.now);
        guest.client.handle_exit("again");
        assert!(guest.hears(ack(id)).is_empty() && guest.run(60_000).is_empty());
        guest.client.handle_closed();
        assert_eq!(state(&guest), "left");
    }
    let mut guest = Guest::new();
    guest.client.handle_exit("stops");
    assert!(guest.outputs().is_empty(), "nobody to tell");
}

#[test]
fn new_settings_are_told_at_once_and_the_same_ones_are_not() {
    let (mut guest, _) = Guest::enabled();
    guest.client.handle_settings(guest.now, settings());
    assert_eq!(state(&guest), "enabled");
    let init_retry = Duration::from_secs(2);
    guest.client.handle_settings(guest.now, Settings { init_retry, ..settings() });
    assert_eq!(state(&guest), "enabled", "the host does not learn of that one");
    guest.client.handle_settings(guest.now, Settings { vote_secs: 20, ..settings() });
    let [GuestMessage::Init(said)] = &messages(&guest.timeout())[..] else { panic!() };
    assert_eq!(said.vote_secs, 21);
}

#[test]
fn what_is_no_message_is_counted_and_ignored() {
    let (mut guest, _) = Guest::enabled();
    let long = format!("\n{}\n", "x".repeat(5000));
    for (bytes, expected) in [
        (&b"\nnot json\n"[..], Note::Malformed(MalformedKind::NotAnObject)),
        (long.as_bytes(), Note::TooLong),
        (
            br#"{"version":2,"revision":1,"msg_type":"challenge","sequence":1,"heartbeat_challenge":1}
"#,
            Note::Malformed(MalformedKind::BadVersion(2)),
        ),
        (
            br#"{"version":4,"revision":1,"msg_type":"challenge","sequence":1,"heartbeat_challenge":1}
"#,
            Note::Version(4),
        ),
        (
            br#"{"version":3,"revision":1,"msg_type":"challenge","sequence":1}
"#,
            Note::Malformed(MalformedKind::Key("heartbeat_challenge")),
        ),
        (
            br#"{"version":3,"revision":1,"msg_type":"init","sequence":1}
"#,
            Note::Malformed(MalformedKind::UnsupportedType("init".into())),
        ),
    ] {
        assert_eq!(guest.hears_bytes(bytes), [note(expected)]);
    }
    assert_eq!(guest.challenged(3), Some(response(3)), "still there");
    let log_msg = "failed to parse name";
    let nack = HostMessage::Nack { invocation_id: 0, log_msg: log_msg.into() };
    assert_eq!(guest.hears(nack), [note(Note::Nack { log_msg: log_msg.into() })]);
}

#[test]
fn the_rest_of_a_line_from_before_the_connection_is_no_error() {
    let mut guest = Guest::new();
    guest.client.handle_opened(guest.now);
    assert_eq!(guest.hears_bytes(b"ce\":17}\n"), [note(Note::Fragment)]);
    assert_eq!(
        guest.hears_bytes(b"ce\":17}\n"),
        [note(Note::Malformed(MalformedKind::NotAnObject))]
    );
}

#[test]
fn the_sequence_is_one_more_than_the_last_seen_or_sent() {
    let (mut guest, _) = Guest::enabled();
    let sequences = |outputs: Vec<Output>| -> Vec<u64> {
        let sent = outputs.into_iter().filter_map(|output| match output {
            Output::Send { sequence, .. } => Some(sequence),
            Output::Decide(_) | Output::Withdraw(_) | Output::Note(_) => None,
        });
        sent.collect()
    };
    let challenge = HostMessage::Challenge { heartbeat_challenge: 1 };
    // The harness counts from 101; the acknowledgement was that one.
    assert_eq!(sequences(guest.hears(challenge.clone())), [103]);
    assert_eq!(sequences(guest.hears(challenge)), [104]);
    guest.client.handle_exit("");
    assert_eq!(sequences(guest.outputs()), [105]);
}

#[test]
fn an_answer_to_nobody_is_ignored() {
    let (mut guest, id) = Guest::enabled();
    let stop = crate::guest::EventType::Stop;
    let revocable = crate::guest::NotificationType::Revocable;
    let action = guest.asked(id, stop, revocable, 9000);
    guest.client.handle_closed();
    assert!(guest.outputs().contains(&withdraw(action.id)));
    let vote_result = crate::guest::VoteResult::Accept;
    guest.client.handle_verdict(action.id, Verdict { vote_result, log_msg: "".into() });
    assert!(guest.outputs().is_empty());
}
