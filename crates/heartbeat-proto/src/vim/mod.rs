//! The bodies exchanged with the VIM, the orchestrator (docs/protocol.md, "guestAgent and the VIM").
//!
//! [`InstanceEvent`] is what guestAgent tells the VIM, [`HostState`] and [`InstanceList`] are what
//! the VIM answers when it is asked, [`command`] holds the bodies of the VIM's commands and of
//! their answers.

pub mod command;
mod event;
mod query;

pub use event::{AlarmState, EventKind, GuestResponse, InstanceEvent};
pub use query::{HostState, InstanceList, ListedInstance, host_query_body};

/// The only service there is.
pub const HEARTBEAT: &str = "heartbeat";

/// The `User-Agent` of guestAgent.
pub const AGENT_USER_AGENT: &str = "guest-agent/1.0";

/// The `User-Agent` that the VIM's commands have, if any.
pub const VIM_USER_AGENT: &str = "vim/1.0";

/// Seconds, which the VIM reads with `int()` from a text.
fn seconds<S: serde::Serializer>(secs: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(secs)
}

#[cfg(test)]
mod tests;
