use super::*;
use crate::control::Ack;
use crate::delivery::{
    HELD_INTERVAL, MAX_PENDING, MAX_REPORTS, Outgoing, PLAIN_SILENCE, PROBE_PERIOD, STATE_LIFETIME,
    Transmit, WINDOW,
};

const EPOCH: u32 = 77;
/// The peer's.
const THEIRS: u32 = 5;

/// To a peer that acknowledges.
fn outgoing() -> Outgoing<ServerEvent> {
    let mut outgoing = Outgoing::new(EPOCH, false);
    outgoing.handle_heard(at(0), numbered(THEIRS, 1));
    outgoing
}

fn ack(number: u32) -> Ack {
    Ack { epoch: EPOCH, number, held: false }
}

fn held(number: u32) -> Ack {
    Ack { held: true, ..ack(number) }
}

fn drain(outgoing: &mut Outgoing<ServerEvent>, millis: u64) -> Vec<Transmit<ServerEvent>> {
    std::iter::from_fn(|| outgoing.poll_transmit(at(millis))).collect()
}

/// The numbers of what is sent now.
fn numbers(outgoing: &mut Outgoing<ServerEvent>, millis: u64) -> Vec<u32> {
    drain(outgoing, millis).into_iter().map(|sent| sent.numbering.number).collect()
}

/// What is sent now.
fn messages(outgoing: &mut Outgoing<ServerEvent>, millis: u64) -> Vec<ServerEvent> {
    drain(outgoing, millis).into_iter().map(|sent| sent.message).collect()
}

#[test]
fn numbers_run_from_one_and_carry_the_epoch() {
    let mut outgoing = outgoing();
    outgoing.push(at(0), stopped(1));
    outgoing.push(at(0), loss(1));
    let sent = drain(&mut outgoing, 0);
    assert_eq!(sent[0].numbering, numbered(EPOCH, 1));
    assert_eq!(sent[1].numbering, numbered(EPOCH, 2));
    assert!(!sent[0].again);
}

#[test]
fn what_is_not_acknowledged_is_sent_again_after_200_ms_doubling_to_5_s() {
    let mut outgoing = outgoing();
    outgoing.push(at(0), loss(1));
    assert_eq!(numbers(&mut outgoing, 0), [1]);
    let mut now = 0;
    for pause in [200, 400, 800, 1600, 3200, 5000, 5000, 5000] {
        assert_eq!(outgoing.poll_timeout(), Some(at(now + pause)));
        assert!(numbers(&mut outgoing, now + pause - 1).is_empty());
        now += pause;
        let sent = drain(&mut outgoing, now);
        assert_eq!(sent.len(), 1);
        assert!(sent[0].again);
        assert_eq!(sent[0].numbering, numbered(EPOCH, 1), "the same number");
    }
    assert!(outgoing.handle_ack(at(now), ack(1)));
    assert!(!outgoing.handle_ack(at(now), ack(1)), "no news");
    assert_eq!((outgoing.pending(), outgoing.poll_timeout()), (0, None));
}

#[test]
fn an_acknowledgement_of_something_else_changes_nothing() {
    let mut outgoing = outgoing();
    outgoing.push(at(0), loss(1));
    drain(&mut outgoing, 0);
    assert!(!outgoing.handle_ack(at(1), ack(2)));
    assert!(!outgoing.handle_ack(at(1), Ack { epoch: EPOCH + 1, ..ack(1) }));
    assert_eq!(outgoing.pending(), 1);
}

#[test]
fn a_newer_state_replaces_an_older_one_and_reports_stay() {
    let mut outgoing = outgoing();
    for event in [running(1), stopped(1), loss(1), running(2), stopped(1), loss(1)] {
        outgoing.push(at(0), event);
        drain(&mut outgoing, 0);
    }
    let left = messages(&mut outgoing, 200);
    assert_eq!(left, [loss(1), running(2), stopped(1), loss(1)]);
}

#[test]
fn a_guest_that_is_heartbeating_again_has_not_failed() {
    let mut outgoing = outgoing();
    outgoing.push(at(0), loss(1));
    outgoing.push(at(0), loss(2));
    outgoing.push(at(0), ServerEvent::IllHealth(id(1), info(true)));
    drain(&mut outgoing, 0);
    outgoing.push(at(10), running(1));
    assert_eq!(messages(&mut outgoing, 10), [running(1)]);
    assert_eq!(messages(&mut outgoing, 500), [loss(2), running(1)]);
}

#[test]
fn to_a_peer_that_does_not_acknowledge_everything_goes_once_and_without_a_number() {
    let mut outgoing = Outgoing::new(EPOCH, false);
    outgoing.handle_heard(at(0), Numbering::NONE);
    for event in [stopped(1), loss(1)] {
        outgoing.push(at(0), event);
    }
    for sent in drain(&mut outgoing, 0) {
        assert_eq!(sent.numbering, Numbering::NONE);
    }
    assert_eq!((outgoing.pending(), outgoing.poll_timeout()), (0, None));
}

#[test]
fn such_a_peer_is_shown_now_and_then_that_we_would_acknowledge() {
    let mut outgoing = Outgoing::new(EPOCH, false);
    let probe = u64::try_from(PROBE_PERIOD.as_millis()).unwrap();
    let mut shown = 0;
    for millis in (0..4 * probe + 1).step_by(1000) {
        outgoing.handle_heard(at(millis), Numbering::NONE);
        outgoing.push(at(millis), stopped(1));
        for sent in drain(&mut outgoing, millis) {
            assert_eq!(sent.numbering.number, 0, "nothing to acknowledge");
            shown += u32::from(sent.numbering.revision == REVISION);
        }
    }
    assert_eq!(shown, 4);
}

#[test]
fn a_report_is_kept_while_nobody_is_there_for_whoever_comes() {
    for before in ["no address", "not heard", "silent"] {
        let mut outgoing = Outgoing::new(EPOCH, false);
        match before {
            "no address" => outgoing.handle_moved(false),
            "silent" => outgoing.handle_heard(at(0), Numbering::NONE),
            _ => {}
        }
        let now = u64::try_from(PLAIN_SILENCE.as_millis()).unwrap() + 1;
        assert_eq!(outgoing.push(at(now), stopped(1)), before != "no address");
        assert!(outgoing.push(at(now), loss(1)));
        drain(&mut outgoing, now);
        assert_eq!((outgoing.pending(), outgoing.reports()), (1, 1), "{before}");
        if before == "no address" {
            outgoing.handle_moved(true);
        }
        outgoing.handle_heard(at(now + 1), numbered(THEIRS, 1));
        assert_eq!(messages(&mut outgoing, now + 1), [loss(1)], "{before}");
    }
}

#[test]
fn another_controller_gets_what_the_one_before_has_not_acknowledged() {
    let mut outgoing = outgoing();
    outgoing.push(at(0), loss(1));
    outgoing.push(at(0), loss(2));
    outgoing.push(at(0), loss(3));
    assert_eq!(numbers(&mut outgoing, 0), [1, 2, 3]);
    outgoing.handle_ack(at(1), ack(1));
    outgoing.handle_ack(at(1), held(2));
    outgoing.handle_moved(true);
    outgoing.handle_heard(at(2), numbered(THEIRS + 1, 1));
    assert_eq!(numbers(&mut outgoing, 2), [2, 3], "with their numbers: it has not had them");
    // So too when the controller itself has restarted, or has become one that does not acknowledge.
    outgoing.handle_heard(at(3), numbered(THEIRS + 2, 1));
    assert_eq!(numbers(&mut outgoing, 3), [2, 3]);
    outgoing.handle_heard(at(4), Numbering::NONE);
    assert_eq!(messages(&mut outgoing, 4), [loss(2), loss(3)]);
    assert_eq!(outgoing.pending(), 0);
}

#[test]
fn what_is_held_is_not_sent_again_soon_but_kept_until_it_is_done() {
    let mut outgoing = outgoing();
    outgoing.push(at(0), loss(1));
    drain(&mut outgoing, 0);
    assert!(outgoing.handle_ack(at(1), held(1)));
    assert_eq!(outgoing.poll_timeout(), Some(at(1) + HELD_INTERVAL));
    assert_eq!(outgoing.silence(at(10_000)), None, "it did acknowledge");
    let again = 1 + u64::try_from(HELD_INTERVAL.as_millis()).unwrap();
    assert_eq!(numbers(&mut outgoing, again), [1]);
    assert!(outgoing.handle_ack(at(again), ack(1)));
    assert_eq!(outgoing.pending(), 0);
}

#[test]
fn nothing_runs_further_ahead_than_the_window_of_the_receiver() {
    let mut outgoing = outgoing();
    for number in 0..3000 {
        outgoing.push(at(0), running(number));
    }
    assert_eq!(drain(&mut outgoing, 0).len(), usize::try_from(WINDOW).unwrap());
    for number in 2..=WINDOW {
        outgoing.handle_ack(at(1), ack(number));
    }
    assert!(numbers(&mut outgoing, 1).is_empty(), "the first has not arrived");
    outgoing.handle_ack(at(2), held(1));
    assert_eq!(drain(&mut outgoing, 2).len(), usize::try_from(WINDOW).unwrap());
}

#[test]
fn a_peer_that_is_gone_is_not_flooded() {
    let mut outgoing = outgoing();
    for number in 0..1000 {
        outgoing.push(at(0), loss(number));
    }
    drain(&mut outgoing, 0);
    let mut sent = 0;
    for millis in (0..10_000).step_by(10) {
        sent += drain(&mut outgoing, millis).len();
    }
    assert!((1000..=3200).contains(&sent), "{sent} in 10 s");
    assert_eq!(outgoing.silence(at(10_000)), Some(Duration::from_secs(10)));
}

#[test]
fn a_state_is_given_up_after_a_minute_and_a_report_after_an_hour() {
    let mut outgoing = outgoing();
    outgoing.push(at(0), stopped(1));
    outgoing.push(at(0), loss(1));
    drain(&mut outgoing, 0);
    let minute = u64::try_from(STATE_LIFETIME.as_millis()).unwrap();
    assert_eq!(messages(&mut outgoing, minute), [loss(1)]);
    assert_eq!(outgoing.poll_lost(), None, "an audit tells the state");
    drain(&mut outgoing, 60 * minute - 1);
    assert_eq!(outgoing.pending(), 1);
    assert_eq!(drain(&mut outgoing, 60 * minute), []);
    assert_eq!((outgoing.pending(), outgoing.poll_lost()), (0, Some(loss(1))));
}

#[test]
fn what_is_kept_is_bounded_and_states_go_before_reports() {
    let mut outgoing = outgoing();
    for _ in 0..MAX_REPORTS + 3 {
        outgoing.push(at(0), loss(0));
    }
    assert_eq!(outgoing.reports(), MAX_REPORTS);
    assert_eq!(std::iter::from_fn(|| outgoing.poll_lost()).count(), 3);
    for number in 1..=u128::try_from(MAX_PENDING).unwrap() {
        outgoing.push(at(0), stopped(number));
    }
    assert_eq!((outgoing.pending(), outgoing.reports()), (MAX_PENDING, MAX_REPORTS));
    for number in 1..=u128::try_from(MAX_PENDING).unwrap() {
        outgoing.push(at(0), loss(number));
    }
    assert_eq!((outgoing.pending(), outgoing.reports()), (MAX_PENDING, MAX_PENDING));
    assert_eq!(std::iter::from_fn(|| outgoing.poll_lost()).count(), MAX_REPORTS, "the oldest");
}

#[test]
fn when_the_numbers_are_used_up_another_epoch_begins() {
    let mut outgoing = outgoing();
    outgoing.skip_to(u32::MAX - 1);
    outgoing.push(at(0), loss(1));
    outgoing.push(at(0), loss(2));
    let sent: Vec<_> = drain(&mut outgoing, 0).iter().map(|sent| sent.numbering).collect();
    assert_eq!(sent[0], numbered(EPOCH, u32::MAX - 1));
    assert!(
        sent[1..].contains(&numbered(EPOCH + 1, 1)) && sent[1..].contains(&numbered(EPOCH + 1, 2))
    );
}
