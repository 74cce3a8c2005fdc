//! From command line and file to a checked configuration, before anything is bound.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use daemon_kit::metrics::MetricsSettings;
use daemon_kit::options::{AGENT_PORT, SERVER_PORT, Sources, bind_address};
use daemon_kit::pmon::PmonSettings;
use daemon_kit::program::Checked;
use daemon_kit::reload::Change;
use daemon_kit::{Failure, LogLevel, security};
use heartbeat_proto::control::{Guard, SecurityMode};
use heartbeat_proto::session::Settings;

use crate::cli::Cli;

/// Where the configuration is looked for unless `--config` says otherwise.
const DEFAULT_CONFIG: &str = "/etc/mtc/guestServer.ini";

/// The platform's names of its controllers: they command from their own addresses, not from the floating one.
const CONTROLLERS: &[&str] = &["controller-0", "controller-1"];

/// Keys that mean something, and those of the C++ daemons' files that mean nothing here and deserve
/// no warning for it.
const KNOWN: &[(&str, &str)] = &[
    ("agent", "rx_port"),
    ("client", "rx_port"),
    ("client", "hbs_failure_threshold"),
    ("client", "hbs_pulse_period"),
    ("log", "level"),
    ("metrics", "listen"),
    ("metrics", "per_instance"),
    ("security", "mode"),
    ("security", "key_file"),
    ("security", "controllers"),
    ("pmon", "active_port"),
    ("pmon", "pmon_port"),
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
    pub(crate) metrics: MetricsSettings,
}

impl Reloadable {
    /// What differs from `former`.
    pub(crate) fn changes(&self, former: &Self) -> Vec<Change> {
        let (old, new) = (&former.settings, &self.settings);
        let millis = |period: &Duration| format!("{} ms", period.as_millis());
        let (old_metrics, new_metrics) = (&former.metrics, &self.metrics);
        [
            Change::plain(
                "[client] hbs_failure_threshold",
                &old.failure_threshold,
                &new.failure_threshold,
            ),
            Change::of("[client] hbs_pulse_period", &old.pulse_floor, &new.pulse_floor, millis),
            Change::plain("log level", &former.log_level, &self.log_level),
            Change::plain(
                "[metrics] listen",
                &old_metrics.listen_text(),
                &new_metrics.listen_text(),
            ),
            Change::plain(
                "[metrics] per_instance",
                &old_metrics.per_instance_text(),
                &new_metrics.per_instance_text(),
            ),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
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
    /// Who may command besides it, unless commands have to be sealed.
    pub(crate) controllers: Vec<String>,
    pub(crate) guard: Guard,
    pub(crate) wait_for: Vec<PathBuf>,
    pub(crate) pmon: PmonSettings,
    pub(crate) reloadable: Reloadable,
}

/// Reads and checks the whole configuration.
pub(crate) fn load(cli: &Cli) -> Result<Checked<Config>, Failure> {
    let common = &cli.common;
    let file = Sources::read(common.config.as_deref(), DEFAULT_CONFIG, KNOWN)?;
    let (bind, bind_warning) = bind_address(common.bind);
    let log_level = file.log_level(common.process.log_level)?;
    let config = Config {
        run_dir: common.run_dir.clone(),
        bind,
        agent_port: match common.agent_port {
            Some(0) => {
                return Err(Failure::usage("--agent-port 0: expected a port from 1 to 65535"));
            }
            Some(port) => port,
            None => file.port("agent", "rx_port", 1, AGENT_PORT)?,
        },
        server_port: match common.server_port {
            Some(port) => port,
            None => file.port("client", "rx_port", 0, SERVER_PORT)?,
        },
        hostname: common.hostname()?,
        channel_dir: cli.channel_dir.clone(),
        controller: cli.controller.clone(),
        controllers: security::hosts(&file, "controllers", CONTROLLERS)?,
        guard: security::read(&file, &SecurityMode::ALL, |mode, keys| {
            Guard::read(mode, keys).map_err(|error| error.to_string())
        })?,
        wait_for: common.wait_for.clone(),
        pmon: PmonSettings::read(&file)?,
        reloadable: Reloadable {
            settings: settings(&file)?,
            log_level,
            metrics: MetricsSettings::read(&file)?,
        },
    };
    Ok(Checked {
        config,
        log_level,
        warnings: file.warnings.into_iter().chain(bind_warning).collect(),
        notices: file.notice.into_iter().collect(),
    })
}

fn settings(file: &Sources) -> Result<Settings, Failure> {
    let threshold = file.number("client", "hbs_failure_threshold", 1..=100, 1)?;
    let millis = file.number("client", "hbs_pulse_period", 10..=60_000, 400)?;
    Ok(Settings {
        pulse_floor: Duration::from_millis(millis),
        failure_threshold: u32::try_from(threshold).unwrap_or(u32::MAX),
    })
}

impl Config {
    /// What differs from `former` and is not read anew while the daemon runs.
    pub(crate) fn needs_restart(&self, former: &Self) -> Vec<Change> {
        let bind = "--bind, or the management interface's address";
        [
            Change::plain(bind, &former.bind, &self.bind),
            Change::plain("[agent] rx_port", &former.agent_port, &self.agent_port),
            Change::plain("[client] rx_port", &former.server_port, &self.server_port),
            Change::plain("the host name", &former.hostname, &self.hostname),
            Change::of("[security] controllers", &former.controllers, &self.controllers, |names| {
                names.join(", ")
            }),
        ]
        .into_iter()
        .flatten()
        .chain(self.pmon.changes(&former.pmon))
        .collect()
    }
}

impl fmt::Display for Config {
    /// What is in force, a line each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Reloadable { settings, log_level, metrics } = &self.reloadable;
        writeln!(f, "run-dir = {}", self.run_dir.display())?;
        writeln!(f, "bind = {}", self.bind)?;
        writeln!(f, "agent-port = {}", self.agent_port)?;
        writeln!(f, "server-port = {}", self.server_port)?;
        writeln!(f, "hostname = {}", self.hostname)?;
        writeln!(f, "channel-dir = {}", self.channel_dir.display())?;
        writeln!(f, "controller = {}", self.controller)?;
        writeln!(f, "controllers = {}", self.controllers.join(", "))?;
        writeln!(f, "security = {}", self.guard)?;
        for file in &self.wait_for {
            writeln!(f, "wait-for = {}", file.display())?;
        }
        writeln!(f, "hbs_failure_threshold = {}", settings.failure_threshold)?;
        writeln!(f, "hbs_pulse_period = {} ms", settings.pulse_floor.as_millis())?;
        writeln!(f, "log-level = {log_level}")?;
        write!(f, "{metrics}{}", self.pmon)
    }
}

#[cfg(test)]
mod tests;
