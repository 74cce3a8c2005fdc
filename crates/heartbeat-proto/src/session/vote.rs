//! Asking and telling a guest of actions.

use std::time::Duration;

use super::parameters::Parameters;
use crate::MonotonicTime;
use crate::control::VoteNotify;
use crate::guest::{
    ActionResponse, EventType, MAX_LOG_MSG, Notice, NotificationType, Text, VoteResult,
};

/// The vote or notification that a guest has not answered yet.
#[derive(Debug)]
pub(super) struct OpenVote {
    pub(super) event: EventType,
    pub(super) notification: NotificationType,
    pub(super) deadline: MonotonicTime,
}

impl OpenVote {
    /// Whether this is what the guest answered. A guest that does not know the action's name
    /// answers for `unknown`.
    pub(super) fn is_answered_by(&self, response: &ActionResponse) -> bool {
        let same_event = match &self.event {
            EventType::Other(_) => {
                response.event_type == self.event || response.event_type == EventType::Unknown
            }
            event => response.event_type == *event,
        };
        same_event && response.notification_type == self.notification
    }

    pub(super) fn outcome(&self, vote: VoteResult, reason: Text<MAX_LOG_MSG>) -> VoteNotify {
        VoteNotify {
            notification_type: self.notification,
            event_type: self.event.clone(),
            vote,
            reason,
        }
    }
}

/// How long a guest has for an action, and whether that action is one whose time is known.
pub(super) fn notice(
    event: &EventType,
    notification: NotificationType,
    parameters: &Parameters,
) -> (Duration, bool) {
    let notice = event.notice();
    let secs = match (notification, notice) {
        (NotificationType::Revocable, _) | (NotificationType::Irrevocable, None) => {
            parameters.vote_secs
        }
        (NotificationType::Irrevocable, Some(Notice::Shutdown)) => parameters.shutdown_notice_secs,
        (NotificationType::Irrevocable, Some(Notice::Suspend)) => parameters.suspend_notice_secs,
        (NotificationType::Irrevocable, Some(Notice::Resume)) => parameters.resume_notice_secs,
    };
    (Duration::from_secs(secs), notice.is_some())
}

/// Whether a guest is expected to come back with an `init` some time after this action.
pub(super) const fn expects_init(event: &EventType) -> bool {
    matches!(
        event,
        EventType::Suspend
            | EventType::LiveMigrateBegin
            | EventType::ColdMigrateBegin
            | EventType::Reboot
    )
}
