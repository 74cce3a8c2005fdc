//! The command line of the questions.

use std::error::Error;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::Serialize;

use crate::mutes::{MAX_MUTE, MAX_REASON, MIN_MUTE};

/// What names an instance, on the command line and in a question.
pub trait Identifier:
    FromStr<Err: Error + Send + Sync + 'static> + Serialize + Clone + Send + Sync + 'static
{
}

impl<I> Identifier for I where
    I: FromStr<Err: Error + Send + Sync + 'static> + Serialize + Clone + Send + Sync + 'static
{
}

/// What is asked of the running daemon. `I` is the identifier of an instance.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Query<I: Identifier> {
    /// Show what the running daemon knows: exit code 3 if it is not running, 4 if it does not answer
    Status(StatusArgs<I>),
    /// Print the metrics of the running daemon in the OpenMetrics format
    Metrics {
        /// Directory of the control socket
        #[arg(long, value_name = "DIR", default_value = "/run")]
        run_dir: PathBuf,
    },
    /// Report no fault of an instance for a time; gone when the daemon is restarted
    Mute {
        /// The instance
        #[arg(value_name = "UUID")]
        instance: I,
        /// How long, such as 90s, 30m, 8h or "2days 4h", from 1 s to 30 days
        #[arg(value_name = "DURATION", value_parser = mute_time)]
        time: Duration,
        /// Why, for whoever reads the status: at most 200 bytes
        #[arg(long, value_name = "TEXT", value_parser = mute_reason)]
        reason: String,
        /// Directory of the control socket
        #[arg(long, value_name = "DIR", default_value = "/run")]
        run_dir: PathBuf,
    },
    /// Report the faults of a muted instance again
    Unmute {
        /// The instance
        #[arg(value_name = "UUID")]
        instance: I,
        /// Directory of the control socket
        #[arg(long, value_name = "DIR", default_value = "/run")]
        run_dir: PathBuf,
    },
}

/// What `status` shows, and how.
#[derive(Clone, Debug, clap::Args)]
pub struct StatusArgs<I: Identifier> {
    /// Only this instance, in detail
    #[arg(value_name = "UUID")]
    pub instance: Option<I>,

    /// Print the JSON document instead of a table
    #[arg(long)]
    pub json: bool,

    /// Show it again every so often [default, without a value: 2s]
    #[arg(long, value_name = "PERIOD", num_args = 0..=1, require_equals = true,
        default_missing_value = "2s", value_parser = watch_period)]
    pub watch: Option<Duration>,

    /// Directory of the control socket
    #[arg(long, value_name = "DIR", default_value = "/run")]
    pub run_dir: PathBuf,
}

fn mute_time(text: &str) -> Result<Duration, String> {
    let wanted = "expected a time from 1s to 30days, such as 90s, 30m or 8h";
    let time = humantime::parse_duration(text).map_err(|_| wanted.to_owned())?;
    if (MIN_MUTE..=MAX_MUTE).contains(&time) { Ok(time) } else { Err(wanted.to_owned()) }
}

fn mute_reason(text: &str) -> Result<String, String> {
    if text.trim().is_empty() || text.len() > MAX_REASON {
        return Err(format!("expected a text of 1 to {MAX_REASON} bytes"));
    }
    Ok(text.to_owned())
}

fn watch_period(text: &str) -> Result<Duration, String> {
    const SHORTEST: Duration = Duration::from_millis(200);
    const LONGEST: Duration = Duration::from_secs(3600);
    let wanted = "expected a time from 200ms to 1h, such as 2s";
    let time = humantime::parse_duration(text).map_err(|_| wanted.to_owned())?;
    if (SHORTEST..=LONGEST).contains(&time) { Ok(time) } else { Err(wanted.to_owned()) }
}
