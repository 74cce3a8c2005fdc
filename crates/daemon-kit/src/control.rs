//! The control socket: questions to the running daemon, such as its `status`, from the same
//! machine.
//!
//! One connection is one question: the client sends a JSON object with the text `request` and a
//! newline, the daemon answers with one JSON document and a newline and closes. A question that is
//! none is answered with `{"error": "..."}`.
//!
//! Who owns what: a task of its own accepts connections, reads and writes, within the bounds below;
//! the daemon's main loop owns the state and gets each question as a [`ControlRequest`] from
//! [`ControlSocket::spawn`]. A client can hold up another client, never the daemon.

mod client;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod server;

use std::time::Duration;

pub use client::{ASK_TIMEOUT, ControlError, MAX_ANSWER, ask};
pub use server::{ControlRequest, ControlSocket};

/// Connections served at once. More wait in the kernel's queue.
pub const MAX_CONNECTIONS: usize = 8;

/// Questions that wait for the main loop. When it is full, the next one waits within its
/// [`REPLY_TIMEOUT`].
pub const QUEUE_DEPTH: usize = 8;

/// The longest question, in bytes, its newline not counted.
pub const MAX_REQUEST: u64 = 4096;

/// How long a client may take to send its question.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the main loop may take to answer.
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a client may take to read its answer.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
