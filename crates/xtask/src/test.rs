//! `cargo xtask test`: everything that can be tested, in one command.

mod faults;
mod monitoring;
mod ocf;
mod openapi;

use anyhow::Result;
use clap::Args;
use lab::vm::Assets;

use crate::cargo::{cargo, run as run_step, workspace};
use crate::{libvirt, vm};

/// How many tests of one program run at once.
const TEST_THREADS: &str = "6";

#[derive(Args)]
pub(crate) struct Options {
    /// Leave out the tests that boot real virtual machines (they need apt, root and about 400 MB)
    #[arg(long)]
    no_vm: bool,
    /// Leave out the tests of the OCF agent (they need apt and root)
    #[arg(long)]
    no_ocf: bool,
    /// Leave out the fault matrix (it needs root and takes some minutes)
    #[arg(long)]
    no_faults: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    // The end-to-end tests start the real binaries, which cargo does not build for them.
    run_step("building", &mut cargo(&["build", "--workspace", "--bins"]))?;
    // Most of them wait for something to happen: more at once than there are cores.
    let mut tests = cargo(&["test", "--workspace", "--no-fail-fast"]);
    run_step("tests without virtual machines", tests.env("RUST_TEST_THREADS", TEST_THREADS))?;
    monitoring::run()?;
    let mut without = String::new();
    if options.no_ocf {
        without += "; the tests of the OCF agent were LEFT OUT (--no-ocf)";
    } else {
        ocf::run()?;
    }
    if options.no_faults {
        without += "; the fault matrix was LEFT OUT (--no-faults)";
    } else {
        faults::run()?;
    }
    if options.no_vm {
        openapi::run()?;
        println!("passed; the tests with real virtual machines were LEFT OUT (--no-vm){without}");
        return Ok(());
    }
    vm::prepare(&workspace())?;
    let assets = workspace().join("target").join("vm");
    let mut machines =
        cargo(&["test", "--package", "end-to-end", "--features", "vm", "--test", "vm"]);
    run_step("tests with real virtual machines", machines.env(Assets::ENV, assets))?;
    libvirt::run()?;
    openapi::run()?;
    println!("passed, with real virtual machines{without}");
    Ok(())
}
