//! What is kept of one peer's messages, and in which orders.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::WINDOW;
use super::parcel::{Class, Parcel, Topic};
use crate::{InstanceId, MonotonicTime};

/// How long a report is kept for a controller to come.
pub const REPORT_LIFETIME: Duration = Duration::from_hours(1);

/// How long a state is sent again: by then an audit has told it.
pub const STATE_LIFETIME: Duration = Duration::from_mins(1);

/// How long an action is sent again: by then nobody waits for its outcome.
pub const ACTION_LIFETIME: Duration = Duration::from_secs(20);

/// Messages that are kept at most. Of more, the oldest state goes, or the oldest report if there is none.
pub const MAX_PENDING: usize = 16_384;

/// Reports that are kept at most of one instance; of more, the oldest goes.
pub const MAX_REPORTS: usize = 16;

/// The place of a message in the order in which they were pushed.
pub(super) type Serial = u64;

/// Where a message is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Not sent yet to this peer.
    Waiting,
    /// Sent to a peer that cannot be relied upon, and kept for the next.
    Kept,
    /// Sent; the wait for its acknowledgement.
    Sent { interval: Duration },
    /// The peer has it and is not done with it.
    Held,
}

#[derive(Debug)]
pub(super) struct Entry<M> {
    pub(super) message: M,
    pub(super) since: MonotonicTime,
    pub(super) place: Place,
    /// Its number, once it was sent under one. It keeps it, so that whoever has had it knows.
    pub(super) number: Option<u32>,
    /// When something is to be done about it: sent again, or given up.
    pub(super) due: MonotonicTime,
}

/// The messages of one peer, by everything that they are asked for by.
#[derive(Debug)]
pub(super) struct Queue<M> {
    next_serial: Serial,
    pub(super) entries: BTreeMap<Serial, Entry<M>>,
    /// Those not sent yet: answers to queries behind everything else.
    pub(super) waiting: BTreeSet<(bool, Serial)>,
    /// Those that have a number.
    pub(super) numbers: HashMap<u32, Serial>,
    /// Those of them that have not arrived as far as is known.
    pub(super) sent: BTreeSet<u32>,
    pub(super) due: BTreeSet<(MonotonicTime, Serial)>,
    topics: HashMap<Topic, Serial>,
    states: BTreeSet<Serial>,
    pub(super) reports: BTreeSet<(InstanceId, Serial)>,
    pub(super) lost: Vec<M>,
}

impl<M> Default for Queue<M> {
    fn default() -> Self {
        Self {
            next_serial: 0,
            entries: BTreeMap::new(),
            waiting: BTreeSet::new(),
            numbers: HashMap::new(),
            sent: BTreeSet::new(),
            due: BTreeSet::new(),
            topics: HashMap::new(),
            states: BTreeSet::new(),
            reports: BTreeSet::new(),
            lost: Vec::new(),
        }
    }
}

impl<M: Parcel> Queue<M> {
    /// One more, in place of an older one of its topic; what it outdates goes, and so does what there is no room for.
    pub(super) fn push(&mut self, now: MonotonicTime, message: M) {
        let class = message.class();
        self.drop_outdated(&message);
        match class {
            Class::Once | Class::Action => {}
            Class::State(topic) => {
                if let Some(older) = self.topics.get(&topic).copied() {
                    self.remove(older);
                }
                self.topics.insert(topic, self.next_serial);
                self.states.insert(self.next_serial);
            }
            Class::Report(instance) => {
                let mut of_it = self.reports_of(instance);
                if of_it.len() >= MAX_REPORTS {
                    self.lose(of_it.swap_remove(0));
                }
                self.reports.insert((instance, self.next_serial));
            }
        }
        self.make_room();
        let serial = self.next_serial;
        self.next_serial += 1;
        let due = now + lifetime(class);
        self.due.insert((due, serial));
        self.waiting.insert((is_answer(class), serial));
        self.entries.insert(
            serial,
            Entry { message, since: now, place: Place::Waiting, number: None, due },
        );
    }

    /// Everything is to be sent anew: somebody listens who may know nothing of what was sent.
    pub(super) fn start_over(&mut self, next: u32) {
        self.sent.clear();
        self.due.clear();
        for (serial, entry) in &mut self.entries {
            let class = entry.message.class();
            // Too far behind for who has not had it to see that; what is held has been had.
            let behind = |number: &u32| next - number >= WINDOW && entry.place != Place::Held;
            if let Some(number) = entry.number.take_if(|number| behind(number)) {
                self.numbers.remove(&number);
            }
            entry.place = Place::Waiting;
            entry.due = entry.since + lifetime(class);
            self.due.insert((entry.due, *serial));
            self.waiting.insert((is_answer(class), *serial));
        }
    }

    /// What is too old goes.
    pub(super) fn give_up(&mut self, now: MonotonicTime) {
        while let Some((due, serial)) = self.due.first().copied() {
            let Some(entry) = self.entries.get(&serial) else { return };
            if due > now || now.since(entry.since) < lifetime(entry.message.class()) {
                return;
            }
            self.lose(serial);
        }
    }

    fn make_room(&mut self) {
        if self.entries.len() >= MAX_PENDING {
            // The new one is not in `entries` yet, and may be the only state.
            let state = self.states.first().copied().filter(|state| *state < self.next_serial);
            if let Some(serial) = state.or_else(|| self.entries.keys().next().copied()) {
                self.lose(serial);
            }
        }
    }

    fn drop_outdated(&mut self, message: &M) {
        let Class::State(Topic::Instance(instance)) = message.class() else { return };
        for serial in self.reports_of(instance) {
            if self.entries.get(&serial).is_some_and(|older| message.outdates(&older.message)) {
                self.remove(serial);
            }
        }
    }

    fn reports_of(&self, instance: InstanceId) -> Vec<Serial> {
        let all = (instance, Serial::MIN)..=(instance, Serial::MAX);
        self.reports.range(all).map(|(_, serial)| *serial).collect()
    }

    pub(super) fn set(&mut self, serial: Serial, place: Place, due: MonotonicTime) {
        let Some(entry) = self.entries.get_mut(&serial) else { return };
        let end = entry.since + lifetime(entry.message.class());
        let due = due.min(end);
        self.due.remove(&(entry.due, serial));
        self.due.insert((due, serial));
        entry.place = place;
        entry.due = due;
    }

    fn lose(&mut self, serial: Serial) {
        if let Some(message) = self.remove(serial)
            && matches!(message.class(), Class::Report(_))
        {
            self.lost.push(message);
        }
    }

    pub(super) fn remove(&mut self, serial: Serial) -> Option<M> {
        let entry = self.entries.remove(&serial)?;
        let class = entry.message.class();
        self.due.remove(&(entry.due, serial));
        self.waiting.remove(&(is_answer(class), serial));
        if let Some(number) = entry.number {
            self.numbers.remove(&number);
            self.sent.remove(&number);
        }
        match class {
            Class::Once | Class::Action => {}
            Class::State(topic) => {
                self.states.remove(&serial);
                if self.topics.get(&topic) == Some(&serial) {
                    self.topics.remove(&topic);
                }
            }
            Class::Report(instance) => drop(self.reports.remove(&(instance, serial))),
        }
        Some(entry.message)
    }
}

/// How long a message is kept.
const fn lifetime(class: Class) -> Duration {
    match class {
        Class::Once | Class::State(_) => STATE_LIFETIME,
        Class::Action => ACTION_LIFETIME,
        Class::Report(_) => REPORT_LIFETIME,
    }
}

const fn is_answer(class: Class) -> bool {
    matches!(class, Class::State(Topic::Answer(_)))
}
