//! `cargo xtask demo`: guests heartbeating, dying and voting, told as it happens.
//!
//! The daemons are the real ones, in a release build: guestServer finds the channels, heartbeats the
//! guests and reports in datagrams, guestAgent takes commands over HTTP and tells the VIM. Around
//! them stand-ins play the VIM, the maintenance system and, without `--vm`, the guests. Each step
//! waits for what it tells of; when that does not come, the demo says so and fails.

mod guests;
mod machine;
mod stage;
mod timeline;

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::cargo::{release_binaries, workspace};
use crate::vm;

#[derive(Args)]
pub(crate) struct Options {
    /// Show it with a real virtual machine (fetches QEMU and a kernel the first time)
    #[arg(long)]
    vm: bool,
}

/// The daemons that the story is about.
struct Binaries {
    server: PathBuf,
    agent: PathBuf,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let [server, agent] =
        release_binaries([("guest-server", "guestServer"), ("guest-agent", "guestAgent")])?;
    let binaries = Binaries { server, agent };
    let assets = options.vm.then(|| vm::prepare(&workspace())).transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match assets {
            Some(assets) => machine::story(&binaries, &assets).await,
            None => guests::story(&binaries).await,
        }
    })
}
