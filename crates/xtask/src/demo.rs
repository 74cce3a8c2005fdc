//! `cargo xtask demo`: guests heartbeating, dying and voting, told as it happens.
//!
//! Everything is real but the guests' hosts: the release build of guestServer finds the channels,
//! heartbeats the guests and reports in datagrams. Each step waits for what it tells of; when that
//! does not come, the demo says so and fails.

mod guests;
mod machine;
mod stage;
mod timeline;

use anyhow::Result;
use clap::Args;

use crate::cargo::{release_binary, workspace};
use crate::vm;

#[derive(Args)]
pub(crate) struct Options {
    /// Show it with a real virtual machine (fetches QEMU and a kernel the first time)
    #[arg(long)]
    vm: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let binary = release_binary("guest-server", "guestServer")?;
    let assets = options.vm.then(|| vm::prepare(&workspace())).transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match assets {
            Some(assets) => machine::story(&binary, &assets).await,
            None => guests::story(&binary).await,
        }
    })
}
