//! What a guest asked for in its `init`, within bounds.

use std::time::Duration;

use super::output::Clamped;
use crate::control::InstanceInfo;
use crate::guest::{CorrectiveAction, Init, MAX_NAME, Text};

/// The longest interval between challenges; what a guest asks above it is cut to it.
pub const MAX_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// The longest time for anything else, in seconds; what a guest asks above it is cut to it.
pub const MAX_SECS: u64 = 24 * 60 * 60;

/// How one guest is watched. Times are what the guest asked for, within bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parameters {
    pub(super) name: Text<MAX_NAME>,
    /// As asked for; the host's floor is applied where it is used, so that a reload reaches it.
    pub(super) interval: Duration,
    pub(super) vote_secs: u64,
    pub(super) shutdown_notice_secs: u64,
    pub(super) suspend_notice_secs: u64,
    pub(super) resume_notice_secs: u64,
    pub(super) restart_secs: u64,
    pub(super) corrective_action: CorrectiveAction,
}

impl Default for Parameters {
    /// What holds before any `init`.
    fn default() -> Self {
        Self {
            name: Text::default(),
            interval: Duration::from_secs(1),
            vote_secs: 10,
            shutdown_notice_secs: 10,
            suspend_notice_secs: 10,
            resume_notice_secs: 10,
            restart_secs: 120,
            corrective_action: CorrectiveAction::Log,
        }
    }
}

impl Parameters {
    /// Takes what an `init` asks for, and tells of each value that had to be changed.
    pub(super) fn from_init(
        init: &Init,
        floor: Duration,
        mut changed: impl FnMut(Clamped),
    ) -> Self {
        let max_interval_ms = 1000 * MAX_INTERVAL.as_secs();
        let floor_ms = u64::try_from(floor.as_millis()).unwrap_or(max_interval_ms);
        let asked = init.heartbeat_interval_ms;
        let used = asked.max(floor_ms).min(max_interval_ms);
        if used != asked {
            changed(Clamped { key: "heartbeat_interval_ms", asked, used });
        }
        let mut secs = |key, asked: u64| {
            let used = asked.min(MAX_SECS);
            if used != asked {
                changed(Clamped { key, asked, used });
            }
            used
        };
        Self {
            name: init.name.clone(),
            interval: Duration::from_millis(asked.min(max_interval_ms)),
            vote_secs: secs("vote_secs", init.vote_secs),
            shutdown_notice_secs: secs("shutdown_notice_secs", init.shutdown_notice_secs),
            suspend_notice_secs: secs("suspend_notice_secs", init.suspend_notice_secs),
            resume_notice_secs: secs("resume_notice_secs", init.resume_notice_secs),
            restart_secs: secs("restart_secs", init.restart_secs),
            corrective_action: init.corrective_action,
        }
    }

    /// What the controller is told.
    pub(super) fn info(&self, reporting: bool, heartbeating: bool) -> InstanceInfo {
        InstanceInfo {
            reporting,
            heartbeating,
            repair_action: self.corrective_action,
            restart_secs: self.restart_secs,
            shutdown_secs: self.shutdown_notice_secs,
            suspend_secs: self.suspend_notice_secs,
            resume_secs: self.resume_notice_secs,
            vote_secs: self.vote_secs,
        }
    }
}
