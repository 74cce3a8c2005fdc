//! guestAgent: takes commands from the orchestrator, commands the guestServers, and reports
//! failures, changes of state and votes.
//!
//! The program as a library, so that its manual page is made from its command line; nothing else uses it but the fuzz
//! targets and the simulation. See
//! ARCHITECTURE.md for what is where.

mod cli;
mod config;
mod core;
mod courier;
mod daemon;
mod fleet;
mod floating;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod history;
mod http;
mod inventory;
mod journal;
mod keygen;
mod maintenance;
mod metrics;
#[cfg(feature = "simulation")]
#[doc(hidden)]
pub mod simulation;
mod status;
mod vim;

use std::process::ExitCode;

use daemon_kit::{program, query};

use cli::{Cli, Instead};
use daemon::Daemon;

/// The daemon's name: of its files, in its log and its messages.
const NAME: &str = "guestAgent";

/// Runs the program: from its command line to its exit code.
#[must_use]
pub fn main() -> ExitCode {
    program::main(
        NAME,
        |cli: &Cli| &cli.common.process,
        |cli| {
            cli.instead.as_ref().map(|instead| match instead {
                Instead::Query(query) => query::run(NAME, query, status::VIEW),
                Instead::Keygen(keygen) => keygen::run(keygen),
            })
        },
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
