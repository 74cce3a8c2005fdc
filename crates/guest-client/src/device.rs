//! The virtio port to the host.
//!
//! A virtio port hangs up while no host is at its other end, and is well again when one comes: reading gives zero bytes
//! meanwhile, which is not the end. tokio takes a hang-up for final. So the port is watched by an epoll instance of its
//! own, and tokio watches that one, which never hangs up.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd, RawFd};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Where the kernel lists the virtio ports with their names.
const PORTS: &str = "/sys/class/virtio-ports";

/// Why there is no port.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// There is none, neither under its path nor under its name.
    #[error("no such port")]
    Missing,
    /// Somebody else has it open: a port serves one program.
    #[error("{} is in use by another program", .0.display())]
    Busy(PathBuf),
    /// Something else has its path.
    #[error("not a character device")]
    NotADevice,
    /// The machine refused it.
    #[error("cannot open {}", .path.display())]
    Io {
        /// What was tried.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What reading gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// So many bytes.
    Bytes(usize),
    /// Nothing now.
    Nothing,
    /// No host is at the other end.
    NoHost,
}

/// The port as epoll watches it.
#[derive(Debug)]
struct Watched(Epoll);

impl AsRawFd for Watched {
    fn as_raw_fd(&self) -> RawFd {
        self.0.0.as_raw_fd()
    }
}

/// An open port.
#[derive(Debug)]
pub(crate) struct Port {
    file: File,
    watched: AsyncFd<Watched>,
    path: PathBuf,
}

impl Port {
    /// Opens the port at `path`, or the one of that name wherever the kernel has it. Never waits.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        let path = match fs::metadata(path) {
            Ok(found) if found.file_type().is_char_device() => path.to_owned(),
            Ok(_) => return Err(OpenError::NotADevice),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                find(path, Path::new(PORTS)).ok_or(OpenError::Missing)?
            }
            Err(source) => return Err(OpenError::Io { path: path.to_owned(), source }),
        };
        let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let opened =
            OpenOptions::new().read(true).write(true).custom_flags(flags.bits()).open(&path);
        let file = opened.map_err(|error| match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EBUSY) => OpenError::Busy(path.clone()),
            _ => OpenError::Io { path: path.clone(), source: error },
        })?;
        let watched =
            watch(&file).map_err(|source| OpenError::Io { path: path.clone(), source })?;
        Ok(Self { file, watched, path })
    }

    /// Where it was found.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until something may have changed. What did, reading and writing tell. May be cancelled.
    pub(crate) async fn changed(&self) -> io::Result<()> {
        let mut ready = self.watched.ready(Interest::READABLE).await?;
        let mut events = [EpollEvent::empty(); 4];
        while self.watched.get_ref().0.wait(&mut events, EpollTimeout::ZERO)? > 0 {}
        ready.clear_ready();
        Ok(())
    }

    /// Reads what is there.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Read> {
        loop {
            match self.file.read(buffer) {
                Ok(0) if self.is_broken()? => return Err(io::Error::other("hung up")),
                Ok(0) => return Ok(Read::NoHost),
                Ok(length) => return Ok(Read::Bytes(length)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Read::Nothing);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the hang-up is for good: of a virtio port, it never is an error.
    fn is_broken(&self) -> io::Result<bool> {
        let mut looked_at = [PollFd::new(self.file.as_fd(), PollFlags::empty())];
        poll(&mut looked_at, PollTimeout::ZERO)?;
        Ok(looked_at[0].revents().is_some_and(|found| found.contains(PollFlags::POLLERR)))
    }

    /// Writes what the host takes now.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }
}

#[expect(
    deprecated,
    reason = "what took its place is unsafe, for types that may lose their descriptor; this one owns it to its end"
)]
fn watch(file: &File) -> io::Result<AsyncFd<Watched>> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let events = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
    epoll.add(file, EpollEvent::new(events, 0))?;
    AsyncFd::with_interest(Watched(epoll), Interest::READABLE)
}

/// The device of the port whose name is the last part of `path`: there, udev would have made the link.
fn find(path: &Path, ports: &Path) -> Option<PathBuf> {
    let wanted = path.file_name()?.to_str()?;
    let port = fs::read_dir(ports).ok()?.flatten().find(|port| {
        fs::read_to_string(port.path().join("name")).is_ok_and(|name| name.trim() == wanted)
    })?;
    let device = Path::new("/dev").join(port.file_name());
    device.exists().then_some(device)
}

#[cfg(test)]
mod tests;
