//! guestServer: heartbeats the virtual machines of a compute host through their channels and
//! reports to the controller.
//!
//! This file only assembles: see ARCHITECTURE.md for what is where.

mod channel;
mod channel_name;
mod cli;
mod clock;
mod config;
mod controller;
mod daemon;
mod instances;
mod journal;
mod metrics;
mod seat;
mod status;
mod watch;

use std::io::Write as _;
use std::process::ExitCode;

use cli::{Asked, Cli};
use config::Loaded;
use daemon::Daemon;
use daemon_kit::{Failure, describe, logging};
use tracing::{info, warn};

/// The daemon's name: of its files, in its log and its messages.
const NAME: &str = "guestServer";

fn main() -> ExitCode {
    let outcome = match cli::parse(std::env::args_os()) {
        Ok(Asked::Daemon(cli)) if cli.check_config => check_config(&cli),
        Ok(Asked::Daemon(cli)) => run(*cli),
        Ok(Asked::Print(text)) => print(&text),
        Err(failure) => Err(failure),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(NAME),
    }
}

fn print(text: &str) -> Result<(), Failure> {
    let written = std::io::stdout().write_all(text.as_bytes());
    written.map_err(|error| Failure::environment(format!("cannot write: {error}")))
}

fn check_config(cli: &Cli) -> Result<(), Failure> {
    let loaded = config::load(cli)?;
    let odd = loaded.warnings.iter().chain(&loaded.notice).map(|line| format!("# {line}\n"));
    print(&format!("{}{}", odd.collect::<String>(), loaded.config))
}

fn run(cli: Cli) -> Result<(), Failure> {
    let Loaded { config, warnings, notice } = config::load(&cli)?;
    let log = logging::init(cli.log_format, config.reloadable.log_level)
        .map_err(|error| Failure::environment(describe(&error)))?;
    for warning in warnings {
        warn!("{warning}");
    }
    if let Some(notice) = notice {
        info!("{notice}");
    }
    // One thread: a heartbeat is a few microseconds of work, and what is stuck is stuck as a whole,
    // where the watchdog sees it.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::environment(format!("cannot start: {error}")))?;
    let outcome = runtime.block_on(async {
        if let Some(daemon) = Daemon::start(cli, config, log).await? {
            daemon.run().await;
        }
        Ok(())
    });
    // A name service that hangs in a thread of its own does not hold up the end.
    runtime.shutdown_background();
    outcome
}
