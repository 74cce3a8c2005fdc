//! Challenges, answers, misses and losses: the table of "The heartbeat of one guest", row by row.

use super::harness::{Bench, NOTHING, OFF, ON, T, at, init, millis};
use crate::guest::{CorrectiveAction, GuestMessage, Health, Init, NotificationType};
use crate::session::{Note, Reporting, Settings, State};

const DISABLED: [Reporting; 3] =
    [OFF, Reporting { host: true, instance: false }, Reporting { host: false, instance: true }];

fn init_43() -> GuestMessage {
    GuestMessage::Init(Init { invocation_id: 43, heartbeat_interval_ms: 3 * T, ..init() })
}

/// Every state in which a connected guest can be, and whether it counts as heartbeating there.
fn states() -> Vec<(&'static str, Bench, State, bool)> {
    let mut missed = Bench::running();
    missed.wait(2 * T);
    assert_eq!(missed.session.misses(), 1);
    let mut lost = Bench::inited();
    assert_eq!(lost.wait(2 * T), ["challenge", "LOSS"]);
    let mut left = Bench::running();
    left.say(&GuestMessage::Exit { log_msg: "".into() });
    let mut paused = Bench::running();
    paused.act("pause", NotificationType::Irrevocable);
    paused.alive(12 * T);
    let mut expected = Bench::running();
    expected.act("reboot", NotificationType::Irrevocable);
    expected.alive(71 * T);
    vec![
        ("nothing heard", Bench::connected(), State::WaitingInit, false),
        ("first challenge out", Bench::inited(), State::WaitingResponse, false),
        ("answered", Bench::running(), State::WaitingChallenge, true),
        ("missed", missed, State::WaitingResponse, true),
        ("lost", lost, State::WaitingInit, false),
        ("left", left, State::WaitingInit, false),
        ("paused", paused, State::Paused, true),
        ("a minute after a reboot", expected, State::WaitingInit, true),
    ]
}

#[test]
fn an_init_is_acknowledged_and_the_first_challenge_goes_out_at_once() {
    let mut bench = Bench::connected();
    assert_eq!(bench.say(&GuestMessage::Init(init())), ["init_ack 42", "challenge"]);
    assert_eq!((bench.session.state(), bench.session.misses()), (State::WaitingResponse, 0));
    assert_eq!(bench.session.name(), "vm-one");
    assert!(!bench.heartbeating(), "only an answer makes it heartbeating");
}

#[test]
fn the_first_right_answer_after_an_init_is_running_and_later_ones_are_not() {
    let mut bench = Bench::inited();
    assert_eq!(bench.answer(), ["RUNNING"]);
    assert_eq!(bench.session.state(), State::WaitingChallenge);
    let info = bench.reported()[0];
    assert_eq!(info, bench.session.info());
    assert!(info.heartbeating && info.reporting);
    assert_eq!(info.repair_action, CorrectiveAction::Reboot);
    let times = (info.vote_secs, info.shutdown_secs, info.suspend_secs, info.resume_secs);
    assert_eq!((times, info.restart_secs), ((10, 11, 12, 13), 121));
    assert_eq!(
        bench.alive(3 * T),
        at([(T, "challenge"), (2 * T, "challenge"), (3 * T, "challenge")])
    );
}

#[test]
fn an_unhealthy_answer_is_an_answer_and_illhealth_if_it_asks_for_an_action() {
    for action in CorrectiveAction::ALL {
        let mut bench = Bench::inited();
        let words = bench.answer_health(bench.challenge.into(), Health::Unhealthy, *action);
        assert_eq!(bench.session.state(), State::WaitingChallenge);
        let infos = bench.reported();
        match action {
            CorrectiveAction::None | CorrectiveAction::Unknown => assert_eq!(words, ["RUNNING"]),
            CorrectiveAction::Reboot | CorrectiveAction::Stop | CorrectiveAction::Log => {
                assert_eq!(words, ["RUNNING".to_owned(), format!("ILLHEALTH {action}")]);
                assert!(infos[1].heartbeating);
            }
        }
        assert_eq!(bench.session.info().repair_action, CorrectiveAction::Reboot, "as in the init");
        bench.wait(T);
        let again = bench.answer_health(bench.challenge.into(), Health::Unhealthy, *action);
        assert_eq!(again, words[1..], "each unhealthy answer is told, RUNNING once");
    }
}

#[test]
fn a_healthy_answer_may_carry_any_corrective_action_and_it_means_nothing() {
    for action in CorrectiveAction::ALL {
        let mut bench = Bench::inited();
        let words = bench.answer_health(bench.challenge.into(), Health::Healthy, *action);
        assert_eq!(words, ["RUNNING"]);
    }
}

#[test]
fn an_answer_with_a_wrong_number_does_not_count() {
    let mut bench = Bench::running();
    bench.wait(T);
    for wrong in [u64::from(bench.challenge) + 1, 0, u64::from(bench.challenge) + (1 << 32)] {
        assert_eq!(bench.answer_number(wrong), NOTHING);
        assert_eq!(bench.notes(), [&Note::WrongNumber]);
        assert_eq!(bench.session.state(), State::WaitingResponse);
    }
    assert_eq!(bench.timeline(2 * T), at([(T, "challenge"), (2 * T, "STOPPED"), (2 * T, "LOSS")]));
}

#[test]
fn only_the_number_of_the_newest_challenge_counts() {
    let mut bench = Bench::running();
    bench.wait(T);
    let older = bench.challenge;
    bench.wait(T);
    assert_eq!(bench.answer_number(older.into()), NOTHING);
    assert_eq!((bench.notes(), bench.session.misses()), (vec![&Note::WrongNumber], 1));
    assert_eq!(bench.answer(), NOTHING);
    assert_eq!((bench.session.state(), bench.session.misses()), (State::WaitingChallenge, 0));
}

#[test]
fn each_challenge_has_a_fresh_number_of_31_bits_however_the_dice_fall() {
    for dice in [0, 7, i32::MAX.unsigned_abs(), u32::MAX] {
        let mut bench = Bench::with(Settings { failure_threshold: 9, ..Settings::default() }, ON);
        bench.say(&GuestMessage::Init(init()));
        let mut numbers = vec![];
        for _ in 0..4 {
            bench.now = bench.now + millis(T);
            bench.input(|session, now, _| session.handle_timeout(now, &mut || dice));
            numbers.push(bench.challenge);
        }
        assert!(numbers.windows(2).all(|pair| pair[0] != pair[1]), "{numbers:?}");
        assert!(numbers.iter().all(|number| *number <= i32::MAX.unsigned_abs()), "{numbers:?}");
    }
}

#[test]
fn up_to_the_threshold_an_interval_without_answer_is_a_miss_and_a_new_challenge() {
    let mut bench = Bench::running();
    bench.wait(T);
    assert_eq!(bench.timeline(T), at([(T, "challenge")]));
    assert_eq!(bench.notes(), [&Note::Missed { misses: 1, threshold: 1 }]);
    assert_eq!((bench.session.state(), bench.session.misses()), (State::WaitingResponse, 1));
}

#[test]
fn beyond_the_threshold_it_is_stopped_and_then_loss() {
    for threshold in 0..6 {
        let settings = Settings { failure_threshold: threshold, ..Settings::default() };
        let mut bench = Bench::with(settings, ON);
        bench.say(&GuestMessage::Init(init()));
        bench.answer();
        let failed = (u64::from(threshold) + 2) * T;
        let mut expected =
            (1..u64::from(threshold) + 2).map(|n| (n * T, "challenge")).collect::<Vec<_>>();
        expected.extend([(failed, "STOPPED"), (failed, "LOSS")]);
        let expected: Vec<_> = expected.into_iter().map(|(at, w)| (at, w.to_owned())).collect();
        assert_eq!(bench.timeline(100 * T), expected, "threshold {threshold}");
        assert_eq!(
            bench.notes().last(),
            Some(&&Note::Failed { heartbeating: true, unanswered: threshold + 1 })
        );
        assert!(!bench.reported()[0].heartbeating);
        assert_eq!((bench.session.state(), bench.session.misses()), (State::WaitingInit, 0));
    }
}

#[test]
fn an_answer_forgives_the_misses_before_it() {
    let mut bench = Bench::running();
    for _ in 0..5 {
        assert_eq!(bench.wait(2 * T), ["challenge", "challenge"]);
        assert_eq!(bench.session.misses(), 1);
        assert_eq!(bench.answer(), NOTHING);
        assert_eq!(bench.session.misses(), 0);
    }
}

#[test]
fn while_reporting_is_disabled_silence_is_stopped_without_loss() {
    for reporting in DISABLED {
        let mut bench = Bench::with(Settings::default(), reporting);
        bench.say(&GuestMessage::Init(init()));
        assert_eq!(bench.answer(), ["RUNNING"], "heartbeating does not depend on reporting");
        assert_eq!(bench.timeline(100 * T), at([(T, "challenge"), (2 * T, "STOPPED")]));
        assert_eq!(bench.notes(), [&Note::Silent]);
        assert_eq!(bench.session.state(), State::WaitingInit);
    }
}

#[test]
fn a_guest_that_sends_init_and_never_answers_is_lost_without_having_stopped() {
    let mut bench = Bench::inited();
    assert_eq!(bench.timeline(100 * T), at([(T, "challenge"), (2 * T, "LOSS")]));
    for reporting in DISABLED {
        let mut bench = Bench::with(Settings::default(), reporting);
        bench.say(&GuestMessage::Init(init()));
        assert_eq!(bench.wait(100 * T), NOTHING);
        assert_eq!(bench.session.state(), State::WaitingInit);
    }
}

#[test]
fn an_init_in_any_state_is_acknowledged_and_a_guest_that_was_heartbeating_stays_so() {
    for (name, mut bench, state, heartbeating) in states() {
        assert_eq!((bench.session.state(), bench.heartbeating()), (state, heartbeating), "{name}");
        assert_eq!(bench.say(&init_43()), ["init_ack 43", "challenge"], "{name}");
        assert_eq!(bench.session.state(), State::WaitingResponse, "{name}");
        assert_eq!((bench.heartbeating(), bench.session.misses()), (heartbeating, 0), "{name}");
        assert_eq!(bench.answer(), ["RUNNING"], "{name}");
        assert_eq!(bench.timeline(3 * T), at([(3 * T, "challenge")]), "{name}: new interval");
    }
}

#[test]
fn a_guest_that_was_heartbeating_and_misses_after_a_new_init_is_lost() {
    for (name, mut bench, _, heartbeating) in states() {
        bench.say(&init_43());
        let mut expected = at([(3 * T, "challenge"), (6 * T, "STOPPED"), (6 * T, "LOSS")]);
        if !heartbeating {
            expected.remove(1);
        }
        assert_eq!(bench.timeline(6 * T), expected, "{name}");
    }
}

#[test]
fn an_exit_is_stopped_if_heartbeating_and_never_loss() {
    for (name, mut bench, _, heartbeating) in states() {
        let words = bench.say(&GuestMessage::Exit { log_msg: "bye".into() });
        assert_eq!(words, if heartbeating { vec!["STOPPED"] } else { vec![] }, "{name}");
        assert_eq!(bench.notes(), [&Note::Exit { log_msg: "bye".into() }], "{name}");
        assert_eq!(bench.session.state(), State::WaitingInit, "{name}");
        assert_eq!(bench.wait(100 * T), NOTHING, "{name}");
    }
}

#[test]
fn reporting_that_becomes_disabled_is_stopped_if_heartbeating_and_waits_for_an_init() {
    for reporting in DISABLED {
        for (name, mut bench, _, heartbeating) in states() {
            let words = bench.report(reporting);
            assert_eq!(words, if heartbeating { vec!["STOPPED"] } else { vec![] }, "{name}");
            assert_eq!(bench.notes(), [&Note::Reporting(false)], "{name}");
            assert_eq!(bench.session.state(), State::WaitingInit, "{name}");
            assert_eq!(bench.wait(100 * T), NOTHING, "{name}");
            assert_eq!(bench.say(&init_43()), ["init_ack 43", "challenge"], "{name}");
            assert_eq!(bench.answer(), ["RUNNING"], "{name}");
        }
    }
}

#[test]
fn reporting_that_becomes_enabled_or_stays_as_it_is_disturbs_nobody() {
    for (before, after) in [(OFF, ON), (DISABLED[1], DISABLED[2]), (OFF, DISABLED[1]), (ON, ON)] {
        let mut bench = Bench::with(Settings::default(), before);
        bench.say(&GuestMessage::Init(init()));
        bench.answer();
        assert_eq!(bench.report(after), NOTHING);
        assert_eq!(bench.session.info().reporting, after.instance);
        assert_eq!(bench.alive(2 * T), at([(T, "challenge"), (2 * T, "challenge")]));
    }
}

#[test]
fn a_late_response_is_counted_and_ignored() {
    for (name, mut bench, state, heartbeating) in states() {
        if state == State::WaitingResponse {
            continue;
        }
        let due = bench.session.poll_timeout();
        assert_eq!(bench.answer(), NOTHING, "{name}");
        assert_eq!(bench.notes(), [&Note::LateResponse], "{name}");
        assert_eq!((bench.session.state(), bench.heartbeating()), (state, heartbeating), "{name}");
        assert_eq!(bench.session.poll_timeout(), due, "{name}");
    }
}

#[test]
fn a_call_before_anything_is_due_does_nothing() {
    for (name, mut bench, state, _) in states() {
        assert_eq!(bench.wake(millis(1)), NOTHING, "{name}");
        assert_eq!((bench.session.state(), bench.outputs.len()), (state, 0), "{name}");
    }
}
