//! What guestAgent tells guestServer.

use serde::{Deserialize, Serialize};

use super::{Datagram, PayloadError, Signature, code, json, parse};
use crate::guest::{EventType, MAX_EVENT};
use crate::{HostId, InstanceId, Switch};

/// The only service there is.
const HEARTBEAT: &str = "heartbeat";

/// A command from guestAgent to guestServer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentCommand {
    /// `MOD_HOST`: faults of this host's instances are reported, or not.
    ModHost {
        /// The host.
        host: HostId,
        /// Whether they are reported.
        reporting: bool,
    },
    /// `ADD_INST`: there is this instance.
    AddInstance {
        /// The instance.
        instance: InstanceId,
        /// Whether its faults are reported.
        reporting: bool,
    },
    /// `MOD_INST`: an instance's reporting changes.
    ModInstance {
        /// The instance.
        instance: InstanceId,
        /// Whether its faults are reported.
        reporting: bool,
    },
    /// `DEL_INST`: the instance is gone.
    DelInstance {
        /// The instance.
        instance: InstanceId,
    },
    /// `QRY_INST`: tell of every instance.
    Query,
    /// `VOTE_INST`: ask the guest.
    Vote {
        /// The instance.
        instance: InstanceId,
        /// What is about to happen to it.
        event: EventType,
    },
    /// `NOTIFY_INST`: tell the guest.
    Notify {
        /// The instance.
        instance: InstanceId,
        /// What will happen to it.
        event: EventType,
    },
    /// `LOOPBACK`: a test of the way here. Never sent by ours.
    Loopback,
}

#[derive(Serialize, Deserialize)]
struct HostText<'a> {
    #[serde(borrow)]
    source: std::borrow::Cow<'a, str>,
    uuid: HostId,
    heartbeat: Switch,
}

#[derive(Serialize, Deserialize)]
struct InstanceText<'a> {
    #[serde(borrow)]
    source: std::borrow::Cow<'a, str>,
    uuid: InstanceId,
    service: std::borrow::Cow<'a, str>,
    state: Switch,
}

#[derive(Serialize, Deserialize)]
struct ActionText<'a> {
    #[serde(borrow)]
    source: std::borrow::Cow<'a, str>,
    uuid: InstanceId,
    event: std::borrow::Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
struct SourceText<'a> {
    #[serde(borrow)]
    source: std::borrow::Cow<'a, str>,
}

impl AgentCommand {
    /// The number on the wire.
    #[must_use]
    pub const fn code(&self) -> u32 {
        match self {
            Self::ModHost { .. } => code::MOD_HOST,
            Self::AddInstance { .. } => code::ADD_INST,
            Self::ModInstance { .. } => code::MOD_INST,
            Self::DelInstance { .. } => code::DEL_INST,
            Self::Query => code::QRY_INST,
            Self::Vote { .. } => code::VOTE_INST,
            Self::Notify { .. } => code::NOTIFY_INST,
            Self::Loopback => code::LOOPBACK,
        }
    }

    /// The words of the protocol's table for all commands.
    pub const NAMES: [&str; 8] = [
        "MOD_HOST",
        "ADD_INST",
        "MOD_INST",
        "DEL_INST",
        "QRY_INST",
        "VOTE_INST",
        "NOTIFY_INST",
        "LOOPBACK",
    ];

    /// The word of the protocol's table.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ModHost { .. } => "MOD_HOST",
            Self::AddInstance { .. } => "ADD_INST",
            Self::ModInstance { .. } => "MOD_INST",
            Self::DelInstance { .. } => "DEL_INST",
            Self::Query => "QRY_INST",
            Self::Vote { .. } => "VOTE_INST",
            Self::Notify { .. } => "NOTIFY_INST",
            Self::Loopback => "LOOPBACK",
        }
    }

    /// Which instance it is about, if it is about one.
    #[must_use]
    pub const fn instance(&self) -> Option<InstanceId> {
        match self {
            Self::AddInstance { instance, .. }
            | Self::ModInstance { instance, .. }
            | Self::DelInstance { instance }
            | Self::Vote { instance, .. }
            | Self::Notify { instance, .. } => Some(*instance),
            Self::ModHost { .. } | Self::Query | Self::Loopback => None,
        }
    }

    /// Reads a command that has the right signature.
    ///
    /// # Errors
    /// When the command is unknown or its text is not what it wants.
    pub fn decode(datagram: &Datagram<'_>) -> Result<Self, PayloadError> {
        match datagram.command {
            code::MOD_HOST => {
                let text: HostText<'_> = parse("MOD_HOST", datagram.text)?;
                Ok(Self::ModHost { host: text.uuid, reporting: text.heartbeat.into() })
            }
            code::ADD_INST => {
                let (instance, reporting) = instance("ADD_INST", datagram.text)?;
                Ok(Self::AddInstance { instance, reporting })
            }
            code::MOD_INST => {
                let (instance, reporting) = instance("MOD_INST", datagram.text)?;
                Ok(Self::ModInstance { instance, reporting })
            }
            code::DEL_INST => {
                let (instance, _) = instance("DEL_INST", datagram.text)?;
                Ok(Self::DelInstance { instance })
            }
            code::QRY_INST => {
                parse::<SourceText<'_>>("QRY_INST", datagram.text).map(|_| Self::Query)
            }
            code::VOTE_INST => {
                let (instance, event) = action("VOTE_INST", datagram.text)?;
                Ok(Self::Vote { instance, event })
            }
            code::NOTIFY_INST => {
                let (instance, event) = action("NOTIFY_INST", datagram.text)?;
                Ok(Self::Notify { instance, event })
            }
            code::LOOPBACK => Ok(Self::Loopback),
            other => Err(PayloadError::UnknownCommand(other)),
        }
    }

    /// The command's JSON text; `source` is the sender's floating address.
    #[must_use]
    pub fn text(&self, source: &str) -> String {
        let source = source.into();
        let instance_text = |source, uuid, reporting: bool| {
            json(&InstanceText { source, uuid, service: HEARTBEAT.into(), state: reporting.into() })
        };
        match self {
            Self::ModHost { host, reporting } => {
                json(&HostText { source, uuid: *host, heartbeat: (*reporting).into() })
            }
            Self::AddInstance { instance, reporting }
            | Self::ModInstance { instance, reporting } => {
                instance_text(source, *instance, *reporting)
            }
            Self::DelInstance { instance } => instance_text(source, *instance, false),
            Self::Query | Self::Loopback => json(&SourceText { source }),
            Self::Vote { instance, event } | Self::Notify { instance, event } => {
                json(&ActionText { source, uuid: *instance, event: event.as_str().into() })
            }
        }
    }

    /// Hands the datagram of this command to `send`, without a number.
    pub fn with_datagram<R>(&self, source: &str, send: impl FnOnce(&Datagram<'_>) -> R) -> R {
        let text = self.text(source);
        send(&Datagram::plain(Signature::GuestMessage, self.code(), &text))
    }
}

fn instance(command: &'static str, text: &str) -> Result<(InstanceId, bool), PayloadError> {
    let text: InstanceText<'_> = parse(command, text)?;
    if text.service != HEARTBEAT {
        return Err(PayloadError::Value {
            command,
            key: "service",
            value: crate::guest::cut(&text.service, 64).into(),
            expected: HEARTBEAT,
        });
    }
    Ok((text.uuid, text.state.into()))
}

fn action(command: &'static str, text: &str) -> Result<(InstanceId, EventType), PayloadError> {
    let text: ActionText<'_> = parse(command, text)?;
    if text.event.is_empty() || text.event.len() > MAX_EVENT {
        return Err(PayloadError::Value {
            command,
            key: "event",
            value: crate::guest::cut(&text.event, 64).into(),
            expected: "1 to 64 bytes",
        });
    }
    Ok((text.uuid, text.event.as_ref().into()))
}
