//! From command line and file to a checked configuration, before anything is bound.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use daemon_kit::{Failure, IniError, IniFile, LogLevel, describe, platform};
use heartbeat_proto::session::Settings;

use crate::cli::{Cli, DEFAULT_CONFIG};

/// Where the platform writes down which interface is the management interface.
const PLATFORM_CONF: &str = "/etc/platform/platform.conf";

/// The port that guestAgent listens on.
const AGENT_PORT: u16 = 2401;

/// The port that guestServer listens on.
const SERVER_PORT: u16 = 2411;

/// Keys that mean something.
const KNOWN: &[(&str, &str)] = &[
    ("agent", "rx_port"),
    ("client", "rx_port"),
    ("client", "hbs_failure_threshold"),
    ("client", "hbs_pulse_period"),
    ("log", "level"),
];

/// Keys of the C++ daemons' files that mean nothing here, and deserve no warning for it.
const FORMER: &[(&str, &str)] = &[
    ("agent", "vim_cmd_port"),
    ("agent", "hbs_failure_threshold"),
    ("timeouts", "start_delay"),
    ("debug", "*"),
];

/// What is read anew on HUP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reloadable {
    pub(crate) settings: Settings,
    pub(crate) log_level: LogLevel,
}

/// Everything that the daemon runs by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) run_dir: PathBuf,
    pub(crate) bind: IpAddr,
    pub(crate) agent_port: u16,
    pub(crate) server_port: u16,
    pub(crate) hostname: String,
    pub(crate) channel_dir: PathBuf,
    pub(crate) controller: String,
    pub(crate) wait_for: Vec<PathBuf>,
    pub(crate) reloadable: Reloadable,
}

/// A configuration and what its reader should be told.
pub(crate) struct Loaded {
    pub(crate) config: Config,
    /// One line for each thing that is odd but no error.
    pub(crate) warnings: Vec<String>,
    /// The notice about a default file that is not there.
    pub(crate) notice: Option<String>,
}

/// Reads and checks the whole configuration.
pub(crate) fn load(cli: &Cli) -> Result<Loaded, Failure> {
    let path = cli.config.as_deref().unwrap_or(Path::new(DEFAULT_CONFIG));
    let usage = |error: IniError| Failure::usage(describe(&error));
    let file = IniFile::load(path, cli.config.is_some()).map_err(usage)?;
    let mut warnings = Vec::new();
    let notice = match &file {
        Some(file) => {
            warnings.extend(odd_keys(file));
            None
        }
        None => Some(format!("{} does not exist: built-in defaults", path.display())),
    };
    let (bind, warning) = bind_address(cli.bind);
    warnings.extend(warning);
    let ports = Ports::read(file.as_ref()).map_err(usage)?;
    let config = Config {
        run_dir: cli.run_dir.clone(),
        bind,
        agent_port: cli.agent_port.unwrap_or(ports.agent),
        server_port: cli.server_port.unwrap_or(ports.server),
        hostname: match &cli.hostname {
            Some(name) => name.clone(),
            None => daemon_kit::hostname()
                .map_err(|error| Failure::environment(format!("no host name: {error}")))?,
        },
        channel_dir: cli.channel_dir.clone(),
        controller: cli.controller.clone(),
        wait_for: cli.wait_for.clone(),
        reloadable: reloadable(file.as_ref(), cli.log_level).map_err(usage)?,
    };
    Ok(Loaded { config, warnings, notice })
}

struct Ports {
    agent: u16,
    server: u16,
}

impl Ports {
    fn read(file: Option<&IniFile>) -> Result<Self, IniError> {
        let port = |section, lowest: u16, default| {
            let range = u64::from(lowest)..=u64::from(u16::MAX);
            let number = file.map(|file| file.number(section, "rx_port", range)).transpose()?;
            Ok::<_, IniError>(
                number.flatten().and_then(|number| u16::try_from(number).ok()).unwrap_or(default),
            )
        };
        Ok(Self { agent: port("agent", 1, AGENT_PORT)?, server: port("client", 0, SERVER_PORT)? })
    }
}

fn reloadable(file: Option<&IniFile>, cli_level: Option<LogLevel>) -> Result<Reloadable, IniError> {
    let mut settings = Settings::default();
    let mut log_level = LogLevel::default();
    if let Some(file) = file {
        if let Some(threshold) = file.number("client", "hbs_failure_threshold", 1..=100)? {
            settings.failure_threshold = u32::try_from(threshold).unwrap_or(u32::MAX);
        }
        if let Some(millis) = file.number("client", "hbs_pulse_period", 10..=60_000)? {
            settings.pulse_floor = Duration::from_millis(millis);
        }
        let levels = "error, warn, info, debug or trace";
        if let Some(level) = file.parsed("log", "level", levels)? {
            log_level = level;
        }
    }
    Ok(Reloadable { settings, log_level: cli_level.unwrap_or(log_level) })
}

fn odd_keys(file: &IniFile) -> Vec<String> {
    let known: Vec<_> = KNOWN.iter().chain(FORMER).copied().collect();
    let path = file.path().display();
    let unknown = file
        .unknown(&known)
        .map(|(section, key)| format!("{path}: [{section}] {key}: unknown key, ignored"));
    let doubled = file.duplicates().map(|(section, key)| {
        format!("{path}: [{section}] {key} is there more than once: the last one counts")
    });
    unknown.chain(doubled).collect()
}

/// The address for datagrams, and a warning when the platform names one that is not there.
fn bind_address(asked: Option<IpAddr>) -> (IpAddr, Option<String>) {
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

impl Config {
    /// What differs from `former` and is not read anew while the daemon runs.
    pub(crate) fn needs_restart(&self, former: &Self) -> impl Iterator<Item = &'static str> {
        [
            ("--bind, or the management interface's address", self.bind != former.bind),
            ("[agent] rx_port", self.agent_port != former.agent_port),
            ("[client] rx_port", self.server_port != former.server_port),
            ("the host name", self.hostname != former.hostname),
        ]
        .into_iter()
        .filter_map(|(what, differs)| differs.then_some(what))
    }
}

impl fmt::Display for Config {
    /// What is in force, a line each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Reloadable { settings, log_level } = &self.reloadable;
        writeln!(f, "run-dir = {}", self.run_dir.display())?;
        writeln!(f, "bind = {}", self.bind)?;
        writeln!(f, "agent-port = {}", self.agent_port)?;
        writeln!(f, "server-port = {}", self.server_port)?;
        writeln!(f, "hostname = {}", self.hostname)?;
        writeln!(f, "channel-dir = {}", self.channel_dir.display())?;
        writeln!(f, "controller = {}", self.controller)?;
        for file in &self.wait_for {
            writeln!(f, "wait-for = {}", file.display())?;
        }
        writeln!(f, "hbs_failure_threshold = {}", settings.failure_threshold)?;
        writeln!(f, "hbs_pulse_period = {} ms", settings.pulse_floor.as_millis())?;
        writeln!(f, "log-level = {log_level}")
    }
}

#[cfg(test)]
mod tests;
