//! guestServer: heartbeats the virtual machines of a compute host through their channels and
//! reports to the controller.
//!
//! The program as a library, so that its manual page is made from its command line; nothing else uses it but
//! the simulation. See
//! ARCHITECTURE.md for what is where.

mod channel;
mod channel_name;
mod cli;
mod clock;
mod config;
mod controller;
mod core;
mod daemon;
mod history;
mod instances;
mod journal;
mod metrics;
mod seat;
#[cfg(feature = "simulation")]
#[doc(hidden)]
pub mod simulation;
mod status;
mod watch;

use std::process::ExitCode;

use cli::Cli;
use daemon::Daemon;
use daemon_kit::{program, query};

/// The daemon's name: of its files, in its log and its messages.
const NAME: &str = "guestServer";

/// Runs the program: from its command line to its exit code.
#[must_use]
pub fn main() -> ExitCode {
    program::main(
        NAME,
        |cli: &Cli| &cli.common.process,
        |cli| cli.query.as_ref().map(|query| query::run(NAME, query, status::VIEW)),
        config::load,
        async |cli, config, log| {
            if let Some(daemon) = Daemon::start(cli, config, log).await? {
                daemon.run().await;
            }
            Ok(())
        },
    )
}

/// The command line, for the manual page and the shells' completions.
#[must_use]
pub fn command() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}
