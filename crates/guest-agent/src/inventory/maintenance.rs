//! What the maintenance system tells of hosts.

use std::net::IpAddr;

use heartbeat_proto::control::{Host as Told, MaintenanceCommand};
use heartbeat_proto::{HostId, MonotonicTime};

use super::output::{Note, Output, Question, Topic};
use super::{Host, Inventory, Revision};

/// Hosts that are known at most; whoever can send datagrams can name hosts. Beyond it, new ones are
/// refused and said so.
const MAX_HOSTS: usize = 10_000;

/// The longest name of a host, in bytes.
const MAX_HOSTNAME: usize = 253;

impl Inventory {
    /// A host was added, changed or deleted.
    pub(crate) fn handle_maintenance(&mut self, command: &MaintenanceCommand<'_>) {
        match command {
            MaintenanceCommand::AddHost(told) | MaintenanceCommand::ModHost(told) => {
                self.learn(told);
            }
            MaintenanceCommand::DelHost { hostname, uuid } => self.forget(hostname, *uuid),
        }
    }

    fn learn(&mut self, told: &Told<'_>) {
        let name: Box<str> = told.hostname.as_ref().into();
        let refused = |why| Note::HostRefused { name: name.chars().take(64).collect(), why };
        if name.is_empty() || name.len() > MAX_HOSTNAME {
            self.out.note(refused("its name is empty or longer than 253 bytes"));
            return;
        }
        let Ok(ip) = told.ip.parse::<IpAddr>().map(|ip| ip.to_canonical()) else {
            self.out.note(refused("its ip is no IP address"));
            return;
        };
        let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
        if ip.is_unspecified() || ip.is_multicast() || broadcast {
            self.out.note(refused("its ip is no address of a host"));
            return;
        }
        if self.names.get(&name).is_some_and(|other| *other != told.uuid) {
            // The name was given to another machine: the former one is gone.
            self.forget(&name, told.uuid);
        }
        let full = self.hosts.len() >= MAX_HOSTS;
        match self.hosts.get_mut(&told.uuid) {
            None if full => {
                self.out.note(refused("there are too many hosts: 10,000 are known"));
            }
            None => self.add_host(told.uuid, name, ip),
            Some(host) if host.name == name && host.ip == ip => {
                self.addresses.insert(ip, told.uuid);
            }
            Some(host) => {
                let former_name = std::mem::replace(&mut host.name, name.clone());
                let former_ip = std::mem::replace(&mut host.ip, ip);
                self.names.remove(&former_name);
                self.release_address(former_ip, told.uuid);
                self.names.insert(name.clone(), told.uuid);
                self.addresses.insert(ip, told.uuid);
                self.out.note(Note::HostChanged { name, ip });
                self.brief(told.uuid);
            }
        }
    }

    /// A host no longer has this address. Another may have been given it before that was told.
    fn release_address(&mut self, ip: IpAddr, id: HostId) {
        if self.addresses.get(&ip) == Some(&id) {
            self.addresses.remove(&ip);
        }
    }

    fn add_host(&mut self, id: HostId, name: Box<str>, ip: IpAddr) {
        self.names.insert(name.clone(), id);
        self.addresses.insert(ip, id);
        self.hosts.insert(
            id,
            Host {
                name: name.clone(),
                ip,
                reporting: false,
                switched_at: Revision::default(),
                added_at: self.revision,
                state_known: false,
                instances_known: false,
                instances: std::collections::BTreeSet::new(),
                heard_at: None,
                other_address: None,
                reminders: 0,
            },
        );
        self.audit.add(id);
        self.unlisted.insert(id);
        self.out.note(Note::HostAdded { name, ip });
        self.ask(id);
    }

    /// Asks the VIM for what it has not said yet of a host.
    pub(super) fn ask(&mut self, id: HostId) {
        let Some(host) = self.hosts.get(&id) else { return };
        let open = [(host.state_known, Topic::State), (host.instances_known, Topic::Instances)];
        for (known, topic) in open {
            if !known {
                let (hostname, asked_at) = (host.name.clone(), self.revision);
                self.out.push(Output::Ask(Question { host: id, hostname, topic, asked_at }));
            }
        }
    }

    fn forget(&mut self, hostname: &str, uuid: HostId) {
        let by_name = self.named(hostname);
        let Some(id) = by_name.or_else(|| self.hosts.contains_key(&uuid).then_some(uuid)) else {
            return;
        };
        let instances: Vec<_> =
            self.hosts.get(&id).into_iter().flat_map(|host| host.instances.clone()).collect();
        let count = instances.len();
        for instance in instances {
            self.delete_instance(instance);
        }
        if let Some(host) = self.hosts.remove(&id) {
            self.names.remove(&host.name);
            self.release_address(host.ip, id);
            self.audit.remove(id);
            self.host_listed(id);
            self.out.note(Note::HostDeleted { name: host.name, instances: count });
        }
    }

    /// A new copy of the maintenance system's inventory is wanted.
    pub(crate) fn request_hosts(&mut self, now: MonotonicTime) {
        self.want_hosts(now);
    }
}
