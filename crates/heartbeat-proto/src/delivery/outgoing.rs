//! The sending side: what has not been acknowledged yet, and when it is sent again.

use std::time::Duration;

use super::WINDOW;
use super::parcel::{Class, Parcel};
use super::queue::{Place, Queue, Serial};
use crate::MonotonicTime;
use crate::control::{Ack, Numbering, REVISION};

/// The wait for an acknowledgement before a message is sent again; it doubles up to [`MAX_INTERVAL`].
pub const MIN_INTERVAL: Duration = Duration::from_millis(200);

/// The longest such wait.
pub const MAX_INTERVAL: Duration = Duration::from_secs(5);

/// How often a message is sent again that its peer holds: the ACK that it is done may have been lost.
pub const HELD_INTERVAL: Duration = Duration::from_secs(10);

/// A peer that does not acknowledge and was not heard for so long may be gone: what is reported to it is kept for the next.
pub const PLAIN_SILENCE: Duration = Duration::from_secs(30);

/// How often a peer that does not acknowledge is shown that we would: it may have been taken for what it is not.
pub const PROBE_PERIOD: Duration = Duration::from_secs(30);

/// Messages that are sent again at most in one [`PACE`]: a peer that is gone is not flooded, and one that is back is not either.
const BURST: u32 = 32;

/// See [`BURST`].
const PACE: Duration = Duration::from_millis(100);

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Peer {
    /// Nobody: there is no address to send to.
    Nobody,
    /// Somebody that has not been heard yet.
    Unknown,
    /// One that does not acknowledge, and when it was last heard: a C++ daemon.
    Plain { heard: MonotonicTime },
    /// One that acknowledges, in this life of it.
    Acknowledging { epoch: u32 },
}

/// A message to be sent now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit<M> {
    /// What it is.
    pub message: M,
    /// What its header says of it.
    pub numbering: Numbering,
    /// It was sent before.
    pub again: bool,
}

/// The messages to one peer.
///
/// [`push`](Self::push) a message, then send what [`poll_transmit`](Self::poll_transmit) gives until it gives nothing; do so too
/// when [`poll_timeout`](Self::poll_timeout) has come, and after [`handle_ack`](Self::handle_ack),
/// [`handle_heard`](Self::handle_heard) and [`handle_moved`](Self::handle_moved). What had to be given up comes from
/// [`poll_lost`](Self::poll_lost).
#[derive(Debug)]
pub struct Outgoing<M> {
    epoch: u32,
    next_number: u32,
    /// Numbers are given to every peer, for the datagrams are sealed and whoever knows no numbers ignores them.
    always_numbered: bool,
    peer: Peer,
    probed_at: MonotonicTime,
    queue: Queue<M>,
    /// When the current [`PACE`] began, and how many were sent again in it.
    pace: (MonotonicTime, u32),
    acked_at: Option<MonotonicTime>,
}

impl<M: Parcel + Clone> Outgoing<M> {
    /// For a peer that has an address and has not been heard yet. The epoch is a random number that is not zero.
    #[must_use]
    pub fn new(epoch: u32, always_numbered: bool) -> Self {
        Self {
            epoch: epoch.max(1),
            next_number: 1,
            always_numbered,
            peer: Peer::Unknown,
            probed_at: MonotonicTime::START,
            queue: Queue::default(),
            pace: (MonotonicTime::START, 0),
            acked_at: None,
        }
    }

    /// Whether numbers are given to every peer, from now on.
    pub const fn set_always_numbered(&mut self, always: bool) {
        self.always_numbered = always;
    }

    /// What acknowledgements from the peer name.
    #[must_use]
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// A message for the peer. Without an address only reports are kept; says whether this one is.
    pub fn push(&mut self, now: MonotonicTime, message: M) -> bool {
        let class = message.class();
        if self.peer == Peer::Nobody && !matches!(class, Class::Report(_)) {
            return false;
        }
        self.queue.push(now, message);
        true
    }

    /// The next message to send, if there is one.
    pub fn poll_transmit(&mut self, now: MonotonicTime) -> Option<Transmit<M>> {
        self.queue.give_up(now);
        self.next_again(now).or_else(|| self.next_waiting(now))
    }

    /// When [`poll_transmit`](Self::poll_transmit) may have something although nothing has happened.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<MonotonicTime> {
        let (due, _) = *self.queue.due.first()?;
        let (since, count) = self.pace;
        Some(if count >= BURST { due.max(since + PACE) } else { due })
    }

    /// A report that had to be given up: it was too old, or there was no room for it.
    pub fn poll_lost(&mut self) -> Option<M> {
        self.queue.lost.pop()
    }

    /// The peer acknowledges. Says whether that was news.
    pub fn handle_ack(&mut self, now: MonotonicTime, ack: Ack) -> bool {
        if ack.epoch != self.epoch {
            return false;
        }
        let Some(serial) = self.queue.numbers.get(&ack.number).copied() else { return false };
        self.acked_at = Some(now);
        if ack.held {
            self.queue.sent.remove(&ack.number);
            self.queue.waiting.remove(&(false, serial));
            self.queue.set(serial, Place::Held, now + HELD_INTERVAL);
        } else {
            self.queue.remove(serial);
        }
        true
    }

    /// A message of the peer's came in, with this numbering. It must not be one of a former life of the peer's.
    pub fn handle_heard(&mut self, now: MonotonicTime, numbering: Numbering) {
        let peer = if numbering.revision >= REVISION {
            Peer::Acknowledging { epoch: numbering.epoch }
        } else {
            Peer::Plain { heard: now }
        };
        let before = std::mem::replace(&mut self.peer, peer);
        match (before, peer) {
            (Peer::Plain { .. }, Peer::Plain { .. }) => {}
            (before, after) if before == after => {}
            _ => {
                self.probed_at = now;
                self.start_over();
            }
        }
    }

    /// The peer has another address from now on, or none: it is somebody who has not been heard yet.
    pub fn handle_moved(&mut self, has_address: bool) {
        self.peer = if has_address { Peer::Unknown } else { Peer::Nobody };
        self.start_over();
    }

    /// Whether the peer acknowledges, if it has been heard.
    #[must_use]
    pub const fn acknowledges(&self) -> Option<bool> {
        match self.peer {
            Peer::Nobody | Peer::Unknown => None,
            Peer::Plain { .. } => Some(false),
            Peer::Acknowledging { .. } => Some(true),
        }
    }

    /// How many messages are kept.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.queue.entries.len()
    }

    /// How many of them are reports.
    #[must_use]
    pub fn reports(&self) -> usize {
        self.queue.reports.len()
    }

    /// The reports that are kept.
    pub fn pending_reports(&self) -> impl Iterator<Item = &M> {
        let entries =
            self.queue.reports.iter().filter_map(|(_, serial)| self.queue.entries.get(serial));
        entries.map(|entry| &entry.message)
    }

    /// How long the oldest of them has been kept.
    #[must_use]
    pub fn oldest(&self, now: MonotonicTime) -> Option<Duration> {
        self.queue.entries.first_key_value().map(|(_, entry)| now.since(entry.since))
    }

    /// How long a peer that acknowledges has left messages that were sent to it unacknowledged; none if it has not.
    #[must_use]
    pub fn silence(&self, now: MonotonicTime) -> Option<Duration> {
        let serial = self.queue.numbers.get(self.queue.sent.first()?)?;
        let since = self.queue.entries.get(serial)?.since;
        Some(now.since(self.acked_at.map_or(since, |acked| acked.max(since))))
    }

    /// As if all numbers before this one were given.
    #[cfg(test)]
    pub(super) const fn skip_to(&mut self, number: u32) {
        self.next_number = number;
    }

    /// The first message that is due to be sent again.
    fn next_again(&mut self, now: MonotonicTime) -> Option<Transmit<M>> {
        if now.since(self.pace.0) >= PACE {
            self.pace = (now, 0);
        }
        let (due, serial) = *self.queue.due.first()?;
        if due > now || self.pace.1 >= BURST {
            return None;
        }
        let entry = self.queue.entries.get(&serial)?;
        let (message, number) = (entry.message.clone(), entry.number?);
        let (place, pause) = match entry.place {
            // Given up when due, and that is done.
            Place::Waiting | Place::Kept => return None,
            Place::Sent { interval } => {
                let interval = (interval * 2).min(MAX_INTERVAL);
                (Place::Sent { interval }, interval)
            }
            Place::Held => (Place::Held, HELD_INTERVAL),
        };
        self.pace.1 += 1;
        self.queue.set(serial, place, now + pause);
        Some(Transmit { message, numbering: self.numbering(number), again: true })
    }

    /// The first message that was not sent yet, if the peer may be sent more.
    fn next_waiting(&mut self, now: MonotonicTime) -> Option<Transmit<M>> {
        let ahead = self.queue.sent.first().is_some_and(|first| self.next_number - first >= WINDOW);
        if ahead || self.peer == Peer::Nobody {
            return None;
        }
        let (_, serial) = self.queue.waiting.pop_first()?;
        let entry = self.queue.entries.get(&serial)?;
        let (message, again) = (entry.message.clone(), entry.number.is_some());
        let class = message.class();
        let numbering = match self.peer {
            Peer::Acknowledging { .. } if class != Class::Once => {
                let number = self.number_of(serial);
                self.queue.sent.insert(number);
                self.queue.set(serial, Place::Sent { interval: MIN_INTERVAL }, now + MIN_INTERVAL);
                self.numbering(number)
            }
            Peer::Plain { .. } if !self.always_numbered => {
                if now.since(self.probed_at) < PROBE_PERIOD {
                    Numbering::NONE
                } else {
                    self.probed_at = now;
                    self.numbering(0)
                }
            }
            Peer::Nobody | Peer::Unknown | Peer::Plain { .. } | Peer::Acknowledging { .. } => {
                let number = self.number_of(serial);
                self.numbering(number)
            }
        };
        match self.peer {
            Peer::Acknowledging { .. } if class != Class::Once => {}
            Peer::Plain { heard } if now.since(heard) <= PLAIN_SILENCE => {
                drop(self.queue.remove(serial));
            }
            _ => self.keep_or_drop(serial, class),
        }
        Some(Transmit { message, numbering, again })
    }

    /// Sent to somebody who may not be there: that was all, but for a report, which is kept for the next.
    fn keep_or_drop(&mut self, serial: Serial, class: Class) {
        if matches!(class, Class::Report(_)) {
            if let Some(entry) = self.queue.entries.get_mut(&serial) {
                entry.place = Place::Kept;
            }
        } else {
            self.queue.remove(serial);
        }
    }

    /// The number of a message, given now if it has none.
    fn number_of(&mut self, serial: Serial) -> u32 {
        if let Some(number) = self.queue.entries.get(&serial).and_then(|entry| entry.number) {
            return number;
        }
        if self.next_number == u32::MAX {
            // As after a restart: the numbers are used up.
            self.epoch = self.epoch.wrapping_add(1).max(1);
            self.next_number = 1;
            self.queue.numbers.clear();
            for entry in self.queue.entries.values_mut() {
                entry.number = None;
            }
            self.start_over();
            self.queue.waiting.retain(|(_, other)| *other != serial);
        }
        let number = self.next_number;
        self.next_number += 1;
        self.queue.numbers.insert(number, serial);
        if let Some(entry) = self.queue.entries.get_mut(&serial) {
            entry.number = Some(number);
        }
        number
    }

    const fn numbering(&self, number: u32) -> Numbering {
        Numbering { revision: REVISION, epoch: self.epoch, number }
    }

    /// Everything is to be sent anew: somebody listens who may know nothing of what was sent.
    fn start_over(&mut self) {
        self.queue.start_over(self.next_number);
    }
}
