//! What is counted.
//!
//! What a monitoring system is shown of it, and of the main loop's state besides, is in [`exposition`].

mod exposition;
mod families;

use std::time::Duration;

use daemon_kit::metrics::{Counter, Histogram, Table};
use heartbeat_proto::control::{AgentCommand, MaintenanceCommand, ServerEvent};
use heartbeat_proto::vim::EventKind;
use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};

use crate::inventory::Heard;

pub(crate) use exposition::{Delivered, Observed, Outbox};

/// How long the VIM takes is counted by these bounds, in microseconds; its time limit is 20 s.
const REQUEST_TIMES: &[u64] = &[
    1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 20_000_000,
];

/// How long events wait is counted by these bounds, in microseconds: up to an hour without a VIM.
const WAITS: &[u64] = &[
    10_000,
    50_000,
    100_000,
    500_000,
    1_000_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
    600_000_000,
    1_800_000_000,
    3_600_000_000,
];

/// Every counter of the daemon but those of HTTP; each starts at zero with it.
#[derive(Debug, Serialize)]
pub(crate) struct Metrics {
    /// Datagrams in and out.
    #[serde(flatten)]
    pub(crate) datagrams: Datagrams,
    /// Times that a guestServer had another mind about an instance's reporting.
    pub(crate) corrections: Counter,
    /// Instances that a guestServer had and that are not on its host.
    pub(crate) disowned: Counter,
    /// Failures that the VIM is told of.
    pub(crate) alarms: Counter,
    /// Failures that it is not told of, for their reporting is off.
    pub(crate) alarms_withheld: Counter,
    /// Failures that it is not told of, for an operator muted the instance.
    pub(crate) alarms_muted: Counter,
    /// Votes and notifications that ended.
    pub(crate) votes: Counter,
    /// Times that the maintenance system was asked for the hosts.
    pub(crate) hosts_asked: Counter,
    /// What became of events for the VIM.
    #[serde(flatten)]
    pub(crate) events: Events,
    /// Questions that the VIM answered.
    pub(crate) questions_answered: Counter,
    /// Questions that it did not answer, or not with what was asked; asked again at the next audit.
    pub(crate) questions_failed: Counter,
    /// How long the VIM took to take an event, or failed to.
    pub(crate) event_times: Histogram,
    /// How long it took to answer a question, or failed to.
    pub(crate) question_times: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        let zero = Counter::default;
        Self {
            datagrams: Datagrams::default(),
            corrections: zero(),
            disowned: zero(),
            alarms: zero(),
            alarms_withheld: zero(),
            alarms_muted: zero(),
            votes: zero(),
            hosts_asked: zero(),
            events: Events::default(),
            questions_answered: zero(),
            questions_failed: zero(),
            event_times: Histogram::new(REQUEST_TIMES),
            question_times: Histogram::new(REQUEST_TIMES),
        }
    }
}

/// What became of a datagram that came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It was taken.
    Taken,
    /// It is from a host that is not known.
    UnknownSender,
    /// It is about an instance that is not known, or not on the host that sent it.
    Foreign,
    /// It is none, or its text is not what it should be.
    Malformed,
    /// It has a signature that does not belong where it came.
    Unsigned,
    /// Its seal is missing or wrong.
    BadSeal,
    /// It came before, and was acknowledged again.
    Double,
    /// A newer event had made it meaningless, or a guestServer said it that is gone.
    OldNews,
    /// It is about an instance that the VIM may still name: it is expected again.
    TooEarly,
}

impl Fate {
    const NAMES: &[&str] = &[
        "taken",
        "unknown_sender",
        "foreign",
        "malformed",
        "unsigned",
        "bad_seal",
        "double",
        "old_news",
        "too_early",
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::UnknownSender => "unknown_sender",
            Self::Foreign => "foreign",
            Self::Malformed => "malformed",
            Self::Unsigned => "unsigned",
            Self::BadSeal => "bad_seal",
            Self::Double => "double",
            Self::OldNews => "old_news",
            Self::TooEarly => "too_early",
        }
    }
}

impl From<Heard> for Fate {
    fn from(heard: Heard) -> Self {
        match heard {
            Heard::Taken => Self::Taken,
            Heard::UnknownSender => Self::UnknownSender,
            Heard::Foreign => Self::Foreign,
            Heard::TooEarly => Self::TooEarly,
        }
    }
}

/// What cannot be read has no command.
const NO_COMMAND: &str = "none";

/// Acknowledgements, which go both ways.
pub(crate) const ACK: &str = "ACK";

/// The events of guestServers, acknowledgements, and what is none.
const EVENTS: &[&str] = {
    let [a, b, c, d, e, f, g] = ServerEvent::NAMES;
    &[a, b, c, d, e, f, g, ACK, NO_COMMAND]
};

/// The commands of the maintenance system, and what is none.
const MAINTENANCE: &[&str] = {
    let [a, b, c] = MaintenanceCommand::NAMES;
    &[a, b, c, NO_COMMAND]
};

/// The commands for guestServers, and acknowledgements.
const COMMANDS: &[&str] = {
    let [a, b, c, d, e, f, g, h] = AgentCommand::NAMES;
    &[a, b, c, d, e, f, g, h, ACK]
};

/// Datagrams in and out, by command and fate.
#[derive(Debug)]
pub(crate) struct Datagrams {
    from_servers: Table,
    from_maintenance: Table,
    sent: Table,
}

impl Default for Datagrams {
    fn default() -> Self {
        Self {
            from_servers: Table::new(EVENTS, Fate::NAMES),
            from_maintenance: Table::new(MAINTENANCE, Fate::NAMES),
            sent: Table::new(COMMANDS, &["sent", "again", "unsent"]),
        }
    }
}

impl Datagrams {
    /// One came in from a guestServer.
    pub(crate) fn server_sent(&self, event: Option<&str>, fate: Fate) {
        self.from_servers.count(event.unwrap_or(NO_COMMAND), fate.as_str());
    }

    /// One came in from the maintenance system.
    pub(crate) fn maintenance_sent(&self, command: Option<&str>, fate: Fate) {
        self.from_maintenance.count(command.unwrap_or(NO_COMMAND), fate.as_str());
    }

    /// A command went out, for the first time or again.
    pub(crate) fn sent(&self, command: &str, again: bool) {
        self.sent.count(command, if again { "again" } else { "sent" });
    }

    /// A command could not be sent.
    pub(crate) fn unsent(&self, command: &str) {
        self.sent.count(command, "unsent");
    }

    /// An acknowledgement went out, or could not.
    pub(crate) fn acknowledged(&self, sent: bool) {
        self.sent.count(ACK, if sent { "sent" } else { "unsent" });
    }
}

/// The sums.
impl Serialize for Datagrams {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let both = |fate: Fate| {
            self.from_servers.column(fate.as_str()) + self.from_maintenance.column(fate.as_str())
        };
        let mut shown = serializer.serialize_map(Some(13))?;
        shown.serialize_entry("datagrams_received", &self.from_servers.total())?;
        shown.serialize_entry("datagrams_malformed", &both(Fate::Malformed))?;
        shown.serialize_entry("datagrams_unsigned", &both(Fate::Unsigned))?;
        shown.serialize_entry("datagrams_unknown_sender", &both(Fate::UnknownSender))?;
        shown.serialize_entry("foreign_events", &both(Fate::Foreign))?;
        shown.serialize_entry("early_events", &both(Fate::TooEarly))?;
        shown.serialize_entry("datagrams_bad_seal", &both(Fate::BadSeal))?;
        shown.serialize_entry("datagrams_doubled", &both(Fate::Double))?;
        shown.serialize_entry("datagrams_old_news", &both(Fate::OldNews))?;
        shown.serialize_entry("datagrams_sent", &self.sent.column("sent"))?;
        shown.serialize_entry("datagrams_sent_again", &self.sent.column("again"))?;
        shown.serialize_entry("datagrams_unsent", &self.sent.column("unsent"))?;
        let taken = self.from_maintenance.column(Fate::Taken.as_str());
        shown.serialize_entry("maintenance_commands", &taken)?;
        shown.end()
    }
}

/// What became of events for the VIM, by their kind.
#[derive(Debug)]
pub(crate) struct Events {
    fates: Table,
    /// Attempts that failed and are repeated.
    pub(crate) retried: Counter,
    /// Events that were outdated before the VIM had them: their instance was deleted or moved.
    pub(crate) outdated: Counter,
    /// How long delivered ones waited.
    waits: Histogram,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            fates: Table::new(
                &["service", "alarm", "action"],
                &["delivered", "refused", "dropped"],
            ),
            retried: Counter::default(),
            outdated: Counter::default(),
            waits: Histogram::new(WAITS),
        }
    }
}

impl Events {
    /// The VIM has one, so long after it was put into the queue.
    pub(crate) fn delivered(&self, kind: &EventKind, waited: Duration) {
        self.fates.count(word(kind), "delivered");
        self.waits.observe(waited);
    }

    /// The VIM does not want one.
    pub(crate) fn refused(&self, kind: &EventKind) {
        self.fates.count(word(kind), "refused");
    }

    /// One was dropped because too many wait.
    pub(crate) fn dropped(&self, kind: &EventKind) {
        self.fates.count(word(kind), "dropped");
    }
}

const fn word(kind: &EventKind) -> &'static str {
    match kind {
        EventKind::Service { .. } => "service",
        EventKind::Alarm { .. } => "alarm",
        EventKind::Action { .. } => "action",
    }
}

/// The sums.
impl Serialize for Events {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut shown = serializer.serialize_map(Some(6))?;
        shown.serialize_entry("events_delivered", &self.fates.column("delivered"))?;
        shown.serialize_entry("events_retried", &self.retried)?;
        shown.serialize_entry("events_refused", &self.fates.column("refused"))?;
        shown.serialize_entry("events_dropped", &self.fates.column("dropped"))?;
        shown.serialize_entry("events_outdated", &self.outdated)?;
        shown.serialize_entry("event_waits", &self.waits)?;
        shown.end()
    }
}

#[cfg(test)]
mod tests;
