//! Runs the tests of the OCF agent, with the tester of Debian's resource-agents.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::cargo::{cargo, run as run_step};
use crate::vm::debian;

/// How many run at once: each is a script that waits for its daemon, with time limits of its own.
const TEST_THREADS: &str = "6";

const WITHOUT: &str = "or leave the tests of the OCF agent out with --no-ocf";

pub(super) fn run() -> Result<()> {
    let user = debian::output(Command::new("id").arg("-u"))?;
    ensure!(user == b"0\n", "the OCF agent is tested as root, as whom SM runs it; {WITHOUT}");
    debian::programs(&[
        ("ocf-tester", "resource-agents", "1 MB"),
        ("xmllint", "libxml2-utils", "100 kB"),
        ("setpriv", "util-linux", "1 MB"),
    ])
    .context(WITHOUT)?;
    let arguments = ["test", "--package", "end-to-end", "--features", "ocf", "--test", "ocf"];
    run_step("the OCF agent", cargo(&arguments).env("RUST_TEST_THREADS", TEST_THREADS))
}
