//! guestServer and real virtual machines: QEMU makes the channel, and Linux in it runs the guest's program.
//!
//! | module | what happens there |
//! |---|---|
//! | `heartbeat` | nothing bad: heartbeats, votes, a guest that is not well |
//! | `silence` | the guest says nothing, and the host sees nothing but that |
//! | `channel` | the channel itself comes and goes, or is taken by others |
//!
//! `cargo xtask test` prepares what the machines need, and says where it is in `HEARTBEAT_VM_ASSETS`; without that
//! these tests fail.

mod channel;
mod heartbeat;
mod silence;
