//! The commands that ask a running daemon: `status`, `metrics`, `mute` and `unmute`.
//!
//! They run beside the daemon and speak to it through its control socket. What a status looks like is the daemon's own
//! affair: see [`View`].

mod args;
mod table;
mod text;

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::control::{ControlError, ask};
use crate::{Failure, describe};

pub use args::{Identifier, Query, StatusArgs};
pub use table::{Column, Line, WIDTH, table};
pub use text::{ago, clock_time, short};

/// Exit code when the daemon refuses what was asked.
pub const REFUSED: u8 = 1;

/// Exit code when the daemon is not running.
pub const NOT_RUNNING: u8 = 3;

/// Exit code when nobody can say: the daemon does not answer, or not to this user.
pub const UNKNOWN: u8 = 4;

/// How a daemon's documents are shown to people.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// The whole status.
    pub status: fn(&Value) -> Result<String, serde_json::Error>,
    /// One instance.
    pub instance: fn(&Value) -> Result<String, serde_json::Error>,
}

/// Does what the command line asks for.
///
/// # Errors
///
/// With the exit code [`NOT_RUNNING`], [`UNKNOWN`] or [`REFUSED`]; `name` is the daemon's.
pub fn run<I: Identifier>(name: &str, query: &Query<I>, view: View) -> Result<(), Failure> {
    match query {
        Query::Status(args) => match args.watch {
            None => print(&status(name, args, view)?),
            Some(period) => watch(name, args, view, period),
        },
        Query::Metrics { run_dir } => {
            let answer = ask_daemon(name, run_dir, &json!({ "request": "metrics" }))?;
            let text = answer.get("openmetrics").and_then(Value::as_str);
            print(text.ok_or_else(|| unknown("the answer has no metrics".to_owned()))?)
        }
        Query::Mute { instance, time, reason, run_dir } => {
            let seconds = time.as_secs();
            let request = json!({ "request": "mute", "uuid": instance, "seconds": seconds, "reason": reason });
            ask_daemon(name, run_dir, &request)?;
            print(&format!("muted for {}: no fault is reported meanwhile\n", short(*time)))
        }
        Query::Unmute { instance, run_dir } => {
            ask_daemon(name, run_dir, &json!({ "request": "unmute", "uuid": instance }))?;
            print("no longer muted\n")
        }
    }
}

fn status<I: Identifier>(name: &str, args: &StatusArgs<I>, view: View) -> Result<String, Failure> {
    let (request, show) = match &args.instance {
        None => (json!({ "request": "status" }), view.status),
        Some(instance) => (json!({ "request": "instance", "uuid": instance }), view.instance),
    };
    let document = ask_daemon(name, &args.run_dir, &request)?;
    if args.json {
        return Ok(format!("{document}\n"));
    }
    show(&document).map_err(|error| {
        unknown(format!("{name} answers in another form ({error}): is it of another version?"))
    })
}

/// Shows it again and again, until somebody ends it. A daemon that is away may come back.
fn watch<I: Identifier>(
    name: &str,
    args: &StatusArgs<I>,
    view: View,
    period: Duration,
) -> Result<(), Failure> {
    // Home, and what is left of the former picture is cleared afterwards: nothing flickers.
    let screen = io::stdout().is_terminal() && !args.json;
    loop {
        let text = match status(name, args, view) {
            Ok(text) => text,
            Err(failure) if args.json => format!("{}\n", json!({ "error": failure.message })),
            Err(failure) => format!("{failure}\n"),
        };
        if screen {
            let lines = text.replace('\n', "\x1b[K\n");
            print(&format!("\x1b[H{lines}\x1b[J"))?;
        } else {
            print(&text)?;
        }
        std::thread::sleep(period);
    }
}

fn ask_daemon(name: &str, run_dir: &Path, request: &Value) -> Result<Value, Failure> {
    let path = run_dir.join(format!("{name}.sock"));
    let answer = ask(&path, request).map_err(|error| match &error {
        ControlError::NotRunning { .. } => {
            Failure { code: NOT_RUNNING, message: format!("{error}; see --run-dir") }
        }
        ControlError::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
            unknown(format!("{}: only its own user and root may ask", describe(&error)))
        }
        _ => unknown(describe(&error)),
    })?;
    let document: Value = serde_json::from_slice(&answer)
        .map_err(|error| unknown(format!("the answer is not JSON: {error}")))?;
    match document.get("error").and_then(Value::as_str) {
        Some(why) => Err(Failure { code: REFUSED, message: why.to_owned() }),
        None => Ok(document),
    }
}

fn unknown(message: String) -> Failure {
    Failure { code: UNKNOWN, message }
}

/// A reader that has seen enough, such as `head`, is no error.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        written => written.map_err(|error| Failure::environment(format!("cannot write: {error}"))),
    }
}

#[cfg(test)]
mod tests;
