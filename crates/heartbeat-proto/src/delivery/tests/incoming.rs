use super::*;
use crate::control::AgentCommand;
use crate::delivery::{Incoming, MAX_PEERS, PRESENT_SILENCE, Receipt, Verdict, WINDOW};

const EPOCH: u32 = 3;
const PEER: u8 = 1;

fn receipt(number: u32) -> Receipt<u8> {
    Receipt { peer: PEER, epoch: EPOCH, number }
}

fn examine(incoming: &Incoming<u8>, number: u32) -> Verdict<u8> {
    incoming.examine(at(0), PEER, numbered(EPOCH, number))
}

/// Takes a message and is done with it.
fn take(incoming: &mut Incoming<u8>, number: u32, event: &ServerEvent) {
    assert_eq!(examine(incoming, number), Verdict::Fresh(receipt(number)));
    incoming.handle_done(at(0), receipt(number), event);
}

#[test]
fn what_has_no_number_is_taken_as_it_is() {
    let incoming = Incoming::default();
    assert_eq!(incoming.examine(at(0), PEER, Numbering::NONE), Verdict::Unnumbered);
    assert_eq!(incoming.examine(at(0), PEER, numbered(EPOCH, 0)), Verdict::Unnumbered);
}

#[test]
fn a_double_is_told_from_the_first_one_in_any_order() {
    let mut incoming = Incoming::default();
    let order = [10, 12, 11, 3, 1000, 999, 1033, 10 + WINDOW, 5];
    for number in order {
        take(&mut incoming, number, &loss(1));
        for before in order.iter().take_while(|before| **before != number).chain([&number]) {
            let double = Verdict::Double { receipt: receipt(*before), held: false };
            assert_eq!(examine(&incoming, *before), double);
        }
    }
    assert_eq!(examine(&incoming, 11 + WINDOW), Verdict::Fresh(receipt(11 + WINDOW)));
    // Behind the window, and later than the first that was seen: its sender would not have run so far ahead of it.
    let old = Verdict::Double { receipt: receipt(11), held: false };
    take(&mut incoming, 10_000, &loss(1));
    assert_eq!(examine(&incoming, 11), old);
    // Before the first: from when somebody else, or nobody, was here.
    assert_eq!(examine(&incoming, 4), Verdict::Fresh(receipt(4)));
}

#[test]
fn what_is_held_is_acknowledged_as_held_until_it_is_done() {
    let mut incoming = Incoming::default();
    incoming.handle_held(at(0), receipt(7), &loss(1));
    assert_eq!(examine(&incoming, 7), Verdict::Double { receipt: receipt(7), held: true });
    take(&mut incoming, 20_000, &loss(1));
    assert_eq!(examine(&incoming, 7), Verdict::Double { receipt: receipt(7), held: true });
    assert_eq!(incoming.held(), 1);
    assert!(incoming.handle_released(&receipt(7)));
    assert!(!incoming.handle_released(&receipt(7)));
    assert_eq!(examine(&incoming, 7), Verdict::Double { receipt: receipt(7), held: false });
}

#[test]
fn an_older_state_is_old_news_and_a_loss_only_once_the_guest_is_heartbeating() {
    let mut incoming = Incoming::default();
    take(&mut incoming, 10, &stopped(1));
    let old = |incoming: &Incoming<u8>, number, event: &ServerEvent| {
        incoming.is_old_news(&receipt(number), event)
    };
    let answer = |heartbeating| ServerEvent::Instance(id(1), info(heartbeating));
    assert!(old(&incoming, 9, &running(1)));
    assert!(old(&incoming, 9, &answer(true)));
    assert!(!old(&incoming, 9, &running(2)), "another instance");
    assert!(!old(&incoming, 11, &running(1)), "newer");
    assert!(!old(&incoming, 9, &loss(1)), "it is dead indeed");
    take(&mut incoming, 11, &loss(1));
    assert!(old(&incoming, 10, &running(1)), "a loss says that it is dead");
    take(&mut incoming, 13, &answer(true));
    assert!(old(&incoming, 12, &loss(1)));
    assert!(old(&incoming, 12, &ServerEvent::IllHealth(id(1), info(true))));
    assert!(!old(&incoming, 14, &loss(1)));
}

#[test]
fn a_command_that_a_newer_one_has_overtaken_is_old_news() {
    let mut incoming = Incoming::default();
    let switch = |reporting| AgentCommand::ModInstance { instance: id(1), reporting };
    incoming.handle_done(at(0), receipt(5), &AgentCommand::DelInstance { instance: id(1) });
    assert!(incoming.is_old_news(&receipt(4), &switch(true)));
    assert!(!incoming.is_old_news(&receipt(6), &switch(true)));
    assert!(!incoming.is_old_news(&receipt(4), &AgentCommand::Query));
}

#[test]
fn what_a_former_life_said_is_thrown_away_for_a_while() {
    let mut incoming = Incoming::default();
    take(&mut incoming, 1, &running(1));
    let next = Receipt { epoch: EPOCH + 1, ..receipt(1) };
    assert_eq!(incoming.examine(at(0), PEER, numbered(EPOCH + 1, 1)), Verdict::Fresh(next));
    incoming.handle_done(at(0), next, &running(1));
    assert_eq!(examine(&incoming, 2), Verdict::Former);
    // A controller that was active, was not, and is again, with the same process.
    let later = at(0) + PRESENT_SILENCE;
    let verdict = incoming.examine(later, PEER, numbered(EPOCH, 2));
    assert_eq!(verdict, Verdict::Fresh(receipt(2)));
}

#[test]
fn what_has_come_of_a_life_has_still_come_when_it_goes_on() {
    let mut incoming = Incoming::default();
    take(&mut incoming, 1, &loss(1));
    incoming.handle_held(at(0), receipt(2), &loss(2));
    incoming.handle_held(at(0), receipt(3), &loss(3));
    // A late datagram of a life before it, which was not heard of by then.
    let before = Receipt { epoch: EPOCH + 1, ..receipt(7) };
    incoming.handle_done(at(0), before, &running(1));
    assert!(!incoming.handle_released(&receipt(2)), "nobody is told while it is not heeded");
    let later = |number| incoming.examine(at(0) + PRESENT_SILENCE, PEER, numbered(EPOCH, number));
    assert_eq!(later(1), Verdict::Double { receipt: receipt(1), held: false });
    assert_eq!(later(2), Verdict::Double { receipt: receipt(2), held: false });
    assert_eq!(later(3), Verdict::Double { receipt: receipt(3), held: true });
    assert_eq!(later(4), Verdict::Fresh(receipt(4)));
    incoming.handle_done(at(0) + PRESENT_SILENCE, receipt(4), &loss(4));
    assert_eq!(examine(&incoming, 1), Verdict::Double { receipt: receipt(1), held: false });
    assert!(incoming.handle_released(&receipt(3)));
}

#[test]
fn peers_and_topics_are_bounded() {
    let mut incoming = Incoming::<u32>::default();
    for peer in 0..=u32::try_from(MAX_PEERS).unwrap() {
        let receipt = Receipt { peer, epoch: 1, number: 1 };
        incoming.handle_done(at(u64::from(peer)), receipt, &loss(1));
    }
    assert_eq!(incoming.peers(), MAX_PEERS);
    let first = incoming.examine(at(0), 0, numbered(1, 1));
    assert!(matches!(first, Verdict::Fresh(_)), "the one not heard for longest is forgotten");
    for number in 1..100_000 {
        let receipt = Receipt { peer: 7, epoch: 2, number };
        incoming.handle_done(at(0), receipt, &running(u128::from(number)));
    }
    assert!(incoming.topics(&7) <= 4 * usize::try_from(WINDOW).unwrap());
}
