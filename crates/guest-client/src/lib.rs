//! guestClient: the program inside a virtual machine that answers the host's heartbeat, tells it how the machine is, and
//! votes on what is about to be done to it.
//!
//! The program as a library, so that its manual page is made from its command line; nothing else uses it. See
//! ARCHITECTURE.md for what is where.

mod applications;
mod ballot;
mod cli;
mod clock;
mod condition;
mod config;
mod device;
mod journal;
mod program;
mod script;
mod scripts;
mod socket;
mod status;
mod unsent;

use std::process::ExitCode;

use cli::Cli;
use program::Program;

/// The program's name: in its log and its messages.
const NAME: &str = "guestClient";

/// Runs the program: from its command line to its exit code.
#[must_use]
pub fn main() -> ExitCode {
    daemon_kit::program::main(
        NAME,
        |cli: &Cli| &cli.process,
        |_| None,
        config::load,
        async |cli, config, log| {
            Program::start(cli, config, log)?.run().await;
            Ok(())
        },
    )
}

/// The command line, for the manual page and the shells' completions.
#[must_use]
pub fn command() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}
