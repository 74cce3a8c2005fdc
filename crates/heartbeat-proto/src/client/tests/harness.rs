//! A client on a clock that the test sets.

use std::borrow::Borrow;
use std::time::Duration;

use crate::MonotonicTime;
use crate::client::{Action, ActionId, Client, Note, Output, Settings};
use crate::guest::{EventType, GuestMessage, HostMessage, NotificationType};

pub(super) const INTERVAL_MS: u64 = 1000;

pub(super) fn settings() -> Settings {
    Settings { name: "vm".into(), heartbeat_interval_ms: INTERVAL_MS, ..Settings::default() }
}

/// A client, its clock, and the next numbers of both sides.
pub(super) struct Guest {
    pub(super) client: Client,
    pub(super) now: MonotonicTime,
    random: u32,
    sequence: u64,
}

impl Guest {
    pub(super) fn new() -> Self {
        let client = Client::new(settings());
        Self { client, now: MonotonicTime::START, random: 0, sequence: 100 }
    }

    /// One whose port is open and whose first `init` went out; its number is the second value.
    pub(super) fn enabling() -> (Self, u64) {
        let mut guest = Self::new();
        guest.client.handle_opened(guest.now);
        let id = guest.ask();
        (guest, id)
    }

    /// One that is acknowledged.
    pub(super) fn enabled() -> (Self, u64) {
        let (mut guest, invocation_id) = Self::enabling();
        assert_eq!(guest.hears(HostMessage::InitAck { invocation_id }), [note(Note::Acknowledged)]);
        (guest, invocation_id)
    }

    /// Lets a due `init` go out and returns its number.
    pub(super) fn ask(&mut self) -> u64 {
        let outputs = self.timeout();
        let inits: Vec<u64> = outputs.iter().filter_map(init).collect();
        assert_eq!(inits.len(), 1, "{outputs:?}");
        inits[0]
    }

    pub(super) fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.client.poll_output()).collect()
    }

    pub(super) fn after(&mut self, millis: u64) -> &mut Self {
        self.now = self.now + Duration::from_millis(millis);
        self
    }

    pub(super) fn timeout(&mut self) -> Vec<Output> {
        self.random = self.random.wrapping_add(0x0123_4567);
        self.client.handle_timeout(self.now, self.random);
        self.outputs()
    }

    /// The time until the next deadline.
    pub(super) fn due_in(&self) -> Option<Duration> {
        self.client.poll_timeout().map(|due| due.since(self.now))
    }

    /// Everything that is due until then, at its time.
    pub(super) fn run(&mut self, millis: u64) -> Vec<Output> {
        let end = self.now + Duration::from_millis(millis);
        let mut outputs = Vec::new();
        while let Some(due) = self.client.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            outputs.extend(self.timeout());
        }
        self.now = end;
        outputs
    }

    pub(super) fn hears(&mut self, message: impl Borrow<HostMessage>) -> Vec<Output> {
        self.sequence += 1;
        let mut bytes = Vec::new();
        message.borrow().encode(self.sequence, &mut bytes);
        self.hears_bytes(&bytes)
    }

    pub(super) fn hears_bytes(&mut self, bytes: &[u8]) -> Vec<Output> {
        self.client.handle_bytes(self.now, bytes);
        self.outputs()
    }

    /// Takes a challenge, and returns the answer.
    pub(super) fn challenged(&mut self, heartbeat_challenge: u32) -> Option<GuestMessage> {
        let outputs = self.hears(HostMessage::Challenge { heartbeat_challenge });
        let mut sent = outputs.into_iter().filter_map(|output| match output {
            Output::Send { message, .. } => Some(message),
            Output::Decide(_) | Output::Withdraw(_) | Output::Note(_) => None,
        });
        let answer = sent.next();
        assert_eq!(sent.next(), None);
        answer
    }

    /// Takes an `action_notify` that is to be decided.
    pub(super) fn asked(
        &mut self,
        invocation_id: u64,
        event_type: EventType,
        notification_type: NotificationType,
        timeout_ms: u64,
    ) -> Action {
        let message =
            HostMessage::ActionNotify { invocation_id, event_type, notification_type, timeout_ms };
        let outputs = self.hears(message);
        let decide = outputs.iter().find_map(|output| match output {
            Output::Decide(action) => Some(action.clone()),
            Output::Send { .. } | Output::Withdraw(_) | Output::Note(_) => None,
        });
        decide.unwrap_or_else(|| panic!("nothing to decide: {outputs:?}"))
    }
}

pub(super) fn note(note: Note) -> Output {
    Output::Note(note)
}

pub(super) fn withdraw(id: ActionId) -> Output {
    Output::Withdraw(id)
}

pub(super) fn init(output: &Output) -> Option<u64> {
    match output {
        Output::Send { message: GuestMessage::Init(init), .. } => Some(init.invocation_id),
        Output::Send { .. } | Output::Decide(_) | Output::Withdraw(_) | Output::Note(_) => None,
    }
}

pub(super) fn messages(outputs: &[Output]) -> Vec<GuestMessage> {
    let sent = outputs.iter().filter_map(|output| match output {
        Output::Send { message, .. } => Some(message.clone()),
        Output::Decide(_) | Output::Withdraw(_) | Output::Note(_) => None,
    });
    sent.collect()
}
