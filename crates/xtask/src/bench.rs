//! `cargo xtask bench`: figures beside their budgets.
//!
//! The release build of guestServer runs on one core; the guests, the controller and the clock that
//! measures run on another, in a process of their own: this program, built in release mode too and
//! started anew. What is over budget is said, and fails nothing; only what cannot be measured at
//! all is an error.
//!
//! | file | what |
//! |---|---|
//! | `scenario` | what is measured, in which order |
//! | `heartbeat`, `arrival`, `silence`, `idle`, `hostile` | one scenario each |
//! | `site` | a channel directory, a controller, and the daemon started beside them |
//! | `schedule` | how late the challenges of one guest are |
//! | `lateness` | how late the load and the machine themselves are |
//! | `figure`, `report` | figures, medians of several runs, table and JSON |
//! | `cores` | who runs where |

mod arrival;
mod cores;
mod figure;
mod heartbeat;
mod hostile;
mod idle;
mod lateness;
mod report;
mod scenario;
mod schedule;
mod silence;
mod site;

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use daemon_kit::raise_open_files;

use crate::cargo::{release_binary, target_dir};
use cores::Cores;
use report::Report;
use scenario::Scenario;

/// Runs of which medians are taken, unless told otherwise.
const RUNS: u32 = 5;

#[derive(Args)]
pub(crate) struct Options {
    /// Shorter runs, and one of each: under two minutes instead of ten
    #[arg(long)]
    quick: bool,

    /// Runs of each scenario; the table gives their medians [default: 5, with --quick 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    runs: Option<u32>,

    /// Measure only the scenarios whose title contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,

    /// The daemon to measure. This program is then the load, and starts nothing else anew
    #[arg(long, value_name = "FILE", hide = true)]
    daemon: Option<PathBuf>,
}

/// What every scenario is run with.
struct Setup {
    binary: PathBuf,
    cores: Cores,
    quick: bool,
}

impl Setup {
    /// A longer or a shorter one.
    fn pick<T>(&self, long: T, quick: T) -> T {
        if self.quick { quick } else { long }
    }
}

pub(crate) fn run(options: &Options) -> Result<()> {
    match &options.daemon {
        Some(daemon) => measure(options, daemon.clone()),
        None => start_load(options),
    }
}

/// Builds both programs in release mode and runs the measuring one.
fn start_load(options: &Options) -> Result<()> {
    let daemon = release_binary("guest-server", "guestServer")?;
    let load = release_binary("xtask", "xtask")?;
    let mut command = cores::before_others(&load);
    command.arg("bench").arg("--daemon").arg(daemon);
    if options.quick {
        command.arg("--quick");
    }
    if let Some(runs) = options.runs {
        command.args(["--runs", &runs.to_string()]);
    }
    if let Some(only) = &options.only {
        command.args(["--only", only]);
    }
    let status = command.status().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(status.success(), "not everything could be measured");
    Ok(())
}

fn measure(options: &Options, binary: PathBuf) -> Result<()> {
    // A lab guest has two open files.
    raise_open_files().context("cannot raise the limit of open files")?;
    let setup = Setup { binary, cores: Cores::split()?, quick: options.quick };
    let runs = options.runs.unwrap_or(setup.pick(RUNS, 1));
    let asked = |scenario: &Scenario| {
        options.only.as_ref().is_none_or(|only| scenario.title().contains(only.as_str()))
    };
    let scenarios: Vec<Scenario> = Scenario::ALL.iter().copied().filter(asked).collect();
    let titles = || Scenario::ALL.iter().map(|scenario| scenario.title()).collect::<Vec<_>>();
    ensure!(!scenarios.is_empty(), "no title contains what --only says; there are {:#?}", titles());
    let mut report = Report::new(&setup, runs);
    for run in 1..=runs {
        for scenario in &scenarios {
            eprintln!("== run {run} of {runs}: {}", scenario.title());
            // A runtime of its own, so that nothing of one scenario lives on in the next.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let figures = runtime.block_on(scenario.measure(&setup));
            runtime.shutdown_background();
            report.add(scenario.title(), figures);
        }
    }
    println!("{report}");
    let path = target_dir().join("bench").join("guest-server.json");
    report.write(&path)?;
    println!("The same as JSON: {}", path.display());
    ensure!(report.complete(), "not everything could be measured");
    Ok(())
}
