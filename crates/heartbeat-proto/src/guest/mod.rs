//! The lines exchanged with the program inside a virtual machine (docs/protocol.md, "The channel").
//!
//! One JSON object a line, a newline before and after each. [`LineFramer`] finds the lines in a
//! stream of bytes, [`GuestMessage`] and [`HostMessage`] are what they say. Both directions can be
//! written and read, so that the host's side, the guest's side and the tests share one definition.

mod encode;
mod line;
mod message;
mod parse;
mod text;

pub use line::{Frame, LineFramer, MAX_LINE};
pub(crate) use message::MAX_EVENT;
pub use message::{
    ActionResponse, ChallengeResponse, CorrectiveAction, EventType, GuestMessage, Health,
    HostMessage, Init, Notice, NotificationType, VoteResult,
};
pub use parse::{Malformed, MalformedKind, Received};
pub use text::{Text, cut};

/// The protocol version that is sent, and the lowest that is accepted.
pub const VERSION: u64 = 3;

/// The protocol revision that is sent.
pub const REVISION: u64 = 1;

/// The most bytes of a guest's name.
pub const MAX_NAME: usize = 64;

/// The most bytes of a `log_msg`.
pub const MAX_LOG_MSG: usize = 224;

/// The largest number in a challenge; the smallest is 0.
pub const MAX_CHALLENGE: u32 = i32::MAX.unsigned_abs();

#[cfg(test)]
mod tests;
