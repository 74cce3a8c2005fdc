//! The fault matrix: what the real daemons do when the machine or the network fails them. docs/faults.md has a row for each test.
//!
//! Each asserts what an operator cares about: the daemons live, no false alarm reaches the VIM, a real death afterwards
//! becomes an alarm in time, and the log says in a line what is wrong. `cargo xtask test` runs this, as root.

mod apart;
mod controllers;
mod datagrams;
mod disk;
mod kills;
mod limits;
mod network;
mod rig;
mod stops;
mod table;
