//! What an action that was answered, or not, does to the heartbeat and the connection.

use NotificationType::{Irrevocable, Revocable};

use super::harness::{Bench, DAY, NOTHING, OFF, ON, T, at, init};
use crate::guest::{GuestMessage, Init, NotificationType, VoteResult};
use crate::session::{ConnectError, Note, Settings, State};

fn suspended() -> Bench {
    let mut bench = Bench::running();
    bench.act("suspend", Irrevocable);
    let words = bench.vote("suspend", Irrevocable, VoteResult::Complete);
    assert_eq!(words, ["VOTE suspend irrevocable complete", "STOPPED", "close"]);
    bench
}

fn paused() -> Bench {
    let mut bench = Bench::running();
    bench.act("pause", Irrevocable);
    let words = bench.vote("pause", Irrevocable, VoteResult::Complete);
    assert_eq!(words, ["VOTE pause irrevocable complete"], "no event");
    assert_eq!(bench.session.state(), State::Paused);
    bench
}

#[test]
fn a_resume_while_not_connected_reconnects_at_once() {
    for notification in [Revocable, Irrevocable] {
        let mut waiting = Bench::new(Settings::default(), ON, true);
        for _ in 0..5 {
            waiting.connect_failed(ConnectError::NotFound);
            waiting.wait(16 * T);
        }
        waiting.connect_failed(ConnectError::NotFound);
        for (mut bench, agreed) in [(waiting, 1), (suspended(), 1)] {
            let words = bench.act("resume", notification);
            assert_eq!((words[0].as_str(), words.len()), ("connect", 1 + agreed));
            bench.connect_failed(ConnectError::Unavailable);
            assert_eq!(bench.wait(T), ["connect"], "it is looked at twice");
            assert_eq!(bench.connect_failed(ConnectError::Unavailable), NOTHING);
            assert_eq!(bench.timeline(T), at([(T, "connect")]), "the wait begins anew, too");
        }
    }
}

#[test]
fn a_resume_while_not_heartbeating_reconnects_at_once() {
    for mut bench in [Bench::connected(), Bench::inited()] {
        let words = bench.act("resume", Irrevocable);
        assert_eq!(words, ["close", "connect", "VOTE resume irrevocable complete"]);
    }
    let mut bench = Bench::running();
    assert_eq!(bench.act("resume", Irrevocable), ["action_notify resume irrevocable 13000"]);
}

#[test]
fn a_resume_that_replaces_an_open_suspend_reconnects_too() {
    let mut bench = Bench::running();
    bench.act("suspend", Irrevocable);
    let words = bench.act("resume", Irrevocable);
    let expected = [
        "VOTE suspend irrevocable complete",
        "STOPPED",
        "close",
        "connect",
        "VOTE resume irrevocable complete",
    ];
    assert_eq!(words, expected);
    assert_eq!(bench.session.state(), State::Disconnected);

    let mut bench = Bench::inited();
    bench.act("suspend", Irrevocable);
    assert_eq!(
        bench.act("resume", Irrevocable).iter().filter(|word| *word == "connect").count(),
        1
    );
    assert_eq!(bench.session.state(), State::Disconnected, "and not suspended for good");
}

#[test]
fn a_paused_guest_gets_no_challenges_and_still_counts_as_heartbeating() {
    let mut bench = paused();
    assert!(bench.heartbeating());
    assert_eq!(bench.wait(7 * DAY), NOTHING);
    assert_eq!((bench.session.state(), bench.heartbeating()), (State::Paused, true));
    assert_eq!(bench.say(&GuestMessage::Exit { log_msg: "".into() }), ["STOPPED"]);
}

#[test]
fn only_a_pause_that_was_notified_and_not_rejected_stops_the_challenges() {
    for notification in [Revocable, Irrevocable] {
        for result in VoteResult::ALL {
            let mut bench = Bench::running();
            bench.act("pause", notification);
            bench.vote("pause", notification, *result);
            let pauses = notification == Irrevocable && *result != VoteResult::Reject;
            let expected = if pauses { State::Paused } else { State::WaitingChallenge };
            assert_eq!(bench.session.state(), expected, "{notification} {result}");
        }
    }
}

#[test]
fn a_pause_that_nobody_answers_is_complete_when_its_time_is_over() {
    let mut bench = Bench::running();
    bench.act("pause", Irrevocable);
    let seen = bench.alive(100 * T);
    assert_eq!(seen.last(), Some(&(12 * T, "VOTE pause irrevocable complete".to_owned())));
    assert_eq!(seen.len(), 11 + 1, "challenges until then: {seen:?}");
    let mut bench = Bench::running();
    bench.act("pause", Revocable);
    bench.alive(100 * T);
    assert_eq!(bench.session.state(), State::WaitingChallenge);
}

#[test]
fn a_guest_that_never_ran_is_not_challenged_either_once_it_is_paused() {
    let mut bench = Bench::inited();
    bench.act("pause", Irrevocable);
    bench.vote("pause", Irrevocable, VoteResult::Complete);
    assert_eq!(bench.wait(100 * T), NOTHING, "a paused guest cannot answer");
}

#[test]
fn a_notified_unpause_sends_a_fresh_challenge_and_misses_count_from_its_time_on() {
    let mut bench = paused();
    let number = bench.challenge;
    let asked = "action_notify unpause irrevocable 13000";
    assert_eq!(bench.act("unpause", Irrevocable), [asked, "challenge"]);
    assert_ne!(bench.challenge, number);
    let mut expected: Vec<_> = (1..13).map(|n| (n * T, "challenge".to_owned())).collect();
    expected.push((13 * T, "VOTE unpause irrevocable complete".to_owned()));
    expected.push((13 * T, "challenge".to_owned()));
    assert_eq!(bench.timeline(13 * T), expected);
    assert_eq!(bench.session.misses(), 1);
    assert_eq!(bench.timeline(T), at([(T, "STOPPED"), (T, "LOSS")]));
}

#[test]
fn a_guest_that_answers_after_its_unpause_heartbeats_on() {
    let mut bench = paused();
    bench.act("unpause", Irrevocable);
    bench.wait(5 * T + 1);
    assert_eq!(bench.answer(), NOTHING, "it was heartbeating all the time");
    assert_eq!(bench.alive(T), at([(T - 1, "challenge")]));
}

#[test]
fn silence_in_the_time_of_an_unpause_is_not_held_against_the_guest_without_reporting_either() {
    let mut bench = Bench::with(Settings::default(), OFF);
    bench.say(&GuestMessage::Init(init()));
    bench.answer();
    bench.act("pause", Irrevocable);
    bench.vote("pause", Irrevocable, VoteResult::Complete);
    bench.act("unpause", Irrevocable);
    let mut words = bench.wait(13 * T);
    words.retain(|word| word != "challenge");
    assert_eq!(words, ["VOTE unpause irrevocable complete", "STOPPED"]);
}

#[test]
fn an_init_ends_the_time_of_an_unpause() {
    let mut bench = paused();
    bench.act("unpause", Irrevocable);
    bench.wait(T);
    bench.say(&GuestMessage::Init(Init { resume_notice_secs: 3600, ..init() }));
    assert_eq!(bench.timeline(2 * T), at([(T, "challenge"), (2 * T, "STOPPED"), (2 * T, "LOSS")]));
}

#[test]
fn an_unpause_that_was_only_voted_on_sends_no_challenge() {
    let mut bench = paused();
    assert_eq!(bench.act("unpause", Revocable), ["action_notify unpause revocable 10000"]);
    bench.vote("unpause", Revocable, VoteResult::Accept);
    assert_eq!((bench.wait(100 * T), bench.session.state()), (vec![], State::Paused));
}

#[test]
fn an_unpause_that_replaces_an_open_pause_goes_on_with_challenges() {
    let mut bench = Bench::running();
    bench.act("pause", Irrevocable);
    let words = bench.act("unpause", Irrevocable);
    let asked = "action_notify unpause irrevocable 13000";
    assert_eq!(words, ["VOTE pause irrevocable complete", asked, "challenge"]);
}

#[test]
fn a_suspended_guest_waits_for_a_resume_or_a_channel_event() {
    let mut bench = suspended();
    assert_eq!((bench.session.state(), bench.heartbeating()), (State::Suspended, false));
    assert_eq!(bench.wait(7 * DAY), NOTHING);
    assert_eq!(bench.close(), NOTHING, "closed already");
    assert_eq!(bench.input(|session, now, _| session.handle_channel_changed(now)), ["connect"]);
    let mut bench = suspended();
    assert_eq!(bench.act("resume", Irrevocable), ["connect", "VOTE resume irrevocable complete"]);
    bench.connect();
    assert_eq!(bench.session.state(), State::WaitingInit);
    let mut bench = suspended();
    bench.input(|session, _, _| session.handle_provisioned());
    bench.input(|session, now, _| session.handle_channel_gone(now));
    assert_eq!(bench.timeline(T), at([(T, "connect")]));
}

#[test]
fn only_a_suspend_that_was_notified_and_not_rejected_closes_the_channel() {
    for notification in [Revocable, Irrevocable] {
        for result in VoteResult::ALL {
            let mut bench = Bench::running();
            bench.act("suspend", notification);
            bench.vote("suspend", notification, *result);
            let suspends = notification == Irrevocable && *result != VoteResult::Reject;
            let expected = if suspends { State::Suspended } else { State::WaitingChallenge };
            assert_eq!(bench.session.state(), expected, "{notification} {result}");
        }
    }
}

#[test]
fn a_suspend_that_nobody_answers_is_complete_when_its_time_is_over() {
    let mut bench = Bench::running();
    bench.act("suspend", Irrevocable);
    let seen = bench.alive(100 * T);
    let end =
        at([(12 * T, "VOTE suspend irrevocable complete"), (12 * T, "STOPPED"), (12 * T, "close")]);
    assert_eq!(seen[11..], end, "{seen:?}");
    let mut bench = Bench::inited();
    bench.act("suspend", Irrevocable);
    let words = bench.vote("suspend", Irrevocable, VoteResult::Complete);
    assert_eq!(words, ["VOTE suspend irrevocable complete", "close"], "it never ran");
}

/// Whether an `init` is awaited 60 s after the action is over, by its name.
fn expects_init(event: &str) -> bool {
    ["suspend", "live_migrate_begin", "cold_migrate_begin", "reboot"].contains(&event)
}

const EVENTS: [&str; 14] = [
    "stop",
    "reboot",
    "suspend",
    "pause",
    "unpause",
    "resume",
    "resize_begin",
    "resize_end",
    "live_migrate_begin",
    "live_migrate_end",
    "cold_migrate_begin",
    "cold_migrate_end",
    "unknown",
    "defragment",
];

/// Asks, and ends it by an answer or by silence while the guest goes on heartbeating.
fn over(event: &str, notification: NotificationType, answer: Option<VoteResult>) -> Bench {
    let mut bench = Bench::running();
    if bench.act(event, notification).contains(&"challenge".to_owned()) {
        bench.answer();
    }
    match answer {
        Some(result) => assert_eq!(bench.vote(event, notification, result).len(), 1),
        None => loop {
            if bench.alive(T).iter().any(|(_, word)| word.starts_with("VOTE")) {
                break;
            }
        },
    }
    bench
}

#[test]
fn sixty_seconds_after_some_actions_an_init_is_awaited_and_no_event_goes_out() {
    for event in EVENTS {
        for notification in [Revocable, Irrevocable] {
            for answer in [None, Some(VoteResult::Accept), Some(VoteResult::Reject)] {
                let stops = ["pause", "suspend"].contains(&event) && notification == Irrevocable;
                if stops && answer != Some(VoteResult::Reject) {
                    continue; // Its heartbeat stops at once; seen above.
                }
                let mut bench = over(event, notification, answer);
                let ended = bench.now;
                let name = format!("{event} {notification} {answer:?}");
                let seen = bench.alive(60 * T - 1);
                assert!(seen.iter().all(|(_, word)| word == "challenge"), "{name}: {seen:?}");
                assert_eq!(bench.session.state(), State::WaitingChallenge, "{name}");
                bench.alive(1);
                let waits = bench.session.state() == State::WaitingInit;
                assert_eq!(waits, expects_init(event), "{name} {:?}", bench.now.since(ended));
                assert_eq!(bench.notes().contains(&&Note::AwaitingInit), waits, "{name}");
                assert!(bench.heartbeating(), "{name}");
                if waits {
                    assert_eq!(bench.wait(100 * T), NOTHING, "{name}");
                }
            }
        }
    }
}

#[test]
fn an_init_in_those_sixty_seconds_cancels_the_wait() {
    for event in EVENTS.into_iter().filter(|event| expects_init(event)) {
        let mut bench = over(event, Revocable, Some(VoteResult::Accept));
        bench.alive(59 * T);
        bench.say(&GuestMessage::Init(init()));
        assert_eq!(bench.answer(), ["RUNNING"]);
        assert_eq!(bench.alive(100 * T).len(), 100, "{event}: challenged all the time");
    }
}

#[test]
fn the_sixty_seconds_begin_anew_with_the_next_such_action() {
    let mut bench = over("reboot", Revocable, Some(VoteResult::Accept));
    bench.alive(50 * T);
    bench.act("reboot", Irrevocable);
    bench.vote("reboot", Irrevocable, VoteResult::Complete);
    assert_eq!(bench.alive(60 * T - 1).len(), 59);
    bench.alive(1);
    assert_eq!(bench.session.state(), State::WaitingInit);
}

#[test]
fn a_paused_guest_stays_so_and_heartbeating_through_those_sixty_seconds() {
    let mut bench = over("reboot", Revocable, Some(VoteResult::Reject));
    bench.act("pause", Irrevocable);
    bench.vote("pause", Irrevocable, VoteResult::Complete);
    assert_eq!(bench.wait(DAY), NOTHING);
    assert_eq!((bench.session.state(), bench.heartbeating()), (State::Paused, true));
    let mut bench = paused();
    bench.act("live_migrate_begin", Irrevocable);
    assert_eq!(bench.wait(DAY), ["VOTE live_migrate_begin irrevocable complete"]);
    assert_eq!((bench.session.state(), bench.heartbeating()), (State::Paused, true));
}
