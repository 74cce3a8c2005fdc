//! What is known, as plain data, and whether it is of one piece.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::inventory::Inventory;
use heartbeat_proto::{HostId, InstanceId};

/// What is known of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostView {
    pub(super) name: String,
    pub(super) ip: IpAddr,
    pub(super) reporting: bool,
    /// Whether the VIM has said its state and its instances.
    pub(super) answered: (bool, bool),
    pub(super) instances: usize,
}

/// What is known of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InstanceView {
    pub(super) host: HostId,
    pub(super) reporting: bool,
    pub(super) heartbeating: bool,
    /// The rest, which only has to be compared.
    rest: String,
}

/// All that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) hosts: BTreeMap<HostId, HostView>,
    pub(super) instances: BTreeMap<InstanceId, InstanceView>,
    pub(super) addresses: BTreeMap<IpAddr, HostId>,
}

impl Inventory {
    /// All that is known.
    pub(super) fn snapshot(&self) -> Snapshot {
        let hosts = self.hosts.iter().map(|(id, host)| {
            let view = HostView {
                name: host.name.to_string(),
                ip: host.ip,
                reporting: host.reporting,
                answered: (host.state_known, host.instances_known),
                instances: host.instances.len(),
            };
            (*id, view)
        });
        let instances = self.instances.iter().map(|(id, instance)| {
            let view = InstanceView {
                host: instance.host,
                reporting: instance.reporting,
                heartbeating: instance.heartbeating,
                rest: format!(
                    "{} {:?} {:?}",
                    instance.repair_action, instance.times, instance.last_action
                ),
            };
            (*id, view)
        });
        Snapshot {
            hosts: hosts.collect(),
            instances: instances.collect(),
            addresses: self.addresses.iter().map(|(ip, id)| (*ip, *id)).collect(),
        }
    }

    /// Every index says what the hosts and instances say, and no instance lives without its host.
    pub(super) fn assert_consistent(&self) {
        assert_eq!(self.names.len(), self.hosts.len(), "names of no host");
        let mut placed = 0;
        for (id, host) in &self.hosts {
            assert_eq!(self.names.get(&host.name), Some(id), "the name of {}", host.name);
            for instance in &host.instances {
                let known = self.instances.get(instance);
                assert_eq!(known.map(|known| known.host), Some(*id), "host of {instance}");
            }
            placed += host.instances.len();
            assert_eq!(self.unlisted.contains(id), !host.instances_known, "{} listed", host.name);
        }
        assert_eq!(placed, self.instances.len(), "instances without a host");
        for (ip, id) in &self.addresses {
            let host = self.hosts.get(id).map(|host| host.ip);
            assert_eq!(host, Some(*ip), "address of a host that is elsewhere or gone");
        }
        assert!(self.unlisted.iter().all(|id| self.hosts.contains_key(id)));
        assert!(!self.unlisted.is_empty() || self.deleted.is_empty(), "deletions kept for nothing");
        self.audit.assert_covers(&self.hosts.keys().copied().collect());
    }
}
