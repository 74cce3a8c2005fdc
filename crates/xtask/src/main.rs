//! The workspace's own commands.
//!
//! `cargo xtask demo` shows what the daemons do, `cargo xtask test` tests everything, `cargo xtask
//! lint` holds the code to its rules, `cargo xtask package` makes what is installed, `cargo xtask ci` does these
//! three, `cargo xtask bench` measures, `cargo xtask fuzz` looks for what breaks the readers.

mod bench;
mod cargo;
mod demo;
mod fuzz;
mod libvirt;
mod lint;
mod package;
mod test;
mod vm;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The workspace's own commands", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show guests heartbeating, dying and voting, in under 20 seconds
    Demo(demo::Options),
    /// Run every test: units, the real binaries against the lab, real virtual machines
    Test(test::Options),
    /// Check formatting, clippy, documentation and dependencies; every warning is an error
    Lint,
    /// Make the Debian packages and RPMs of all programs, into target/package, and check them
    Package,
    /// Lint, test, package
    Ci(test::Options),
    /// Measure in a release build and print the figures beside their budgets
    Bench(bench::Options),
    /// Run the fuzz targets and print what they did; a finding is an error
    Fuzz(fuzz::Options),
    /// Fetch and build what virtual machines need, into target/vm
    Vm,
    /// Try guestServer with a domain of the real libvirt (part of the tests with virtual machines; needs root)
    Libvirt,
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Demo(options) => demo::run(&options),
        Command::Test(options) => test::run(&options),
        Command::Lint => lint::run(),
        Command::Ci(options) => {
            lint::run()?;
            test::run(&options)?;
            package::run()
        }
        Command::Package => package::run(),
        Command::Bench(options) => bench::run(&options),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Libvirt => libvirt::run(),
        Command::Vm => vm::prepare(&cargo::workspace()).map(drop),
    }
}
