//! `cargo xtask lint`: what tools can say about the code.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::cargo::{cargo, run as run_step, workspace};

pub(crate) fn run() -> Result<()> {
    run_step("formatting", &mut cargo(&["fmt", "--all", "--check"]))?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--all-features"];
    run_step("clippy", cargo(&clippy).args(["--", "--deny", "warnings"]))?;
    let mut doc =
        cargo(&["doc", "--quiet", "--workspace", "--no-deps", "--document-private-items"]);
    run_step("documentation", doc.env("RUSTDOCFLAGS", "--deny warnings"))?;
    let deny = cargo_deny()?;
    // Advisories need a database from the network; licences, sources and bans do not.
    let checks = ["check", "bans", "licenses", "sources"];
    run_step("dependencies", Command::new(deny).current_dir(workspace()).args(checks))
}

/// cargo-deny, installed into target/tools the first time.
fn cargo_deny() -> Result<PathBuf> {
    let root = workspace().join("target").join("tools");
    let binary = root.join("bin").join("cargo-deny");
    if !binary.is_file() {
        let mut install = cargo(&["install", "--quiet", "--locked", "cargo-deny", "--root"]);
        run_step("installing cargo-deny (some minutes, once)", install.arg(&root))?;
    }
    Ok(binary)
}
