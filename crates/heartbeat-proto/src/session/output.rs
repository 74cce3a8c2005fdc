//! What a session wants done, and what it has seen.

use std::collections::VecDeque;
use std::time::Duration;

use crate::control::{InstanceInfo, VoteNotify};
use crate::guest::{
    CorrectiveAction, EventType, HostMessage, MAX_LOG_MSG, MAX_NAME, MalformedKind,
    NotificationType, Text, VoteResult,
};

/// What the driver of a session has to do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Connect to the channel now and say how it went: `handle_connected` or
    /// `handle_connect_failed`.
    Connect,
    /// Close the channel.
    Close,
    /// Write this message to the channel; what cannot be written at once may be left out.
    Send {
        /// Its `sequence`.
        sequence: u64,
        /// What it says.
        message: HostMessage,
    },
    /// Tell the controller.
    Report(Report),
    /// Tell the log and the metrics.
    Note(Note),
    /// The instance is gone: drop the session. Nothing comes after it.
    Forget,
}

/// What the controller has to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// The guest is heartbeating.
    Running(InstanceInfo),
    /// The guest is no longer heartbeating.
    Stopped(InstanceInfo),
    /// The guest says that it is not well; the info's repair action is the one it asks for.
    IllHealth(InstanceInfo),
    /// The guest fell silent.
    Loss,
    /// A vote or notification is over.
    Vote(VoteNotify),
}

/// A value of an `init` that was out of bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clamped {
    /// The key.
    pub key: &'static str,
    /// What the guest asked for.
    pub asked: u64,
    /// What is used.
    pub used: u64,
}

/// What happened, for the log and the metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// An `init` was acknowledged.
    Init {
        /// The guest's name for itself.
        name: Text<MAX_NAME>,
        /// The interval in use.
        interval: Duration,
        /// What is to be done when it falls silent.
        corrective_action: CorrectiveAction,
    },
    /// A value of that `init` was out of bounds.
    Clamped(Clamped),
    /// An `init` was thrown away because they come too fast.
    InitRefused,
    /// A challenge was answered; the first answer after an `init` makes the guest heartbeating.
    Answered {
        /// From challenge to answer.
        round_trip: Duration,
        /// Whether it made the guest heartbeating.
        first: bool,
    },
    /// The guest said that it is not well.
    Unhealthy {
        /// What it asks for.
        action: CorrectiveAction,
        /// Why.
        log_msg: Text<MAX_LOG_MSG>,
    },
    /// An answer had the wrong number.
    WrongNumber,
    /// An answer came when none was awaited.
    LateResponse,
    /// A challenge was not answered in time.
    Missed {
        /// Challenges missed in a row.
        misses: u32,
        /// How many are tolerated.
        threshold: u32,
    },
    /// The guest fell silent for good.
    Failed {
        /// Whether it had been heartbeating.
        heartbeating: bool,
        /// How many challenges in a row it left unanswered.
        unanswered: u32,
    },
    /// The guest fell silent while its faults are not reported.
    Silent,
    /// This process was not scheduled in time; nothing was held against the guest.
    LostTime {
        /// How late it was.
        late: Duration,
    },
    /// The guest's program said that it ends.
    Exit {
        /// Why.
        log_msg: Text<MAX_LOG_MSG>,
    },
    /// A line was no message.
    Malformed(MalformedKind),
    /// A line was too long.
    TooLong,
    /// The first line of a connection was the rest of one that was written before.
    Fragment,
    /// The guest was asked or told of an action.
    Asked {
        /// The action.
        event: EventType,
        /// Asked or told.
        notification: NotificationType,
        /// How long its answer is awaited.
        timeout: Duration,
        /// Whether the action is one whose time is known.
        known: bool,
    },
    /// An action is answered, or its time is over, or a newer one took its place.
    Concluded {
        /// The action.
        event: EventType,
        /// Asked or told.
        notification: NotificationType,
        /// The answer.
        vote: VoteResult,
        /// How it came about.
        by: ConcludedBy,
    },
    /// An answer to an action that is not open.
    UnexpectedVote,
    /// An answer of another session.
    WrongInvocation {
        /// The answer's.
        received: u64,
        /// The session's.
        expected: u64,
    },
    /// The guest is expected to start over with an `init`.
    AwaitingInit,
    /// Connected for so long without a heartbeat that the connection is made anew.
    Idle,
    /// Whether faults of this instance are reported has changed, both switches taken together.
    Reporting(bool),
}

/// Why a line is no message; it is noted too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// It does not say what a message says.
    Malformed,
    /// It is the rest of one that was written before the connection.
    Fragment,
    /// It is too long.
    TooLong,
}

/// How a vote or notification ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConcludedBy {
    /// The guest answered.
    Answer,
    /// Its time is over.
    Timeout,
    /// A newer one took its place.
    Replaced,
    /// The guest cannot be asked: its channel is not connected.
    NotConnected,
    /// The instance is gone.
    Gone,
}

/// Outputs that a queue keeps room for when it is empty. What a burst of lines took beyond that is
/// given back: there is a queue for each guest, and a guest may send such a burst only once.
const KEPT: usize = 16;

/// The queue of outputs, and the `sequence` of the channel.
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
        let output = self.queue.pop_front();
        if output.is_none() && self.queue.capacity() > KEPT {
            self.queue.shrink_to(KEPT);
        }
        output
    }

    pub(super) fn note(&mut self, note: Note) {
        self.push(Output::Note(note));
    }

    pub(super) fn report(&mut self, report: Report) {
        self.push(Output::Report(report));
    }

    pub(super) fn seen(&mut self, sequence: u64) {
        self.sequence = sequence;
    }

    pub(super) fn send(&mut self, message: HostMessage) {
        self.sequence = self.sequence.wrapping_add(1);
        self.push(Output::Send { sequence: self.sequence, message });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_burst_took_is_given_back() {
        let mut outputs = Outputs::default();
        for _ in 0..10_000 {
            outputs.note(Note::TooLong);
        }
        while outputs.pop().is_some() {}
        assert!(outputs.queue.capacity() <= KEPT, "{}", outputs.queue.capacity());
    }
}
