//! `cargo xtask bench --soak`: many lives of a simulated site (crates/simulation), built in release mode.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::cargo::release_binaries;

/// Lives so many seeds. What they saw is printed; one that fails is printed as well, shrunk.
pub(super) fn run(seeds: u64) -> Result<()> {
    let [soak] = release_binaries([("simulation", "soak")])?;
    let mut command = Command::new(soak);
    command.arg(seeds.to_string());
    let status = command.status().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(status.success(), "a seed fails");
    Ok(())
}
