//! What the guest's side wants done.

use std::collections::VecDeque;
use std::time::Duration;

use crate::guest::{
    CorrectiveAction, EventType, GuestMessage, MAX_LOG_MSG, MalformedKind, NotificationType, Text,
    VoteResult,
};

/// Something to do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Write this message to the channel. What cannot be written at once may be left out in favour of a newer one of
    /// its kind.
    Send {
        /// Its `sequence`.
        sequence: u64,
        /// What it says.
        message: GuestMessage,
    },
    /// Find out what the guest has to say to this, and tell it with [`Client::handle_verdict`].
    ///
    /// [`Client::handle_verdict`]: super::Client::handle_verdict
    Decide(Action),
    /// Nobody waits for the verdict any more.
    Withdraw(ActionId),
    /// Tell the log and the metrics.
    Note(Note),
}

/// Tells one action from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ActionId(pub(super) u64);

/// Something that is about to be done to the instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// Which one it is.
    pub id: ActionId,
    /// What is about to be done.
    pub event_type: EventType,
    /// Whether the guest is asked or told.
    pub notification_type: NotificationType,
    /// How long the verdict may take; then the host is told `timeout`.
    pub limit: Duration,
}

/// The guest's answer to an [`Action`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The word for it.
    pub vote_result: VoteResult,
    /// Why.
    pub log_msg: Text<MAX_LOG_MSG>,
}

/// How the guest is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Health {
    /// All is well.
    #[default]
    Healthy,
    /// Something is not.
    Unhealthy {
        /// What is to be done about it.
        corrective_action: CorrectiveAction,
        /// What it is.
        log_msg: Text<MAX_LOG_MSG>,
    },
}

/// What happened, for the log and the metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// An `init` goes out.
    Asking {
        /// How many went out before it since the last acknowledgement.
        before: u32,
    },
    /// The host acknowledged an `init`: it is going to send challenges.
    Acknowledged,
    /// The host acknowledged an `init` that is not one of the last two.
    WrongAck,
    /// A challenge was answered; `first` after an acknowledgement.
    Answered {
        /// Whether it is the first since the acknowledgement.
        first: bool,
    },
    /// A challenge came before an acknowledgement: one of an earlier session.
    StaleChallenge,
    /// No challenge came for this long: the guest starts over.
    Silent {
        /// Since the last challenge, or since the acknowledgement.
        silent: Duration,
    },
    /// This program was not scheduled in time: nothing was held against the host.
    LostTime {
        /// How late it was.
        late: Duration,
    },
    /// The host asks or tells of an action.
    Asked(Action),
    /// An action of another session: ignored.
    WrongInvocation,
    /// An action was answered.
    Concluded {
        /// The action.
        event_type: EventType,
        /// Asked or told.
        notification_type: NotificationType,
        /// The answer.
        verdict: Verdict,
    },
    /// A newer action took its place, or the session ended.
    Withdrawn {
        /// The action.
        event_type: EventType,
    },
    /// The host refused a message.
    Nack {
        /// Why.
        log_msg: Text<MAX_LOG_MSG>,
    },
    /// A line was no message.
    Malformed(MalformedKind),
    /// A line was too long.
    TooLong,
    /// The first line of a connection was the rest of one that was written before.
    Fragment,
    /// A message of a version that is not spoken here.
    Version(u64),
}

#[derive(Debug, Default)]
pub(super) struct Outputs {
    queue: VecDeque<Output>,
    /// The last sequence number seen or sent.
    sequence: u64,
}

impl Outputs {
    pub(super) fn push(&mut self, output: Output) {
        self.queue.push_back(output);
    }

    pub(super) fn pop(&mut self) -> Option<Output> {
        self.queue.pop_front()
    }

    pub(super) fn note(&mut self, note: Note) {
        self.push(Output::Note(note));
    }

    pub(super) fn seen(&mut self, sequence: u64) {
        self.sequence = sequence;
    }

    pub(super) fn send(&mut self, message: GuestMessage) {
        self.sequence = self.sequence.wrapping_add(1);
        self.push(Output::Send { sequence: self.sequence, message });
    }
}
