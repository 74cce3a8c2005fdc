//! `cargo xtask bench`: figures beside their budgets.

use anyhow::Result;
use clap::Args;

#[derive(Args)]
pub(crate) struct Options {}

pub(crate) fn run(_options: &Options) -> Result<()> {
    anyhow::bail!("not built yet")
}
