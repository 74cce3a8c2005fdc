//! `cargo xtask libvirt`: guestServer and a domain of the real libvirt, see tests/libvirt/trial.sh.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::cargo::{cargo, run as run_step, target_dir, workspace};
use crate::vm::{self, debian};

pub(crate) fn run() -> Result<()> {
    vm::prepare(&workspace())?;
    debian::libvirt()?;
    run_step("building", &mut cargo(&["build", "--package", "guest-server", "--bins"]))?;
    let assets = workspace().join("target").join("vm");
    let work = tempfile::Builder::new().prefix("libvirt-").tempdir().context("no directory")?;
    run_step("a domain of libvirt", &mut trial(&assets, work.path()))
}

/// Namespaces of its own: libvirt's files are hidden by empty ones, and whatever it starts ends with the script. The script is the first
/// process in there, so it takes leave of those whose parents have ended; where nobody does, libvirt waits half a minute for each.
fn trial(assets: &Path, work: &Path) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "--", "sh"])
        .arg(workspace().join("tests").join("libvirt").join("trial.sh"))
        .arg(assets)
        .arg(target_dir().join("debug").join("guestServer"))
        .arg(work);
    command
}
