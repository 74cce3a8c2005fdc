//! The outbox against one that is a plain list, and against what must hold of its history.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const ROOM: usize = 6;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    State,
    Alarm,
    Vote,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Push(u128, Kind),
    Deleted(u128),
    Poll,
    Delivered,
    Refused,
    Failed,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![2 => Just(Kind::State), 1 => Just(Kind::Alarm), 1 => Just(Kind::Vote)];
    prop_oneof![
        6 => (1..5_u128, kind).prop_map(|(instance, kind)| Step::Push(instance, kind)),
        1 => (1..5_u128).prop_map(Step::Deleted),
        4 => Just(Step::Poll),
        2 => Just(Step::Delivered),
        1 => Just(Step::Refused),
        2 => Just(Step::Failed),
        2 => (0..40_000_u64).prop_map(Step::Wait),
    ]
}

/// The same rules, by a plain list.
#[derive(Default)]
struct Model {
    waiting: Vec<(usize, MonotonicTime, InstanceEvent)>,
    in_flight: Option<(usize, MonotonicTime, InstanceEvent, bool)>,
    failures: u32,
    pause_until: Option<MonotonicTime>,
}

impl Model {
    fn state_of(&self, instance: InstanceId) -> Option<usize> {
        self.waiting.iter().position(|(.., event)| is_state(event) && event.instance == instance)
    }

    fn len(&self) -> usize {
        self.waiting.len() + self.in_flight.iter().len()
    }

    fn push(&mut self, id: usize, now: MonotonicTime, event: InstanceEvent) -> Pushed {
        let older = self.state_of(event.instance).filter(|_| is_state(&event));
        let any = self.waiting.iter().position(|(.., event)| is_state(event));
        let pushed = match (older, any) {
            (Some(older), _) => {
                self.waiting.remove(older);
                Pushed::Replaced
            }
            (None, _) if self.len() < ROOM => Pushed::Queued,
            (None, Some(any)) => Pushed::MadeRoom(self.waiting.remove(any).2),
            (None, None) => return Pushed::Full(event),
        };
        self.waiting.push((id, now, event));
        pushed
    }

    fn deleted(&mut self, instance: InstanceId) -> usize {
        if let Some((.., event, deleted)) = &mut self.in_flight {
            *deleted |= event.instance == instance;
        }
        let before = self.waiting.len();
        self.waiting.retain(|(.., event)| event.instance != instance);
        before - self.waiting.len()
    }

    fn poll(&mut self, now: MonotonicTime) -> Option<InstanceEvent> {
        let pauses = self.pause_until.is_some_and(|until| now < until);
        if self.in_flight.is_some() || pauses || self.waiting.is_empty() {
            return None;
        }
        let (id, since, event) = self.waiting.remove(0);
        self.in_flight = Some((id, since, event.clone(), false));
        Some(event)
    }

    fn answered(&mut self) -> Option<(MonotonicTime, InstanceEvent)> {
        (self.failures, self.pause_until) = (0, None);
        self.in_flight.take().map(|(_, since, event, _)| (since, event))
    }

    fn failed(&mut self, now: MonotonicTime) -> Duration {
        if let Some((id, since, event, deleted)) = self.in_flight.take() {
            let newer = is_state(&event) && self.state_of(event.instance).is_some();
            if !deleted && !newer {
                self.waiting.insert(0, (id, since, event));
            }
        }
        let pause = Duration::from_secs(1 << self.failures.min(5)).min(Duration::from_secs(30));
        self.failures += 1;
        self.pause_until = Some(now + pause);
        pause
    }
}

/// What happened to each event, by its number.
#[derive(Default)]
struct History {
    pushed: Vec<(u128, Kind)>,
    /// In the order of the deliveries.
    delivered: Vec<usize>,
    /// Refused, or dropped for room: told to the caller.
    told: Vec<usize>,
    /// How many had been pushed when an instance was last deleted.
    deleted: HashMap<u128, usize>,
}

fn number(event: &InstanceEvent) -> usize {
    event.hostname.parse().unwrap()
}

impl History {
    fn check(&self) {
        let mut last: HashMap<u128, usize> = HashMap::new();
        for number in &self.delivered {
            let before = last.insert(self.pushed[*number].0, *number);
            assert!(before < Some(*number), "in order per instance, and none twice");
        }
        for (number, (instance, kind)) in self.pushed.iter().enumerate() {
            let known = self.delivered.contains(&number) || self.told.contains(&number);
            let deleted = self.deleted.get(instance).is_some_and(|pushed| number < *pushed);
            let newer = self.pushed[number + 1..].iter().any(|other| other == &(*instance, *kind));
            let replaced = *kind == Kind::State && newer;
            assert!(known || deleted || replaced, "event {number} is lost");
        }
    }
}

proptest! {
    #[test]
    fn the_outbox_does_what_a_plain_list_does_and_loses_nothing(
        steps in prop::collection::vec(step(), 0..200),
    ) {
        let mut outbox = Outbox::with_capacity(ROOM);
        let mut model = Model::default();
        let mut history = History::default();
        let mut now = NOW;
        let mut steps = steps.into_iter();
        loop {
            // When the steps are over, the VIM is back and takes everything.
            let step = match steps.next() {
                Some(step) => step,
                None if outbox.len() == 0 => break,
                None => {
                    now = now + Duration::from_secs(30);
                    let event = outbox.poll_event(now);
                    prop_assert_eq!(event, model.poll(now));
                    Step::Delivered
                }
            };
            match step {
                Step::Push(instance, kind) => {
                    let id = history.pushed.len();
                    history.pushed.push((instance, kind));
                    let event = match kind {
                        Kind::State => state(instance, &id.to_string()),
                        Kind::Alarm => alarm(instance, &id.to_string()),
                        Kind::Vote => vote(instance, &id.to_string()),
                    };
                    let pushed = outbox.push(now, event.clone());
                    if let Pushed::MadeRoom(event) | Pushed::Full(event) = &pushed {
                        history.told.push(number(event));
                    }
                    prop_assert_eq!(pushed, model.push(id, now, event));
                }
                Step::Deleted(instance) => {
                    history.deleted.insert(instance, history.pushed.len());
                    let id = InstanceId::from_u128(instance);
                    prop_assert_eq!(outbox.handle_deleted(id), model.deleted(id));
                }
                Step::Poll => prop_assert_eq!(outbox.poll_event(now), model.poll(now)),
                Step::Delivered => {
                    let delivered = outbox.handle_delivered(now);
                    if let Some((event, _)) = &delivered {
                        history.delivered.push(number(event));
                    }
                    let expected = model.answered().map(|(since, event)| (event, now.since(since)));
                    prop_assert_eq!(delivered, expected);
                }
                Step::Refused => {
                    let refused = outbox.handle_refused();
                    if let Some(event) = &refused {
                        history.told.push(number(event));
                    }
                    prop_assert_eq!(refused, model.answered().map(|(_, event)| event));
                }
                // Without one in flight nothing can fail.
                Step::Failed if model.in_flight.is_none() => {}
                Step::Failed => prop_assert_eq!(outbox.handle_failed(now, false), model.failed(now)),
                Step::Wait(millis) => now = now + Duration::from_millis(millis),
            }
            prop_assert_eq!(outbox.len(), model.len());
            prop_assert!(outbox.len() <= ROOM);
            let first = model.in_flight.as_ref().map(|(_, since, ..)| *since);
            let first = first.or(model.waiting.first().map(|(_, since, _)| *since));
            prop_assert_eq!(outbox.oldest(now), first.map(|since| now.since(since)));
            let waits = model.in_flight.is_none() && !model.waiting.is_empty();
            prop_assert_eq!(outbox.poll_timeout(), model.pause_until.filter(|_| waits));
        }
        history.check();
        prop_assert!(outbox.by_instance.is_empty() && outbox.states.is_empty());
        prop_assert!(outbox.states_in_order.is_empty());
    }
}
