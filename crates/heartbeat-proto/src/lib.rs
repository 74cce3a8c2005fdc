//! The heartbeat of a virtual machine: every message that crosses a wire, and every rule.
//!
//! Nothing here opens a socket, reads a clock or draws a random number: time and randomness are
//! arguments, bytes go in and come out. That is what lets the same rules run in a daemon, in a
//! table test and in a simulation of thousands of hosts on a virtual clock.
//!
//! | module | what it holds |
//! |---|---|
//! | [`guest`] | the lines exchanged with the program inside a virtual machine |
//! | [`control`] | the datagrams between guestServer, guestAgent and the maintenance system |
//! | [`delivery`] | what makes those datagrams arrive once: numbers, acknowledgements, what is kept until then |
//! | [`session`] | the host's side of the heartbeat with one guest, as a state machine |
//! | [`client`] | the guest's side of it, as a state machine |
//! | [`vim`] | the bodies exchanged with the orchestrator |
//! | [`InstanceId`], [`HostId`] | identifiers, canonical by construction |
//! | [`MonotonicTime`] | a moment on a clock that never jumps |
//!
//! `docs/protocol.md` is the reference that the documentation here points to.

pub mod client;
pub mod control;
pub mod delivery;
#[cfg(test)]
mod dice;
pub mod guest;
mod id;
pub mod session;
mod switch;
mod timing;
pub mod vim;

pub use id::{HostId, InstanceId, ParseIdError};
pub use switch::Switch;
pub use timing::{MonotonicTime, TokenBucket};
