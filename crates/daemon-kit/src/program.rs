//! The way of a daemon's process from its command line to its exit code.

use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;
use tracing::{info, warn};

use crate::options::{Asked, ProcessOptions, parse};
use crate::{Failure, LogFormat, LogHandle, LogLevel, describe, logging};

/// A configuration that was read and checked, and what its reader should be told.
#[derive(Debug)]
pub struct Checked<C> {
    /// What the daemon runs by.
    pub config: C,
    /// The least important level that is logged.
    pub log_level: LogLevel,
    /// One line for each thing that is odd but no error.
    pub warnings: Vec<String>,
    /// One line for each thing that is worth knowing once.
    pub notices: Vec<String>,
}

/// Runs a daemon: reads its command line, checks its configuration, sets up its log and its runtime, and runs it.
///
/// `process` finds the options of every program, `ask` does what the command line asks of a daemon that runs already, if it
/// does, `check` reads and checks the configuration, `run` runs until the end. With
/// `--check-config` the configuration is printed instead, what is odd in it as comments.
pub fn main<C, F>(
    name: &str,
    process: impl Fn(&C) -> &ProcessOptions,
    ask: impl Fn(&C) -> Option<Result<(), Failure>>,
    check: impl Fn(&C) -> Result<Checked<F>, Failure>,
    run: impl AsyncFnOnce(C, F, LogHandle) -> Result<(), Failure>,
) -> ExitCode
where
    C: Parser,
    F: Display,
{
    let outcome = match parse::<C>(std::env::args_os()) {
        Ok(Asked::Daemon(cli)) => match ask(&cli) {
            Some(outcome) => outcome,
            None if process(&cli).check_config => check(&cli).and_then(|checked| print(&checked)),
            None => {
                let format = process(&cli).log_format;
                check(&cli).and_then(|checked| serve(name, format, cli, checked, run))
            }
        },
        Ok(Asked::Print(text)) => write(&text),
        Err(failure) => Err(failure),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(name),
    }
}

fn serve<C, F>(
    name: &str,
    format: LogFormat,
    cli: C,
    checked: Checked<F>,
    run: impl AsyncFnOnce(C, F, LogHandle) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let log = logging::init(name, format, checked.log_level)
        .map_err(|error| Failure::environment(describe(&error)))?;
    for warning in checked.warnings {
        warn!("{warning}");
    }
    for notice in checked.notices {
        info!("{notice}");
    }
    let outcome = block_on(run(cli, checked.config, log.clone()));
    // Before anything is said of the failure: the log tells how it came to it.
    log.flush();
    outcome
}

/// Sockets whose events are taken in at once. With fewer than there are guests, after a stall the
/// timers of some would fire before their answers, which have arrived, are read.
const MAX_IO_EVENTS: usize = 16 * 1024;

/// One thread: what is stuck is stuck as a whole, where the watchdog sees it.
fn block_on(daemon: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_io_events_per_tick(MAX_IO_EVENTS)
        .build()
        .map_err(|error| Failure::environment(format!("cannot start: {error}")))?;
    let outcome = runtime.block_on(daemon);
    // A name service that hangs in a thread of its own does not hold up the end.
    runtime.shutdown_background();
    outcome
}

fn print<C: Display>(checked: &Checked<C>) -> Result<(), Failure> {
    let odd = checked.warnings.iter().chain(&checked.notices).map(|line| format!("# {line}\n"));
    write(&format!("{}{}", odd.collect::<String>(), checked.config))
}

fn write(text: &str) -> Result<(), Failure> {
    let written = std::io::stdout().write_all(text.as_bytes());
    written.map_err(|error| Failure::environment(format!("cannot write: {error}")))
}
