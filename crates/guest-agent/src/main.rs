//! guestAgent: takes commands from the orchestrator, commands the guestServers, and reports
//! failures, changes of state and votes.
//!
//! This file only assembles: see ARCHITECTURE.md for what is where.

mod cli;
mod config;
mod daemon;
mod fleet;
mod floating;
mod http;
mod inventory;
mod journal;
mod maintenance;
mod metrics;
mod status;
mod vim;

use std::process::ExitCode;

use daemon_kit::program;

use cli::Cli;
use daemon::Daemon;

/// The daemon's name: of its files, in its log and its messages.
const NAME: &str = "guestAgent";

fn main() -> ExitCode {
    program::main(
        NAME,
        |cli: &Cli| &cli.common.process,
        config::load,
        async |cli, config, log| {
            if let Some(daemon) = Daemon::start(cli, config, log).await? {
                daemon.run().await;
            }
            Ok(())
        },
    )
}
