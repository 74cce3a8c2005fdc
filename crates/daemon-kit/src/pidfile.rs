//! The pidfile: who runs, and a lock so that only one does.
//!
//! The lock, not the number in the file, decides. It belongs to the open file and ends with the
//! process however that ends, so a pidfile left behind is taken over without asking whether its pid
//! is alive.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};

use crate::file_id::FileId;

/// How often to begin again when the file is unlinked between opening and locking it. Once is rare;
/// this many times is a fault.
const ATTEMPTS: u32 = 10;

/// How often, and how far apart, to look for the pid of a holder that has locked but not yet
/// written.
const HOLDER_LOOKS: u32 = 5;
const HOLDER_PAUSE: Duration = Duration::from_millis(10);

/// Why the pidfile could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum PidfileError {
    /// Another copy holds the lock.
    #[error("already running{} ({})", with_pid(*.pid), .path.display())]
    AlreadyRunning {
        /// The pidfile.
        path: PathBuf,
        /// What the holder wrote into it; `None` if it has not written yet.
        pid: Option<u32>,
    },
    /// The path names a directory, a device or the like.
    #[error("pidfile {} is not a regular file", .path.display())]
    NotAFile {
        /// The pidfile.
        path: PathBuf,
    },
    /// The file is removed again and again while it is being locked.
    #[error("pidfile {} keeps being removed", .path.display())]
    Unstable {
        /// The pidfile.
        path: PathBuf,
    },
    /// The machine refused to open, lock or write it. A symbolic link is refused here too.
    #[error("cannot {action} pidfile {}", .path.display())]
    Io {
        /// What was refused.
        action: &'static str,
        /// The pidfile.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn with_pid(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" with pid {pid}"))
}

/// The locked pidfile. Dropping it removes the file, unless another one has taken its place, and
/// frees the lock.
#[derive(Debug)]
pub struct Pidfile {
    path: PathBuf,
    id: FileId,
    /// Held for its lock.
    file: Flock<File>,
}

impl Pidfile {
    /// Takes the pidfile and writes this process's pid and a newline into it.
    ///
    /// # Errors
    ///
    /// [`PidfileError::AlreadyRunning`] if another copy holds it, the other kinds if the file
    /// cannot be had at all.
    pub fn acquire(path: &Path) -> Result<Pidfile, PidfileError> {
        let failed = |action, source| PidfileError::Io { action, path: path.to_owned(), source };
        for _ in 0..ATTEMPTS {
            let file = open(path).map_err(|error| failed("open", error))?;
            let metadata = file.metadata().map_err(|error| failed("examine", error))?;
            if !metadata.is_file() {
                return Err(PidfileError::NotAFile { path: path.to_owned() });
            }
            let file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(file) => file,
                Err((file, Errno::EWOULDBLOCK)) => {
                    return Err(PidfileError::AlreadyRunning {
                        path: path.to_owned(),
                        pid: holder(&file),
                    });
                }
                Err((_, errno)) => return Err(failed("lock", errno.into())),
            };
            // A copy that was just stopping may have unlinked the file after we opened it: our lock
            // would be on a file that nobody else can see.
            let id = FileId::of(&metadata);
            if FileId::at(path).map_err(|error| failed("examine", error))? != Some(id) {
                continue;
            }
            // From here on it is removed when it is dropped, also when the disk is full: an empty file would only puzzle
            // a monitor.
            let pidfile = Pidfile { path: path.to_owned(), id, file };
            write_pid(&pidfile.file).map_err(|error| failed("write", error))?;
            return Ok(pidfile);
        }
        Err(PidfileError::Unstable { path: path.to_owned() })
    }

    /// Removes the file now and frees the lock, as dropping does, but says if it failed.
    ///
    /// # Errors
    ///
    /// When the file is there, is ours and cannot be removed.
    pub fn remove(self) -> io::Result<()> {
        self.id.unlink(&self.path)
    }
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        // Still locked here, so the file cannot be a newer copy's. What cannot be removed is stale,
        // which does no harm.
        let _ = self.id.unlink(&self.path);
    }
}

fn open(path: &Path) -> io::Result<File> {
    // Not truncated: until the lock is ours the number in it is somebody else's. std adds
    // O_CLOEXEC.
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o644)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(path)
}

fn write_pid(file: &File) -> io::Result<()> {
    // In this order a monitor that reads meanwhile finds a whole first line, never an empty file.
    let line = format!("{}\n", process::id());
    file.write_all_at(line.as_bytes(), 0)?;
    file.set_len(line.len() as u64)
}

fn holder(file: &File) -> Option<u32> {
    for look in 0..HOLDER_LOOKS {
        if look > 0 {
            thread::sleep(HOLDER_PAUSE);
        }
        let mut start = [0; 16];
        let length = file.read_at(&mut start, 0).ok()?;
        let text = String::from_utf8_lossy(start.get(..length)?);
        if let Some(pid) = text.lines().next().and_then(|line| line.trim().parse().ok()) {
            return Some(pid);
        }
    }
    None
}

#[cfg(test)]
mod tests;
