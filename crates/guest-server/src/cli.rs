//! The command line. Everything on it wins over the configuration file.

use std::path::PathBuf;

use clap::Parser;
use daemon_kit::options::host_name;
use daemon_kit::{Options, Query};
use heartbeat_proto::InstanceId;

/// Heartbeats the virtual machines of this host through their channels and reports to the
/// controller.
#[derive(Debug, Parser)]
#[command(
    name = "guestServer",
    version,
    max_term_width = 100,
    args_conflicts_with_subcommands = true
)]
pub(crate) struct Cli {
    /// To ask the running daemon instead of being one.
    #[command(subcommand)]
    pub(crate) query: Option<Query<InstanceId>>,

    #[command(flatten)]
    pub(crate) common: Options,

    /// Directory where the channels of the virtual machines appear
    #[arg(long, value_name = "DIR", default_value = "/var/lib/libvirt/qemu")]
    pub(crate) channel_dir: PathBuf,

    /// Controller to report to until it sends its first command: a host name or an address
    #[arg(long, value_name = "HOST", default_value = "controller", value_parser = host_name)]
    pub(crate) controller: String,
}
