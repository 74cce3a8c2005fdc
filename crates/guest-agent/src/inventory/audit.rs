//! The audit: every host in turn, spread over its period.

use std::collections::HashMap;
use std::time::Duration;

use heartbeat_proto::HostId;
use heartbeat_proto::control::AgentCommand;

use super::Inventory;

/// When the first audit begins, after the start.
pub(crate) const FIRST_AUDIT: Duration = Duration::from_secs(2);

/// How long an audit takes, and when the next one begins after it began.
pub(crate) const AUDIT_PERIOD: Duration = Duration::from_secs(10);

/// In how many steps an audit goes.
pub(crate) const AUDIT_STEPS: u32 = 100;

/// The hosts in the order in which they are audited, and how far this round is.
#[derive(Debug, Default)]
pub(super) struct Round {
    order: Vec<HostId>,
    places: HashMap<HostId, usize>,
    step: u32,
}

impl Round {
    pub(super) fn add(&mut self, host: HostId) {
        self.places.insert(host, self.order.len());
        self.order.push(host);
    }

    pub(super) fn remove(&mut self, host: HostId) {
        let Some(place) = self.places.remove(&host) else { return };
        self.order.swap_remove(place);
        if let Some(moved) = self.order.get(place) {
            self.places.insert(*moved, place);
        }
    }

    /// The hosts of the next step. Over a round, each host comes once, if none comes or goes.
    fn next(&mut self) -> Vec<HostId> {
        let steps = usize::try_from(AUDIT_STEPS).unwrap_or(1);
        let step = usize::try_from(self.step).unwrap_or_default();
        self.step = (self.step + 1) % AUDIT_STEPS;
        // Rounded up, so that few hosts come early in the round.
        let from = (self.order.len() * step).div_ceil(steps);
        let to = (self.order.len() * (step + 1)).div_ceil(steps);
        self.order[from..to].to_vec()
    }

    /// Exactly these hosts are in it, each where its place says.
    #[cfg(test)]
    pub(super) fn assert_covers(&self, hosts: &std::collections::HashSet<HostId>) {
        assert_eq!(self.order.len(), hosts.len());
        assert_eq!(self.places.len(), hosts.len());
        for (place, host) in self.order.iter().enumerate() {
            assert!(hosts.contains(host), "{host} is audited but unknown");
            assert_eq!(self.places.get(host), Some(&place));
        }
    }
}

impl Inventory {
    /// One step of the audit; there are [`AUDIT_STEPS`] of them in [`AUDIT_PERIOD`].
    ///
    /// Asks the VIM for what it has not said yet of the step's hosts, and their guestServers for
    /// their instances.
    pub(crate) fn handle_audit_step(&mut self) {
        for host in self.audit.next() {
            self.ask(host);
            self.remind(host);
            if self.hosts.get(&host).is_some_and(|host| !host.instances.is_empty()) {
                self.command(host, AgentCommand::Query);
            }
        }
    }

    /// Tells a guestServer its host's reporting again, if that has changed not long ago.
    fn remind(&mut self, id: HostId) {
        let Some(host) = self.hosts.get_mut(&id).filter(|host| host.reminders > 0) else { return };
        host.reminders -= 1;
        let reporting = host.reporting;
        self.command(id, AgentCommand::ModHost { host: id, reporting });
    }
}
