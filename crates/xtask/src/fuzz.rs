//! `cargo xtask fuzz`: libFuzzer on the targets of fuzz/, one after the other (docs/fuzzing.md).
//!
//! What it found interesting stays in target/fuzz/corpus, so that the next run goes on from there; what
//! it found wrong is in target/fuzz/findings.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use comfy_table::{CellAlignment, Table, presets};

use crate::cargo::{STATIC_TARGET, cargo, run as run_step, target_dir, workspace};

/// Counts the edges that are taken and shows the engine what is compared: what `cargo fuzz` asks for, but
/// for the address sanitizer, which the stable compiler does not have and safe code does not need.
const COVERAGE: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg=fuzzing",
];

/// The limits of one input and of one process, and the longest input that is tried.
const LIMITS: &[&str] = &["-timeout=1", "-rss_limit_mb=512", "-max_len=8192"];

#[derive(Args)]
pub(crate) struct Options {
    /// The targets, as fuzz/fuzz_targets names them [default: all]
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,

    /// How long each of them runs
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let known = targets()?;
    for target in &options.targets {
        ensure!(known.contains(target), "no target {target}; there are {}", known.join(", "));
    }
    let chosen = if options.targets.is_empty() { &known } else { &options.targets };
    let programs = build()?;
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["target", "executions", "executions/s", "corpus", "findings"]);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut findings = Vec::new();
    for target in chosen {
        eprintln!("== {target}, {} s", options.seconds);
        let outcome = fuzz(&programs.join(target), target, options.seconds)?;
        table.add_row([
            target.clone(),
            outcome.executions,
            outcome.per_second,
            outcome.corpus,
            outcome.findings.len().to_string(),
        ]);
        findings.extend(outcome.findings);
    }
    println!("{table}");
    for finding in &findings {
        println!("{}", finding.display());
    }
    ensure!(findings.is_empty(), "{} findings; docs/fuzzing.md says what to do", findings.len());
    Ok(())
}

/// The names of all targets.
fn targets() -> Result<Vec<String>> {
    let dir = workspace().join("fuzz").join("fuzz_targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))? {
        names.extend(entry?.path().file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

/// Builds the targets' programs and returns their directory. The flags are for one target only, so that
/// build scripts do not get them.
fn build() -> Result<PathBuf> {
    let dir = target_dir().join("fuzz");
    let mut command = cargo(&["build", "--package", "fuzz", "--features", "programs", "--bins"]);
    command
        .args(["--profile", "fuzz", "--target", STATIC_TARGET, "--target-dir"])
        .arg(&dir)
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTFLAGS", COVERAGE.join("\x1f"));
    run_step("building the fuzz targets (needs a C++ compiler)", &mut command)?;
    Ok(dir.join(STATIC_TARGET).join("fuzz"))
}

/// What came of a target.
struct Outcome {
    executions: String,
    per_second: String,
    /// Inputs and bytes.
    corpus: String,
    findings: Vec<PathBuf>,
}

fn fuzz(program: &Path, target: &str, seconds: u64) -> Result<Outcome> {
    let dir = target_dir().join("fuzz");
    let corpus = dir.join("corpus").join(target);
    let findings = dir.join("findings").join(target);
    for dir in [&corpus, &findings] {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    let log_path = findings.with_extension("log");
    let log =
        File::create(&log_path).with_context(|| format!("cannot write {}", log_path.display()))?;
    let before = files(&findings)?;
    // A finding's trace is what the engine says; it says it on standard error.
    let status = Command::new(program)
        .args(LIMITS)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", findings.display()))
        .arg("-print_final_stats=1")
        .arg(&corpus)
        .arg(workspace().join("fuzz").join("corpus").join(target))
        .stderr(log)
        .status()
        .with_context(|| format!("cannot run {}", program.display()))?;
    let said =
        fs::read(&log_path).with_context(|| format!("cannot read {}", log_path.display()))?;
    let said = String::from_utf8_lossy(&said);
    let mut findings = files(&findings)?;
    findings.retain(|finding| !before.contains(finding));
    if !status.success() {
        eprintln!("{}", complaint(&said));
        // One that was found before has a file already.
        if findings.is_empty() && said.contains("SUMMARY:") {
            findings.push(log_path);
        } else if findings.is_empty() {
            bail!("{target} did not run ({status}): see {}", log_path.display());
        }
    }
    let stat = |name: &str| {
        let line = said.lines().rev().find_map(|line| line.strip_prefix(name));
        line.unwrap_or("?").trim().to_owned()
    };
    let corpus = said.lines().rev().find_map(|line| line.split_once("corp: ")?.1.split(' ').next());
    Ok(Outcome {
        executions: stat("stat::number_of_executed_units:"),
        per_second: stat("stat::average_exec_per_sec:"),
        corpus: corpus.unwrap_or("?").to_owned(),
        findings,
    })
}

fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

/// What a run says of its finding: where it panicked, or else its last lines.
fn complaint(said: &str) -> String {
    let lines: Vec<&str> = said.lines().collect();
    let wrong = |line: &&str| line.contains("panicked at") || line.contains("ERROR: libFuzzer");
    let from = lines.iter().position(wrong).unwrap_or(lines.len().saturating_sub(12));
    lines.into_iter().skip(from).take(12).collect::<Vec<_>>().join("\n")
}
