//! Logging to stderr: for a person at a terminal, for a file, or as JSON for a machine; and to the
//! journal, where that is what stderr is.
//!
//! Text from guests and from the network reaches the log in messages and field values. The
//! formatter escapes it, all of it and always, so that no call site can forget to: one event is one
//! line, and no control character of a terminal gets through. Every event carries what it says in
//! its own fields; spans are not printed.
//!
//! `RUST_LOG` is not read: the level comes from the configuration, and a reload may change it. A
//! thread of its own writes, so that a reader that stands still does not hold up the daemon; what
//! cannot be written, or does not fit into the queue, is lost, and the daemon goes on.

mod escape;
mod journal;
mod line;
mod queue;

use std::fmt;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use nix::sys::stat::fstat;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Registry, reload};

pub use escape::Escaped;
use journal::Journal;
use line::{LineLayer, Style};
use queue::{LogQueue, Sink};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `<time> <level> <message> <key>=<value> ...`; coloured on a terminal; for the journal without
    /// the time and with a priority, and each `<key>` also a field `GUEST_<KEY>` of the entry.
    #[default]
    Text,
    /// One JSON object a line: `timestamp`, `level`, `message`, `fields`.
    Json,
}

impl FromStr for LogFormat {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<LogFormat, UnknownName> {
        match name {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err(UnknownName {
                what: "log format",
                name: name.to_owned(),
                allowed: "text, json",
            }),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        })
    }
}

/// The least important level that is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// The daemon cannot do what it is there for.
    Error,
    /// Something is wrong that the daemon copes with; somebody should look.
    Warn,
    /// What an operator wants to find afterwards: starts, stops, changes of state.
    #[default]
    Info,
    /// What helps to follow one decision.
    Debug,
    /// Every message.
    Trace,
}

impl FromStr for LogLevel {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<LogLevel, UnknownName> {
        match name {
            "error" => Ok(LogLevel::Error),
            "warn" => Ok(LogLevel::Warn),
            "info" => Ok(LogLevel::Info),
            "debug" => Ok(LogLevel::Debug),
            "trace" => Ok(LogLevel::Trace),
            _ => Err(UnknownName {
                what: "log level",
                name: name.to_owned(),
                allowed: "error, warn, info, debug, trace",
            }),
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        })
    }
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> LevelFilter {
        match level {
            LogLevel::Error => LevelFilter::ERROR,
            LogLevel::Warn => LevelFilter::WARN,
            LogLevel::Info => LevelFilter::INFO,
            LogLevel::Debug => LevelFilter::DEBUG,
            LogLevel::Trace => LevelFilter::TRACE,
        }
    }
}

/// A name that is none of those allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} '{}': expected one of {allowed}", Escaped(.name))]
pub struct UnknownName {
    what: &'static str,
    name: String,
    allowed: &'static str,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// [`init`] was called before in this process.
    #[error("logging is already set up")]
    AlreadySetUp,
    /// The thread that writes cannot be started.
    #[error("cannot start the thread that writes the log")]
    Thread(#[source] io::Error),
}

/// How long the last lines may take to be written at the end.
const FLUSH_PATIENCE: Duration = Duration::from_millis(200);

/// Changes the level of what is logged while the daemon runs, and sees the last lines out.
#[derive(Clone, Debug)]
pub struct LogHandle {
    level: reload::Handle<LevelFilter, Registry>,
    queue: Option<LogQueue>,
}

impl LogHandle {
    /// From now on logs `level` and what is more important.
    pub fn set_level(&self, level: LogLevel) {
        // It fails only if the subscriber is gone, and then there is no level to set.
        let _ = self.level.reload(LevelFilter::from(level));
    }

    /// Waits for what was logged to be written, 200 ms at most. For the end of the process.
    pub fn flush(&self) {
        if let Some(queue) = &self.queue {
            queue.flush(FLUSH_PATIENCE);
        }
    }
}

/// Sets up logging for the whole process, which the journal knows by this name.
///
/// # Errors
///
/// When it is set up already, or no thread can be started.
pub fn init(name: &str, format: LogFormat, level: LogLevel) -> Result<LogHandle, LogError> {
    init_at(Path::new(journal::SOCKET), name, format, level)
}

fn init_at(
    journal: &Path,
    name: &str,
    format: LogFormat,
    level: LogLevel,
) -> Result<LogHandle, LogError> {
    let style = match format {
        LogFormat::Json => Style::Json,
        LogFormat::Text if stderr_is_the_journal() => Style::Journal,
        LogFormat::Text if io::stderr().is_terminal() && !no_color() => Style::Colour,
        LogFormat::Text => Style::Plain,
    };
    // Without a socket of our own there are the lines on stderr.
    let journal = (style == Style::Journal).then(|| Journal::at(journal, name).ok()).flatten();
    let queue = LogQueue::start(journal).map_err(LogError::Thread)?;
    let (subscriber, mut handle) = subscriber(style, level, queue.clone());
    handle.queue = Some(queue);
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::AlreadySetUp)?;
    Ok(handle)
}

fn subscriber(style: Style, level: LogLevel, sink: impl Sink) -> (impl Subscriber, LogHandle) {
    let (filter, level) = reload::Layer::new(LevelFilter::from(level));
    let subscriber = tracing_subscriber::registry().with(filter).with(LineLayer { style, sink });
    (subscriber, LogHandle { level, queue: None })
}

/// systemd names the journal's stream by device and inode, because a service's stderr may have been
/// redirected since.
fn stderr_is_the_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    fstat(io::stderr()).is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// The convention of no-color.org.
fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

#[cfg(test)]
mod tests;
