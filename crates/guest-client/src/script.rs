//! One run of one of the operator's scripts.
//!
//! It has a process group of its own, and no part in what systemd gave this program. Whoever drops the future kills the
//! whole group. Of what the script prints the first line is kept and everything else thrown away; it may print as much
//! as it likes.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::condition::safe;

/// What is read at once.
const READ_SIZE: usize = 16 * 1024;

/// How much of the first line is kept.
const MAX_LINE: usize = 1024;

/// How long is still read after the script's end: whoever holds on to its output does not hold up the answer.
const LAST_READ: Duration = Duration::from_millis(100);

/// How often, and after which pause, it is tried again to start a script that is being written.
const BUSY_PAUSES: u32 = 10;
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// What systemd tells this program, and not its scripts.
const OURS: [&str; 6] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
];

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Exit status 0.
    Success,
    /// Anything else, with the first line that it printed, or else how it ended.
    Failure(String),
    /// It could not be run.
    NotRun(String),
}

/// The one start of a script that may be under way. It takes as long as the file system that the script is on: while one hangs,
/// the next waits, within its own time, and there is no third thread that hangs with them.
#[derive(Debug, Clone)]
pub(crate) struct Start(Arc<Semaphore>);

impl Default for Start {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

/// Runs a script to its end.
pub(crate) async fn run(start: &Start, path: &Path, args: &[&str]) -> Outcome {
    match try_run(start, path, args).await {
        Ok((status, _)) if status.success() => Outcome::Success,
        Ok((status, line)) if line.is_empty() => Outcome::Failure(ended(status)),
        Ok((_, line)) => Outcome::Failure(line),
        Err(error) => Outcome::NotRun(match error.kind() {
            io::ErrorKind::NotFound => "there is no such file, or its interpreter".to_owned(),
            io::ErrorKind::PermissionDenied => "it is not executable for this user".to_owned(),
            _ => error.to_string(),
        }),
    }
}

fn ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "ended for an unknown reason".to_owned(),
    }
}

async fn try_run(start: &Start, path: &Path, args: &[&str]) -> io::Result<(ExitStatus, String)> {
    let permit = Arc::clone(&start.0).acquire_owned().await.map_err(io::Error::other)?;
    let mut command = Command::new(path);
    command.args(args);
    // On a thread of its own: it may wait for the kernel to read the beginning of the script.
    let started = spawn_blocking(move || {
        let _permit = permit;
        spawn(command)
    });
    let (output, mut child) = started.await.map_err(io::Error::other)??;
    let group = Group::of(&child);
    let mut output = pipe::Receiver::from_owned_fd(output.into())?;
    let mut line = FirstLine::default();
    let mut buffer = vec![0; READ_SIZE];
    let mut open = true;
    let status = loop {
        tokio::select! {
            biased;
            status = child.wait() => break status?,
            length = output.read(&mut buffer), if open => match length? {
                0 => open = false,
                length => line.push(&buffer[..length]),
            },
        }
    };
    // What it left running on purpose may go on.
    group.spare();
    let rest = async {
        while let Ok(length @ 1..) = output.read(&mut buffer).await {
            line.push(&buffer[..length]);
            if line.whole {
                return;
            }
        }
    };
    // Its end, or what it left running, does not matter.
    let _ = timeout(LAST_READ, rest).await;
    Ok((status, safe(&line.bytes)))
}

fn spawn(mut command: Command) -> io::Result<(io::PipeReader, Child)> {
    let (reader, writer) = io::pipe()?;
    command
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0)
        .kill_on_drop(true);
    for variable in OURS {
        command.env_remove(variable);
    }
    let mut patience = BUSY_PAUSES;
    loop {
        match command.spawn() {
            // Somebody is writing it at this moment.
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy && patience > 0 => {
                patience -= 1;
                thread::sleep(BUSY_PAUSE);
            }
            started => return Ok((reader, started?)),
        }
    }
}

/// The first line that is not blank.
#[derive(Debug, Default)]
struct FirstLine {
    bytes: Vec<u8>,
    /// Something in it is no white space.
    visible: bool,
    whole: bool,
}

impl FirstLine {
    fn push(&mut self, more: &[u8]) {
        for &byte in more {
            if self.whole {
                return;
            }
            match byte {
                b'\n' if !self.visible => self.bytes.clear(),
                b'\n' => self.whole = true,
                _ => self.bytes.push(byte),
            }
            self.visible |= !byte.is_ascii_whitespace();
            self.whole |= self.bytes.len() == MAX_LINE;
        }
    }
}

/// A script's process group: what it started and did not move to another one. Killed when this is dropped.
#[derive(Debug)]
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw))
    }

    /// The script has ended by itself, and its number may soon be another's.
    fn spare(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may have ended just now.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

#[cfg(test)]
mod tests;
