//! guestAgent: takes commands from the orchestrator, commands the guestServers, and reports
//! failures, changes of state and votes.

mod http;
mod inventory;

fn main() {}
