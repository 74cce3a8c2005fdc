//! The command line. Everything on it wins over the configuration file.

use std::path::PathBuf;

use clap::Parser;
use daemon_kit::Options;
use daemon_kit::options::host_name;

/// Heartbeats the virtual machines of this host through their channels and reports to the
/// controller.
#[derive(Debug, Parser)]
#[command(name = "guestServer", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Options,

    /// Directory where the channels of the virtual machines appear
    #[arg(long, value_name = "DIR", default_value = "/var/lib/libvirt/qemu")]
    pub(crate) channel_dir: PathBuf,

    /// Controller to report to until it sends its first command: a host name or an address
    #[arg(long, value_name = "HOST", default_value = "controller", value_parser = host_name)]
    pub(crate) controller: String,
}
