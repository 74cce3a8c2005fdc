//! What the end-to-end tests share: a host that runs the real guestServer, channels that are spoken byte by byte,
//! and the golden bytes of the C++ daemons.
//!
//! Every test has a directory, ports and a daemon of its own. It waits for conditions, never for a time; [`SOON`] is
//! only how long a busy machine may take before a test gives up.

pub mod agent;
pub mod client;
pub mod golden;
pub mod host;
pub mod launch;
pub mod machines;
pub mod raw;
pub mod scrape;
pub mod server;

use std::time::Duration;

use heartbeat_proto::InstanceId;

/// How long anything may take that should happen at once, or after a second or two.
pub const SOON: Duration = Duration::from_secs(20);

/// The `n`th instance of a test.
#[must_use]
pub const fn id(n: u128) -> InstanceId {
    InstanceId::from_u128(0x0e2e_0000_0000_0000_0000_0000_0000_0000 | n)
}
