//! From command line and file to a checked configuration.

mod file;

use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use daemon_kit::config_file::ReadError;
use daemon_kit::program::Checked;
use daemon_kit::{Failure, LogLevel, describe};
use heartbeat_proto::client::Settings;
use heartbeat_proto::guest::CorrectiveAction;

use crate::cli::Cli;
use file::{Assignment, FileError};

/// Where the configuration is looked for unless `--config` says otherwise.
const DEFAULT_CONFIG: &str = "/etc/guest-client/heartbeat/guest_heartbeat.conf";

/// Where local applications take part unless `--socket` says otherwise.
const DEFAULT_SOCKET: &str = "/run/guest-client.sock";

/// Milliseconds between challenges: the host's own bounds.
const INTERVALS: RangeInclusive<u64> = 400..=3_600_000;

/// Seconds of the times in `init`: with what is added for the way, the host takes up to a day.
const TIMES: RangeInclusive<u64> = 1..=86_399;

/// Seconds between two runs of the health script.
const CHECKS: RangeInclusive<u64> = 1..=86_400;

/// What is read anew on HUP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reloadable {
    /// What the host is told.
    pub(crate) settings: Settings,
    /// How often the health script runs.
    pub(crate) check_interval: Duration,
    /// The health script, if there is to be one.
    pub(crate) health_script: Option<PathBuf>,
    /// The script that is asked about events, if there is to be one.
    pub(crate) event_script: Option<PathBuf>,
}

/// Everything that the program runs by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) device: PathBuf,
    pub(crate) socket: PathBuf,
    pub(crate) reloadable: Reloadable,
}

/// Reads and checks the whole configuration.
pub(crate) fn load(cli: &Cli) -> Result<Checked<Config>, Failure> {
    let path = cli.config.as_deref().unwrap_or(Path::new(DEFAULT_CONFIG));
    let found = file::load(path, cli.config.is_some()).map_err(|error| usage(&error))?;
    let notice =
        found.is_none().then(|| format!("{} does not exist: built-in defaults", path.display()));
    let mut reader = Reader { path, reloadable: defaults(&name(cli)?), warnings: Vec::new() };
    let found = found.unwrap_or_default();
    for (at, assignment) in found.iter().enumerate() {
        if found[at + 1..].iter().any(|later| later.key == assignment.key) {
            reader.warn(assignment, "is there more than once: the last one counts");
        }
        reader.take(assignment).map_err(|error| usage(&error))?;
    }
    let Reader { reloadable, warnings, .. } = reader;
    let config = Config {
        device: cli.device.clone(),
        socket: cli.socket.clone().unwrap_or_else(|| DEFAULT_SOCKET.into()),
        reloadable,
    };
    let log_level = cli.process.log_level.unwrap_or(LogLevel::Info);
    Ok(Checked { config, log_level, warnings, notices: notice.into_iter().collect() })
}

fn usage(error: &FileError) -> Failure {
    Failure::usage(match error {
        FileError::Read(ReadError::Read { .. }) => {
            format!("{}: expected a file that exists and that this user may read", describe(error))
        }
        FileError::Read(ReadError::TooLarge { .. })
        | FileError::Line { .. }
        | FileError::Value { .. } => describe(error),
    })
}

fn name(cli: &Cli) -> Result<String, Failure> {
    match &cli.name {
        Some(name) => Ok(name.clone()),
        None => daemon_kit::hostname()
            .map_err(|error| Failure::environment(format!("no host name: {error}"))),
    }
}

fn defaults(name: &str) -> Reloadable {
    Reloadable {
        settings: Settings { name: name.into(), ..Settings::default() },
        check_interval: Duration::from_secs(30),
        health_script: None,
        event_script: None,
    }
}

struct Reader<'a> {
    path: &'a Path,
    reloadable: Reloadable,
    warnings: Vec<String>,
}

impl Reader<'_> {
    fn warn(&mut self, assignment: &Assignment, what: &str) {
        let Assignment { line, key, .. } = assignment;
        self.warnings.push(format!("{}: line {line}: {key} {what}", self.path.display()));
    }

    fn take(&mut self, found: &Assignment) -> Result<(), FileError> {
        let millis = "a whole number of milliseconds";
        let seconds = "a whole number of seconds";
        match found.key.as_str() {
            "HB_INTERVAL" => {
                let interval = self.number(found, "HB_INTERVAL", millis, INTERVALS)?;
                self.reloadable.settings.heartbeat_interval_ms = interval;
            }
            "CORRECTIVE_ACTION" => {
                self.reloadable.settings.corrective_action = self.action(found)?;
            }
            "VOTE" => {
                self.reloadable.settings.vote_secs = self.number(found, "VOTE", seconds, TIMES)?;
            }
            "SHUTDOWN_NOTICE" => {
                let secs = self.number(found, "SHUTDOWN_NOTICE", seconds, TIMES)?;
                self.reloadable.settings.shutdown_notice_secs = secs;
            }
            "SUSPEND_NOTICE" => {
                let secs = self.number(found, "SUSPEND_NOTICE", seconds, TIMES)?;
                self.reloadable.settings.suspend_notice_secs = secs;
            }
            "RESUME_NOTICE" => {
                let secs = self.number(found, "RESUME_NOTICE", seconds, TIMES)?;
                self.reloadable.settings.resume_notice_secs = secs;
            }
            "RESTART" => {
                let secs = self.number(found, "RESTART", seconds, TIMES)?;
                self.reloadable.settings.restart_secs = secs;
            }
            "HEALTH_CHECK_INTERVAL" => {
                let secs = self.number(found, "HEALTH_CHECK_INTERVAL", seconds, CHECKS)?;
                self.reloadable.check_interval = Duration::from_secs(secs);
            }
            "HEALTH_CHECK_SCRIPT" => {
                self.reloadable.health_script = self.script(found, "HEALTH_CHECK_SCRIPT")?;
            }
            "EVENT_NOTIFICATION_SCRIPT" => {
                self.reloadable.event_script = self.script(found, "EVENT_NOTIFICATION_SCRIPT")?;
            }
            _ => self.warn(found, "is an unknown key, ignored"),
        }
        Ok(())
    }

    fn bad(&self, found: &Assignment, key: &'static str, expected: String) -> FileError {
        let (path, value) = (self.path.to_owned(), found.value.clone());
        FileError::Value { path, line: found.line, key, value, expected }
    }

    fn number(
        &self,
        found: &Assignment,
        key: &'static str,
        what: &str,
        range: RangeInclusive<u64>,
    ) -> Result<u64, FileError> {
        match found.value.parse() {
            Ok(number) if range.contains(&number) => Ok(number),
            _ => {
                let expected = format!("{what} from {} to {}", range.start(), range.end());
                Err(self.bad(found, key, expected))
            }
        }
    }

    fn action(&self, found: &Assignment) -> Result<CorrectiveAction, FileError> {
        action(&found.value).ok_or_else(|| {
            self.bad(found, "CORRECTIVE_ACTION", "one of log, reboot, stop".to_owned())
        })
    }

    fn script(&self, found: &Assignment, key: &'static str) -> Result<Option<PathBuf>, FileError> {
        let path = Path::new(&found.value);
        if found.value.is_empty() {
            Ok(None)
        } else if path.is_absolute() {
            Ok(Some(path.to_owned()))
        } else {
            Err(self.bad(found, key, "an absolute path, or nothing".to_owned()))
        }
    }
}

/// An action that a guest may ask for.
pub(crate) fn action(word: &str) -> Option<CorrectiveAction> {
    match CorrectiveAction::from_word(word)? {
        action @ (CorrectiveAction::Log | CorrectiveAction::Reboot | CorrectiveAction::Stop) => {
            Some(action)
        }
        CorrectiveAction::None | CorrectiveAction::Unknown => None,
    }
}

impl fmt::Display for Config {
    /// What is in force, a line each, as the file would have it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Reloadable { settings, check_interval, health_script, event_script } = &self.reloadable;
        let script = |path: &Option<PathBuf>| match path {
            Some(path) => path.display().to_string(),
            None => String::new(),
        };
        writeln!(f, "# device {}", self.device.display())?;
        writeln!(f, "# socket {}", self.socket.display())?;
        writeln!(f, "# name {}", daemon_kit::Escaped(&settings.name))?;
        writeln!(f, "HB_INTERVAL={}", settings.heartbeat_interval_ms)?;
        writeln!(f, "CORRECTIVE_ACTION={}", settings.corrective_action)?;
        writeln!(f, "VOTE={}", settings.vote_secs)?;
        writeln!(f, "SHUTDOWN_NOTICE={}", settings.shutdown_notice_secs)?;
        writeln!(f, "SUSPEND_NOTICE={}", settings.suspend_notice_secs)?;
        writeln!(f, "RESUME_NOTICE={}", settings.resume_notice_secs)?;
        writeln!(f, "RESTART={}", settings.restart_secs)?;
        writeln!(f, "HEALTH_CHECK_INTERVAL={}", check_interval.as_secs())?;
        writeln!(f, "HEALTH_CHECK_SCRIPT=\"{}\"", script(health_script))?;
        writeln!(f, "EVENT_NOTIFICATION_SCRIPT=\"{}\"", script(event_script))
    }
}

#[cfg(test)]
mod tests;
