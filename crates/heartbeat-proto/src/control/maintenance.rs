//! What guestAgent and the maintenance system say to each other.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Datagram, PayloadError, Signature, code, parse};
use crate::HostId;

/// A host, as the maintenance system tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host<'a> {
    /// Its name.
    #[serde(borrow)]
    pub hostname: Cow<'a, str>,
    /// Its identifier.
    pub uuid: HostId,
    /// Its management address.
    pub ip: Cow<'a, str>,
    /// What it is for: `worker`, `controller` and so on.
    pub personality: Cow<'a, str>,
}

/// A command from the maintenance system to guestAgent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MaintenanceCommand<'a> {
    /// `ADD_HOST`
    AddHost(Host<'a>),
    /// `MOD_HOST`
    ModHost(Host<'a>),
    /// `DEL_HOST`
    DelHost {
        /// Its name.
        hostname: Cow<'a, str>,
        /// Its identifier.
        uuid: HostId,
    },
}

impl<'a> MaintenanceCommand<'a> {
    /// The words of the protocol's table for all commands.
    pub const NAMES: [&'static str; 3] = ["ADD_HOST", "MOD_HOST", "DEL_HOST"];

    /// The word of the protocol's table.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::AddHost(_) => "ADD_HOST",
            Self::ModHost(_) => "MOD_HOST",
            Self::DelHost { .. } => "DEL_HOST",
        }
    }

    /// Reads a command that has the right signature.
    ///
    /// # Errors
    /// When the command is unknown or its text is not what it wants.
    pub fn decode(datagram: &Datagram<'a>) -> Result<Self, PayloadError> {
        #[derive(Deserialize)]
        struct Gone<'a> {
            #[serde(borrow)]
            hostname: Cow<'a, str>,
            uuid: HostId,
        }
        match datagram.command {
            code::ADD_HOST => parse("ADD_HOST", datagram.text).map(Self::AddHost),
            code::MOD_HOST => parse("MOD_HOST", datagram.text).map(Self::ModHost),
            code::DEL_HOST => {
                let Gone { hostname, uuid } = parse("DEL_HOST", datagram.text)?;
                Ok(Self::DelHost { hostname, uuid })
            }
            other => Err(PayloadError::UnknownCommand(other)),
        }
    }
}

/// The datagram by which guestAgent tells the maintenance system that it wants to know the hosts.
#[must_use]
pub const fn ready_for_maintenance() -> Datagram<'static> {
    let ready = Datagram::plain(Signature::GuestMessage, code::MONITOR_READY, "");
    Datagram { sender: "guestAgent", ..ready }
}
