//! Runs the fault matrix: the daemons with machines and networks that fail them, in namespaces of their own.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::cargo::{cargo, run as run_step};
use crate::vm::debian;

/// How many run at once: nearly all of the time they wait, the longest for 100 s.
const TEST_THREADS: &str = "12";

const WITHOUT: &str = "or leave the fault matrix out with --no-faults";

pub(super) fn run() -> Result<()> {
    let user = debian::output(Command::new("id").arg("-u"))?;
    ensure!(user == b"0\n", "the fault matrix makes namespaces and needs root; {WITHOUT}");
    debian::programs(&[
        ("ip", "iproute2", "1 MB"),
        ("nsenter", "util-linux", "1 MB"),
        ("unshare", "util-linux", "1 MB"),
    ])
    .context(WITHOUT)?;
    let arguments = ["test", "--package", "end-to-end", "--features", "faults", "--test", "faults"];
    run_step("the fault matrix", cargo(&arguments).env("RUST_TEST_THREADS", TEST_THREADS))
}
