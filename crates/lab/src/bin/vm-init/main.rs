//! `/init` of the lab's virtual machine: one static binary that, besides guestClient, is all there is in the guest.
//!
//! As process 1 it prepares the system, starts guestClient and supervises it ([`supervisor`]). There is no shell: the
//! scripts that guestClient runs are links to this binary, which looks at the name by which it was called ([`script`]).

mod boot;
mod client;
mod line_input;
mod port;
mod script;
mod supervisor;

use std::convert::Infallible;
use std::process::ExitCode;
use std::{env, process};

use anyhow::{Result, bail};
use nix::sys::reboot::{RebootMode, reboot};

use script::Script;

fn main() -> ExitCode {
    let mut arguments = env::args();
    let called = arguments.next().unwrap_or_default();
    if let Some(script) = Script::called(&called) {
        return script.run(&arguments.collect::<Vec<_>>());
    }
    let failed = if process::id() == 1 { supervise() } else { refuse() };
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
    script::link()?;
    client::configure()?;
    supervisor::run()
}

fn refuse() -> Result<Infallible> {
    bail!("this is the first process of the lab's virtual machine, and nothing to run on a host")
}
