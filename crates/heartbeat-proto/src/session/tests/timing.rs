//! When challenges go out and losses are reported, and what time that the host lost does to that.

use std::time::Duration;

use super::harness::{Bench, DAY, NOTHING, OFF, ON, T, at, init, millis};
use crate::guest::GuestMessage;
use crate::session::{Note, Settings};

#[test]
fn the_next_challenge_goes_out_an_interval_after_the_last_whenever_the_answer_came() {
    for answered in [0, 1, T / 2, T - 1, T] {
        let mut bench = Bench::running();
        bench.wait(T);
        bench.now = bench.now + millis(answered);
        assert_eq!(bench.answer(), NOTHING);
        assert_eq!(bench.timeline(T - answered), at([(T - answered, "challenge")]));
    }
}

#[test]
fn a_little_lateness_does_not_add_up_and_takes_nothing_from_the_guest() {
    let mut bench = Bench::running();
    let start = bench.now;
    for n in 1..=10 {
        let due = bench.session.poll_timeout().unwrap();
        assert_eq!(due, start + millis(n * T), "challenge {n}");
        assert_eq!(bench.wake(due.since(bench.now) + millis(60)), ["challenge"]);
        assert_eq!(bench.session.poll_timeout(), Some(bench.now + millis(T)), "to answer");
        bench.answer();
    }
    let due = bench.session.poll_timeout().unwrap();
    bench.wake(due.since(bench.now) + millis(T / 2));
    bench.answer();
    assert_eq!(
        bench.session.poll_timeout(),
        Some(bench.now + millis(T)),
        "much is not made up for"
    );
}

#[test]
fn a_guest_that_dies_is_reported_between_two_and_three_intervals_later() {
    for answered in (0..=T).step_by(50) {
        let mut bench = Bench::running();
        bench.wait(T);
        bench.now = bench.now + millis(answered);
        bench.answer();
        let seen = bench.timeline(100 * T);
        let lost: Vec<_> = seen.iter().filter(|(_, word)| word == "LOSS").collect();
        assert_eq!(lost.len(), 1, "{seen:?}");
        assert!((2 * T..=3 * T).contains(&lost[0].0), "answered after {answered}: {seen:?}");
    }
}

#[test]
fn an_answer_that_came_before_the_clock_was_looked_at_is_an_answer() {
    let mut bench = Bench::running();
    bench.wait(T);
    bench.now = bench.now + millis(T + 300);
    assert_eq!(bench.answer(), NOTHING);
    assert_eq!(bench.wake(Duration::ZERO), ["challenge"]);
    assert_eq!(bench.session.misses(), 0);
}

#[test]
fn one_interval_late_is_a_miss_and_more_than_one_is_lost_time_with_one_fresh_challenge() {
    let nanosecond = Duration::from_nanos(1);
    let lost =
        [(nanosecond, true), (millis(10 * T), true), (millis(DAY), true), (Duration::ZERO, false)];
    for (over, is_lost) in lost {
        let mut bench = Bench::running();
        bench.wait(T);
        let late = millis(T) + over;
        assert_eq!(bench.wake(millis(T) + late), ["challenge"]);
        assert_eq!(bench.session.misses(), u32::from(!is_lost), "late by {late:?}");
        let note = match is_lost {
            true => Note::LostTime { late },
            false => Note::Missed { misses: 1, threshold: 1 },
        };
        assert_eq!(bench.notes(), [&note]);
        assert_eq!(bench.session.poll_timeout(), Some(bench.now + millis(T)));
    }
}

#[test]
fn lost_time_forgives_no_miss_before_it_and_is_nobodys_loss() {
    let mut bench = Bench::running();
    bench.wait(2 * T);
    assert_eq!(bench.wake(millis(5 * T)), ["challenge"]);
    assert_eq!(bench.session.misses(), 1);
    assert_eq!(bench.timeline(T), at([(T, "STOPPED"), (T, "LOSS")]));

    let mut bench = Bench::with(Settings::default(), OFF);
    bench.say(&GuestMessage::Init(init()));
    bench.answer();
    assert_eq!(bench.wait(T), ["challenge"]);
    assert_eq!(bench.wake(millis(5 * T)), ["challenge"], "also while reporting is disabled");
    assert_eq!(bench.answer(), NOTHING);
}

#[test]
fn lost_time_between_answer_and_next_challenge_is_told_too() {
    let mut bench = Bench::running();
    assert_eq!(bench.wake(millis(2 * T) + Duration::from_nanos(1)), ["challenge"]);
    assert_eq!(bench.notes(), [&Note::LostTime { late: millis(T) + Duration::from_nanos(1) }]);
    bench.answer();
    assert_eq!(bench.wake(millis(2 * T)), ["challenge"]);
    assert_eq!(bench.notes(), Vec::<&Note>::new());
}

#[test]
fn a_lower_threshold_counts_from_the_next_interval_on() {
    let mut bench = Bench::with(Settings { failure_threshold: 5, ..Settings::default() }, ON);
    bench.say(&GuestMessage::Init(init()));
    assert_eq!(bench.wait(3 * T), ["challenge", "challenge", "challenge"]);
    bench.input(|session, _, _| session.handle_settings(Settings::default()));
    assert_eq!(bench.timeline(T), at([(T, "LOSS")]));
}

/// A guest that has begun to start over while this process stood still: its `init` is there before the timer.
#[test]
fn lost_time_is_noted_too_when_an_init_comes_before_the_timer() {
    let mut bench = Bench::running();
    let due = bench.session.poll_timeout().unwrap();
    bench.now = due + millis(10 * T);
    bench.say(&GuestMessage::Init(init()));
    assert!(
        bench.notes().contains(&&Note::LostTime { late: millis(10 * T) }),
        "{:?}",
        bench.notes()
    );
    bench.say(&GuestMessage::Init(init()));
    assert!(!bench.notes().iter().any(|note| matches!(note, Note::LostTime { .. })), "once");
}
