//! guestAgent: takes commands from the orchestrator, commands the guestServers, and reports
//! failures, changes of state and votes.

mod inventory;

fn main() {}
