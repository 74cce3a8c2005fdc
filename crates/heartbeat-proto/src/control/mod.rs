//! The datagrams between the daemons (docs/protocol.md, "Between the daemons").
//!
//! [`Datagram`] is the envelope, the same for everybody. What it carries depends on who speaks to
//! whom: [`AgentCommand`] from guestAgent to guestServer, [`ServerEvent`] back,
//! [`MaintenanceCommand`] from the maintenance system to guestAgent. [`Ack`] goes both ways. What is numbered, sent again
//! and acknowledged is decided in [`delivery`](crate::delivery).

mod ack;
mod command;
mod datagram;
mod event;
mod maintenance;
mod seal;

pub use ack::{Ack, acknowledgement};
pub use command::AgentCommand;
pub use datagram::{
    Datagram, DatagramError, HEADER_LEN, Length, MAX_LEN, Numbering, REVISION, Signature, code,
};
pub use event::{Hosted, InstanceInfo, ServerEvent, VoteNotify};
pub use maintenance::{Host, MaintenanceCommand, ready_for_maintenance};
pub use seal::{Guard, KeyFileError, Keyring, MAX_SKEW_MICROS, SealError, SecurityMode};

use serde::{Deserialize, Serialize};

/// Why the text of a datagram is not what its command wants.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// The command is none that is sent in this direction.
    #[error("unknown command {0:#010x}")]
    UnknownCommand(u32),
    /// The text is no JSON object, or a key is missing or ill-typed.
    #[error("bad {command} text")]
    Json {
        /// The command's name.
        command: &'static str,
        /// What is wrong, with the key's name.
        #[source]
        source: serde_json::Error,
    },
    /// A value is well-formed but has no meaning here.
    #[error("bad {command} text: {key} is {value:?}, expected {expected}")]
    Value {
        /// The command's name.
        command: &'static str,
        /// The key.
        key: &'static str,
        /// What it holds, cut to 64 bytes.
        value: String,
        /// What it may hold.
        expected: &'static str,
    },
}

impl PayloadError {
    /// The command's name, if it has one.
    #[must_use]
    pub const fn command(&self) -> Option<&'static str> {
        match self {
            Self::UnknownCommand(_) => None,
            Self::Json { command, .. } | Self::Value { command, .. } => Some(*command),
        }
    }
}

fn parse<'a, T: Deserialize<'a>>(command: &'static str, text: &'a str) -> Result<T, PayloadError> {
    serde_json::from_str(text).map_err(|source| PayloadError::Json { command, source })
}

/// The JSON of a value that always has one: structs of texts, numbers and switches.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests;
