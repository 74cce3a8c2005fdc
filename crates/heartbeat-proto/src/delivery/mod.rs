//! What makes the datagrams between our own daemons arrive once, and what is kept of them until they have.
//!
//! UDP loses, doubles and reorders. [`Outgoing`] numbers messages and sends them again until they are acknowledged;
//! [`Incoming`] tells the first copy of a message from its doubles, and old news from new. Neither sends a byte more to a
//! C++ daemon than was sent before there were numbers, nor waits for one. See docs/protocol.md, "Acknowledged datagrams".
//!
//! ```text
//!  push                                                                          ACK: it is done
//!  ─────► waiting ──────────────► sent ────────────────────────────────────────────────────────────► gone
//!            ▲      the peer         │ ▲  no ACK: after 200 ms, doubling to 5 s          ▲
//!            │   acknowledges        │ └── again                  ACK: it is done         │
//!            │                       ▼                                                    │
//!            │                     held, by a peer that has yet to pass it on ────────────┘
//!            │                       │
//!            └───────────────────────┘  the peer has restarted, or is another one: all over again, with new numbers
//! ```

mod incoming;
mod outgoing;
mod parcel;
mod queue;

pub use incoming::{Incoming, MAX_PEERS, PRESENT_SILENCE, Receipt, Verdict};
pub use outgoing::{
    HELD_INTERVAL, MAX_INTERVAL, MIN_INTERVAL, Outgoing, PLAIN_SILENCE, PROBE_PERIOD, Transmit,
};
pub use parcel::{Class, Parcel, Says, Topic};
pub use queue::{ACTION_LIFETIME, MAX_PENDING, MAX_REPORTS, REPORT_LIFETIME, STATE_LIFETIME};

/// How many numbers a receiver tells doubles by, and how far a sender runs ahead of the first message that has not arrived.
pub const WINDOW: u32 = 1024;

#[cfg(test)]
mod tests;
