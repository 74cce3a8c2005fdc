//! Channels that come and go, and when the next attempt to connect is made.

use super::harness::{Bench, DAY, NOTHING, ON, T, at, init};
use crate::guest::{Frame, GuestMessage, NotificationType, VoteResult};
use crate::session::{ConnectError, Note, SETTLING, Settings, State};
use ConnectError::{NotFound, Unavailable};

fn fresh(provisioned: bool) -> Bench {
    Bench::new(Settings::default(), ON, provisioned)
}

fn changed(bench: &mut Bench) -> Vec<String> {
    bench.input(|session, now, _| session.handle_channel_changed(now))
}

fn gone(bench: &mut Bench) -> Vec<String> {
    bench.input(|session, now, _| session.handle_channel_gone(now))
}

/// Nobody listens yet on a channel that has only just appeared: the second attempt follows at once.
fn second_look(bench: &mut Bench) {
    assert_eq!(bench.connect_failed(Unavailable), NOTHING);
    let settling = u64::try_from(SETTLING.as_millis()).unwrap();
    assert_eq!(bench.timeline(T), at([(settling, "connect")]));
}

/// Fails until 60 s lie between the attempts.
fn backed_off(bench: &mut Bench) {
    for _ in 0..8 {
        bench.connect_failed(Unavailable);
        bench.wait(60 * T);
    }
}

/// Seconds until the next attempt after one that fails now.
fn next_attempt(bench: &mut Bench, error: ConnectError) -> u64 {
    assert_eq!(bench.connect_failed(error), NOTHING);
    let seen = bench.timeline(DAY);
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(seen[0].1, "connect");
    seen[0].0 / T
}

#[test]
fn the_first_attempt_is_made_at_once() {
    let mut session = crate::session::Session::new(Settings::default(), ON, false);
    assert_eq!(session.poll_output(), Some(crate::session::Output::Connect));
    assert_eq!((session.poll_output(), session.poll_timeout()), (None, None));
    assert_eq!(session.state(), State::Disconnected);
}

#[test]
fn the_next_attempt_is_1_s_after_a_failure_doubling_to_60_s() {
    for error in [Unavailable, NotFound] {
        let mut bench = fresh(true);
        second_look(&mut bench);
        let waits: Vec<_> = (0..9).map(|_| next_attempt(&mut bench, error)).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }
}

#[test]
fn after_a_success_the_wait_is_1_s_again() {
    let mut bench = fresh(false);
    backed_off(&mut bench);
    bench.connect();
    bench.wait(2 * T);
    assert_eq!(bench.close(), ["close", "connect"]);
    assert_eq!(next_attempt(&mut bench, Unavailable), 1);
    assert_eq!(next_attempt(&mut bench, Unavailable), 2);
}

#[test]
fn an_instance_without_a_channel_is_forgotten_unless_it_is_provisioned() {
    let mut bench = fresh(false);
    assert_eq!(bench.connect_failed(NotFound), ["forget"]);
    let mut bench = fresh(true);
    assert_eq!(next_attempt(&mut bench, NotFound), 1);
    let mut bench = fresh(false);
    bench.input(|session, _, _| session.handle_provisioned());
    assert_eq!(next_attempt(&mut bench, NotFound), 1, "provisioned in the meantime");
}

#[test]
fn a_stale_file_is_tried_again() {
    let mut bench = fresh(false);
    second_look(&mut bench);
    assert_eq!(next_attempt(&mut bench, Unavailable), 1);
}

#[test]
fn a_channel_that_has_only_just_appeared_is_looked_at_twice_but_not_three_times() {
    let mut bench = fresh(false);
    second_look(&mut bench);
    assert_eq!(next_attempt(&mut bench, Unavailable), 1);
    bench.connect();
    bench.wait(2 * T);
    bench.close();
    assert_eq!(next_attempt(&mut bench, Unavailable), 1, "it was connected: QEMU has gone");
}

#[test]
fn a_channel_that_closes_is_stopped_if_heartbeating_and_connected_anew() {
    let mut bench = Bench::running();
    bench.alive(5 * T);
    assert_eq!(bench.close(), ["STOPPED", "close", "connect"]);
    assert_eq!((bench.session.state(), bench.heartbeating()), (State::Disconnected, false));
    let mut bench = Bench::inited();
    bench.alive(T);
    bench.say(&GuestMessage::Exit { log_msg: "".into() });
    assert_eq!(bench.close(), ["close", "connect"]);
    assert_eq!(bench.wait(DAY), NOTHING, "no loss, and the attempt is under way");
    assert_eq!(bench.close(), NOTHING, "closed once");
}

#[test]
fn a_channel_that_closes_as_fast_as_it_connects_is_tried_once_a_second() {
    let mut bench = fresh(false);
    for _ in 0..5 {
        bench.connect();
        bench.wait(T - 1);
        assert_eq!(bench.close(), ["close"]);
        assert_eq!(bench.timeline(T), at([(T, "connect")]));
    }
}

#[test]
fn on_a_new_connection_the_guest_has_to_begin_with_init() {
    let mut bench = Bench::running();
    bench.wait(T);
    bench.close();
    bench.connect();
    assert_eq!(bench.session.state(), State::WaitingInit);
    assert_eq!(bench.answer(), NOTHING);
    assert_eq!(bench.notes(), [&Note::LateResponse]);
    assert_eq!(bench.say(&GuestMessage::Init(init())), ["init_ack 42", "challenge"]);
    assert_eq!(bench.answer(), ["RUNNING"]);
}

#[test]
fn connected_without_a_heartbeat_for_120_s_is_connected_anew() {
    let mut bench = Bench::connected();
    assert_eq!(bench.timeline(DAY), at([(120 * T, "close"), (120 * T, "connect")]));
    assert_eq!(bench.notes(), [&Note::Idle]);
    bench.connect();
    assert_eq!(bench.timeline(DAY), at([(120 * T, "close"), (120 * T, "connect")]), "and again");
}

#[test]
fn the_120_s_begin_when_the_heartbeat_ends() {
    let mut bench = Bench::running();
    assert_eq!(bench.alive(1000 * T).len(), 1000, "not while heartbeating");
    let seen = bench.timeline(DAY);
    let lost = 3 * T;
    assert_eq!(seen[2..4], at([(lost, "STOPPED"), (lost, "LOSS")]));
    assert_eq!(seen[4..], at([(lost + 120 * T, "close"), (lost + 120 * T, "connect")]));
}

#[test]
fn a_guest_that_sends_init_and_never_answers_does_not_hold_a_connection_open() {
    let mut bench = Bench::connected();
    let mut words = Vec::new();
    for _ in 0..12 {
        bench.say(&GuestMessage::Init(init()));
        words.extend(bench.wait(10 * T));
    }
    words.retain(|word| word != "challenge" && word != "LOSS");
    assert_eq!(words, ["close", "connect"]);
}

#[test]
fn a_guest_that_was_expected_to_send_init_and_does_not_is_connected_anew_and_stopped() {
    let mut bench = Bench::running();
    bench.act("reboot", NotificationType::Irrevocable);
    bench.vote("reboot", NotificationType::Irrevocable, VoteResult::Complete);
    bench.alive(60 * T);
    let expected = at([(120 * T, "STOPPED"), (120 * T, "close"), (120 * T, "connect")]);
    assert_eq!(bench.timeline(DAY), expected);
}

#[test]
fn a_channel_that_appears_is_connected_at_once_unless_it_is_or_is_about_to_be() {
    let seen = |bench: &mut Bench| bench.input(|session, now, _| session.handle_channel_seen(now));
    let mut waiting = fresh(false);
    backed_off(&mut waiting);
    waiting.connect_failed(Unavailable);
    assert_eq!(seen(&mut waiting), ["connect"]);
    assert_eq!(seen(&mut waiting), NOTHING, "about to be");
    second_look(&mut waiting);
    assert_eq!(next_attempt(&mut waiting, Unavailable), 1, "the wait begins anew");
    assert_eq!(seen(&mut Bench::connected()), NOTHING);
    let mut running = Bench::running();
    assert_eq!(seen(&mut running), NOTHING);
    assert!(running.heartbeating());
    running.act("suspend", NotificationType::Irrevocable);
    running.vote("suspend", NotificationType::Irrevocable, VoteResult::Complete);
    assert_eq!(seen(&mut running), ["connect"]);
}

#[test]
fn a_channel_that_is_modified_is_closed_and_connected_anew() {
    assert_eq!(changed(&mut Bench::running()), ["STOPPED", "close", "connect"]);
    assert_eq!(changed(&mut Bench::connected()), ["close", "connect"]);
    let mut bench = fresh(false);
    backed_off(&mut bench);
    bench.connect_failed(Unavailable);
    assert_eq!(changed(&mut bench), ["connect"], "whatever the wait");
    second_look(&mut bench);
    assert_eq!(next_attempt(&mut bench, Unavailable), 1, "and the wait begins anew");
}

#[test]
fn a_channel_that_is_deleted_is_closed_and_its_instance_forgotten() {
    assert_eq!(gone(&mut Bench::running()), ["STOPPED", "close", "forget"]);
    assert_eq!(gone(&mut Bench::connected()), ["close", "forget"]);
    let mut bench = fresh(false);
    bench.connect_failed(Unavailable);
    assert_eq!(gone(&mut bench), ["forget"]);
}

#[test]
fn what_was_asked_is_agreed_when_the_instance_is_gone() {
    let mut bench = Bench::running();
    bench.act("stop", NotificationType::Revocable);
    let words = gone(&mut bench);
    assert_eq!(words, ["VOTE stop revocable accept", "STOPPED", "close", "forget"]);
    let mut bench = Bench::running();
    bench.act("suspend", NotificationType::Irrevocable);
    let words = gone(&mut bench);
    assert_eq!(words, ["VOTE suspend irrevocable complete", "STOPPED", "close", "forget"]);
}

#[test]
fn a_provisioned_instance_keeps_its_record_when_its_channel_is_deleted() {
    let mut bench = Bench::running();
    bench.input(|session, _, _| session.handle_provisioned());
    assert_eq!(gone(&mut bench), ["STOPPED", "close"]);
    assert_eq!(bench.session.info().repair_action, init().corrective_action);
    assert_eq!(bench.timeline(T), at([(T, "connect")]));
    assert_eq!(next_attempt(&mut bench, NotFound), 2);
}

#[test]
fn an_instance_that_the_controller_deletes_is_closed_and_forgotten_without_an_event() {
    let mut bench = Bench::running();
    bench.act("stop", NotificationType::Revocable);
    let delete = |bench: &mut Bench| bench.input(|session, _, _| session.handle_deleted());
    assert_eq!(delete(&mut bench), ["close", "forget"]);
    assert_eq!(delete(&mut fresh(true)), ["forget"]);
}

#[test]
fn a_line_of_a_channel_that_is_closed_already_is_ignored() {
    let mut bench = Bench::running();
    bench.act("suspend", NotificationType::Irrevocable);
    bench.vote("suspend", NotificationType::Irrevocable, VoteResult::Complete);
    let mut closed = Bench::running();
    closed.close();
    for mut bench in [bench, closed] {
        let state = bench.session.state();
        assert_eq!(bench.say(&GuestMessage::Init(init())), NOTHING, "read together with the last");
        assert_eq!(bench.line("{}"), NOTHING);
        let too_long = |session: &mut crate::session::Session,
                        now,
                        random: &mut dyn crate::session::Random| {
            session.handle_frame(now, &Frame::TooLong, random);
        };
        assert_eq!(bench.input(too_long), NOTHING);
        assert_eq!(bench.session.state(), state);
    }
}
