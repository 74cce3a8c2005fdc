//! What is counted.

use daemon_kit::metrics::Counter;
use serde::Serialize;

/// Every counter of the daemon; each starts at zero with it.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Metrics {
    /// Datagrams from guestServers.
    pub(crate) datagrams_received: Counter,
    /// Datagrams that are none, or whose text is not what it should be.
    pub(crate) datagrams_malformed: Counter,
    /// Datagrams with a signature that does not belong where they came.
    pub(crate) datagrams_unsigned: Counter,
    /// Datagrams from hosts that are not known.
    pub(crate) datagrams_unknown_sender: Counter,
    /// Datagrams sent to guestServers.
    pub(crate) datagrams_sent: Counter,
    /// Datagrams that could not be sent.
    pub(crate) datagrams_unsent: Counter,
    /// Commands of the maintenance system.
    pub(crate) maintenance_commands: Counter,
    /// Events about instances that are not known, or not on the host that sent them.
    pub(crate) foreign_events: Counter,
    /// Times that a guestServer had another mind about an instance's reporting.
    pub(crate) corrections: Counter,
    /// Instances that a guestServer had and that are not on its host.
    pub(crate) disowned: Counter,
    /// Failures that the VIM is told of.
    pub(crate) alarms: Counter,
    /// Failures that it is not told of, for their reporting is off.
    pub(crate) alarms_withheld: Counter,
    /// Votes and notifications that ended.
    pub(crate) votes: Counter,
    /// Events that the VIM has.
    pub(crate) events_delivered: Counter,
    /// Attempts to tell the VIM that failed and are repeated.
    pub(crate) events_retried: Counter,
    /// Events that the VIM refused.
    pub(crate) events_refused: Counter,
    /// Events that were dropped because too many wait.
    pub(crate) events_dropped: Counter,
    /// Questions that the VIM answered.
    pub(crate) questions_answered: Counter,
    /// Questions that it did not answer, or not with what was asked; asked again at the next audit.
    pub(crate) questions_failed: Counter,
}
