//! What happened to one instance lately, for the status: its last transitions, its last answer, its last fault.
//!
//! The task of the guest writes it, from what its session notes; it costs a heartbeat two stores.

use std::time::Duration;

use daemon_kit::recent::Recent;
use heartbeat_proto::MonotonicTime;
use heartbeat_proto::control::InstanceInfo;
use heartbeat_proto::guest::{CorrectiveAction, MAX_LOG_MSG, Text};
use heartbeat_proto::session::{ConcludedBy, Note, State};

/// What an operator wants to know of a guest's state: a challenge more or less is none of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// The channel is not connected.
    Disconnected,
    /// The channel is closed on purpose.
    Suspended,
    /// The guest is expected to send an `init`.
    WaitingInit,
    /// The guest has sent an `init` and its first answer is awaited.
    Starting,
    /// The guest is paused and not asked.
    Paused,
    /// The guest answers.
    Heartbeating,
}

impl Condition {
    pub(crate) const fn of(state: State, heartbeating: bool) -> Self {
        match state {
            State::Disconnected => Self::Disconnected,
            State::Suspended => Self::Suspended,
            State::WaitingInit => Self::WaitingInit,
            State::Paused => Self::Paused,
            State::WaitingResponse | State::WaitingChallenge if heartbeating => Self::Heartbeating,
            State::WaitingResponse | State::WaitingChallenge => Self::Starting,
        }
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::Suspended => "suspended",
            Self::WaitingInit => "waiting_init",
            Self::Starting => "starting",
            Self::Paused => "paused",
            Self::Heartbeating => "heartbeating",
        }
    }
}

/// Why a condition changed: what was noted last before it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    Added,
    Connected,
    Closed,
    Init,
    Answered,
    Lost,
    Silent,
    Exit,
    ReportingOff,
    ReportingOn,
    StartOver,
    Idle,
    ActionOver,
}

impl Cause {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Added => "instance added",
            Self::Connected => "channel connected",
            Self::Closed => "channel closed",
            Self::Init => "guest asks to be watched",
            Self::Answered => "first answer",
            Self::Lost => "heartbeat lost",
            Self::Silent => "no answer; reporting is disabled",
            Self::Exit => "guest leaves",
            Self::ReportingOff => "fault reporting disabled",
            Self::ReportingOn => "fault reporting enabled",
            Self::StartOver => "guest is expected to start over",
            Self::Idle => "no heartbeat: connecting anew",
            Self::ActionOver => "vote or notification is over",
        }
    }
}

/// A change of condition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Transition {
    pub(crate) at: MonotonicTime,
    pub(crate) condition: Condition,
    pub(crate) cause: Cause,
}

/// The last time that something was wrong with the guest.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) at: MonotonicTime,
    pub(crate) kind: FaultKind,
}

#[derive(Debug, Clone)]
pub(crate) enum FaultKind {
    /// It fell silent, with so many challenges missed.
    Lost { unanswered: u32 },
    /// It fell silent while its faults were not reported.
    Silent,
    /// It said that it is not well.
    Unhealthy { action: CorrectiveAction, reason: Text<MAX_LOG_MSG> },
}

/// What happened to one instance.
#[derive(Debug, Clone)]
pub(crate) struct History {
    pub(crate) transitions: Recent<Transition>,
    pub(crate) answered: Option<MonotonicTime>,
    pub(crate) round_trip: Duration,
    pub(crate) fault: Option<Box<Fault>>,
    /// What was noted last.
    cause: Cause,
}

impl History {
    /// The instance is watched from now on.
    pub(crate) fn new(now: MonotonicTime, state: State, info: InstanceInfo) -> Self {
        let condition = Condition::of(state, info.heartbeating);
        let mut transitions = Recent::default();
        transitions.push(Transition { at: now, condition, cause: Cause::Added });
        Self {
            transitions,
            answered: None,
            round_trip: Duration::ZERO,
            fault: None,
            cause: Cause::Added,
        }
    }

    /// The channel was connected or closed.
    pub(crate) fn caused_by(&mut self, cause: Cause) {
        self.cause = cause;
    }

    /// What the session saw; `misses` in a row there were until now.
    pub(crate) fn note(&mut self, now: MonotonicTime, note: &Note) {
        let cause = match note {
            Note::Answered { round_trip, first } => {
                self.answered = Some(now);
                self.round_trip = *round_trip;
                if !first {
                    return;
                }
                Cause::Answered
            }
            Note::Init { .. } => Cause::Init,
            Note::Failed { unanswered, .. } => {
                self.fault(now, FaultKind::Lost { unanswered: *unanswered });
                Cause::Lost
            }
            Note::Silent => {
                self.fault(now, FaultKind::Silent);
                Cause::Silent
            }
            Note::Unhealthy { action, log_msg } => {
                self.fault(now, FaultKind::Unhealthy { action: *action, reason: log_msg.clone() });
                return;
            }
            Note::Exit { .. } => Cause::Exit,
            Note::AwaitingInit => Cause::StartOver,
            Note::Idle => Cause::Idle,
            Note::Reporting(true) => Cause::ReportingOn,
            Note::Reporting(false) => Cause::ReportingOff,
            Note::Concluded { by, .. } => match by {
                ConcludedBy::Answer | ConcludedBy::Timeout => Cause::ActionOver,
                ConcludedBy::Replaced | ConcludedBy::NotConnected | ConcludedBy::Gone => return,
            },
            Note::Clamped(_)
            | Note::InitRefused
            | Note::WrongNumber
            | Note::LateResponse
            | Note::Missed { .. }
            | Note::LostTime { .. }
            | Note::Malformed(_)
            | Note::TooLong
            | Note::Fragment
            | Note::Asked { .. }
            | Note::UnexpectedVote
            | Note::WrongInvocation { .. } => return,
        };
        self.cause = cause;
    }

    fn fault(&mut self, at: MonotonicTime, kind: FaultKind) {
        self.fault = Some(Box::new(Fault { at, kind }));
    }

    /// What the guest's condition is now. Kept only if it is another one than before.
    pub(crate) fn observe(&mut self, at: MonotonicTime, condition: Condition) {
        if self.transitions.last().is_none_or(|last| last.condition != condition) {
            self.transitions.push(Transition { at, condition, cause: self.cause });
        }
    }
}
