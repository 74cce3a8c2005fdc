//! The command line.

use std::path::PathBuf;

use clap::Parser;
use daemon_kit::ProcessOptions;

/// Answers the heartbeat of this virtual machine's host, and votes on what is about to be done to the machine.
#[derive(Debug, Parser)]
#[command(name = "guestClient", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// Configuration file (KEY=value) [default: /etc/guest-client/heartbeat/guest_heartbeat.conf, if it exists]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// The virtio port to the host; when it is missing, the port of the same name is looked for
    #[arg(long, value_name = "PATH", default_value = "/dev/virtio-ports/cgcs.heartbeat")]
    pub(crate) device: PathBuf,

    /// This machine's name, as the host shows it [default: the system's host name]
    #[arg(long, value_name = "NAME", value_parser = machine_name)]
    pub(crate) name: Option<String>,

    /// Socket where local applications take part [default: /run/guest-client.sock, or the one that systemd passes]
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) process: ProcessOptions,
}

/// The longest name that the protocol carries, in bytes.
const MAX_NAME: usize = heartbeat_proto::guest::MAX_NAME;

fn machine_name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > MAX_NAME || text.contains(char::is_control) {
        return Err(format!("expected 1 to {MAX_NAME} bytes of text without control characters"));
    }
    Ok(text.to_owned())
}
