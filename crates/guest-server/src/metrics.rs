//! What is counted.

use daemon_kit::metrics::Counter;
use serde::Serialize;

/// Every counter of the daemon; each starts at zero with it.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Metrics {
    /// Connections made to channels.
    pub(crate) connections: Counter,
    /// Attempts to connect that failed.
    pub(crate) connection_failures: Counter,
    /// Challenges written.
    pub(crate) challenges: Counter,
    /// Challenges left out because the guest does not read what it was sent before.
    pub(crate) challenges_skipped: Counter,
    /// Other messages left out for the same reason.
    pub(crate) messages_skipped: Counter,
    /// Challenges answered.
    pub(crate) heartbeats: Counter,
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
    /// Lines that are no message.
    pub(crate) malformed_messages: Counter,
    /// Lines that are too long.
    pub(crate) long_messages: Counter,
    /// Rests of lines at the beginning of a connection.
    pub(crate) fragments: Counter,
    /// Votes and notifications put to guests.
    pub(crate) votes_asked: Counter,
    /// Votes and notifications answered by guests.
    pub(crate) votes_answered: Counter,
    /// Votes and notifications whose time was over, or that could not be asked.
    pub(crate) votes_unanswered: Counter,
    /// Answers to votes that are not open, or of another session.
    pub(crate) votes_unexpected: Counter,
    /// Times that reading from a guest was put off because it sends too much.
    pub(crate) reads_put_off: Counter,
    /// Timers of our own that fired more than an interval late.
    pub(crate) late_timers: Counter,
    /// Datagrams received.
    pub(crate) datagrams_received: Counter,
    /// Datagrams that are none, or whose text is not what their command wants.
    pub(crate) datagrams_malformed: Counter,
    /// Datagrams with another signature than guestAgent's.
    pub(crate) datagrams_unsigned: Counter,
    /// Commands for instances that are not known.
    pub(crate) commands_unknown_instance: Counter,
    /// Votes and notifications thrown away because too many wait for one instance.
    pub(crate) commands_refused: Counter,
    /// Datagrams sent.
    pub(crate) datagrams_sent: Counter,
    /// Datagrams that could not be sent.
    pub(crate) datagrams_unsent: Counter,
    /// Attempts to connect that found no socket with the channel's name.
    pub(crate) channels_missing: Counter,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_is_shown_under_its_name() {
        let metrics = Metrics::default();
        metrics.losses.increment();
        metrics.heartbeats.add(3);
        let shown = serde_json::to_value(&metrics).unwrap();
        assert_eq!((&shown["losses"], &shown["heartbeats"]), (&1.into(), &3.into()));
        assert_eq!(shown["misses"], 0);
    }
}
