//! The options that both daemons have, and how a command line is read.
//!
//! What the command line says wins over a configuration file. A usage error is one line that names
//! the option, what was given and what is allowed.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use clap::Parser;

use crate::config_file::ReadError;
use crate::platform;
use crate::{Failure, IniError, IniFile, LogFormat, LogLevel, describe};

/// Where the platform writes down which interface is the management interface.
const PLATFORM_CONF: &str = "/etc/platform/platform.conf";

/// The port that guestAgent listens on.
pub const AGENT_PORT: u16 = 2401;

/// The port that guestServer listens on.
pub const SERVER_PORT: u16 = 2411;

/// The options that both daemons have.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Configuration file (INI) [default: that of the daemon in /etc/mtc, if it exists]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Directory of the pidfile, the health file (.info) and the control socket (.sock)
    #[arg(long, value_name = "DIR", default_value = "/run")]
    pub run_dir: PathBuf,

    /// Address for datagrams [default: that of the management interface named in
    /// /etc/platform/platform.conf, else any]
    #[arg(long, value_name = "IP", value_parser = ip_address)]
    pub bind: Option<IpAddr>,

    /// UDP port of guestAgent [default: 2401]
    #[arg(long, value_name = "N")]
    pub agent_port: Option<u16>,

    /// UDP port of guestServer [default: 2411]
    #[arg(long, value_name = "N")]
    pub server_port: Option<u16>,

    /// This host's name [default: the system's]
    #[arg(long, value_name = "NAME", value_parser = host_name)]
    pub hostname: Option<String>,

    /// Wait until this file exists before starting; may be given several times
    #[arg(long, value_name = "FILE")]
    pub wait_for: Vec<PathBuf>,

    /// Those of every program.
    #[command(flatten)]
    pub process: ProcessOptions,
}

/// The options of every program here.
#[derive(Clone, Debug, clap::Args)]
pub struct ProcessOptions {
    /// Check options and configuration, print what is in force, and exit
    #[arg(long)]
    pub check_config: bool,

    /// Format of the log on standard error: text or json
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,

    /// Least important level that is logged: error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<LogLevel>,
}

impl Options {
    /// This host's name: the one asked for, else the system's.
    ///
    /// # Errors
    ///
    /// The system has none.
    pub fn hostname(&self) -> Result<String, Failure> {
        match &self.hostname {
            Some(name) => Ok(name.clone()),
            None => crate::hostname()
                .map_err(|error| Failure::environment(format!("no host name: {error}"))),
        }
    }
}

/// The longest name of a host, in bytes.
const MAX_HOST_NAME: usize = 253;

/// Takes the name or address of a host, for clap's `value_parser`.
///
/// # Errors
///
/// Says what is allowed.
pub fn host_name(text: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:%".contains(&byte);
    if text.is_empty() || text.len() > MAX_HOST_NAME || !text.bytes().all(allowed) {
        return Err(format!(
            "expected a host name or address of 1 to {MAX_HOST_NAME} letters, digits and -_.:%"
        ));
    }
    Ok(text.to_owned())
}

/// Takes an IP address, for clap's `value_parser`.
///
/// # Errors
///
/// Says what is allowed.
pub fn ip_address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| "expected an IP address, IPv4 or IPv6".to_owned())
}

/// What a command line asks for.
#[derive(Debug)]
pub enum Asked<C> {
    /// To run, or to check the configuration.
    Daemon(C),
    /// To print this text, the help or the version, and exit.
    Print(String),
}

/// Reads a command line.
///
/// # Errors
///
/// A usage error, on one line.
pub fn parse<C: Parser>(args: impl IntoIterator<Item = OsString>) -> Result<Asked<C>, Failure> {
    match C::try_parse_from(args) {
        Ok(cli) => Ok(Asked::Daemon(cli)),
        Err(error) if !error.use_stderr() => {
            let text = error.render();
            let colour = std::io::stdout().is_terminal();
            Ok(Asked::Print(if colour { text.ansi().to_string() } else { text.to_string() }))
        }
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

/// A configuration file that was read, and what its reader should be told.
#[derive(Debug, Default)]
pub struct Sources {
    /// The file; `None` if the default one does not exist.
    pub file: Option<IniFile>,
    /// One line for each thing that is odd but no error.
    pub warnings: Vec<String>,
    /// The notice about a default file that is not there.
    pub notice: Option<String>,
}

impl Sources {
    /// Reads a configuration file: the one that the user named, which must be there, or the default
    /// one, which need not. Keys that are not `known` are worth a warning each.
    ///
    /// # Errors
    ///
    /// A usage error that names file, line and what is allowed.
    pub fn read(
        named: Option<&Path>,
        default: &str,
        known: &[(&str, &str)],
    ) -> Result<Sources, Failure> {
        let path = named.unwrap_or(Path::new(default));
        let file = IniFile::load(path, named.is_some()).map_err(|error| match &error {
            IniError::Read(ReadError::Read { .. }) => Failure::usage(format!(
                "{}: expected a file that exists and that this user may read",
                describe(&error)
            )),
            _ => usage(&error),
        })?;
        let notice =
            file.is_none().then(|| format!("{} does not exist: built-in defaults", path.display()));
        let warnings = file.iter().flat_map(|file| odd_keys(file, known)).collect();
        Ok(Sources { file, warnings, notice })
    }

    /// A whole number; `default` where there is none.
    ///
    /// # Errors
    ///
    /// The value is no number or out of range.
    pub fn number(
        &self,
        section: &str,
        key: &str,
        range: std::ops::RangeInclusive<u64>,
        default: u64,
    ) -> Result<u64, Failure> {
        let found = self.file.as_ref().map(|file| file.number(section, key, range)).transpose();
        Ok(found.map_err(|error| usage(&error))?.flatten().unwrap_or(default))
    }

    /// A port, at least `lowest`; `default` where there is none.
    ///
    /// # Errors
    ///
    /// The value is no port.
    pub fn port(
        &self,
        section: &str,
        key: &str,
        lowest: u16,
        default: u16,
    ) -> Result<u16, Failure> {
        let range = u64::from(lowest)..=u64::from(u16::MAX);
        let port = self.number(section, key, range, u64::from(default))?;
        Ok(u16::try_from(port).unwrap_or(default))
    }

    /// A value of any type that can be read from text, if it is there; `expected` says what is allowed.
    ///
    /// # Errors
    ///
    /// The value is not of that type.
    pub fn parsed<T: std::str::FromStr>(
        &self,
        section: &str,
        key: &str,
        expected: &str,
    ) -> Result<Option<T>, Failure> {
        let found = self.file.as_ref().map(|file| file.parsed(section, key, expected)).transpose();
        Ok(found.map_err(|error| usage(&error))?.flatten())
    }

    /// The level of `[log] level`, unless the command line has one.
    ///
    /// # Errors
    ///
    /// The value is no level.
    pub fn log_level(&self, asked: Option<LogLevel>) -> Result<LogLevel, Failure> {
        let levels = "error, warn, info, debug or trace";
        let found = self.parsed("log", "level", levels)?;
        Ok(asked.or(found).unwrap_or_default())
    }
}

fn usage(error: &IniError) -> Failure {
    Failure::usage(describe(error))
}

fn odd_keys(file: &IniFile, known: &[(&str, &str)]) -> Vec<String> {
    let path = file.path().display();
    let unknown = file
        .unknown(known)
        .map(|(section, key)| format!("{path}: [{section}] {key}: unknown key, ignored"));
    let doubled = file.duplicates().map(|(section, key)| {
        format!("{path}: [{section}] {key} is there more than once: the last one counts")
    });
    unknown.chain(doubled).collect()
}

/// The address for datagrams, and a warning when the platform names one that is not there.
pub fn bind_address(asked: Option<IpAddr>) -> (IpAddr, Option<String>) {
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    if let Some(address) = asked {
        return (address, None);
    }
    let found = platform::management_interface(Path::new(PLATFORM_CONF)).and_then(|name| {
        let Some(name) = name else { return Ok(None) };
        Ok(Some((platform::interface_address(&name)?, name)))
    });
    match found {
        Ok(None) => (any, None),
        Ok(Some((Some(address), _))) => (address, None),
        Ok(Some((None, name))) => {
            (any, Some(format!("management interface {name} has no address: bound to any")))
        }
        Err(error) => (any, Some(format!("cannot read {PLATFORM_CONF}: {error}: bound to any"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Parser)]
    #[command(name = "daemon")]
    struct Cli {
        #[command(flatten)]
        options: Options,
    }

    fn refused(args: &[&str]) -> String {
        let args = std::iter::once("daemon").chain(args.iter().copied()).map(OsString::from);
        match parse::<Cli>(args) {
            Err(failure) => {
                assert_eq!(failure.code, 2);
                failure.message
            }
            Ok(asked) => panic!("taken: {asked:?}"),
        }
    }

    #[test]
    fn a_bad_option_is_named_on_one_line_with_what_is_allowed() {
        for (args, wanted) in [
            (&["--server-port", "65536"][..], "--server-port <N>': 65536 is not in 0..=65535"),
            (&["--bind", "nowhere"], "--bind <IP>': expected an IP address, IPv4 or IPv6"),
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
    fn help_and_version_are_printed_and_not_errors() {
        let Ok(Asked::Print(text)) = parse::<Cli>(["daemon", "--help"].map(OsString::from)) else {
            panic!("no help");
        };
        let Options { config, .. } = match parse::<Cli>(["daemon".into()]) {
            Ok(Asked::Daemon(cli)) => cli.options,
            other => panic!("{other:?}"),
        };
        assert_eq!(config, None);
        assert!(text.contains("--run-dir <DIR>"));
    }

    #[test]
    fn an_address_that_was_asked_for_is_taken() {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert_eq!(bind_address(Some(address)), (address, None));
    }
}
