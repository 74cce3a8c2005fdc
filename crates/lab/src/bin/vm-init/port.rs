//! A virtio-serial port: found by the name that the host gave it, and never blocking.
//!
//! What the driver does: `poll` reports a hang-up for as long as the host has not connected, and at once, so that
//! it must not be asked in a loop; a read without data then gives 0 bytes, a write `EAGAIN`.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// The kernel learns the ports' names from QEMU soon after the driver is there.
const FIND_LIMIT: Duration = Duration::from_secs(20);
const FIND_PAUSE: Duration = Duration::from_millis(10);
/// How soon it is noticed that the host has connected.
const HANG_UP_PAUSE: Duration = Duration::from_millis(10);

/// An open port.
#[derive(Debug)]
pub(super) struct Port(File);

impl Port {
    /// Opens the port of this name, and waits for it if it is not there yet.
    pub(super) fn open(name: &str) -> Result<Self> {
        let start = Instant::now();
        let path = loop {
            match find(name) {
                Some(path) => break path,
                None if start.elapsed() > FIND_LIMIT => bail!("there is no port {name}"),
                None => thread::sleep(FIND_PAUSE),
            }
        };
        OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(&path)
            .map(Self)
            .with_context(|| format!("cannot open {}", path.display()))
    }

    /// Waits until the port can be read, or until `limit` is over; says whether it can.
    pub(super) fn wait(&self, limit: Duration) -> Result<bool> {
        self.wait_for(PollFlags::POLLIN, limit)
    }

    fn wait_for(&self, interest: PollFlags, limit: Duration) -> Result<bool> {
        let mut fds = [PollFd::new(self.0.as_fd(), interest)];
        let limit_ms = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, limit_ms) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error).context("cannot poll"),
        }
        let found = fds[0].revents().unwrap_or(PollFlags::empty());
        let ready = found.contains(interest);
        if found.contains(PollFlags::POLLHUP) && !ready {
            thread::sleep(HANG_UP_PAUSE.min(limit));
        }
        Ok(ready)
    }

    /// Reads what is there, if anything is.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        match self.0.read(buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            done => done.context("cannot read the port"),
        }
    }

    /// Writes what the host takes now, if it takes anything.
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        match self.0.write(bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            done => done.context("cannot write to the port"),
        }
    }

    /// Writes everything, and waits for the host to take it.
    pub(super) fn write_all(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let written = self.write(bytes)?;
            bytes = &bytes[written..];
            if !bytes.is_empty() {
                self.wait_for(PollFlags::POLLOUT, Duration::from_secs(1))?;
            }
        }
        Ok(())
    }
}

fn find(name: &str) -> Option<PathBuf> {
    let port = fs::read_dir("/sys/class/virtio-ports").ok()?.flatten().find(|port| {
        fs::read_to_string(port.path().join("name")).is_ok_and(|there| there.trim() == name)
    })?;
    let path = Path::new("/dev").join(port.file_name());
    path.exists().then_some(path)
}
