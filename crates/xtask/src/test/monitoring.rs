//! Runs the tests of the metrics that need a monitoring system's own tools: promtool, and the strict OpenMetrics parser of
//! the Python package prometheus-client.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::cargo::{cargo, run as run_step, workspace};
use crate::vm::debian;

/// The parser.
const PARSER: &str = "prometheus-client==0.26.0";

pub(super) fn run() -> Result<()> {
    let promtool = debian::promtool()?;
    let python = python()?;
    let arguments = ["test", "--package", "end-to-end", "--features", "monitoring"];
    let mut tests = cargo(&arguments);
    tests
        .args(["--test", "monitoring"])
        .env("PROMTOOL", promtool)
        .env("OPENMETRICS_PYTHON", python);
    run_step("metrics with promtool and a strict parser", &mut tests)
}

/// A Python that has the parser.
fn python() -> Result<PathBuf> {
    let dir = workspace().join("target").join("tools").join("openmetrics");
    let python = dir.join("bin").join("python");
    if !python.is_file() {
        debian::python()?;
        debian::output(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&dir))?;
    }
    // Quick when it is there.
    let mut pip = Command::new(&python);
    debian::output(pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        PARSER,
    ]))?;
    Ok(python)
}
