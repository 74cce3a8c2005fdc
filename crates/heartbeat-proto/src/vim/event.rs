//! What guestAgent tells the VIM of an instance.

use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};

use super::{HEARTBEAT, seconds};
use crate::control::VoteNotify;
use crate::guest::{CorrectiveAction, EventType, MAX_LOG_MSG, NotificationType, Text, VoteResult};
use crate::{InstanceId, Switch};

/// Something that the VIM has to know of an instance: the body of a `PATCH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceEvent {
    /// The instance.
    pub instance: InstanceId,
    /// The name of the host that it is on.
    pub hostname: Box<str>,
    /// What it is.
    pub kind: EventKind,
}

/// What happened to an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// Its state: whether its faults are reported, and whether it is heartbeating.
    Service {
        /// Whether its faults are reported.
        reporting: bool,
        /// Whether it is heartbeating.
        heartbeating: bool,
        /// Seconds until it is heartbeating again after a restart; not told while it is not
        /// heartbeating.
        restart_secs: u64,
    },
    /// Its failure.
    Alarm {
        /// What kind of failure.
        state: AlarmState,
        /// What is to be done.
        repair_action: CorrectiveAction,
    },
    /// The outcome of a vote or notification.
    Action {
        /// What was asked about.
        event: EventType,
        /// What came of it.
        response: GuestResponse,
        /// Why.
        reason: Text<MAX_LOG_MSG>,
    },
}

/// The kind of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AlarmState {
    /// It fell silent.
    Failed,
    /// It says that it is not well.
    Unhealthy,
}

/// The outcome of a vote or notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GuestResponse {
    /// The guest said no.
    Reject,
    /// The guest agrees, or did not say no in time.
    Allow,
    /// The guest has been told.
    Proceed,
}

impl GuestResponse {
    /// What an answer amounts to: whatever is no rejection is agreement.
    #[must_use]
    pub const fn of(vote: &VoteNotify) -> Self {
        match (vote.vote, vote.notification_type) {
            (VoteResult::Reject, _) => Self::Reject,
            (_, NotificationType::Revocable) => Self::Allow,
            (_, NotificationType::Irrevocable) => Self::Proceed,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ServiceState {
    service: &'static str,
    state: Switch,
    status: Switch,
    #[serde(serialize_with = "seconds")]
    restart_timeout: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ServiceAlarm {
    service: &'static str,
    state: AlarmState,
    repair_action: &'static str,
}

#[derive(Serialize)]
struct Services<T> {
    services: [T; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ActionData<'a> {
    action: &'a str,
    guest_response: GuestResponse,
    reason: &'a str,
}

impl InstanceEvent {
    /// The path that it is sent to.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/nfvi-plugins/v1/instances/{}", self.instance)
    }

    /// Its JSON text.
    #[must_use]
    pub fn body(&self) -> String {
        // Texts, numbers and switches always have a JSON form.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Serialize for InstanceEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("uuid", &self.instance)?;
        match &self.kind {
            EventKind::Service { reporting, heartbeating, restart_secs } => {
                map.serialize_entry("hostname", &self.hostname)?;
                map.serialize_entry("event-type", "service")?;
                let service = ServiceState {
                    service: HEARTBEAT,
                    state: (*reporting).into(),
                    status: (*heartbeating).into(),
                    restart_timeout: if *heartbeating { *restart_secs } else { 0 },
                };
                map.serialize_entry("event-data", &Services { services: [service] })?;
            }
            EventKind::Alarm { state, repair_action } => {
                map.serialize_entry("hostname", &self.hostname)?;
                map.serialize_entry("event-type", "alarm")?;
                let alarm = ServiceAlarm {
                    service: HEARTBEAT,
                    state: *state,
                    repair_action: repair_action.as_str(),
                };
                map.serialize_entry("event-data", &Services { services: [alarm] })?;
            }
            EventKind::Action { event, response, reason } => {
                map.serialize_entry("event-type", "action")?;
                let data = ActionData { action: event.as_str(), guest_response: *response, reason };
                map.serialize_entry("event-data", &data)?;
            }
        }
        map.end()
    }
}
