//! The asking side of the control socket, for commands that are run beside the daemon. It blocks.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use serde::Serialize;

/// How long one question may take altogether.
pub const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest answer, in bytes. The status of a thousand guests is well under one million.
pub const MAX_ANSWER: u64 = 64 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nobody listens: no socket, or one left behind by a daemon that died.
    #[error("not running (nobody listens on {})", .path.display())]
    NotRunning {
        /// The socket's path.
        path: PathBuf,
    },
    /// The daemon is there and does not answer in time. It is stuck, or stopped by a signal.
    #[error("no answer in time through {}", .path.display())]
    Timeout {
        /// The socket's path.
        path: PathBuf,
    },
    /// The daemon closed the connection before its answer was whole, or the answer is longer than
    /// [`MAX_ANSWER`]. To users other than its own and root it gives none at all.
    #[error("no whole answer through {}", .path.display())]
    Truncated {
        /// The socket's path.
        path: PathBuf,
    },
    /// The machine refused it, for instance to a user without permission.
    #[error("cannot ask through {}", .path.display())]
    Io {
        /// The socket's path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Asks the daemon that listens on `path` and returns its answer, without the newline. `{"error":
/// ...}` is an answer too.
///
/// # Errors
///
/// See [`ControlError`].
pub fn ask(path: &Path, request: &impl Serialize) -> Result<Vec<u8>, ControlError> {
    ask_within(path, request, ASK_TIMEOUT)
}

/// [`ask`] with a time limit of the caller's.
pub(super) fn ask_within(
    path: &Path,
    request: &impl Serialize,
    limit: Duration,
) -> Result<Vec<u8>, ControlError> {
    let path_buf = || path.to_owned();
    let mut answer = exchange(path, request, limit).map_err(|source| match source.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
            ControlError::NotRunning { path: path_buf() }
        }
        ErrorKind::WouldBlock | ErrorKind::TimedOut => ControlError::Timeout { path: path_buf() },
        _ => ControlError::Io { path: path_buf(), source },
    })?;
    match answer.pop_if(|last| *last == b'\n') {
        Some(_) => Ok(answer),
        None => Err(ControlError::Truncated { path: path_buf() }),
    }
}

fn exchange(path: &Path, request: &impl Serialize, limit: Duration) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + limit;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    let mut stream = connect_within(path, limit)?;
    // The daemon takes a few thousand bytes without reading them, so this does not wait.
    stream.set_write_timeout(Some(left(deadline)?))?;
    match stream.write_all(&line) {
        // It has answered and closed without reading everything, and the answer says why.
        Err(error) if is_closed(&error) => {}
        written => written?,
    }

    let mut answer = Vec::new();
    let mut chunk = [0; 16384];
    while (answer.len() as u64) < MAX_ANSWER {
        // Set anew each time: a daemon that sends now and then does not get longer for it.
        stream.set_read_timeout(Some(left(deadline)?))?;
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => answer.extend_from_slice(chunk.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if is_closed(&error) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(answer)
}

/// Closed by the daemon with something of ours unread.
fn is_closed(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// std's connect waits without end for a daemon that no longer accepts and whose queue is full,
/// which is just when somebody will ask. The time limit for sending holds for connecting too.
fn connect_within(path: &Path, limit: Duration) -> io::Result<UnixStream> {
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let limit = i64::try_from(limit.as_micros()).unwrap_or(i64::MAX);
    setsockopt(&socket, sockopt::SendTimeout, &TimeVal::microseconds(limit))?;
    match connect(socket.as_raw_fd(), &UnixAddr::new(path)?) {
        Err(Errno::EAGAIN) => Err(ErrorKind::TimedOut.into()),
        connected => Ok(connected.map(|()| socket.into())?),
    }
}
