//! What the VIM has to know and does not know yet.
//!
//! Pure: the time is passed in, and somebody else sends. One event at a time is in flight; it stays
//! here until it is known what came of it, so that nothing is lost while the VIM is away.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use heartbeat_proto::vim::{EventKind, InstanceEvent};
use heartbeat_proto::{InstanceId, MonotonicTime};

use super::backoff::{Backoff, MAX_PAUSE};
use crate::courier::Receipt;

/// Events that are kept at most, with the one in flight. When it is full, the oldest unsent service
/// state makes room for what is new, be it of another instance: its place is worth less than an
/// alarm's. If only alarms and votes wait, what is new is dropped. Either way the caller is told
/// ([`Pushed`]), so that it is counted and logged.
pub(crate) const CAPACITY: usize = 100_000;

/// The place of an event in the order of them all.
type Sequence = u64;

#[derive(Debug, Clone)]
struct Entry {
    event: InstanceEvent,
    since: MonotonicTime,
    /// What its guestServer is told when nothing more is to be done about it.
    receipt: Option<Receipt>,
}

impl Entry {
    fn is_state(&self) -> bool {
        is_state(&self.event)
    }
}

#[derive(Debug)]
struct InFlight {
    sequence: Sequence,
    entry: Entry,
    /// Its instance was deleted since: if it fails, it is not tried again.
    deleted: bool,
}

/// What became of the queue for a new event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "what was dropped is logged and counted"]
pub(crate) enum Pushed {
    /// The event waits.
    Queued,
    /// The event waits, and an older unsent service state of its instance no longer does.
    Replaced,
    /// The queue was full: the event waits, and this service state, the oldest unsent one, was
    /// dropped.
    MadeRoom(InstanceEvent),
    /// The queue was full of alarms and votes: this event, the new one, was dropped.
    Full(InstanceEvent),
}

/// The events that wait for the VIM, in order.
///
/// Call in this order: [`push`](Self::push) and [`handle_deleted`](Self::handle_deleted) at any
/// time; [`poll_event`](Self::poll_event) for the event to send; then, when it is known what came of
/// it, one of [`handle_delivered`](Self::handle_delivered),
/// [`handle_refused`](Self::handle_refused) and [`handle_failed`](Self::handle_failed).
///
/// ```text
///                push                poll_event               handle_delivered
///  (new) ──────────────────► waits ─────────────► in flight ─────────────────► gone
///                            │   ▲                    │ │      handle_refused
///     replaced, deleted,     │   │   handle_failed    │ │
///     made room              ▼   └────────────────────┘ └─► gone, if it was deleted, or is a
///                          gone                             service state with a newer one
/// ```
///
/// - The order is that of the pushes, over all instances. A failed event is the first again, unless
///   the VIM is there and fails over this very event: then all of its instance goes to the end.
/// - A service state replaces the one of the same instance that waits, and takes its own place at
///   the end: the VIM learns the last state after whatever else happened before it.
/// - Alarms and votes are neither replaced nor merged. They go only when the VIM has them, refuses
///   them, or when their instance is deleted.
/// - With an instance everything of it goes that waits: its alarms, for nothing is to be repaired
///   any more; its state; and the outcomes of its votes, for the VIM, which deleted it, no longer
///   waits for them.
/// - When an instance moves, what its former host said of its state and its failure goes: a late
///   alarm after a migration must not kill the machine.
/// - The one in flight is never touched.
///
/// Everything takes a time that grows with the logarithm of what waits, but for
/// [`handle_deleted`](Self::handle_deleted), which takes as much for each event that it drops.
#[derive(Debug)]
pub(crate) struct Outbox {
    capacity: usize,
    next_sequence: Sequence,
    waiting: BTreeMap<Sequence, Entry>,
    /// What waits, by instance.
    by_instance: BTreeSet<(InstanceId, Sequence)>,
    /// The service state that waits, of each instance that has one.
    states: HashMap<InstanceId, Sequence>,
    /// The same in their order.
    states_in_order: BTreeSet<Sequence>,
    in_flight: Option<InFlight>,
    /// Of those that went, for whatever reason.
    released: Vec<Receipt>,
    backoff: Backoff,
}

impl Default for Outbox {
    fn default() -> Self {
        Self::with_capacity(CAPACITY)
    }
}

impl Outbox {
    fn with_capacity(capacity: usize) -> Self {
        Self {
            capacity,
            next_sequence: 0,
            waiting: BTreeMap::new(),
            by_instance: BTreeSet::new(),
            states: HashMap::new(),
            states_in_order: BTreeSet::new(),
            in_flight: None,
            released: Vec::new(),
            backoff: Backoff::up_to(MAX_PAUSE),
        }
    }

    /// The VIM has to know this.
    pub(crate) fn push(&mut self, now: MonotonicTime, event: InstanceEvent) -> Pushed {
        self.push_held(now, event, None)
    }

    /// The same, of what came in a message that has to be acknowledged when that is done: its receipt comes from
    /// [`poll_released`](Self::poll_released) then, but not if the event is [`Full`](Pushed::Full).
    pub(crate) fn push_held(
        &mut self,
        now: MonotonicTime,
        event: InstanceEvent,
        receipt: Option<Receipt>,
    ) -> Pushed {
        let mut pushed = Pushed::Queued;
        if is_state(&event)
            && let Some(older) = self.states.get(&event.instance).copied()
        {
            self.take(older);
            pushed = Pushed::Replaced;
        } else if self.len() >= self.capacity {
            let oldest = self.states_in_order.first().copied();
            match oldest.and_then(|oldest| self.take(oldest)) {
                Some(dropped) => {
                    self.released.extend(dropped.receipt);
                    pushed = Pushed::MadeRoom(dropped.event);
                }
                None => return Pushed::Full(event),
            }
        }
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.put(sequence, Entry { event, since: now, receipt });
        pushed
    }

    /// The receipt of a message that nothing more is to be done about.
    pub(crate) fn poll_released(&mut self) -> Option<Receipt> {
        self.released.pop()
    }

    /// An instance is gone, and with it all that waits of it. Says how many events that were.
    pub(crate) fn handle_deleted(&mut self, instance: InstanceId) -> usize {
        self.drop_of(instance, |_| true)
    }

    /// An instance is on another host: what its former one said of its state or its failure is over.
    /// The outcomes of its votes stay, for they were asked for. Says how many events went.
    pub(crate) fn handle_moved(&mut self, instance: InstanceId) -> usize {
        self.drop_of(instance, |event| !matches!(event.kind, EventKind::Action { .. }))
    }

    fn drop_of(
        &mut self,
        instance: InstanceId,
        outdated: impl Fn(&InstanceEvent) -> bool,
    ) -> usize {
        if let Some(in_flight) = &mut self.in_flight
            && in_flight.entry.event.instance == instance
            && outdated(&in_flight.entry.event)
        {
            in_flight.deleted = true;
        }
        let dropped: Vec<Sequence> = self
            .waiting_of(instance)
            .filter(|sequence| self.waiting.get(sequence).is_some_and(|one| outdated(&one.event)))
            .collect();
        for sequence in &dropped {
            let receipt = self.take(*sequence).and_then(|entry| entry.receipt);
            self.released.extend(receipt);
        }
        dropped.len()
    }

    fn waiting_of(&self, instance: InstanceId) -> impl Iterator<Item = Sequence> {
        let all = (instance, Sequence::MIN)..=(instance, Sequence::MAX);
        self.by_instance.range(all).map(|(_, sequence)| *sequence)
    }

    /// The event to send now, if there is one; it is in flight then. None while another one is, and
    /// while a VIM that is away is left alone.
    pub(crate) fn poll_event(&mut self, now: MonotonicTime) -> Option<InstanceEvent> {
        if self.in_flight.is_some() || self.pauses(now) {
            return None;
        }
        let sequence = *self.waiting.first_key_value()?.0;
        let entry = self.take(sequence)?;
        let event = entry.event.clone();
        self.in_flight = Some(InFlight { sequence, entry, deleted: false });
        Some(event)
    }

    /// The VIM has the event that was in flight. Gives it and how long it has waited.
    pub(crate) fn handle_delivered(
        &mut self,
        now: MonotonicTime,
    ) -> Option<(InstanceEvent, Duration)> {
        self.backoff.handle_success();
        let Entry { event, since, receipt } = self.in_flight.take()?.entry;
        self.released.extend(receipt);
        Some((event, now.since(since)))
    }

    /// The VIM is there but does not want the event that was in flight. Gives it, dropped.
    pub(crate) fn handle_refused(&mut self) -> Option<InstanceEvent> {
        self.backoff.handle_success();
        let Entry { event, receipt, .. } = self.in_flight.take()?.entry;
        self.released.extend(receipt);
        Some(event)
    }

    /// The VIM does not have the event that was in flight: it is sent again after a pause, which is
    /// given, unless its instance was deleted or has a newer state meanwhile.
    ///
    /// Where it is `about` the event, for the VIM is there and fails over it, everything of its
    /// instance goes behind what waits of others, in the same order: they shall not wait for it.
    pub(crate) fn handle_failed(&mut self, now: MonotonicTime, about: bool) -> Duration {
        if let Some(InFlight { sequence, entry, deleted }) = self.in_flight.take() {
            let instance = entry.event.instance;
            let replaced = entry.is_state() && self.states.contains_key(&instance);
            if deleted || replaced {
                self.released.extend(entry.receipt);
            } else {
                self.put(sequence, entry);
            }
            if about {
                self.put_behind(instance);
            }
        }
        self.backoff.handle_failure(now)
    }

    fn put_behind(&mut self, instance: InstanceId) {
        let sequences: Vec<Sequence> = self.waiting_of(instance).collect();
        for sequence in sequences {
            if let Some(entry) = self.take(sequence) {
                self.put(self.next_sequence, entry);
                self.next_sequence += 1;
            }
        }
    }

    /// The VIM was seen to be there, though not by an event.
    pub(super) fn handle_vim_seen(&mut self) {
        self.backoff.handle_success();
    }

    /// When [`poll_event`](Self::poll_event) has an event because time has passed.
    pub(crate) fn poll_timeout(&self) -> Option<MonotonicTime> {
        match self.in_flight {
            None if !self.waiting.is_empty() => self.backoff.until(),
            None | Some(_) => None,
        }
    }

    /// Whether a VIM that is away is left alone.
    pub(crate) fn pauses(&self, now: MonotonicTime) -> bool {
        self.backoff.pauses(now)
    }

    /// When the pause ends that a failure began, if nothing has succeeded since.
    pub(super) const fn pauses_until(&self) -> Option<MonotonicTime> {
        self.backoff.until()
    }

    /// How many events the VIM does not have yet, the one in flight among them.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + usize::from(self.in_flight.is_some())
    }

    /// How long the first of them has waited.
    pub(crate) fn oldest(&self, now: MonotonicTime) -> Option<Duration> {
        let in_flight = self.in_flight.as_ref().map(|in_flight| &in_flight.entry);
        let first = in_flight.or_else(|| self.waiting.first_key_value().map(|(_, entry)| entry));
        first.map(|entry| now.since(entry.since))
    }

    fn put(&mut self, sequence: Sequence, entry: Entry) {
        let instance = entry.event.instance;
        self.by_instance.insert((instance, sequence));
        if entry.is_state() {
            self.states.insert(instance, sequence);
            self.states_in_order.insert(sequence);
        }
        self.waiting.insert(sequence, entry);
    }

    fn take(&mut self, sequence: Sequence) -> Option<Entry> {
        let entry = self.waiting.remove(&sequence)?;
        self.by_instance.remove(&(entry.event.instance, sequence));
        if entry.is_state() {
            self.states.remove(&entry.event.instance);
            self.states_in_order.remove(&sequence);
        }
        Some(entry)
    }
}

fn is_state(event: &InstanceEvent) -> bool {
    match event.kind {
        EventKind::Service { .. } => true,
        EventKind::Alarm { .. } | EventKind::Action { .. } => false,
    }
}

#[cfg(test)]
mod tests;
