//! The bodies of the VIM's commands, and of guestAgent's answers.

use serde::{Deserialize, Serialize};

use super::{HEARTBEAT, seconds};
use crate::{HostId, InstanceId, Switch};

/// The body of a command about a host.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct HostBody {
    /// Which host.
    pub uuid: HostId,
    /// Its name.
    pub hostname: String,
}

/// The body of a command that adds an instance or switches its reporting.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct InstanceBody {
    /// Which instance.
    pub uuid: InstanceId,
    /// The name of the host that it is on.
    pub hostname: String,
    /// What it wants.
    pub services: Vec<Service>,
}

/// A service as a command names it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Service {
    /// Its name alone.
    Name(String),
    /// Its name, and what is wanted of it.
    Object {
        /// Its name.
        service: String,
        /// Whether faults are reported. Not every command needs it.
        state: Option<String>,
    },
}

impl Service {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Name(service) | Self::Object { service, .. } => service,
        }
    }
}

/// The body of a vote or notification.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ActionBody {
    /// Which instance.
    pub uuid: InstanceId,
    /// The name of the host that it is on.
    pub hostname: String,
    /// What is about to happen to it.
    pub action: String,
}

/// Why a command is refused, in the words of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// `command parse error`
    Parse,
    /// `no buffer`
    NoBuffer,
    /// `entity not found`
    NotFound,
    /// `invalid data`
    InvalidData,
    /// `bad state`
    BadState,
    /// `unsupported http command`
    Unsupported,
}

impl Reason {
    /// The words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Parse => "command parse error",
            Self::NoBuffer => "no buffer",
            Self::NotFound => "entity not found",
            Self::InvalidData => "invalid data",
            Self::BadState => "bad state",
            Self::Unsupported => "unsupported http command",
        }
    }
}

/// What is answered to a command that is carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// It is done.
    Pass {
        /// Always `pass`.
        status: &'static str,
    },
    /// A host's state.
    Host {
        /// Which.
        uuid: HostId,
        /// Its name.
        hostname: Box<str>,
        /// Whether faults of its instances are reported.
        state: Switch,
    },
    /// An instance's services.
    Services {
        /// Which.
        uuid: InstanceId,
        /// The name of the host that it is on.
        hostname: Box<str>,
        /// Its one service.
        services: [ServiceStatus; 1],
    },
    /// A vote or notification is under way.
    Action {
        /// Which instance.
        uuid: InstanceId,
        /// The name of the host that it is on.
        hostname: Box<str>,
        /// What about.
        action: Box<str>,
        /// Seconds until the outcome comes; 0 if none will.
        #[serde(serialize_with = "seconds")]
        timeout: u64,
    },
}

impl Answer {
    /// It is done.
    pub const PASS: Self = Self::Pass { status: "pass" };
}

/// The state of an instance's heartbeat service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ServiceStatus {
    service: &'static str,
    state: Switch,
    #[serde(serialize_with = "seconds")]
    restart_timeout: u64,
    status: Switch,
}

impl ServiceStatus {
    /// The restart time is only told while the instance is heartbeating.
    #[must_use]
    pub fn new(reporting: bool, heartbeating: bool, restart_secs: u64) -> Self {
        Self {
            service: HEARTBEAT,
            state: reporting.into(),
            restart_timeout: if heartbeating { restart_secs } else { 0 },
            status: heartbeating.into(),
        }
    }
}
