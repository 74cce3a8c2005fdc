//! The receiving side: which messages have come before, and which are old news.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::Hash;
use std::time::Duration;

use super::WINDOW;
use super::parcel::{Parcel, Says, Topic};
use crate::MonotonicTime;
use crate::control::{Numbering, REVISION};

/// Peers whose numbers are known at most; of more, the one not heard for longest is forgotten.
pub const MAX_PEERS: usize = 10_000;

/// How long the present life of a peer has to be silent before a former one is heeded again. What a former one said is thrown
/// away until then: it was late. A former one that goes on was not over, for nothing tells which of two lives is the newer.
pub const PRESENT_SILENCE: Duration = Duration::from_secs(5);

/// Topics of a peer at which those that are older than its window are looked for.
const MANY_TOPICS: usize = 4 * WINDOW as usize;

/// Former lives of one peer that are known.
const MAX_FORMER: usize = 4;

/// What to acknowledge, and to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Receipt<P> {
    /// Who sent the message.
    pub peer: P,
    /// Its epoch then.
    pub epoch: u32,
    /// The message's number.
    pub number: u32,
}

/// What a datagram is, by its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict<P> {
    /// It is not numbered: to be taken as it is.
    Unnumbered,
    /// It is numbered and has not come before.
    Fresh(Receipt<P>),
    /// It has come before: nothing is to be done but to acknowledge it again, held or done as it is now.
    Double {
        /// What to acknowledge.
        receipt: Receipt<P>,
        /// Whether it is still to be done.
        held: bool,
    },
    /// It was sent by a process that is gone.
    Former,
}

/// One life of a peer's: what has come of it.
#[derive(Debug)]
struct Life {
    epoch: u32,
    /// The highest number seen, and before it, bit by bit, whether each of the [`WINDOW`] numbers up to it was.
    highest: u32,
    seen: [u64; (WINDOW / 64) as usize],
    /// The lowest number seen when the window was where it began: what is before it is not known to have come.
    first: u32,
    /// Of those before `first`, the ones that did come.
    early: BTreeSet<u32>,
    /// Those that were taken and are still to be done.
    held: BTreeSet<u32>,
    /// The newest message about each topic that is not much older than the window, and whether it said "alive".
    topics: HashMap<Topic, (u32, bool)>,
}

impl Life {
    fn new(epoch: u32, number: u32) -> Self {
        Self {
            epoch,
            highest: number,
            seen: [0; (WINDOW / 64) as usize],
            first: number,
            early: BTreeSet::new(),
            held: BTreeSet::new(),
            topics: HashMap::new(),
        }
    }

    const fn place(number: u32) -> (usize, u64) {
        let bit = number % WINDOW;
        ((bit / 64) as usize, 1 << (bit % 64))
    }

    const fn in_window(&self, number: u32) -> bool {
        number <= self.highest && self.highest - number < WINDOW
    }

    fn has_come(&self, number: u32) -> bool {
        if number > self.highest {
            return false;
        }
        if self.in_window(number) {
            let (word, bit) = Self::place(number);
            return self.seen[word] & bit != 0;
        }
        // Its sender runs no further ahead of what has not arrived: this has, if we were there.
        number >= self.first || self.early.contains(&number)
    }

    fn mark(&mut self, number: u32) {
        if number > self.highest {
            let gap = number - self.highest;
            if gap >= WINDOW {
                self.seen = [0; (WINDOW / 64) as usize];
            } else {
                for passed in self.highest + 1..=number {
                    let (word, bit) = Self::place(passed);
                    self.seen[word] &= !bit;
                }
            }
            self.highest = number;
        }
        if self.in_window(number) {
            let (word, bit) = Self::place(number);
            self.seen[word] |= bit;
        }
        if number < self.first {
            self.early.insert(number);
            if self.early.len() > WINDOW as usize {
                self.early.pop_first();
            }
        }
    }

    fn note(&mut self, number: u32, topic: Topic, alive: bool) {
        if self.topics.len() >= MANY_TOPICS {
            let oldest = self.highest.saturating_sub(WINDOW);
            self.topics.retain(|_, (number, _)| *number >= oldest);
        }
        let newest = self.topics.entry(topic).or_insert((number, alive));
        if newest.0 <= number {
            *newest = (number, alive);
        }
    }
}

#[derive(Debug)]
struct Peer {
    life: Life,
    heard: MonotonicTime,
    /// Lives that another one followed. One may go on: it was not over, or what followed it was a late datagram of one before.
    /// Then what has come of it has still come.
    former: VecDeque<Life>,
}

impl Peer {
    fn new(now: MonotonicTime, epoch: u32, number: u32) -> Self {
        Self { life: Life::new(epoch, number), heard: now, former: VecDeque::new() }
    }

    /// A former life of it.
    fn former(&self, epoch: u32) -> Option<&Life> {
        self.former.iter().find(|life| life.epoch == epoch)
    }

    /// This is its life from now on.
    fn begin(&mut self, epoch: u32, number: u32) {
        let known = self.former.iter().position(|life| life.epoch == epoch);
        let known = known.and_then(|place| self.former.remove(place));
        let life = known.unwrap_or_else(|| Life::new(epoch, number));
        let mut former = std::mem::replace(&mut self.life, life);
        // Its states are old by the time it may be heard again.
        former.topics = HashMap::new();
        self.former.push_back(former);
        if self.former.len() > MAX_FORMER {
            self.former.pop_front();
        }
    }
}

/// The numbers of the messages of all peers, each named by a `P`.
///
/// For every datagram: [`examine`](Self::examine). Where it is [`Fresh`](Verdict::Fresh), ask
/// [`is_old_news`](Self::is_old_news), act on it if it is not, and say how that went: [`handle_done`](Self::handle_done),
/// or [`handle_held`](Self::handle_held) and later `handle_done`, or nothing, and then the next copy is fresh again.
#[derive(Debug)]
pub struct Incoming<P> {
    peers: HashMap<P, Peer>,
}

impl<P> Default for Incoming<P> {
    fn default() -> Self {
        Self { peers: HashMap::new() }
    }
}

impl<P: Copy + Eq + Hash> Incoming<P> {
    /// What a datagram from this peer is. Changes nothing.
    #[must_use]
    pub fn examine(&self, now: MonotonicTime, peer: P, numbering: Numbering) -> Verdict<P> {
        let Numbering { revision, epoch, number } = numbering;
        if revision < REVISION || number == 0 {
            return Verdict::Unnumbered;
        }
        let receipt = Receipt { peer, epoch, number };
        let Some(known) = self.peers.get(&peer) else { return Verdict::Fresh(receipt) };
        let life = if known.life.epoch == epoch {
            &known.life
        } else {
            match known.former(epoch) {
                None => return Verdict::Fresh(receipt),
                Some(_) if now.since(known.heard) < PRESENT_SILENCE => return Verdict::Former,
                Some(life) => life,
            }
        };
        let held = life.held.contains(&number);
        if held || life.has_come(number) {
            return Verdict::Double { receipt, held };
        }
        Verdict::Fresh(receipt)
    }

    /// Whether a newer message has made this one meaningless.
    #[must_use]
    pub fn is_old_news(&self, receipt: &Receipt<P>, message: &impl Parcel) -> bool {
        let Some((topic, says)) = message.says() else { return false };
        let known = self.peers.get(&receipt.peer).map(|known| &known.life);
        let life = known.filter(|life| life.epoch == receipt.epoch);
        let Some((newest, alive)) = life.and_then(|life| life.topics.get(&topic)) else {
            return false;
        };
        let newer = *newest > receipt.number;
        match says {
            Says::Alive | Says::NotAlive => newer,
            Says::Failed | Says::NotWell => newer && *alive,
        }
    }

    /// A fresh message was taken, and has yet to be done.
    pub fn handle_held(&mut self, now: MonotonicTime, receipt: Receipt<P>, message: &impl Parcel) {
        let life = self.take(now, receipt, message);
        life.held.insert(receipt.number);
    }

    /// A fresh message is done.
    pub fn handle_done(&mut self, now: MonotonicTime, receipt: Receipt<P>, message: &impl Parcel) {
        self.take(now, receipt, message);
    }

    /// A message that was held is done. Says whether its sender, as far as is known, still waits to be told so.
    pub fn handle_released(&mut self, receipt: &Receipt<P>) -> bool {
        let Some(peer) = self.peers.get_mut(&receipt.peer) else { return false };
        if peer.life.epoch == receipt.epoch {
            return peer.life.held.remove(&receipt.number);
        }
        for life in peer.former.iter_mut().filter(|life| life.epoch == receipt.epoch) {
            life.held.remove(&receipt.number);
        }
        false
    }

    /// How many messages are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.peers.values().map(|peer| peer.life.held.len()).sum()
    }

    /// How many peers are known by their numbers.
    #[must_use]
    pub fn peers(&self) -> usize {
        self.peers.len()
    }

    /// How many topics of a peer's are kept.
    #[cfg(test)]
    pub(super) fn topics(&self, peer: &P) -> usize {
        self.peers.get(peer).map_or(0, |known| known.life.topics.len())
    }

    fn take(
        &mut self,
        now: MonotonicTime,
        receipt: Receipt<P>,
        message: &impl Parcel,
    ) -> &mut Life {
        let Receipt { peer, epoch, number } = receipt;
        if self.peers.len() >= MAX_PEERS && !self.peers.contains_key(&peer) {
            let longest = self.peers.iter().min_by_key(|(_, known)| known.heard);
            if let Some(longest) = longest.map(|(peer, _)| *peer) {
                self.peers.remove(&longest);
            }
        }
        let known = self.peers.entry(peer).or_insert_with(|| Peer::new(now, epoch, number));
        if known.life.epoch != epoch {
            known.begin(epoch, number);
        }
        known.heard = now;
        let life = &mut known.life;
        life.mark(number);
        if let Some((topic, says)) = message.says() {
            match says {
                Says::Alive => life.note(number, topic, true),
                Says::NotAlive | Says::Failed => life.note(number, topic, false),
                Says::NotWell => {}
            }
        }
        life
    }
}
