//! The channel as QEMU makes it, with the dice of its world: bytes in order, each way, as long as a host is connected.

use std::collections::VecDeque;
use std::time::Duration;

use crate::MonotonicTime;
use crate::dice::Dice;

/// Bytes that fit into one direction; a message that does not is not written.
const ROOM: usize = 2048;

/// What happened in a world.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) lost_bytes: u64,
    pub(super) no_room: u64,
    pub(super) closed: u64,
    pub(super) guests_died: u64,
    pub(super) hosts_restarted: u64,
    pub(super) host_lost_time: u64,
    pub(super) guest_lost_time: u64,
    pub(super) missed: u64,
    /// The heartbeat was there and then no longer.
    pub(super) stopped: u64,
    pub(super) losses: u64,
    /// The heartbeat came, for the first time or again.
    pub(super) came: u64,
    pub(super) silent: u64,
    pub(super) wrong_acks: u64,
    pub(super) malformed: u64,
    pub(super) answered: u64,
    pub(super) asked: u64,
    pub(super) votes_answered: u64,
    pub(super) votes_withdrawn: u64,
    pub(super) votes_refused: u64,
}

macro_rules! each {
    ($tally:ident, $other:ident, $($field:ident)+) => { $($tally.$field += $other.$field;)+ };
}

impl Tally {
    pub(super) fn add(&mut self, other: &Self) {
        each!(self, other, lost_bytes no_room closed guests_died hosts_restarted host_lost_time
            guest_lost_time missed stopped losses came silent wrong_acks malformed answered asked
            votes_answered votes_withdrawn votes_refused);
    }

    pub(super) fn assert_not_dull(&self, worlds: u64) {
        let faults = [self.closed, self.guests_died, self.hosts_restarted];
        assert!(faults.iter().all(|count| *count > worlds / 2), "too few faults: {self:?}");
        assert!(self.lost_bytes > 100 * worlds, "too few bytes lost: {self:?}");
        assert!(self.stopped > worlds && self.losses > worlds / 4, "too few losses: {self:?}");
        assert!(self.came > self.stopped + worlds / 2, "they did not come back: {self:?}");
        assert!(self.votes_answered > 2 * worlds, "too few votes: {self:?}");
        let rare = [self.no_room, self.host_lost_time, self.guest_lost_time, self.silent];
        let rare = rare.into_iter().chain([self.wrong_acks, self.malformed, self.votes_withdrawn]);
        assert!(rare.min() > Some(100), "something hardly happens: {self:?}");
    }
}

/// One direction.
#[derive(Default)]
pub(super) struct Wire {
    pieces: VecDeque<(MonotonicTime, Vec<u8>)>,
    held: usize,
}

impl Wire {
    pub(super) fn arrival(&self) -> Option<MonotonicTime> {
        self.pieces.front().map(|(at, _)| *at)
    }

    /// All that has arrived, joined.
    pub(super) fn read(&mut self, now: MonotonicTime) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some((_, piece)) = self.pieces.pop_front_if(|(at, _)| *at <= now) {
            bytes.extend(piece);
        }
        self.held -= bytes.len();
        bytes
    }

    fn push(&mut self, at: MonotonicTime, piece: &[u8]) {
        let last = self.pieces.back().map_or(MonotonicTime::START, |(last, _)| *last);
        self.held += piece.len();
        self.pieces.push_back((at.max(last), piece.to_vec()));
    }

    fn clear(&mut self) -> usize {
        self.pieces.clear();
        std::mem::take(&mut self.held)
    }
}

/// Where a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum To {
    Host,
    Guest,
}

pub(super) struct Channel {
    pub(super) dice: Dice,
    pub(super) now: MonotonicTime,
    pub(super) tally: Tally,
    pub(super) to_host: Wire,
    pub(super) to_guest: Wire,
    /// A host is connected.
    pub(super) connected: bool,
    /// What a guest writes while no host is there is lost; else it waits.
    void: bool,
    /// Of a thousand messages, so many are lost, in part or whole.
    lossy: u64,
    /// Of a thousand pieces, so many take much longer than others.
    slow: u64,
}

impl Channel {
    pub(super) fn new(seed: u64) -> Self {
        let mut channel = Self {
            dice: Dice(seed),
            now: MonotonicTime::START,
            tally: Tally::default(),
            to_host: Wire::default(),
            to_guest: Wire::default(),
            connected: false,
            void: false,
            lossy: 0,
            slow: 0,
        };
        channel.weather();
        channel
    }

    /// Better or worse from now on.
    pub(super) fn weather(&mut self) {
        let mut draw = |from: [u64; 4]| from[usize::try_from(self.dice.below(4)).unwrap()];
        self.lossy = draw([0, 10, 100, 400]);
        self.slow = draw([0, 10, 50, 200]);
    }

    /// From now on nothing is lost and nothing is late.
    pub(super) fn calm(&mut self) {
        (self.lossy, self.slow, self.void) = (0, 0, false);
        let now = self.now;
        for wire in [&mut self.to_host, &mut self.to_guest] {
            wire.pieces.iter_mut().for_each(|(at, _)| *at = now.min(*at));
        }
    }

    /// The host's end closes: what it wrote and the guest has not read is lost; what the guest wrote and the host has
    /// not read waits, or is lost too.
    pub(super) fn close(&mut self) {
        self.connected = false;
        self.tally.closed += 1;
        self.void = self.dice.one_in(2);
        let mut lost = self.to_guest.clear();
        if self.void {
            lost += self.to_host.clear();
        }
        self.tally.lost_bytes += u64::try_from(lost).unwrap();
    }

    /// Writes a message in up to three pieces, some of its bytes perhaps missing.
    pub(super) fn write(&mut self, to: To, mut message: Vec<u8>) {
        let Self { dice, tally, lossy, slow, now, .. } = self;
        let length = message.len();
        if dice.below(1000) < *lossy {
            let (from, to) = match dice.below(4) {
                0 => (0, length),
                1 => (dice.place(length), length),
                2 => (0, dice.place(length)),
                _ => {
                    // Longer than any number: one with fewer digits would be another message, and no channel does that.
                    let from = dice.place(length);
                    (from, (from + 12 + dice.place(20)).min(length))
                }
            };
            message.drain(from..to);
        }
        let wire = match to {
            To::Host => &mut self.to_host,
            To::Guest => &mut self.to_guest,
        };
        if to == To::Host && !self.connected && self.void {
            message.clear();
        } else if wire.held + message.len() > ROOM {
            tally.no_room += 1;
            return;
        }
        tally.lost_bytes += u64::try_from(length - message.len()).unwrap();
        let mut rest = &message[..];
        while !rest.is_empty() {
            let cut = if dice.one_in(4) { 1 + dice.place(rest.len() - 1) } else { rest.len() };
            let most = if dice.below(1000) < *slow { 3_000_000 } else { 2000 };
            wire.push(*now + Duration::from_micros(dice.below(most)), &rest[..cut]);
            rest = &rest[cut..];
        }
    }
}
