//! A stand-in for a virtio port and the QEMU behind it, for a guest's program that runs without a virtual machine.
//!
//! ```text
//!  guestClient --device DIR/cgcs.heartbeat  -->  a terminal  <--  a thread  -->  CHANNEL_DIR/cgcs.heartbeat.UUID.sock
//! ```
//!
//! A terminal in raw mode is a character device that two programs can talk through. What only a virtio port does, above
//! all that it hangs up while no host is there, is for real virtual machines to show. Dropping a [`Port`] removes both.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use heartbeat_proto::InstanceId;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};

use crate::guest::socket_name;

/// How soon the thread notices what it is told.
const TURN: Duration = Duration::from_millis(10);

/// A port's two ends.
#[derive(Debug)]
pub struct Port {
    device: PathBuf,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    terminal: Mutex<Option<Terminal>>,
    host_reads: AtomicBool,
    ending: AtomicBool,
}

/// The machine's end is kept open here too: without anybody there, a terminal hangs up for good.
#[derive(Debug)]
struct Terminal {
    host: PtyMaster,
    _machine: File,
}

impl Port {
    /// Makes the channel's socket in one directory and the device `cgcs.heartbeat` in another.
    ///
    /// # Errors
    ///
    /// One of them cannot be made.
    pub fn start(channel_dir: &Path, device_dir: &Path, instance: InstanceId) -> Result<Self> {
        let socket = channel_dir.join(socket_name(instance, false));
        let listener = UnixListener::bind(&socket)
            .with_context(|| format!("cannot listen on {}", socket.display()))?;
        listener.set_nonblocking(true)?;
        let shared = Arc::new(Shared {
            terminal: Mutex::new(None),
            host_reads: AtomicBool::new(true),
            ending: AtomicBool::new(false),
        });
        let mut bridge = Bridge { listener, socket, host: None, to_machine: Vec::new() };
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("port".into()).spawn(move || {
            while !theirs.ending.load(Ordering::Relaxed) {
                bridge.turn(&theirs);
            }
        })?;
        let port = Self { device: device_dir.join("cgcs.heartbeat"), shared, thread: Some(thread) };
        port.plug()?;
        Ok(port)
    }

    /// What to open.
    #[must_use]
    pub fn device(&self) -> &Path {
        &self.device
    }

    /// Whether the host's end reads what the machine writes; at first, it does.
    pub fn let_host_read(&self, reads: bool) {
        self.shared.host_reads.store(reads, Ordering::Relaxed);
    }

    /// The device goes: whoever has it open finds it broken.
    ///
    /// # Errors
    ///
    /// Its name cannot be removed.
    pub fn unplug(&self) -> Result<()> {
        self.shared.terminal().take();
        fs::remove_file(&self.device).context("cannot remove the device")
    }

    /// Another device of the same name.
    ///
    /// # Errors
    ///
    /// The machine refuses it.
    pub fn plug(&self) -> Result<()> {
        // Close-on-exec from the beginning: a program that is started meanwhile must not hold the host's end, or unplugging
        // it would change nothing.
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let master = posix_openpt(flags)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let path = ptsname_r(&master)?;
        let slave = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(OFlag::O_NOCTTY.bits())
            .open(&path)?;
        let mut raw = tcgetattr(&slave)?;
        cfmakeraw(&mut raw);
        tcsetattr(&slave, SetArg::TCSANOW, &raw)?;
        *self.shared.terminal() = Some(Terminal { host: master, _machine: slave });
        symlink(path, &self.device).context("cannot name the device")
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = fs::remove_file(&self.device);
    }
}

impl Shared {
    fn terminal(&self) -> std::sync::MutexGuard<'_, Option<Terminal>> {
        self.terminal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the thread owns: the socket, the host that is served, and what the machine has not taken yet.
#[derive(Debug)]
struct Bridge {
    listener: UnixListener,
    socket: PathBuf,
    host: Option<UnixStream>,
    to_machine: Vec<u8>,
}

impl Bridge {
    fn turn(&mut self, shared: &Shared) {
        self.wait(shared);
        if self.host.is_none()
            && let Ok((host, _)) = self.listener.accept()
            && host.set_nonblocking(true).is_ok()
        {
            self.host = Some(host);
        }
        if !self.carry_out(shared) || !self.carry_in() {
            // What it wrote and nobody read is lost with it.
            (self.host, self.to_machine) = (None, Vec::new());
        }
        if let Some(terminal) = shared.terminal().as_mut()
            && let Ok(length) = terminal.host.write(&self.to_machine)
        {
            self.to_machine.drain(..length);
        }
    }

    /// Waits until something can be done, but not for long.
    fn wait(&self, shared: &Shared) {
        let terminal = shared.terminal();
        let mut fds = Vec::new();
        match &self.host {
            Some(host) => {
                fds.push(PollFd::new(host.as_fd(), PollFlags::POLLIN));
                if let Some(terminal) = terminal.as_ref()
                    && shared.host_reads.load(Ordering::Relaxed)
                {
                    fds.push(PollFd::new(terminal.host.as_fd(), PollFlags::POLLIN));
                }
            }
            None => fds.push(PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)),
        }
        let turn = PollTimeout::try_from(TURN).unwrap_or(PollTimeout::ZERO);
        // Whatever it says, trying tells more.
        let _ = poll(&mut fds, turn);
    }

    /// Carries what the machine wrote to the host that is served; says whether that one is still there.
    fn carry_out(&mut self, shared: &Shared) -> bool {
        let mut terminal = shared.terminal();
        let (Some(host), Some(terminal)) = (&mut self.host, terminal.as_mut()) else {
            return true;
        };
        let mut buffer = [0; 4096];
        while shared.host_reads.load(Ordering::Relaxed) {
            match terminal.host.read(&mut buffer) {
                Ok(length) if length > 0 => {
                    // A socket's buffer holds far more than any test leaves in it.
                    if host.write_all(&buffer[..length]).is_err() {
                        return false;
                    }
                }
                Ok(_) | Err(_) => break,
            }
        }
        true
    }

    /// Takes what the host wrote; says whether it is still there.
    fn carry_in(&mut self) -> bool {
        let Some(host) = &mut self.host else { return true };
        let mut buffer = [0; 4096];
        if !self.to_machine.is_empty() {
            return true;
        }
        match host.read(&mut buffer) {
            Ok(0) => false,
            Ok(length) => {
                self.to_machine.extend_from_slice(&buffer[..length]);
                true
            }
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        }
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.socket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads so many bytes, however they come.
    fn take<const N: usize>(from: &mut impl Read) -> [u8; N] {
        let mut bytes = [0; N];
        from.read_exact(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn bytes_pass_both_ways_and_those_without_a_host_wait() {
        let dir = tempfile::tempdir().unwrap();
        let instance = "0e2e0000-0000-0000-0000-000000000001".parse().unwrap();
        let port = Port::start(dir.path(), dir.path(), instance).unwrap();
        let open = || OpenOptions::new().read(true).write(true).open(port.device()).unwrap();
        let connect =
            || UnixStream::connect(dir.path().join(socket_name(instance, false))).unwrap();
        let mut machine = open();
        machine.write_all(b"early\n").unwrap();
        let mut host = connect();
        assert_eq!(&take::<6>(&mut host), b"early\n");
        host.write_all(b"\nto the machine\r\n").unwrap();
        assert_eq!(&take::<17>(&mut machine), b"\nto the machine\r\n");
        // Another host takes over.
        drop(host);
        let mut host = connect();
        // What is written before it is served goes to the one before, as with QEMU.
        host.write_all(b"served").unwrap();
        assert_eq!(&take::<6>(&mut machine), b"served");
        machine.write_all(b"next").unwrap();
        assert_eq!(&take::<4>(&mut host), b"next");
        // The device goes and comes back.
        port.unplug().unwrap();
        assert!(machine.write(b"x").is_err());
        port.plug().unwrap();
        open().write_all(b"again").unwrap();
        assert_eq!(&take::<5>(&mut host), b"again");
        drop(port);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
