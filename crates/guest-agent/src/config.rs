//! From command line and files to a checked configuration, before anything is bound.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::path::PathBuf;

use daemon_kit::metrics::MetricsSettings;
use daemon_kit::options::{AGENT_PORT, SERVER_PORT, Sources, bind_address};
use daemon_kit::program::Checked;
use daemon_kit::reload::Change;
use daemon_kit::{Failure, LogLevel, security};
use heartbeat_proto::control::{Guard, SecurityMode};

use crate::cli::Cli;
use crate::vim::VimAddress;

/// Where the configuration is looked for unless `--config` says otherwise.
const DEFAULT_CONFIG: &str = "/etc/mtc/guestAgent.ini";

/// Where the maintenance system's configuration is looked for.
const DEFAULT_MTC_CONFIG: &str = "/etc/mtc.conf";

/// Where the VIM's configuration is looked for.
const DEFAULT_VIM_CONFIG: &str = "/etc/nfv/nfv_plugins/nfvi_plugins/config.ini";

const COMMAND_PORT: u16 = 2410;
const VIM_PORT: u16 = 30002;
const MTC_EVENT_PORT: u16 = 2107;
const MTC_COMMAND_PORT: u16 = 2108;

/// Keys of our own file that mean something, and those of the C++ daemons' files that mean nothing
/// here and deserve no warning for it.
const KNOWN: &[(&str, &str)] = &[
    ("agent", "rx_port"),
    ("agent", "vim_cmd_port"),
    ("client", "rx_port"),
    ("log", "level"),
    ("security", "mode"),
    ("security", "key_file"),
    ("metrics", "listen"),
    ("metrics", "per_instance"),
    ("agent", "hbs_failure_threshold"),
    ("client", "hbs_failure_threshold"),
    ("client", "hbs_pulse_period"),
    ("timeouts", "start_delay"),
    ("debug", "*"),
];

/// Everything that the daemon runs by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) run_dir: PathBuf,
    pub(crate) bind: IpAddr,
    /// Where the maintenance system's commands arrive: where the user says, else on any address,
    /// for they come to the floating one.
    pub(crate) mtc_bind: IpAddr,
    pub(crate) agent_port: u16,
    pub(crate) server_port: u16,
    pub(crate) hostname: String,
    pub(crate) listen: SocketAddr,
    pub(crate) vim: VimAddress,
    pub(crate) mtc: String,
    pub(crate) mtc_event_port: u16,
    pub(crate) mtc_command_port: u16,
    pub(crate) floating_ip: Option<IpAddr>,
    pub(crate) wait_for: Vec<PathBuf>,
    pub(crate) guard: Guard,
    pub(crate) reloadable: Reloadable,
}

/// What is read anew on HUP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reloadable {
    pub(crate) log_level: LogLevel,
    pub(crate) metrics: MetricsSettings,
}

impl Reloadable {
    /// What differs from `former`.
    pub(crate) fn changes(&self, former: &Self) -> Vec<Change> {
        let (old, new) = (&former.metrics, &self.metrics);
        [
            Change::plain("log level", &former.log_level, &self.log_level),
            Change::plain("[metrics] listen", &old.listen_text(), &new.listen_text()),
            Change::plain(
                "[metrics] per_instance",
                &old.per_instance_text(),
                &new.per_instance_text(),
            ),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// Reads and checks the whole configuration.
pub(crate) fn load(cli: &Cli) -> Result<Checked<Config>, Failure> {
    let common = &cli.common;
    let own = Sources::read(common.config.as_deref(), DEFAULT_CONFIG, KNOWN)?;
    // The other files are somebody else's: what they hold besides is not ours to judge.
    let mtc = Sources::read(cli.mtc_config.as_deref(), DEFAULT_MTC_CONFIG, &[])?;
    let nfv = Sources::read(cli.vim_config.as_deref(), DEFAULT_VIM_CONFIG, &[])?;
    let (bind, bind_warning) = bind_address(common.bind);
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let command_port = own.port("agent", "vim_cmd_port", 0, COMMAND_PORT)?;
    let config = Config {
        run_dir: common.run_dir.clone(),
        bind,
        mtc_bind: common.bind.unwrap_or(any),
        agent_port: common
            .agent_port
            .map_or_else(|| own.port("agent", "rx_port", 0, AGENT_PORT), Ok)?,
        server_port: match common.server_port {
            Some(0) => {
                return Err(Failure::usage("--server-port 0: expected a port from 1 to 65535"));
            }
            Some(port) => port,
            None => own.port("client", "rx_port", 1, SERVER_PORT)?,
        },
        hostname: common.hostname()?,
        listen: cli.listen.unwrap_or(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), command_port)),
        vim: match &cli.vim {
            Some(vim) => vim.clone(),
            None => vim_address(&nfv)?,
        },
        mtc: cli.mtc.clone(),
        mtc_event_port: match cli.mtc_event_port {
            Some(port) => port,
            None => mtc.port("agent", "hbs_to_mtc_event_port", 1, MTC_EVENT_PORT)?,
        },
        mtc_command_port: match cli.mtc_command_port {
            Some(port) => port,
            None => mtc.port("agent", "mtc_to_guest_cmd_port", 0, MTC_COMMAND_PORT)?,
        },
        floating_ip: cli.floating_ip,
        wait_for: common.wait_for.clone(),
        guard: security::read(&own, &SecurityMode::ALL, |mode, keys| {
            Guard::read(mode, keys).map_err(|error| error.to_string())
        })?,
        reloadable: Reloadable {
            log_level: own.log_level(common.process.log_level)?,
            metrics: MetricsSettings::read(&own)?,
        },
    };
    let notices = [own.notice, mtc.notice, nfv.notice].into_iter().flatten().collect();
    let warnings = own.warnings.into_iter().chain(bind_warning).collect();
    Ok(Checked { log_level: config.reloadable.log_level, config, warnings, notices })
}

/// `[guest-rest-api] host` and `port` of the VIM's own file.
fn vim_address(nfv: &Sources) -> Result<VimAddress, Failure> {
    let file = nfv.file.as_ref();
    let host = file.and_then(|file| file.text("guest-rest-api", "host")).filter(|h| !h.is_empty());
    let port = nfv.port("guest-rest-api", "port", 1, VIM_PORT)?;
    let port = NonZeroU16::new(port).unwrap_or(NonZeroU16::MIN);
    VimAddress::new(host.unwrap_or("127.0.0.1"), port).map_err(|error| {
        let wanted = "a host name or an IP address";
        let error = file
            .map(|file| file.bad_value("guest-rest-api", "host", wanted).to_string())
            .unwrap_or(error.to_string());
        Failure::usage(error)
    })
}

impl Config {
    /// What differs from `former` and is not read anew while the daemon runs.
    pub(crate) fn needs_restart(&self, former: &Self) -> Vec<Change> {
        let bind = "--bind, or the management interface's address";
        let (old, new) = (former, self);
        [
            Change::plain(bind, &old.bind, &new.bind),
            Change::plain("[agent] rx_port", &old.agent_port, &new.agent_port),
            Change::plain("[client] rx_port", &old.server_port, &new.server_port),
            Change::plain("[agent] vim_cmd_port", &old.listen, &new.listen),
            Change::plain("[guest-rest-api] host or port", &old.vim, &new.vim),
            Change::plain(
                "[agent] hbs_to_mtc_event_port",
                &old.mtc_event_port,
                &new.mtc_event_port,
            ),
            Change::plain(
                "[agent] mtc_to_guest_cmd_port",
                &old.mtc_command_port,
                &new.mtc_command_port,
            ),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

impl fmt::Display for Config {
    /// What is in force, a line each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "run-dir = {}", self.run_dir.display())?;
        writeln!(f, "bind = {}", self.bind)?;
        writeln!(f, "agent-port = {}", self.agent_port)?;
        writeln!(f, "server-port = {}", self.server_port)?;
        writeln!(f, "hostname = {}", self.hostname)?;
        writeln!(f, "listen = {}", self.listen)?;
        writeln!(f, "vim = {}", self.vim)?;
        writeln!(f, "mtc = {}", self.mtc)?;
        writeln!(f, "mtc-event-port = {}", self.mtc_event_port)?;
        writeln!(f, "mtc-command-port = {}", self.mtc_command_port)?;
        if let Some(ip) = self.floating_ip {
            writeln!(f, "floating-ip = {ip}")?;
        }
        for file in &self.wait_for {
            writeln!(f, "wait-for = {}", file.display())?;
        }
        writeln!(f, "security = {}", self.guard)?;
        let Reloadable { log_level, metrics } = &self.reloadable;
        writeln!(f, "log-level = {log_level}")?;
        write!(f, "{metrics}")
    }
}

#[cfg(test)]
mod tests;
