//! Stand-ins that behave like the daemons' real neighbours, for the tests, the demo and the benchmarks; never part
//! of a daemon.
//!
//! | module | stands for |
//! |---|---|
//! | [`guest`] | virtual machines by the thousand: QEMU's socket and the program inside |
//! | [`port`] | the virtio port of a guest's program that runs without a machine |
//! | [`vm`] | one real virtual machine |
//! | [`controller`] | guestAgent, in the bytes of the C++ one |
//! | [`server`] | guestServer, likewise |
//! | [`vim`] | the orchestrator's event server, with its ways |
//! | [`maintenance`] | mtcAgent, which knows the hosts |
//! | [`relay`] | a network that loses, doubles and delays |
//! | [`daemon`] | whatever starts and stops our daemons: the real binaries, watched |
//! | [`wait`] | patience: conditions with a deadline instead of sleeps |

pub mod controller;
pub mod daemon;
pub mod guest;
pub mod maintenance;
pub mod port;
mod record;
pub mod relay;
pub mod wait;

pub mod server;
pub mod vim;
pub mod vm;
