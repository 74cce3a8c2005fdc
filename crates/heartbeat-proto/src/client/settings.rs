//! What a guest says of itself.

use std::time::Duration;

use crate::guest::{CorrectiveAction, Init, MAX_NAME, Text};

/// Time that a message may take between guest and orchestrator. The host is asked for that much more than the guest
/// needs, and the guest takes that much less than the host gives.
pub const PROPAGATION: Duration = Duration::from_secs(1);

/// How long an `init` waits for its `init_ack` before the next one, unless the settings say otherwise.
pub const INIT_RETRY: Duration = Duration::from_secs(1);

/// The least time without a challenge after which the guest starts over.
pub const CHALLENGE_PATIENCE: Duration = Duration::from_secs(5);

/// What a guest says of itself in `init`. Its times are those that it needs; [`PROPAGATION`] comes on top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The guest's name for itself.
    pub name: Text<MAX_NAME>,
    /// Milliseconds between challenges.
    pub heartbeat_interval_ms: u64,
    /// Seconds for a vote.
    pub vote_secs: u64,
    /// Seconds before a stop or a reboot.
    pub shutdown_notice_secs: u64,
    /// Seconds before it is suspended, paused, resized or migrated.
    pub suspend_notice_secs: u64,
    /// Seconds after that.
    pub resume_notice_secs: u64,
    /// Seconds to heartbeat again after a reboot.
    pub restart_secs: u64,
    /// What is to be done when it falls silent.
    pub corrective_action: CorrectiveAction,
    /// How long an `init` waits for its `init_ack` before the next one.
    pub init_retry: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: "".into(),
            heartbeat_interval_ms: 1000,
            vote_secs: 8,
            shutdown_notice_secs: 8,
            suspend_notice_secs: 8,
            resume_notice_secs: 13,
            restart_secs: 600,
            corrective_action: CorrectiveAction::Reboot,
            init_retry: INIT_RETRY,
        }
    }
}

impl Settings {
    pub(super) fn init(&self, invocation_id: u64) -> Init {
        let propagated = |secs: u64| secs.saturating_add(PROPAGATION.as_secs());
        Init {
            invocation_id,
            name: self.name.clone(),
            heartbeat_interval_ms: self.heartbeat_interval_ms,
            vote_secs: propagated(self.vote_secs),
            shutdown_notice_secs: propagated(self.shutdown_notice_secs),
            suspend_notice_secs: propagated(self.suspend_notice_secs),
            resume_notice_secs: propagated(self.resume_notice_secs),
            restart_secs: propagated(self.restart_secs),
            corrective_action: self.corrective_action,
        }
    }

    pub(super) const fn interval(&self) -> Duration {
        Duration::from_millis(self.heartbeat_interval_ms)
    }

    /// How long no challenge may come before the guest starts over.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.interval().saturating_mul(2).max(CHALLENGE_PATIENCE)
    }
}
