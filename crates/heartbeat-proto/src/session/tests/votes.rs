//! Asking and telling: how long is waited, what is an answer, and what silence means.

use NotificationType::{Irrevocable, Revocable};

use super::harness::{Bench, NOTHING, OFF, ON, T, at, init};
use crate::guest::{ActionResponse, GuestMessage, Init, NotificationType, VoteResult};
use crate::session::{ConcludedBy, ConnectError, Note, Settings, State};

const SHUTDOWN: u64 = 11;
const SUSPEND: u64 = 12;
const RESUME: u64 = 13;
const VOTE: u64 = 10;

/// An action, the seconds of its notification, and whether its time is known. A vote's are always
/// `vote_secs`.
const TIMES: &[(&str, u64, bool)] = &[
    ("stop", SHUTDOWN, true),
    ("reboot", SHUTDOWN, true),
    ("pause", SUSPEND, true),
    ("suspend", SUSPEND, true),
    ("resize_begin", SUSPEND, true),
    ("live_migrate_begin", SUSPEND, true),
    ("cold_migrate_begin", SUSPEND, true),
    ("unpause", RESUME, true),
    ("resume", RESUME, true),
    ("resize_end", RESUME, true),
    ("live_migrate_end", RESUME, true),
    ("cold_migrate_end", RESUME, true),
    ("unknown", VOTE, false),
    ("defragment", VOTE, false),
];

fn table() -> impl Iterator<Item = (&'static str, NotificationType, u64, bool)> {
    TIMES.iter().flat_map(|&(event, secs, known)| {
        [(event, Revocable, VOTE, known), (event, Irrevocable, secs, known)]
    })
}

const fn agreement(notification: NotificationType) -> VoteResult {
    match notification {
        Revocable => VoteResult::Accept,
        Irrevocable => VoteResult::Complete,
    }
}

#[test]
fn each_action_has_its_time_and_silence_until_then_is_agreement() {
    for (event, notification, secs, known) in table() {
        let mut bench = Bench::running();
        let words = bench.act(event, notification);
        let asked = format!("action_notify {event} {notification} {}", secs * 1000);
        assert_eq!(words[0], asked);
        let Note::Asked { timeout, known: noted, .. } = bench.notes()[0] else { panic!() };
        assert_eq!((timeout.as_secs(), *noted), (secs, known), "{asked}");
        if words.len() > 1 {
            bench.answer();
        }
        let votes = |seen: Vec<(u64, String)>| -> Vec<_> {
            seen.into_iter().filter(|(_, word)| word.starts_with("VOTE")).collect()
        };
        assert_eq!(votes(bench.alive(secs * 1000 - 1)), [], "{asked}");
        let vote = format!("VOTE {event} {notification} {}", agreement(notification));
        assert_eq!(votes(bench.alive(1)), at([(1, &vote)]), "{asked}");
        assert_eq!(votes(bench.alive(100 * T)), [], "told once");
    }
}

#[test]
fn before_any_init_the_times_are_the_defaults_and_the_invocation_id_is_0() {
    for (event, notification, ..) in table() {
        let mut bench = Bench::connected();
        if event == "resume" {
            continue; // It reconnects.
        }
        let asked = format!("action_notify {event} {notification} 10000");
        assert_eq!(bench.act(event, notification), [asked]);
        assert!(format!("{:?}", bench.outputs).contains("invocation_id: 0,"));
    }
}

#[test]
fn an_answer_is_reported_as_it_is_with_its_reason() {
    for notification in [Revocable, Irrevocable] {
        for result in VoteResult::ALL {
            let mut bench = Bench::running();
            bench.act("stop", notification);
            let words = bench.say(&GuestMessage::ActionResponse(ActionResponse {
                invocation_id: 42,
                event_type: "stop".into(),
                notification_type: notification,
                vote_result: *result,
                log_msg: "not now".into(),
            }));
            assert_eq!(words, [format!("VOTE stop {notification} {result}: not now")]);
            let votes =
                bench.alive(100 * T).into_iter().filter(|(_, word)| word.starts_with("VOTE"));
            assert_eq!(votes.count(), 0, "told once");
        }
    }
}

#[test]
fn an_answer_of_another_invocation_is_refused_and_dropped() {
    let mut bench = Bench::running();
    bench.act("stop", Revocable);
    let answer = |invocation_id| {
        GuestMessage::ActionResponse(ActionResponse {
            invocation_id,
            event_type: "stop".into(),
            notification_type: Revocable,
            vote_result: VoteResult::Reject,
            log_msg: "".into(),
        })
    };
    let nack = "nack 42 Invocation id mismatch. Received: 7 expect: 42";
    assert_eq!(bench.say(&answer(7)), [nack]);
    assert_eq!(bench.notes(), [&Note::WrongInvocation { received: 7, expected: 42 }]);
    assert_eq!(bench.say(&answer(42)), ["VOTE stop revocable reject"], "still open");

    let mut bench = Bench::running();
    bench.act("stop", Revocable);
    bench.say(&GuestMessage::Init(Init { invocation_id: 43, ..init() }));
    let nack = "nack 43 Invocation id mismatch. Received: 42 expect: 43";
    assert_eq!(bench.say(&answer(42)), [nack], "the newest init's id counts");
}

#[test]
fn an_answer_to_what_is_not_open_changes_nothing() {
    let mut bench = Bench::running();
    assert_eq!(bench.vote("stop", Revocable, VoteResult::Reject), NOTHING);
    assert_eq!(bench.notes(), [&Note::UnexpectedVote]);
    bench.act("stop", Revocable);
    for (event, notification) in
        [("stop", Irrevocable), ("reboot", Revocable), ("unknown", Revocable)]
    {
        assert_eq!(bench.vote(event, notification, VoteResult::Reject), NOTHING);
        assert_eq!(bench.notes(), [&Note::UnexpectedVote]);
    }
    assert_eq!(bench.vote("stop", Revocable, VoteResult::Reject), ["VOTE stop revocable reject"]);
    assert_eq!(bench.vote("stop", Revocable, VoteResult::Accept), NOTHING, "answered already");
}

#[test]
fn a_guest_may_answer_an_action_it_does_not_know_as_unknown() {
    for answered in ["defragment", "unknown"] {
        let mut bench = Bench::running();
        bench.act("defragment", Irrevocable);
        let words = bench.vote(answered, Irrevocable, VoteResult::Complete);
        assert_eq!(words, ["VOTE defragment irrevocable complete"]);
    }
}

#[test]
fn a_newer_action_replaces_the_older_which_is_reported_as_agreed() {
    for (notification, agreed) in [(Revocable, "accept"), (Irrevocable, "complete")] {
        let mut bench = Bench::running();
        bench.act("stop", notification);
        bench.alive(5 * T);
        let words = bench.act("reboot", Revocable);
        let older = format!("VOTE stop {notification} {agreed}");
        assert_eq!(words, [older.as_str(), "action_notify reboot revocable 10000"]);
        assert!(matches!(bench.notes()[0], Note::Concluded { by: ConcludedBy::Replaced, .. }));
        assert_eq!(bench.vote("stop", notification, VoteResult::Reject), NOTHING, "too late");
        let seen = bench.alive(20 * T);
        let votes: Vec<_> = seen.iter().filter(|(_, word)| word.starts_with("VOTE")).collect();
        assert_eq!(votes, [&(10 * T, "VOTE reboot revocable accept".to_owned())], "its own time");
    }
}

#[test]
fn an_action_while_not_connected_is_agreed_at_once() {
    for (event, notification, ..) in table() {
        let connecting = || Bench::new(Settings::default(), ON, true);
        let mut waiting = connecting();
        waiting.connect_failed(ConnectError::Unavailable);
        let mut suspended = Bench::running();
        suspended.act("suspend", Irrevocable);
        suspended.vote("suspend", Irrevocable, VoteResult::Complete);
        assert_eq!(suspended.session.state(), State::Suspended);
        for mut bench in [connecting(), waiting, suspended] {
            let mut words = bench.act(event, notification);
            words.retain(|word| word != "connect");
            assert_eq!(words, [format!("VOTE {event} {notification} {}", agreement(notification))]);
            let mut later = bench.wait(30 * T);
            later.retain(|word| word != "connect");
            assert_eq!(later, NOTHING);
        }
    }
}

#[test]
fn the_wait_goes_on_whatever_becomes_of_the_heartbeat_and_the_connection() {
    let upsets: [fn(&mut Bench); 6] = [
        |bench| drop(bench.close()),
        |bench| drop(bench.say(&GuestMessage::Exit { log_msg: "".into() })),
        |bench| drop(bench.say(&GuestMessage::Init(init()))),
        |bench| drop(bench.report(OFF)),
        |bench| drop(bench.input(|session, now, _| session.handle_channel_changed(now))),
        |bench| {
            bench.input(|session, _, _| session.handle_provisioned());
            bench.input(|session, now, _| session.handle_channel_gone(now));
        },
    ];
    for upset in upsets {
        let mut bench = Bench::running();
        bench.act("stop", Irrevocable);
        upset(&mut bench);
        let seen = bench.timeline(100 * T);
        let votes: Vec<_> = seen.iter().filter(|(_, word)| word.starts_with("VOTE")).collect();
        assert_eq!(votes, [&(11 * T, "VOTE stop irrevocable complete".to_owned())]);
    }
}

#[test]
fn a_vote_whose_time_is_nothing_is_agreed_as_soon_as_the_clock_is_looked_at() {
    let mut bench = Bench::connected();
    bench.say(&GuestMessage::Init(Init { vote_secs: 0, ..init() }));
    assert_eq!(bench.act("stop", Revocable), ["action_notify stop revocable 0"]);
    assert_eq!(bench.timeline(0), at([(0, "VOTE stop revocable accept")]));
}

#[test]
fn asking_does_not_disturb_the_heartbeat() {
    let mut bench = Bench::running();
    bench.act("stop", Revocable);
    assert_eq!(bench.alive(2 * T), at([(T, "challenge"), (2 * T, "challenge")]));
    let seen = bench.timeline(3 * T);
    assert_eq!(
        seen,
        at([(T, "challenge"), (2 * T, "challenge"), (3 * T, "STOPPED"), (3 * T, "LOSS")])
    );
}
