//! A whole site on one virtual clock: one or two hosts with guestServer, guests, a guestAgent and a VIM, the network between
//! them, and what may go wrong with each, from a seed.
//!
//! What is decided is decided by the code of the daemons: sessions, instances and correspondence of guestServer, inventory,
//! courier and dispatcher of guestAgent, the guest's side of the heartbeat, and the bytes of every datagram and line. What
//! only passes bytes on is a model: sockets, channels, the VIM, the maintenance system.
//!
//! What goes wrong is a list ([`Plan`]), made from the seed before anything happens. After the last of it everything has some
//! time to come right, and then:
//!
//! - every guest that died while its faults were reported and its guestServer had its heartbeat was told to the VIM as
//!   failed, once. That cannot be had where the guestServer was killed before it handed its report over, or before it
//!   noticed (the next one never had that guest's heartbeat), or where the channel was replaced before it noticed (that
//!   ends the heartbeat, with STOPPED). Where guestAgent was killed after the VIM had taken a report and before
//!   its guestServer knew, or while a late copy of it was on its way, the VIM may be told once more for each time;
//! - nobody was told to have failed who had answered in time;
//! - each outcome of a vote was told once, with the same exceptions;
//! - guestServers, guestAgent and VIM agree on what is reported and who is heartbeating;
//! - at every step, what waits anywhere was within its bounds.
//!
//! A seed that fails is shrunk ([`shrink`]) and kept in `regressions.txt`, which the test runs first.

mod dice;
mod guest;
mod ledger;
mod plan;
mod site;
mod vim;

use std::fmt;

pub use ledger::Tally;
pub use plan::{Event, Plan, VimMode, Weather, What};

use site::Site;

/// Seeds that once failed.
pub const REGRESSIONS: &str = include_str!("../regressions.txt");

/// Lives what a plan says.
///
/// # Errors
/// Says what was wrong.
pub fn live(plan: &Plan) -> Result<Tally, String> {
    Site::new(plan).run()
}

/// A plan that fails and would not without any of its events.
#[derive(Debug)]
pub struct Failure {
    /// The plan.
    pub plan: Plan,
    /// What is wrong.
    pub why: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan { seed, hosts, guests, sealed, events } = &self.plan;
        writeln!(f, "seed {seed}: {}", self.why)?;
        writeln!(
            f,
            "{hosts} hosts, {guests} guests, sealed: {sealed}; without any of these all is well:"
        )?;
        for Event { at, lasts, what } in events {
            writeln!(f, "  at {at} ms for {lasts} ms: {what:?}")?;
        }
        Ok(())
    }
}

/// Takes events out of a plan that fails, one after the other, as long as it still fails.
#[must_use]
pub fn shrink(plan: Plan, why: String) -> Failure {
    let mut failure = Failure { plan, why };
    let mut place = 0;
    while place < failure.plan.events.len() {
        let fewer = failure.plan.without(place);
        match live(&fewer) {
            Ok(_) => place += 1,
            // What came before may be of no use now.
            Err(why) => (failure, place) = (Failure { plan: fewer, why }, 0),
        }
    }
    failure
}

/// Lives what a seed says.
///
/// # Errors
/// It fails, shrunk.
pub fn live_seed(seed: u64) -> Result<Tally, Box<Failure>> {
    let plan = Plan::new(seed);
    live(&plan).map_err(|why| Box::new(shrink(plan, why)))
}

/// The seeds of [`REGRESSIONS`]: a number a line, and what follows it is a comment.
pub fn regressions() -> impl Iterator<Item = u64> {
    REGRESSIONS.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok())
}
