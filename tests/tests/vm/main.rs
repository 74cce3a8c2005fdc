//! guestServer and real virtual machines: QEMU makes the channel, and Linux in it runs guestClient.
//!
//! | module | what happens there |
//! |---|---|
//! | `heartbeat` | nothing bad: one machine, and eight |
//! | `guest_client` | what guestClient does in its machine: scripts, and time that stands still or jumps |
//! | `silence` | the guest says nothing, and the host sees nothing but that |
//! | `channel` | the channel itself comes and goes, or is taken by others |
//!
//! `cargo xtask test` prepares what the machines need, and says where it is in `HEARTBEAT_VM_ASSETS`; without that
//! these tests fail.

mod channel;
mod guest_client;
mod heartbeat;
mod silence;
