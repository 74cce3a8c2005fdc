//! What is counted.
//!
//! Guests' tasks and the main loop count in place, with atomics: a heartbeat costs five
//! additions. What is shown to a
//! monitoring system, and what of the main loop's state besides, is in [`exposition`].

mod exposition;
mod families;

use daemon_kit::metrics::{Counter, Histogram, Table};
use daemon_kit::pmon::Pulse;
use heartbeat_proto::control::{AgentCommand, ServerEvent};
use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};

pub(crate) use exposition::Observed;

/// Round trips are counted by these bounds, in microseconds: from what a virtio port takes to the longest that is of
/// interest.
const ROUND_TRIPS: &[u64] = &[
    100, 250, 500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];

/// Every counter of the daemon; each starts at zero with it.
#[derive(Debug, Serialize)]
pub(crate) struct Metrics {
    /// Connections made to channels.
    pub(crate) connections: Counter,
    /// Attempts to connect that failed.
    pub(crate) connection_failures: Counter,
    /// Attempts to connect that found no socket with the channel's name.
    pub(crate) channels_missing: Counter,
    /// Challenges written.
    pub(crate) challenges: Counter,
    /// Challenges left out because the guest does not read what it was sent before.
    pub(crate) challenges_skipped: Counter,
    /// Other messages left out for the same reason.
    pub(crate) messages_skipped: Counter,
    /// Challenges answered.
    pub(crate) heartbeats: Counter,
    /// How long the answers took.
    pub(crate) round_trips: Histogram,
    /// Answers with a wrong number.
    pub(crate) wrong_numbers: Counter,
    /// Answers when none was awaited.
    pub(crate) late_responses: Counter,
    /// Challenges not answered in time while faults are reported.
    pub(crate) misses: Counter,
    /// Guests that fell silent while faults are reported.
    pub(crate) losses: Counter,
    /// Faults not reported because an operator muted the instance.
    pub(crate) faults_muted: Counter,
    /// Answers that say that the guest is not well.
    pub(crate) unhealthy_responses: Counter,
    /// `init` acknowledged.
    pub(crate) inits: Counter,
    /// `init` thrown away because they came too fast.
    pub(crate) inits_refused: Counter,
    /// Values of `init` that were out of bounds.
    pub(crate) values_clamped: Counter,
    /// Lines that are no message.
    pub(crate) malformed_messages: Counter,
    /// Lines that are too long.
    pub(crate) long_messages: Counter,
    /// Rests of lines at the beginning of a connection.
    pub(crate) fragments: Counter,
    /// Bytes read from guests.
    pub(crate) bytes_received: Counter,
    /// Bytes of lines that are no message.
    pub(crate) bytes_malformed: Counter,
    /// Bytes of lines that are too long.
    pub(crate) bytes_too_long: Counter,
    /// Bytes of rests of lines.
    pub(crate) bytes_fragments: Counter,
    /// Votes and notifications put to guests.
    pub(crate) votes_asked: Counter,
    /// How votes and notifications ended.
    #[serde(flatten)]
    pub(crate) votes: Votes,
    /// Answers to votes that are not open, or of another session.
    pub(crate) votes_unexpected: Counter,
    /// Times that reading from a guest was put off because it sends too much.
    pub(crate) reads_put_off: Counter,
    /// Timers of our own that fired more than an interval late.
    pub(crate) late_timers: Counter,
    /// Datagrams in and out.
    #[serde(flatten)]
    pub(crate) datagrams: Datagrams,
    /// Questions of pmon.
    #[serde(flatten)]
    pub(crate) pmon: Pulses,
}

impl Default for Metrics {
    fn default() -> Self {
        let zero = Counter::default;
        Self {
            connections: zero(),
            connection_failures: zero(),
            channels_missing: zero(),
            challenges: zero(),
            challenges_skipped: zero(),
            messages_skipped: zero(),
            heartbeats: zero(),
            round_trips: Histogram::new(ROUND_TRIPS),
            wrong_numbers: zero(),
            late_responses: zero(),
            misses: zero(),
            losses: zero(),
            faults_muted: zero(),
            unhealthy_responses: zero(),
            inits: zero(),
            inits_refused: zero(),
            values_clamped: zero(),
            malformed_messages: zero(),
            long_messages: zero(),
            fragments: zero(),
            bytes_received: zero(),
            bytes_malformed: zero(),
            bytes_too_long: zero(),
            bytes_fragments: zero(),
            votes_asked: zero(),
            votes: Votes::default(),
            votes_unexpected: zero(),
            reads_put_off: zero(),
            late_timers: zero(),
            datagrams: Datagrams::default(),
            pmon: Pulses::default(),
        }
    }
}

/// Votes and notifications, by how they ended. All but an answer count as agreement.
#[derive(Debug, Default)]
pub(crate) struct Votes {
    pub(crate) answered: Counter,
    pub(crate) timed_out: Counter,
    pub(crate) replaced: Counter,
    pub(crate) not_connected: Counter,
    pub(crate) gone: Counter,
}

impl Votes {
    fn unanswered(&self) -> u64 {
        let counters = [&self.timed_out, &self.replaced, &self.not_connected, &self.gone];
        counters.into_iter().map(Counter::get).sum()
    }
}

impl Serialize for Votes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut shown = serializer.serialize_map(Some(2))?;
        shown.serialize_entry("votes_answered", &self.answered)?;
        shown.serialize_entry("votes_unanswered", &self.unanswered())?;
        shown.end()
    }
}

/// Questions of pmon, by what became of them.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Pulses {
    #[serde(rename = "pmon_answered")]
    answered: Counter,
    #[serde(rename = "pmon_failed")]
    failed: Counter,
    #[serde(rename = "pmon_ignored")]
    ignored: Counter,
}

impl Pulses {
    /// One came in.
    pub(crate) fn count(&self, pulse: Pulse) {
        let counter = match pulse {
            Pulse::Answered => &self.answered,
            Pulse::Failed => &self.failed,
            Pulse::Ignored => &self.ignored,
        };
        counter.increment();
    }
}

/// What became of a datagram that came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It was carried out.
    Obeyed,
    /// It is for an instance that is not known.
    UnknownInstance,
    /// Too many wait for its instance, or there are too many instances without a channel.
    Refused,
    /// It is none, or its text is not what its command wants.
    Malformed,
    /// It has another signature than guestAgent's.
    Unsigned,
    /// Its seal is missing or wrong.
    BadSeal,
    /// It comes from an address that may not command.
    Stranger,
    /// It came before, and was acknowledged again.
    Double,
    /// A newer command had made it meaningless, or a controller said it that is gone.
    OldNews,
}

impl Fate {
    const NAMES: &[&str] = &[
        "obeyed",
        "unknown_instance",
        "refused",
        "malformed",
        "unsigned",
        "bad_seal",
        "stranger",
        "double",
        "old_news",
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Obeyed => "obeyed",
            Self::UnknownInstance => "unknown_instance",
            Self::Refused => "refused",
            Self::Malformed => "malformed",
            Self::Unsigned => "unsigned",
            Self::BadSeal => "bad_seal",
            Self::Stranger => "stranger",
            Self::Double => "double",
            Self::OldNews => "old_news",
        }
    }
}

/// What cannot be read has no command.
const NO_COMMAND: &str = "none";

/// Acknowledgements, which go both ways.
pub(crate) const ACK: &str = "ACK";

/// The commands of guestAgent, acknowledgements, and what is none.
const COMMANDS: &[&str] = {
    let [a, b, c, d, e, f, g, h] = AgentCommand::NAMES;
    &[a, b, c, d, e, f, g, h, ACK, NO_COMMAND]
};

/// The events of guestServer, and acknowledgements.
const EVENTS: &[&str] = {
    let [a, b, c, d, e, f, g] = ServerEvent::NAMES;
    &[a, b, c, d, e, f, g, ACK]
};

/// Datagrams in and out, by command and fate.
#[derive(Debug)]
pub(crate) struct Datagrams {
    received: Table,
    sent: Table,
    /// Votes and notifications that were taken and then thrown away with their instance.
    pub(crate) actions_dropped: Counter,
    /// Reports that nobody acknowledged in an hour, or that there was no room for.
    pub(crate) given_up: Counter,
}

impl Default for Datagrams {
    fn default() -> Self {
        Self {
            received: Table::new(COMMANDS, Fate::NAMES),
            sent: Table::new(EVENTS, &["sent", "again", "unsent"]),
            actions_dropped: Counter::default(),
            given_up: Counter::default(),
        }
    }
}

impl Datagrams {
    /// One came in.
    pub(crate) fn received(&self, command: Option<&str>, fate: Fate) {
        self.received.count(command.unwrap_or(NO_COMMAND), fate.as_str());
    }

    /// An event went out, for the first time or again.
    pub(crate) fn sent(&self, event: &str, again: bool) {
        self.sent.count(event, if again { "again" } else { "sent" });
    }

    /// An event could not be sent.
    pub(crate) fn unsent(&self, event: &str) {
        self.sent.count(event, "unsent");
    }

    /// An acknowledgement went out, or could not.
    pub(crate) fn acknowledged(&self, sent: bool) {
        self.sent.count(ACK, if sent { "sent" } else { "unsent" });
    }
}

/// The sums.
impl Serialize for Datagrams {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let received = |fate: Fate| self.received.column(fate.as_str());
        let refused = received(Fate::Refused) + self.actions_dropped.get();
        let mut shown = serializer.serialize_map(Some(13))?;
        shown.serialize_entry("datagrams_received", &self.received.total())?;
        shown.serialize_entry("datagrams_malformed", &received(Fate::Malformed))?;
        shown.serialize_entry("datagrams_unsigned", &received(Fate::Unsigned))?;
        shown.serialize_entry("commands_unknown_instance", &received(Fate::UnknownInstance))?;
        shown.serialize_entry("commands_refused", &refused)?;
        shown.serialize_entry("datagrams_bad_seal", &received(Fate::BadSeal))?;
        shown.serialize_entry("datagrams_strangers", &received(Fate::Stranger))?;
        shown.serialize_entry("datagrams_doubled", &received(Fate::Double))?;
        shown.serialize_entry("datagrams_old_news", &received(Fate::OldNews))?;
        shown.serialize_entry("datagrams_sent", &self.sent.column("sent"))?;
        shown.serialize_entry("datagrams_sent_again", &self.sent.column("again"))?;
        shown.serialize_entry("reports_given_up", &self.given_up)?;
        shown.serialize_entry("datagrams_unsent", &self.sent.column("unsent"))?;
        shown.end()
    }
}

#[cfg(test)]
mod tests;
