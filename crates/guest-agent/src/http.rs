//! The VIM's commands over HTTP (docs/api.md).
//!
//! A task accepts connections, each connection is a task of its own: it reads a request, makes a
//! [`Command`] of it and puts that to the main loop as a [`Request`]; what the main loop answers is
//! the response. Connections own nothing but their bytes, so any of them may be cut off at any time.
//! A command is either answered or not carried out, never both: [`Request::answer_with`].
//!
//! ```text
//! server ── accepts, keeps the number of connections ── connection ── reads, writes, time limits
//!                                                           │
//!                        route ◄── exchange: one request ───┘
//!                       decode ◄──     │  ▲
//!                                      ▼  │ answer
//!                                   main loop
//! ```

mod answer;
mod connection;
mod counts;
mod decode;
mod exchange;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod route;
mod server;
#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::sync::oneshot;

use crate::inventory::{Command, Outcome, Refusal};

pub(crate) use counts::Counts;
pub(crate) use server::bind;

/// The longest body, in bytes; a longer one is 413.
const MAX_BODY: usize = 64 * 1024;

/// The longest request line and header together, in bytes; a longer one is 431.
const MAX_HEADER: usize = 16 * 1024;

/// From a new connection, or the first byte of a further request, to the end of the header.
const HEADER_TIME: Duration = Duration::from_secs(5);

/// From the end of the header to the end of the body; a slower one is 408.
const BODY_TIME: Duration = Duration::from_secs(10);

/// How long the main loop has for its answer; without one it is 503.
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// How long the client has to take an answer.
const TAKE_TIME: Duration = Duration::from_secs(5);

/// How long a connection is kept open between two requests.
const IDLE_TIME: Duration = Duration::from_secs(30);

/// How long what a client still sends is read and thrown away after the last answer, so that the
/// answer reaches it: closing at once would make the kernel reset the connection.
const LINGER_TIME: Duration = Duration::from_secs(1);

/// Connections at once, or half of the open files where that is less: the VIM, guestServers and operators are to be reached
/// however many clients there are. At that number the one that has been idle longest is closed for each new
/// one; if none is idle, new ones wait, most of them in the kernel's queue.
const MAX_CONNECTIONS: usize = 512;

/// Commands that wait for the main loop. When it is full, connections wait within their
/// [`ANSWER_TIME`].
const REQUESTS_DEPTH: usize = 64;

/// The limits of one server. Tests shorten them.
#[derive(Debug, Clone, Copy)]
struct Limits {
    body: usize,
    header: usize,
    header_time: Duration,
    body_time: Duration,
    answer_time: Duration,
    take_time: Duration,
    idle_time: Duration,
    linger_time: Duration,
    connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: MAX_BODY,
            header: MAX_HEADER,
            header_time: HEADER_TIME,
            body_time: BODY_TIME,
            answer_time: ANSWER_TIME,
            take_time: TAKE_TIME,
            idle_time: IDLE_TIME,
            linger_time: LINGER_TIME,
            connections: MAX_CONNECTIONS,
        }
    }
}

impl Limits {
    /// Those of a process that may have so many files open.
    fn within(open_files: u64) -> Self {
        let half = usize::try_from(open_files / 2).unwrap_or(usize::MAX);
        Self { connections: MAX_CONNECTIONS.min(half).max(1), ..Self::default() }
    }
}

/// One command for the main loop. Dropping it unanswered is answered 503.
#[derive(Debug)]
pub(crate) struct Request {
    command: Command,
    reply: oneshot::Sender<Result<Outcome, Refusal>>,
}

impl Request {
    /// Carries the command out and answers.
    ///
    /// A command whose client has been told 503 meanwhile, or whose connection is gone, is not
    /// carried out. Never waits; everything shares one thread, so nobody gives up in between.
    pub(crate) fn answer_with(self, carry_out: impl FnOnce(Command) -> Result<Outcome, Refusal>) {
        if !self.reply.is_closed() {
            let _ = self.reply.send(carry_out(self.command));
        }
    }
}
