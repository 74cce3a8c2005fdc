//! What a guest's program is like: what it says of itself and how it answers.

use std::time::Duration;

use heartbeat_proto::client::{Health, Settings};
use heartbeat_proto::guest::{CorrectiveAction, VoteResult};

/// What a program says of itself in `init`, and how it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// What `init` says. To each of its times comes a second on the wire, see [`heartbeat_proto::client::PROPAGATION`].
    pub settings: Settings,
    /// How it says it is.
    pub health: Health,
    /// Whether and when it answers challenges.
    pub answering: Answering,
    /// How it answers votes and notifications.
    pub voting: Voting,
}

impl Default for Profile {
    /// A healthy guest at one second that agrees to everything. With the second for the way, its times are those of
    /// the golden `init`.
    fn default() -> Self {
        Self {
            settings: Settings {
                name: "lab".into(),
                vote_secs: 9,
                shutdown_notice_secs: 10,
                suspend_notice_secs: 11,
                resume_notice_secs: 12,
                restart_secs: 120,
                corrective_action: CorrectiveAction::Reboot,
                ..Settings::default()
            },
            health: Health::Healthy,
            answering: Answering::AtOnce,
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

/// How a program answers votes and notifications.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Voting {
    /// `accept` to a vote, `complete` to a notification.
    Accept,
    /// `reject` to a vote, with this text; `complete` to a notification, which nobody can reject.
    Reject(String),
    /// This word and this text, whatever was asked.
    Say(VoteResult, String),
    /// As [`Voting::Accept`], this long after it was asked, even if that is too late.
    Late(Duration),
    /// Nothing, not even that its time is over.
    Never,
}
