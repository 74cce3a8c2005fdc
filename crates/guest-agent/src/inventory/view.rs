//! What the status and the metrics show of the inventory.

use heartbeat_proto::{InstanceId, MonotonicTime};

use super::{Instance, Inventory};
use crate::status::{Delivery, HostStatus, InstanceStatus, Past};

/// What the metrics show of all hosts and instances.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// By whether they are reported.
    pub(crate) hosts: [usize; 2],
    /// Hosts that the VIM has not answered for.
    pub(crate) awaiting_vim: usize,
    /// By whether they are reported, then by whether they are heartbeating.
    pub(crate) instances: [[usize; 2]; 2],
}

/// What they show of one instance.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Summary<'a> {
    pub(crate) host: &'a str,
    pub(crate) reporting: bool,
    pub(crate) heartbeating: bool,
}

impl Inventory {
    /// How many hosts are known.
    pub(crate) fn host_count(&self) -> usize {
        self.hosts.len()
    }

    /// How many instances are known.
    pub(crate) fn instance_count(&self) -> usize {
        self.instances.len()
    }

    /// Every host, for the status.
    pub(crate) fn hosts(&self, now: MonotonicTime) -> impl Iterator<Item = HostStatus> {
        self.hosts.iter().map(move |(id, host)| HostStatus {
            uuid: *id,
            hostname: host.name.clone(),
            ip: host.ip,
            reporting: host.reporting,
            known_to_vim: host.state_known && host.instances_known,
            heard_secs: host.heard_at.map(|at| now.since(at).as_secs_f64()),
            delivery: Delivery::default(),
            instances: host.instances.len(),
            heartbeating: host.instances.iter().filter(|id| self.is_heartbeating(**id)).count(),
        })
    }

    /// Every instance, for the status.
    pub(crate) fn instances(&self) -> impl Iterator<Item = InstanceStatus> {
        self.instances.iter().map(|(id, instance)| self.shown(*id, instance))
    }

    /// The same of one of them, and whether faults of its host are reported.
    pub(crate) fn instance(&self, instance: InstanceId) -> Option<(InstanceStatus, bool)> {
        let known = self.instances.get(&instance)?;
        let host = self.hosts.get(&known.host).is_some_and(|host| host.reporting);
        Some((self.shown(instance, known), host))
    }

    fn shown(&self, uuid: InstanceId, instance: &Instance) -> InstanceStatus {
        InstanceStatus {
            uuid,
            hostname: self.host_name(instance.host),
            reporting: instance.reporting,
            heartbeating: instance.heartbeating,
            repair_action: instance.repair_action.as_str().to_owned(),
            last_action: instance.last_action.as_ref().map(ToString::to_string),
            past: Past::default(),
        }
    }

    fn is_heartbeating(&self, instance: InstanceId) -> bool {
        self.instances.get(&instance).is_some_and(|known| known.heartbeating)
    }

    /// Counts hosts and instances. Up to a millisecond for 100,000 of them, so not for every message.
    pub(crate) fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for host in self.hosts.values() {
            tally.hosts[usize::from(host.reporting)] += 1;
            tally.awaiting_vim += usize::from(!(host.state_known && host.instances_known));
        }
        for instance in self.instances.values() {
            let (reporting, heartbeating) = (instance.reporting, instance.heartbeating);
            tally.instances[usize::from(reporting)][usize::from(heartbeating)] += 1;
        }
        tally
    }

    /// Every instance that is known now.
    pub(crate) fn ids(&self) -> impl Iterator<Item = InstanceId> {
        self.instances.keys().copied()
    }

    /// What the metrics show of one.
    pub(crate) fn summary(&self, instance: InstanceId) -> Option<Summary<'_>> {
        let known = self.instances.get(&instance)?;
        let host = self.hosts.get(&known.host).map(|host| &*host.name).unwrap_or_default();
        Some(Summary { host, reporting: known.reporting, heartbeating: known.heartbeating })
    }
}
