//! The command line. Everything on it wins over the configuration file.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::{CommandFactory as _, FromArgMatches as _, Parser};
use daemon_kit::{Failure, LogFormat, LogLevel};

/// Where the configuration is looked for unless `--config` says otherwise.
pub(crate) const DEFAULT_CONFIG: &str = "/etc/mtc/guestServer.ini";

/// Heartbeats the virtual machines of this host through their channels and reports to the
/// controller.
#[derive(Debug, Parser)]
#[command(name = "guestServer", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// Configuration file (INI) [default: /etc/mtc/guestServer.ini, if it exists]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Directory of guestServer.pid, guestServer.info and the control socket guestServer.sock
    #[arg(long, value_name = "DIR", default_value = "/run")]
    pub(crate) run_dir: PathBuf,

    /// Address for datagrams [default: that of the management interface named in
    /// /etc/platform/platform.conf, else any]
    #[arg(long, value_name = "IP")]
    pub(crate) bind: Option<IpAddr>,

    /// UDP port that guestAgent listens on [default: 2401]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) agent_port: Option<u16>,

    /// UDP port to listen on; 0 takes any free one, named in the log's ready line [default: 2411]
    #[arg(long, value_name = "N")]
    pub(crate) server_port: Option<u16>,

    /// This host's name towards the controller [default: the system's]
    #[arg(long, value_name = "NAME", value_parser = host_name)]
    pub(crate) hostname: Option<String>,

    /// Directory where the channels of the virtual machines appear
    #[arg(long, value_name = "DIR", default_value = "/var/lib/libvirt/qemu")]
    pub(crate) channel_dir: PathBuf,

    /// Controller to report to until it sends its first command: a host name or an address
    #[arg(long, value_name = "HOST", default_value = "controller", value_parser = host_name)]
    pub(crate) controller: String,

    /// Wait until this file exists before starting; may be given several times
    #[arg(long, value_name = "FILE")]
    pub(crate) wait_for: Vec<PathBuf>,

    /// Check options and configuration, print what is in force, and exit
    #[arg(long)]
    pub(crate) check_config: bool,

    /// Format of the log on standard error: text or json
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,

    /// Least important level that is logged: error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log_level: Option<LogLevel>,
}

/// The longest name of a host, in bytes.
const MAX_HOST_NAME: usize = 253;

fn host_name(text: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:%".contains(&byte);
    if text.is_empty() || text.len() > MAX_HOST_NAME || !text.bytes().all(allowed) {
        return Err(format!(
            "expected a host name or address of 1 to {MAX_HOST_NAME} letters, digits and -_.:%"
        ));
    }
    Ok(text.to_owned())
}

/// What the command line asks for.
pub(crate) enum Asked {
    /// To run, or to check the configuration.
    Daemon(Box<Cli>),
    /// To print this text, the help or the version, and exit.
    Print(String),
}

/// Reads the command line.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Asked, Failure> {
    let parsed = Cli::command().try_get_matches_from(args).and_then(|m| Cli::from_arg_matches(&m));
    match parsed {
        Ok(cli) => Ok(Asked::Daemon(Box::new(cli))),
        Err(error) if !error.use_stderr() => Ok(Asked::Print(error.render().ansi().to_string())),
        Err(error) => Err(Failure::usage(one_line(&error.render().to_string()))),
    }
}

/// The first paragraph of a usage error: what is wrong and what is allowed, without the hints.
fn one_line(error: &str) -> String {
    let paragraph: Vec<&str> =
        error.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    let line = paragraph.join(" ");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(args: &[&str]) -> String {
        let args = std::iter::once("guestServer").chain(args.iter().copied()).map(OsString::from);
        match parse(args) {
            Err(failure) => {
                assert_eq!(failure.code, 2);
                failure.message
            }
            Ok(_) => panic!("taken"),
        }
    }

    #[test]
    fn a_bad_option_is_named_on_one_line_with_what_is_allowed() {
        for (args, wanted) in [
            (&["--agent-port", "0"][..], "--agent-port <N>': 0 is not in 1..=65535"),
            (&["--server-port", "65536"], "--server-port <N>': 65536 is not in 0..=65535"),
            (&["--bind", "nowhere"], "--bind <IP>': invalid IP address syntax"),
            (&["--log-level", "loud"], "expected one of error, warn, info, debug, trace"),
            (&["--log-format", "xml"], "expected one of text, json"),
            (&["--hostname", "a b"], "expected a host name or address"),
            (&["--frobnicate"], "unexpected argument '--frobnicate'"),
            (&["--config"], "a value is required for '--config <FILE>'"),
        ] {
            let message = refused(args);
            assert!(message.contains(wanted), "{message:?} lacks {wanted:?}");
            assert!(!message.contains('\n'));
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
