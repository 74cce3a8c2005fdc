//! What a guest's program is like: what it says of itself and how it answers.

use std::time::Duration;

use heartbeat_proto::guest::{self as wire, CorrectiveAction, VoteResult};

/// What a program says of itself in `init`, and how it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// `name`
    pub name: String,
    /// `heartbeat_interval_ms`
    pub heartbeat_interval_ms: u64,
    /// `vote_secs`
    pub vote_secs: u64,
    /// `shutdown_notice_secs`
    pub shutdown_notice_secs: u64,
    /// `suspend_notice_secs`
    pub suspend_notice_secs: u64,
    /// `resume_notice_secs`
    pub resume_notice_secs: u64,
    /// `restart_secs`
    pub restart_secs: u64,
    /// `corrective_action` of `init`: what is to be done when it falls silent.
    pub corrective_action: CorrectiveAction,
    /// Whether and when it answers challenges.
    pub answering: Answering,
    /// How it says it is.
    pub health: Health,
    /// How it answers votes and notifications.
    pub voting: Voting,
}

impl Default for Profile {
    /// A healthy guest at one second that agrees to everything, with the times of the golden `init`.
    fn default() -> Self {
        Self {
            name: "lab".into(),
            heartbeat_interval_ms: 1000,
            vote_secs: 10,
            shutdown_notice_secs: 11,
            suspend_notice_secs: 12,
            resume_notice_secs: 13,
            restart_secs: 121,
            corrective_action: CorrectiveAction::Reboot,
            answering: Answering::AtOnce,
            health: Health::Healthy,
            voting: Voting::Accept,
        }
    }
}

/// Whether and when a program answers challenges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answering {
    /// At once.
    AtOnce,
    /// This long after the challenge.
    Late(Duration),
    /// At once, with another number than the challenge's.
    WrongNumber,
    /// Never. Nor does it start over when challenges stop: after its `init` was acknowledged, it is silent.
    Never,
}

/// How a program says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// All is well.
    Healthy,
    /// All is not.
    Unhealthy {
        /// What is to be done about it.
        action: CorrectiveAction,
        /// Why.
        text: String,
    },
}

impl Health {
    /// The three values of a `challenge_response`.
    pub(crate) fn on_the_wire(&self) -> (wire::Health, CorrectiveAction, &str) {
        match self {
            Self::Healthy => (wire::Health::Healthy, CorrectiveAction::None, ""),
            Self::Unhealthy { action, text } => (wire::Health::Unhealthy, *action, text),
        }
    }
}

/// How a program answers votes and notifications.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Voting {
    /// `accept` to a vote, `complete` to a notification.
    Accept,
    /// `reject` to a vote, with this text; `complete` to a notification, which nobody can reject.
    Reject(String),
    /// This word and this text, whatever was asked.
    Say(VoteResult, String),
    /// As [`Voting::Accept`], this long after it was asked.
    Late(Duration),
    /// Nothing.
    Never,
}
