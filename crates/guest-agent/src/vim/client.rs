//! One request over one connection, and what came of it.
//!
//! Written by hand over [`httparse`], for the VIM's server wants what a general client hides: the
//! request exactly as the C++ daemon sends it and in one write, and a difference between a
//! connection that was closed without a byte and one that was closed within the answer.
//!
//! Dropping the future closes the connection; the VIM may or may not have seen the request.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::address::VimAddress;
use super::answer::{Answer, BadAnswer};
use super::request::Request;

/// How long a request may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Until it is sent: the name, the connection, the request itself.
    pub(super) sent: Duration,
    /// From then until its answer is whole.
    pub(super) answered: Duration,
}

/// For what may be asked again: 20 s each way.
pub(super) const QUESTION_LIMITS: Limits =
    Limits { sent: Duration::from_secs(20), answered: Duration::from_secs(20) };

/// For what must not be told twice. A VIM that hangs has the request in its hands and reads it when
/// it goes on, whether or not anybody still waits; to give up and tell it again would double it. So
/// its answer is awaited for longer than a VIM that is worth waiting for ever hangs.
pub(super) const EVENT_LIMITS: Limits =
    Limits { sent: Duration::from_secs(20), answered: Duration::from_secs(90) };

/// Bytes that are read at once.
const ROOM: usize = 8 * 1024;

/// What the VIM made of a request.
#[derive(Debug)]
pub(super) enum Reply {
    /// 2xx. The VIM has done what was asked, even if the answer broke off after its status: then
    /// there is an error instead of a body.
    Success(Result<Vec<u8>, Failure>),
    /// It closed the connection without a byte after it had the whole request. That is how its
    /// server says 204, and how it says 400.
    Silence,
    /// 3xx or 4xx: sending it again would bring the same.
    Refused(Refusal),
}

/// What the VIM said when it did not want a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{status} {text}")]
pub(crate) struct Refusal {
    /// The status.
    pub(crate) status: u16,
    /// The beginning of what it said, not escaped.
    pub(crate) text: String,
}

/// Why the VIM did not take a request. It may when it is sent again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    #[error("the connection was closed within the answer")]
    Unfinished,
    #[error(transparent)]
    Answer(#[from] BadAnswer),
    #[error("no whole answer within {0:?}")]
    TimeOut(Duration),
    #[error("the VIM failed: {0}")]
    Server(Refusal),
}

impl Failure {
    /// Whether the VIM is there and failed over what it was sent.
    pub(super) const fn is_about_the_request(&self) -> bool {
        match self {
            Self::Unfinished | Self::Answer(_) | Self::Server(_) => true,
            Self::Connect(_) | Self::Broken(_) | Self::TimeOut(_) => false,
        }
    }
}

/// Sends a request over a connection of its own and waits for what comes of it. The body of the
/// answer may have `max_body` bytes.
///
/// # Errors
/// When it is worth another attempt.
pub(super) async fn exchange(
    vim: &VimAddress,
    request: &Request,
    max_body: usize,
    limits: Limits,
) -> Result<Reply, Failure> {
    let mut answer = Answer::new(max_body);
    let ended = converse(vim, request, &mut answer, limits).await;
    let Some(status) = answer.status() else {
        return ended.map(|()| Reply::Silence);
    };
    let refusal = |answer: &Answer| Refusal { status, text: answer.text() };
    match status {
        // Whatever happened after this status: sending it again would double it.
        200..300 => Ok(Reply::Success(ended.map(|()| answer.into_body()))),
        300..500 => Ok(Reply::Refused(refusal(&answer))),
        _ => Err(Failure::Server(refusal(&answer))),
    }
}

/// Returns without an error when the answer is complete, or when the connection was closed without
/// a byte after the whole request was sent.
async fn converse(
    vim: &VimAddress,
    request: &Request,
    answer: &mut Answer,
    limits: Limits,
) -> Result<(), Failure> {
    let late = |limit| move |_| Failure::TimeOut(limit);
    let (stream, sent) =
        timeout(limits.sent, send(vim, request)).await.map_err(late(limits.sent))??;
    timeout(limits.answered, listen(stream, sent, answer)).await.map_err(late(limits.answered))?
}

/// Connects and sends; also returns what came of the sending.
async fn send(vim: &VimAddress, request: &Request) -> Result<(TcpStream, io::Result<()>), Failure> {
    // Resolves a name in a thread aside, and tries all its addresses.
    let mut stream =
        TcpStream::connect((vim.host(), vim.port())).await.map_err(Failure::Connect)?;
    // One write: the buffer of a new connection takes much more than any request of ours.
    let sent = stream.write_all(request.as_bytes()).await;
    Ok((stream, sent))
}

async fn listen(
    mut stream: TcpStream,
    sent: io::Result<()>,
    answer: &mut Answer,
) -> Result<(), Failure> {
    // A server that closes early may still have answered.
    let mut room = vec![0; ROOM];
    loop {
        let read = stream.read(&mut room).await;
        let length = match read {
            Ok(length) => length,
            Err(error) => return Err(Failure::Broken(sent.err().unwrap_or(error))),
        };
        if length == 0 {
            break;
        }
        if answer.handle_bytes(&room[..length])? {
            return Ok(());
        }
    }
    if !answer.is_silent() {
        return if answer.handle_end() { Ok(()) } else { Err(Failure::Unfinished) };
    }
    sent.map_err(Failure::Broken)?;
    // A server that closes before the request arrives sees it refused by its kernel. We read the
    // same end of file as after a request that was taken, but the refusal stands in the socket.
    match stream.take_error() {
        Ok(None) => Ok(()),
        Ok(Some(error)) | Err(error) => Err(Failure::Broken(error)),
    }
}

#[cfg(test)]
mod tests;
