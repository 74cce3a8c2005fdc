//! `cargo xtask lint`: what tools can say about the code.

mod monitoring;
mod units;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::cargo::{cargo, run as run_step, tool, workspace};
use crate::vm::debian;

pub(crate) fn run() -> Result<()> {
    run_step("formatting", &mut cargo(&["fmt", "--all", "--check"]))?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--all-features"];
    run_step("clippy", cargo(&clippy).args(["--", "--deny", "warnings"]))?;
    let mut doc =
        cargo(&["doc", "--quiet", "--workspace", "--no-deps", "--document-private-items"]);
    run_step("documentation", doc.env("RUSTDOCFLAGS", "--deny warnings"))?;
    shell_scripts()?;
    units::check()?;
    monitoring::run()?;
    let deny = tool("cargo-deny")?;
    // Advisories need a database from the network; licences, sources and bans do not.
    let checks = ["check", "bans", "licenses", "sources"];
    run_step("dependencies", Command::new(deny).current_dir(workspace()).args(checks))
}

/// Everything in packaging/ that a shell runs, by its first line: it runs as root, on machines of others. And what tests run as root.
fn shell_scripts() -> Result<()> {
    debian::programs(&[("shellcheck", "shellcheck", "30 MB")])?;
    let mut scripts = Vec::new();
    for dir in ["packaging", "tests/libvirt"] {
        collect(&workspace().join(dir), &mut scripts)?;
    }
    scripts.push(workspace().join("tests/launch.sh"));
    scripts.sort();
    run_step("shell scripts", Command::new("shellcheck").args(scripts))
}

fn collect(dir: &Path, scripts: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, scripts)?;
        } else if fs::read(&path)
            .with_context(|| format!("cannot read {}", path.display()))?
            .starts_with(b"#!/bin/sh\n")
        {
            scripts.push(path);
        }
    }
    Ok(())
}
