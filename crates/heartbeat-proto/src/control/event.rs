//! What guestServer tells guestAgent.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::datagram::MAX_TEXT;
use super::{Datagram, PayloadError, Signature, code, json, parse};
use crate::guest::{CorrectiveAction, EventType, MAX_LOG_MSG, NotificationType, Text, VoteResult};
use crate::{InstanceId, Switch};

/// What is known of an instance. Times are in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstanceInfo {
    /// Whether its faults are reported, by the instance's own switch.
    pub reporting: bool,
    /// Whether its guest answers challenges.
    pub heartbeating: bool,
    /// What is to be done when it fails; in ILLHEALTH, what its unhealthy answer asks for.
    pub repair_action: CorrectiveAction,
    /// Until it is heartbeating again after a reboot.
    pub restart_secs: u64,
    /// Before a stop or a reboot.
    pub shutdown_secs: u64,
    /// Before a suspend, pause, resize or migration.
    pub suspend_secs: u64,
    /// After one.
    pub resume_secs: u64,
    /// For a vote.
    pub vote_secs: u64,
}

/// How a vote or a notification ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoteNotify {
    /// Whether the guest was asked or told.
    pub notification_type: NotificationType,
    /// What about.
    pub event_type: EventType,
    /// What it answered, or what its silence amounts to.
    pub vote: VoteResult,
    /// Why.
    pub reason: Text<MAX_LOG_MSG>,
}

/// An event of guestServer's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerEvent {
    /// `MONITOR_READY`: the daemon has started and knows nothing yet.
    MonitorReady,
    /// `QRY_INST`: the answer to a query, one an instance.
    Instance(InstanceId, InstanceInfo),
    /// `RUNNING`: the guest is heartbeating.
    Running(InstanceId, InstanceInfo),
    /// `STOPPED`: the guest is no longer heartbeating.
    Stopped(InstanceId, InstanceInfo),
    /// `ILLHEALTH`: the guest says that it is not well.
    IllHealth(InstanceId, InstanceInfo),
    /// `LOSS`: the guest fell silent.
    Loss(InstanceId),
    /// `VOTE_NOTIFY`: a vote or notification is over.
    VoteNotify(InstanceId, VoteNotify),
}

/// An event and the name of the host that it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosted<'a> {
    /// The sender's host name.
    pub hostname: Cow<'a, str>,
    /// What happened there.
    pub event: ServerEvent,
}

/// A number of seconds, which the wire writes as a text.
#[derive(Clone, Copy)]
struct Seconds(u64);

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map(Self).map_err(|_| {
            serde::de::Error::invalid_value(serde::de::Unexpected::Str(&text), &"seconds")
        })
    }
}

#[derive(Serialize, Deserialize)]
struct HostText<'a> {
    #[serde(borrow)]
    hostname: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
struct LossText<'a> {
    #[serde(borrow)]
    hostname: Cow<'a, str>,
    uuid: InstanceId,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct InfoText<'a> {
    #[serde(borrow)]
    hostname: Cow<'a, str>,
    uuid: InstanceId,
    reporting: Switch,
    heartbeating: Switch,
    repair_action: Cow<'a, str>,
    restart_to: Seconds,
    shutdown_to: Seconds,
    suspend_to: Seconds,
    resume_to: Seconds,
    vote_to: Seconds,
}

#[derive(Deserialize)]
struct VoteText<'a> {
    #[serde(borrow)]
    hostname: Cow<'a, str>,
    uuid: InstanceId,
    notification_type: Cow<'a, str>,
    #[serde(rename = "event-type")]
    event_type: Cow<'a, str>,
    vote: Cow<'a, str>,
    reason: Cow<'a, str>,
}

impl ServerEvent {
    /// The number on the wire.
    #[must_use]
    pub const fn code(&self) -> u32 {
        match self {
            Self::MonitorReady => code::MONITOR_READY,
            Self::Instance(..) => code::QRY_INST,
            Self::Running(..) => code::RUNNING,
            Self::Stopped(..) => code::STOPPED,
            Self::IllHealth(..) => code::ILLHEALTH,
            Self::Loss(..) => code::LOSS,
            Self::VoteNotify(..) => code::VOTE_NOTIFY,
        }
    }

    /// The words of the protocol's table for all events.
    pub const NAMES: [&str; 7] =
        ["MONITOR_READY", "QRY_INST", "RUNNING", "STOPPED", "ILLHEALTH", "LOSS", "VOTE_NOTIFY"];

    /// The word of the protocol's table.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::MonitorReady => "MONITOR_READY",
            Self::Instance(..) => "QRY_INST",
            Self::Running(..) => "RUNNING",
            Self::Stopped(..) => "STOPPED",
            Self::IllHealth(..) => "ILLHEALTH",
            Self::Loss(..) => "LOSS",
            Self::VoteNotify(..) => "VOTE_NOTIFY",
        }
    }

    /// Which instance it is about, if it is about one.
    #[must_use]
    pub const fn instance(&self) -> Option<InstanceId> {
        match self {
            Self::MonitorReady => None,
            Self::Instance(instance, _)
            | Self::Running(instance, _)
            | Self::Stopped(instance, _)
            | Self::IllHealth(instance, _)
            | Self::Loss(instance)
            | Self::VoteNotify(instance, _) => Some(*instance),
        }
    }

    /// Reads an event.
    ///
    /// # Errors
    /// When it is none, or its text is not what it wants.
    pub fn decode<'a>(datagram: &Datagram<'a>) -> Result<Hosted<'a>, PayloadError> {
        let text = datagram.text;
        let info = |command, make: fn(InstanceId, InstanceInfo) -> Self| {
            let text: InfoText<'a> = parse(command, text)?;
            let info = InstanceInfo {
                reporting: text.reporting.into(),
                heartbeating: text.heartbeating.into(),
                repair_action: CorrectiveAction::from_word(&text.repair_action)
                    .unwrap_or(CorrectiveAction::Unknown),
                restart_secs: text.restart_to.0,
                shutdown_secs: text.shutdown_to.0,
                suspend_secs: text.suspend_to.0,
                resume_secs: text.resume_to.0,
                vote_secs: text.vote_to.0,
            };
            Ok(Hosted { hostname: text.hostname, event: make(text.uuid, info) })
        };
        match datagram.command {
            code::MONITOR_READY => {
                let text: HostText<'a> = parse("MONITOR_READY", text)?;
                Ok(Hosted { hostname: text.hostname, event: Self::MonitorReady })
            }
            code::QRY_INST => info("QRY_INST", Self::Instance),
            code::RUNNING => info("RUNNING", Self::Running),
            code::STOPPED => info("STOPPED", Self::Stopped),
            code::ILLHEALTH => info("ILLHEALTH", Self::IllHealth),
            code::LOSS => {
                let text: LossText<'a> = parse("LOSS", text)?;
                Ok(Hosted { hostname: text.hostname, event: Self::Loss(text.uuid) })
            }
            code::VOTE_NOTIFY => vote_notify(text),
            other => Err(PayloadError::UnknownCommand(other)),
        }
    }

    /// The event's JSON text.
    #[must_use]
    pub fn text(&self, hostname: &str) -> String {
        let hostname = Cow::from(hostname);
        match self {
            Self::MonitorReady => json(&HostText { hostname }),
            Self::Loss(instance) => json(&LossText { hostname, uuid: *instance }),
            Self::Instance(instance, info)
            | Self::Running(instance, info)
            | Self::Stopped(instance, info)
            | Self::IllHealth(instance, info) => json(&InfoText {
                hostname,
                uuid: *instance,
                reporting: info.reporting.into(),
                heartbeating: info.heartbeating.into(),
                repair_action: info.repair_action.as_str().into(),
                restart_to: Seconds(info.restart_secs),
                shutdown_to: Seconds(info.shutdown_secs),
                suspend_to: Seconds(info.suspend_secs),
                resume_to: Seconds(info.resume_secs),
                vote_to: Seconds(info.vote_secs),
            }),
            Self::VoteNotify(instance, vote) => vote_text(&hostname, *instance, vote),
        }
    }

    /// Hands the datagram of this event to `send`, without a number.
    pub fn with_datagram<R>(&self, hostname: &str, send: impl FnOnce(&Datagram<'_>) -> R) -> R {
        let text = self.text(hostname);
        send(&Datagram::plain(Signature::None, self.code(), &text))
    }
}

/// Written by hand: the C++ daemon puts a space after the commas and most of the colons of this one.
fn vote_text(hostname: &str, instance: InstanceId, vote: &VoteNotify) -> String {
    let with_reason = |reason: &str| {
        format!(
            "{{\"hostname\":{}, \"uuid\": \"{instance}\", \"notification_type\": \"{}\", \
             \"event-type\": {}, \"vote\": \"{}\", \"reason\": {}}}",
            json(&hostname),
            vote.notification_type,
            json(&vote.event_type.as_str()),
            vote.vote,
            json(&reason),
        )
    };
    let mut reason: &str = &vote.reason;
    loop {
        let text = with_reason(reason);
        let over = text.len().saturating_sub(MAX_TEXT);
        if over == 0 || reason.is_empty() {
            return text;
        }
        // An escaped character takes up to six bytes, so cut at least a sixth of what is over.
        reason = crate::guest::cut(reason, reason.len().saturating_sub(over.div_ceil(6)));
    }
}

fn vote_notify(text: &str) -> Result<Hosted<'_>, PayloadError> {
    const COMMAND: &str = "VOTE_NOTIFY";
    let text: VoteText<'_> = parse(COMMAND, text)?;
    let notification_type =
        NotificationType::from_word(&text.notification_type).ok_or_else(|| {
            PayloadError::Value {
                command: COMMAND,
                key: "notification_type",
                value: crate::guest::cut(&text.notification_type, 64).into(),
                expected: "revocable or irrevocable",
            }
        })?;
    let vote = VoteNotify {
        notification_type,
        event_type: text.event_type.as_ref().into(),
        vote: VoteResult::from_word(&text.vote).unwrap_or(VoteResult::Unknown),
        reason: text.reason.as_ref().into(),
    };
    Ok(Hosted { hostname: text.hostname, event: ServerEvent::VoteNotify(text.uuid, vote) })
}
