//! Finds the socket of a channel and connects to it, following no links.

use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;

use heartbeat_proto::InstanceId;
use heartbeat_proto::session::ConnectError;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, SFlag, fstat};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixStream;

use crate::channel_name::{ChannelName, Naming};
use crate::watch::Inode;

/// Why a channel is not connected.
pub(super) struct Refused {
    pub(super) error: ConnectError,
    pub(super) why: String,
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self { error: ConnectError::Unavailable, why: error.to_string() }
    }
}

/// Connects to the channel under whichever of its names it has. Never waits.
pub(super) fn connect(dir: &Path, instance: InstanceId) -> Result<(UnixStream, Inode), Refused> {
    let mut why = None;
    for naming in Naming::ALL {
        match find(&ChannelName { instance, naming }.path(dir)) {
            Ok(Found::Socket(file, inode)) => {
                return Ok((connect_to(&file)?, inode));
            }
            Ok(Found::Nothing) => {}
            Ok(Found::NoSocket) => why = Some("not a socket"),
            Err(error) => return Err(error.into()),
        }
    }
    let why = why.unwrap_or("no such file").to_owned();
    Err(Refused { error: ConnectError::NotFound, why })
}

enum Found {
    Socket(OwnedFd, Inode),
    NoSocket,
    Nothing,
}

/// Looks at the file that has this name now, and holds on to it.
fn find(path: &Path) -> io::Result<Found> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = match open(path, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(Found::Nothing),
        Err(error) => return Err(error.into()),
    };
    let status = fstat(&file)?;
    if SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT == SFlag::S_IFSOCK {
        Ok(Found::Socket(file, status.st_ino))
    } else {
        Ok(Found::NoSocket)
    }
}

/// Connects to the very file that was looked at: through its descriptor, so that whatever takes its
/// name in between is not what we talk to, and so that its path may be longer than an address.
fn connect_to(file: &OwnedFd) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    let address = SockAddr::unix(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    socket.connect(&address).map_err(|error| match error.kind() {
        // The file is there, for we hold it: what is not found is the way to it.
        ErrorKind::NotFound => io::Error::other("cannot reach it through /proc/self/fd"),
        ErrorKind::WouldBlock => io::Error::other("others are connected and waiting"),
        _ => error,
    })?;
    UnixStream::from_std(socket.into())
}
