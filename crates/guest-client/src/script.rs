//! One run of one of the operator's scripts.
//!
//! It has a process group of its own, and no part in what systemd gave this program. Whoever drops the future kills the
//! whole group. Of what the script prints the first line is kept and everything else thrown away; it may print as much
//! as it likes.

use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use std::os::unix::process::ExitStatusExt as _;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};

use crate::condition::safe;

/// What is read at once.
const READ_SIZE: usize = 16 * 1024;

/// How much of the first line is kept.
const MAX_LINE: usize = 1024;

/// What is still read after the script's end: whoever holds on to its output does not hold up the answer.
const LAST_READS: usize = 16;

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

/// Runs a script to its end.
pub(crate) async fn run(path: &Path, args: &[&str]) -> Outcome {
    match try_run(path, args).await {
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

async fn try_run(path: &Path, args: &[&str]) -> io::Result<(ExitStatus, String)> {
    let (output, mut child) = spawn(path, args)?;
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
    for _ in 0..LAST_READS {
        match output.try_read(&mut buffer) {
            Ok(length) if length > 0 => line.push(&buffer[..length]),
            Ok(_) | Err(_) => break,
        }
    }
    Ok((status, safe(&line.bytes)))
}

fn spawn(path: &Path, args: &[&str]) -> io::Result<(io::PipeReader, Child)> {
    let (reader, writer) = io::pipe()?;
    let mut command = Command::new(path);
    command
        .args(args)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0)
        .kill_on_drop(true);
    for variable in OURS {
        command.env_remove(variable);
    }
    Ok((reader, command.spawn()?))
}

/// The first line that is not blank.
#[derive(Debug, Default)]
struct FirstLine {
    bytes: Vec<u8>,
    whole: bool,
}

impl FirstLine {
    fn push(&mut self, more: &[u8]) {
        for &byte in more {
            if self.whole {
                return;
            }
            let blank = self.bytes.iter().all(u8::is_ascii_whitespace);
            match byte {
                b'\n' if blank => self.bytes.clear(),
                b'\n' => self.whole = true,
                _ => self.bytes.push(byte),
            }
            self.whole |= self.bytes.len() == MAX_LINE;
        }
    }
}

/// A script and all that it started, killed when this is dropped.
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
