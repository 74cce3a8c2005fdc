//! Says in the log what happened, and counts it. A change is one line; what the host or an application can cause again
//! and again is held to a rate, and the next line says how many were left out.

use std::path::Path;
use std::time::{Duration, Instant};

use daemon_kit::metrics::Counter;
use daemon_kit::{RateLimit, limited};
use heartbeat_proto::client::Note;
use serde::Serialize;
use tracing::{debug, info, warn};

use crate::applications::News;
use crate::scripts::Checked;

/// `init`s without an answer after which the host is said to be silent.
const UNANSWERED: u32 = 5;

/// What is counted since the start.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Metrics {
    /// `init` sent.
    pub(crate) inits: Counter,
    /// Challenges answered.
    pub(crate) heartbeats: Counter,
    /// Times that no challenge came for too long.
    pub(crate) silences: Counter,
    /// Challenges from before an acknowledgement: ignored.
    pub(crate) stale_challenges: Counter,
    /// Acknowledgements and actions of another session: ignored.
    pub(crate) foreign_messages: Counter,
    /// Lines that are no message: ignored.
    pub(crate) malformed_messages: Counter,
    /// Lines that are too long: ignored.
    pub(crate) long_messages: Counter,
    /// Messages of a higher version: ignored.
    pub(crate) newer_messages: Counter,
    /// Messages that the host refused.
    pub(crate) nacks: Counter,
    /// Messages left out because the host did not read.
    pub(crate) messages_skipped: Counter,
    /// Votes and notifications that the host asked for.
    pub(crate) actions_asked: Counter,
    /// Votes and notifications answered.
    pub(crate) actions_answered: Counter,
    /// Timers of our own that fired more than an interval late.
    pub(crate) late_timers: Counter,
    /// Messages of applications that were refused.
    pub(crate) applications_refused: Counter,
}

/// Writes the log and counts.
#[derive(Debug)]
pub(crate) struct Journal {
    pub(crate) metrics: Metrics,
    /// Changes of the session and of the port.
    changes: RateLimit,
    /// Votes and notifications.
    actions: RateLimit,
    /// What the host gets wrong.
    complaints: RateLimit,
    /// What applications and scripts do.
    local: RateLimit,
    /// What applications get wrong: their noise must not hide what is wrong with them.
    refusals: RateLimit,
    /// How the host is told that the machine is.
    health: RateLimit,
    /// Time that this process lost.
    lost_time: RateLimit,
}

impl Default for Journal {
    fn default() -> Self {
        let limit = |burst| RateLimit::new(burst, Duration::from_secs(10));
        Self {
            metrics: Metrics::default(),
            changes: limit(20),
            actions: limit(20),
            complaints: limit(10),
            local: limit(20),
            refusals: limit(10),
            health: limit(20),
            lost_time: limit(5),
        }
    }
}

/// One line, if its rate allows.
macro_rules! line {
    ($journal:ident . $limit:ident, $level:ident, $($rest:tt)+) => {
        limited!($journal.$limit.allow(Instant::now()), $level, $($rest)+)
    };
}

impl Journal {
    /// The port is open.
    pub(crate) fn opened(&mut self, path: &Path) {
        line!(self.changes, info, path = %path.display(), "port open");
    }

    /// The port cannot be opened; told when the reason is a new one.
    pub(crate) fn no_port(&mut self, path: &Path, why: &str) {
        line!(self.changes, warn, path = %path.display(), why, "no port to the host: waiting for it");
    }

    /// The port was open and is lost.
    pub(crate) fn lost(&mut self, why: &str) {
        line!(self.changes, warn, why, "port lost");
    }

    /// A host is at the other end of the port, or none is any more.
    pub(crate) fn host(&mut self, there: bool) {
        if there {
            line!(self.changes, info, "a host is at the other end of the port");
        } else {
            line!(self.changes, info, "no host is at the other end of the port");
        }
    }

    /// A message was refused, or its answer could not be delivered.
    pub(crate) fn refused(&mut self, application: Option<&str>, why: &str) {
        self.metrics.applications_refused.increment();
        line!(self.refusals, warn, application, why, "message of an application refused");
    }

    /// An application does not read what it is told.
    pub(crate) fn deaf(&mut self, application: Option<&str>) {
        line!(self.refusals, warn, application, "an application does not read: not told");
    }

    /// A voter gave no answer in time.
    pub(crate) fn unanswered(&mut self, voters: &str) {
        line!(self.actions, warn, voters, "no answer from them");
    }

    /// The event script could not be run.
    pub(crate) fn no_event_script(&mut self, path: &Path, why: &str) {
        line!(self.local, warn, script = %path.display(), why, "cannot run the event script");
    }

    /// What is new about the health script.
    pub(crate) fn checked(&mut self, script: &Path, checked: &Checked) {
        let script = script.display();
        match checked {
            Checked::Well => line!(self.local, info, %script, "health script: well again"),
            Checked::Unwell(reason) => {
                line!(self.local, warn, %script, reason, "health script: not well");
            }
            Checked::Impossible(why) => {
                line!(self.local, warn, %script, why, "cannot run the health script: no check");
            }
            Checked::Possible => line!(self.local, info, %script, "the health script runs again"),
        }
    }

    /// What an application did.
    pub(crate) fn application(&mut self, name: &str, news: &News) {
        match news {
            News::Registered => line!(self.local, info, name, "application registered"),
            News::Left => line!(self.local, info, name, "application deregistered"),
            News::Gone => line!(self.local, warn, name, "application gone without deregistering"),
            News::Missed => line!(self.local, warn, name, "application missed its beat"),
            News::Unwell(reason) => {
                line!(self.local, warn, name, reason, "application says that it is not well");
            }
            News::Well => line!(self.local, info, name, "application is well again"),
            News::LostTime(late) => {
                self.metrics.late_timers.increment();
                let late_ms = late.as_millis();
                line!(
                    self.lost_time,
                    warn,
                    name,
                    late_ms,
                    "this process was not scheduled in time: not held against the application"
                );
            }
        }
    }

    /// What the guest's side of the session saw.
    pub(crate) fn note(&mut self, note: &Note) {
        match note {
            Note::Asking { before } => {
                self.metrics.inits.increment();
                match *before {
                    0 => line!(self.changes, info, "asking the host to be watched"),
                    UNANSWERED => {
                        line!(self.changes, warn, "the host does not answer: asking on");
                    }
                    _ => debug!(before, "asking the host again"),
                }
            }
            Note::Acknowledged => debug!("the host acknowledged"),
            Note::Answered { first } => {
                self.metrics.heartbeats.increment();
                if *first {
                    line!(self.changes, info, "heartbeating");
                }
            }
            Note::StaleChallenge => self.metrics.stale_challenges.increment(),
            Note::WrongAck | Note::WrongInvocation => {
                self.metrics.foreign_messages.increment();
                debug!("message of another session: ignored");
            }
            Note::Silent { silent } => {
                self.metrics.silences.increment();
                let silent_ms = silent.as_millis();
                line!(self.changes, warn, silent_ms, "the host sends no challenges: starting over");
            }
            Note::LostTime { late } => {
                self.metrics.late_timers.increment();
                let late_ms = late.as_millis();
                line!(
                    self.lost_time,
                    warn,
                    late_ms,
                    "this process was not scheduled in time: not held against the host"
                );
            }
            Note::Asked(action) => {
                self.metrics.actions_asked.increment();
                line!(
                    self.actions, info, event = %action.event_type,
                    notification = %action.notification_type,
                    limit_ms = action.limit.as_millis(), "the host asks"
                );
            }
            Note::Concluded { event_type, notification_type, verdict } => {
                self.metrics.actions_answered.increment();
                line!(
                    self.actions, info, event = %event_type, notification = %notification_type,
                    answer = %verdict.vote_result, reason = &*verdict.log_msg, "the host is answered"
                );
            }
            Note::Withdrawn { event_type } => {
                line!(self.actions, info, event = %event_type, "the host asks no longer");
            }
            Note::Nack { log_msg } => {
                self.metrics.nacks.increment();
                line!(self.complaints, warn, why = &**log_msg, "the host refused a message");
            }
            Note::Malformed(kind) => {
                self.metrics.malformed_messages.increment();
                line!(self.complaints, warn, why = %kind, "malformed message of the host: ignored");
            }
            Note::TooLong => {
                self.metrics.long_messages.increment();
                line!(self.complaints, warn, "message of the host is too long: ignored");
            }
            Note::Fragment => debug!("rest of a line from before the connection: ignored"),
            Note::Version(version) => {
                self.metrics.newer_messages.increment();
                line!(self.complaints, warn, version, "message of a higher version: ignored");
            }
        }
    }

    /// How the machine is, as the host is told from now on.
    pub(crate) fn health(&mut self, reason: Option<&str>, action: &str) {
        match reason {
            Some(reason) => line!(self.health, warn, reason, action, "the host is told: not well"),
            None => line!(self.health, info, "the host is told: well"),
        }
    }
}

/// What is said once at the start.
pub(crate) fn ready(config: &crate::config::Config) {
    info!(
        version = env!("CARGO_PKG_VERSION"),
        name = &*config.reloadable.settings.name,
        device = %config.device.display(),
        interval_ms = config.reloadable.settings.heartbeat_interval_ms,
        "ready"
    );
}

/// Why there is no socket for applications; the heartbeat goes on without.
pub(crate) fn no_socket(why: &str) {
    warn!(why, "local applications cannot take part");
}
