//! What is counted.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::ser::{Serialize, SerializeMap as _, Serializer};

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn increment(&self) {
        self.add(1);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! metrics {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// Every counter of the daemon; each starts at zero with it.
        #[derive(Debug, Default)]
        pub(crate) struct Metrics { $($(#[$doc])* pub(crate) $name: Counter),+ }

        impl Serialize for Metrics {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut map = serializer.serialize_map(None)?;
                $(map.serialize_entry(stringify!($name), &self.$name.get())?;)+
                map.end()
            }
        }
    };
}

metrics! {
    /// Connections made to channels.
    connections,
    /// Attempts to connect that failed.
    connection_failures,
    /// Challenges written.
    challenges,
    /// Challenges left out because the guest does not read what it was sent before.
    challenges_skipped,
    /// Other messages left out for the same reason.
    messages_skipped,
    /// Challenges answered.
    heartbeats,
    /// Answers with a wrong number.
    wrong_numbers,
    /// Answers when none was awaited.
    late_responses,
    /// Challenges not answered in time while faults are reported.
    misses,
    /// Guests that fell silent while faults are reported.
    losses,
    /// Answers that say that the guest is not well.
    unhealthy_responses,
    /// `init` acknowledged.
    inits,
    /// `init` thrown away because they came too fast.
    inits_refused,
    /// Lines that are no message.
    malformed_messages,
    /// Lines that are too long.
    long_messages,
    /// Rests of lines at the beginning of a connection.
    fragments,
    /// Votes and notifications put to guests.
    votes_asked,
    /// Votes and notifications answered by guests.
    votes_answered,
    /// Votes and notifications whose time was over, or that could not be asked.
    votes_unanswered,
    /// Answers to votes that are not open, or of another session.
    votes_unexpected,
    /// Times that reading from a guest was put off because it sends too much.
    reads_put_off,
    /// Timers of our own that fired more than an interval late.
    late_timers,
    /// Datagrams received.
    datagrams_received,
    /// Datagrams that are none, or whose text is not what their command wants.
    datagrams_malformed,
    /// Datagrams with another signature than guestAgent's.
    datagrams_unsigned,
    /// Commands for instances that are not known.
    commands_unknown_instance,
    /// Votes and notifications thrown away because too many wait for one instance.
    commands_refused,
    /// Datagrams sent.
    datagrams_sent,
    /// Datagrams that could not be sent.
    datagrams_unsent,
    /// Attempts to connect that found no socket with the channel's name.
    channels_missing,
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
