//! The command line. Everything on it wins over the configuration files.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::Parser;
use daemon_kit::options::{host_name, ip_address};
use daemon_kit::{Options, Query};
use heartbeat_proto::InstanceId;

use crate::keygen::Keygen;
use crate::vim::VimAddress;

/// What the program does instead of being the daemon.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Instead {
    /// To ask the running one.
    #[command(flatten)]
    Query(Query<InstanceId>),

    /// Make the file of the keys that seal datagrams, or change its keys
    Keygen(Keygen),
}

/// Takes instance commands from the orchestrator, commands the guestServers, and reports failures,
/// changes of state and votes.
#[derive(Debug, Parser)]
#[command(
    name = "guestAgent",
    version,
    max_term_width = 100,
    args_conflicts_with_subcommands = true
)]
pub(crate) struct Cli {
    /// To do something else than being the daemon.
    #[command(subcommand)]
    pub(crate) instead: Option<Instead>,

    #[command(flatten)]
    pub(crate) common: Options,

    /// Address and port for the VIM's commands over HTTP; port 0 takes any free one
    /// [default: 127.0.0.1:2410]
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) listen: Option<SocketAddr>,

    /// The VIM that events go to [default: http://127.0.0.1:30002, or what the VIM's own
    /// configuration says]
    #[arg(long, value_name = "URL")]
    pub(crate) vim: Option<VimAddress>,

    /// Host of the maintenance system
    #[arg(long, value_name = "HOST", default_value = "controller", value_parser = host_name)]
    pub(crate) mtc: String,

    /// UDP port that the maintenance system listens on [default: 2107]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) mtc_event_port: Option<u16>,

    /// UDP port for the maintenance system's commands; 0 takes any free one [default: 2108]
    #[arg(long, value_name = "N")]
    pub(crate) mtc_command_port: Option<u16>,

    /// Floating address of the active controller [default: that of the name controller]
    #[arg(long, value_name = "IP", value_parser = ip_address)]
    pub(crate) floating_ip: Option<IpAddr>,

    /// Configuration file of the maintenance system [default: /etc/mtc.conf, if it exists]
    #[arg(long, value_name = "FILE")]
    pub(crate) mtc_config: Option<PathBuf>,

    /// Configuration file of the VIM's plug-ins
    /// [default: /etc/nfv/nfv_plugins/nfvi_plugins/config.ini, if it exists]
    #[arg(long, value_name = "FILE")]
    pub(crate) vim_config: Option<PathBuf>,
}
