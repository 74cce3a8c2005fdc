//! Both ends over a network that loses, doubles, delays and reorders, with restarts of the receiving end.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::control::{Ack, VoteNotify};
use crate::delivery::{Incoming, MAX_PENDING, Outgoing, Transmit, Verdict, WINDOW};
use crate::dice::{Dice, Seed};
use crate::guest::{EventType, NotificationType, VoteResult};

const SEEDS: u64 = 300;

/// How long the faults last, and how long what is left has to arrive after that, in milliseconds.
const FAULTS: u64 = 60_000;
const QUIET: u64 = 50_000;

enum Flying {
    Message(Transmit<ServerEvent>),
    Ack(Ack),
    Heard(Numbering),
}

/// The receiver: a controller that may restart.
struct Controller {
    epoch: u32,
    incoming: Incoming<()>,
    /// What it took and has yet to do, with when it will be done.
    open: Vec<(u64, crate::delivery::Receipt<()>)>,
}

/// A vote that no other is like.
fn vote(number: u64) -> ServerEvent {
    let vote = VoteNotify {
        notification_type: NotificationType::Revocable,
        event_type: EventType::Stop,
        vote: VoteResult::Accept,
        reason: number.to_string().as_str().into(),
    };
    ServerEvent::VoteNotify(id(u128::from(number % 50)), vote)
}

struct Life {
    dice: Dice,
    now: u64,
    lossy: bool,
    flying: BTreeMap<(u64, u64), Flying>,
    flights: u64,
    outgoing: Outgoing<ServerEvent>,
    controller: Controller,
    restarts: u32,
    /// The life of the controller's that was last told of all instances.
    queried_by: u32,
    /// Votes that were pushed, and how often each was taken.
    votes: BTreeMap<String, u32>,
    states: BTreeMap<InstanceId, bool>,
    told: BTreeMap<InstanceId, bool>,
    highest: u32,
}

impl Life {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let epoch = dice.random();
        Self {
            now: 0,
            lossy: true,
            flying: BTreeMap::new(),
            flights: 0,
            outgoing: Outgoing::new(dice.random(), false),
            controller: Controller { epoch, incoming: Incoming::default(), open: Vec::new() },
            restarts: 0,
            queried_by: 0,
            votes: BTreeMap::new(),
            states: BTreeMap::new(),
            told: BTreeMap::new(),
            highest: 0,
            dice,
        }
    }

    fn fly(&mut self, make: impl Fn() -> Flying) {
        let copies = match self.lossy {
            true if self.dice.one_in(3) => 0,
            true if self.dice.one_in(5) => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let delay = if self.lossy { self.dice.below(2000) } else { 1 + self.dice.below(20) };
            self.flights += 1;
            self.flying.insert((self.now + delay, self.flights), make());
        }
    }

    fn run(&mut self) {
        while self.now < FAULTS + QUIET {
            if self.now == FAULTS {
                self.lossy = false;
            }
            if self.lossy {
                self.happen();
            } else if self.now.is_multiple_of(10_000) {
                self.command();
            }
            self.land();
            self.finish();
            self.transmit();
            self.check_bounds();
            self.now += 10;
        }
    }

    fn happen(&mut self) {
        if self.dice.one_in(30) {
            let number = u64::try_from(self.votes.len()).unwrap();
            let event = vote(number);
            self.votes.entry(number.to_string()).or_default();
            self.outgoing.push(at(self.now), event);
        }
        if self.dice.one_in(20) {
            let number = u128::from(self.dice.below(8));
            let alive = self.dice.one_in(2);
            let event = if alive { running(number) } else { stopped(number) };
            self.states.insert(id(number), alive);
            self.outgoing.push(at(self.now), event);
        }
        if self.dice.one_in(1500) {
            self.restarts += 1;
            let epoch = self.dice.random();
            self.controller = Controller { epoch, incoming: Incoming::default(), open: Vec::new() };
        }
        if self.dice.one_in(300) {
            self.command();
        }
    }

    /// The controller says something, by which it is known.
    fn command(&mut self) {
        let heard = numbered(self.controller.epoch, 1);
        self.fly(|| Flying::Heard(heard));
    }

    /// The first command of a controller's life is a query.
    fn answer_query(&mut self, epoch: u32) {
        if std::mem::replace(&mut self.queried_by, epoch) != epoch {
            for (instance, alive) in &self.states {
                let answer = ServerEvent::Instance(*instance, info(*alive));
                self.outgoing.push(at(self.now), answer);
            }
        }
    }

    fn transmit(&mut self) {
        while let Some(sent) = self.outgoing.poll_transmit(at(self.now)) {
            self.highest = self.highest.max(sent.numbering.number);
            self.fly(|| Flying::Message(sent.clone()));
        }
    }

    fn land(&mut self) {
        while let Some(entry) = self.flying.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            match entry.remove() {
                Flying::Ack(ack) => drop(self.outgoing.handle_ack(at(self.now), ack)),
                Flying::Heard(numbering) if numbering.epoch == self.controller.epoch => {
                    self.outgoing.handle_heard(at(self.now), numbering);
                    self.answer_query(numbering.epoch);
                }
                // Of a former life: the driver's Incoming throws it away.
                Flying::Heard(_) => {}
                Flying::Message(sent) => self.arrive(sent),
            }
        }
    }

    fn arrive(&mut self, sent: Transmit<ServerEvent>) {
        let now = at(self.now);
        let Transmit { message, numbering, .. } = sent;
        let incoming = &mut self.controller.incoming;
        let (receipt, held) = match incoming.examine(now, (), numbering) {
            Verdict::Unnumbered | Verdict::Former => panic!("{numbering:?}"),
            Verdict::Double { receipt, held } => (receipt, held),
            Verdict::Fresh(receipt) => {
                let is_vote = matches!(message, ServerEvent::VoteNotify(..));
                if incoming.is_old_news(&receipt, &message) {
                    incoming.handle_done(now, receipt, &message);
                } else if is_vote {
                    incoming.handle_held(now, receipt, &message);
                    let done = self.now + self.dice.below(5000);
                    self.controller.open.push((done, receipt));
                } else {
                    incoming.handle_done(now, receipt, &message);
                }
                match message {
                    ServerEvent::VoteNotify(_, vote) => {
                        let times = self.votes.get_mut(&*vote.reason).unwrap();
                        *times += 1;
                    }
                    ServerEvent::Running(instance, info)
                    | ServerEvent::Stopped(instance, info)
                    | ServerEvent::Instance(instance, info) => {
                        if !self.controller.incoming.is_old_news(&receipt, &message) {
                            self.told.insert(instance, info.heartbeating);
                        }
                    }
                    other => panic!("{other:?}"),
                }
                (receipt, is_vote)
            }
        };
        let ack = Ack { epoch: receipt.epoch, number: receipt.number, held };
        self.fly(|| Flying::Ack(ack));
    }

    /// What was held and is done.
    fn finish(&mut self) {
        let (done, open): (Vec<_>, Vec<_>) = std::mem::take(&mut self.controller.open)
            .into_iter()
            .partition(|(at, _)| *at <= self.now);
        self.controller.open = open;
        for (_, receipt) in done {
            if self.controller.incoming.handle_released(&receipt) {
                let ack = Ack { epoch: receipt.epoch, number: receipt.number, held: false };
                self.fly(|| Flying::Ack(ack));
            }
        }
    }

    fn check_bounds(&self) {
        assert!(self.outgoing.pending() <= MAX_PENDING);
        assert!(self.controller.incoming.topics(&()) <= 4 * usize::try_from(WINDOW).unwrap());
    }
}

#[test]
fn every_report_arrives_once_and_the_last_state_wins() {
    let (mut votes, mut restarts) = (0, 0);
    for seed in 0..SEEDS {
        let _named = Seed(seed);
        let mut life = Life::new(seed);
        life.run();
        assert_eq!(life.outgoing.pending(), 0, "everything was acknowledged");
        assert_eq!(life.outgoing.poll_lost(), None);
        for (vote, taken) in &life.votes {
            assert!(*taken >= 1, "vote {vote} was lost");
            // A restarted controller may have to be told what its former life had not done yet.
            assert!(*taken <= 1 + life.restarts, "vote {vote} was taken {taken} times");
        }
        for (instance, state) in &life.states {
            assert_eq!(life.told.get(instance), Some(state), "{instance}");
        }
        votes += life.votes.len();
        restarts += life.restarts;
    }
    assert!(votes > 10_000 && restarts > 100, "{votes} votes, {restarts} restarts");
}

#[test]
fn the_epochs_differ_from_seed_to_seed() {
    let epochs: BTreeSet<u32> = (0..SEEDS).map(|seed| Life::new(seed).controller.epoch).collect();
    assert!(epochs.len() > usize::try_from(SEEDS).unwrap() / 2);
}
