//! `/init` of the lab's virtual machine: one static binary that is all there is in the guest besides the kernel.
//!
//! As process 1 it prepares the system and supervises ([`supervisor`]); as `/init guest` it is the program that
//! heartbeats ([`program`]). Two processes, so that the program can be frozen, killed and restarted as a real one.

mod boot;
mod line_input;
mod port;
mod program;
mod setting;
mod supervisor;

use std::convert::Infallible;
use std::process::ExitCode;
use std::{env, process};

use anyhow::{Result, bail};
use nix::sys::reboot::{RebootMode, reboot};

fn main() -> ExitCode {
    let failed = match env::args().nth(1).as_deref() {
        Some("guest") => program::run(),
        _ if process::id() == 1 => supervise(),
        _ => refuse(),
    };
    let Err(error) = failed;
    eprintln!("vm-init: {error:#}");
    if process::id() == 1 {
        // Better than the kernel's panic over the end of its first process: QEMU ends, and the test with it.
        let _ = reboot(RebootMode::RB_POWER_OFF);
    }
    ExitCode::FAILURE
}

fn supervise() -> Result<Infallible> {
    boot::prepare()?;
    supervisor::run()
}

fn refuse() -> Result<Infallible> {
    bail!("this is the first process of the lab's virtual machine, and nothing to run on a host")
}
