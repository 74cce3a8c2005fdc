//! `cargo xtask bench`: figures beside their budgets.
//!
//! The release build of the daemon runs on one core; its neighbours and the clock that measures run
//! on another, in a process of their own: this program, built in release mode too and
//! started anew. What is over budget is said, and fails nothing; only what cannot be measured at
//! all is an error.
//!
//! | file | what |
//! |---|---|
//! | `scenario` | what is measured, in which order |
//! | `heartbeat`, `arrival`, `silence`, `idle`, `hostile`, `sealing` | one scenario of guestServer each |
//! | `agent` | the scenarios of guestAgent, and what they need |
//! | `client` | that of guestClient |
//! | `site` | a channel directory, a controller, and the daemon started beside them |
//! | `schedule` | how late the challenges of one guest are |
//! | `lateness` | how late the load and the machine themselves are |
//! | `figure`, `report` | figures, medians of several runs, table and JSON |
//! | `cores` | who runs where |
//! | `soak` | no figures, but many lives of a simulated site; one that fails is an error |

mod agent;
mod arrival;
mod client;
mod cores;
mod figure;
mod heartbeat;
mod hostile;
mod idle;
mod lateness;
mod report;
mod scenario;
mod schedule;
mod sealing;
mod silence;
mod site;
mod soak;

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use daemon_kit::raise_open_files;

use crate::cargo::{release_binaries, static_binaries, target_dir};
use cores::Cores;
use report::Report;
use scenario::{Scenario, Subject};

/// Runs of which medians are taken, unless told otherwise.
const RUNS: u32 = 5;

#[derive(Args)]
pub(crate) struct Options {
    /// Shorter runs, and one of each: some three minutes instead of twenty
    #[arg(long)]
    quick: bool,

    /// Runs of each scenario; the table gives their medians [default: 5, with --quick 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    runs: Option<u32>,

    /// Measure only the scenarios whose daemon and title contain this, as in `--only agent`
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,

    /// Measure nothing: live many seeds of the simulated site (crates/simulation) and print what they saw; one that fails is
    /// an error
    #[arg(long, conflicts_with_all = ["quick", "runs", "only"])]
    soak: bool,

    /// With --soak: how many seeds
    #[arg(long, value_name = "N", default_value_t = 100_000, requires = "soak")]
    seeds: u64,

    /// The daemon to measure, with the next one. This program is then the load, and starts nothing
    /// else anew
    #[arg(long, value_name = "FILE", hide = true, requires = "agent")]
    server: Option<PathBuf>,

    /// The other daemon to measure
    #[arg(long, value_name = "FILE", hide = true, requires = "client")]
    agent: Option<PathBuf>,

    /// The guest's program to measure
    #[arg(long, value_name = "FILE", hide = true, requires = "server")]
    client: Option<PathBuf>,
}

/// What every scenario is run with.
struct Setup {
    server: PathBuf,
    agent: PathBuf,
    client: PathBuf,
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
    if options.soak {
        return soak::run(options.seeds);
    }
    match (&options.server, &options.agent, &options.client) {
        (Some(server), Some(agent), Some(client)) => {
            let (server, agent, client) = (server.clone(), agent.clone(), client.clone());
            let cores = Cores::split()?;
            measure(options, &Setup { server, agent, client, cores, quick: options.quick })
        }
        _ => start_load(options),
    }
}

/// Builds all programs in release mode and runs the measuring one.
fn start_load(options: &Options) -> Result<()> {
    let packages =
        [("guest-server", "guestServer"), ("guest-agent", "guestAgent"), ("xtask", "xtask")];
    let [server, agent, load] = release_binaries(packages)?;
    let [client] = static_binaries([("guest-client", "guestClient")])?;
    let mut command = cores::before_others(&load);
    command.arg("bench").arg("--server").arg(server).arg("--agent").arg(agent);
    command.arg("--client").arg(client);
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

fn measure(options: &Options, setup: &Setup) -> Result<()> {
    // A lab guest has two open files.
    raise_open_files().context("cannot raise the limit of open files")?;
    let asked =
        |scenario: &Scenario| options.only.as_ref().is_none_or(|only| scenario.matches(only));
    if !Scenario::ALL.iter().any(asked) {
        let titles: Vec<_> = Scenario::ALL.iter().map(|scenario| scenario.title()).collect();
        bail!("nothing contains what --only says; there are {titles:#?}");
    }
    let mut complete = true;
    for &subject in Subject::ALL {
        let scenarios = Scenario::ALL.iter().copied().filter(asked);
        let scenarios: Vec<_> = scenarios.filter(|one| one.subject() == subject).collect();
        if !scenarios.is_empty() {
            complete &= measure_one(options, setup, subject, &scenarios)?;
        }
    }
    ensure!(complete, "not everything could be measured");
    Ok(())
}

/// Measures one daemon, and says whether all of it could be.
fn measure_one(
    options: &Options,
    setup: &Setup,
    subject: Subject,
    scenarios: &[Scenario],
) -> Result<bool> {
    let runs = options.runs.unwrap_or(setup.pick(RUNS, 1));
    let mut report = Report::new(setup, runs);
    for run in 1..=runs {
        for scenario in scenarios.iter().filter(|scenario| run == 1 || !scenario.once()) {
            eprintln!("== {}, run {run} of {runs}: {}", subject.name(), scenario.title());
            // A runtime of its own, so that nothing of one scenario lives on in the next.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let figures = runtime.block_on(scenario.measure(setup));
            runtime.shutdown_background();
            report.add(scenario.title(), figures);
        }
    }
    println!("{report}");
    let path = target_dir().join("bench").join(subject.file());
    report.write(&path)?;
    println!("The same as JSON: {}", path.display());
    Ok(report.complete())
}
