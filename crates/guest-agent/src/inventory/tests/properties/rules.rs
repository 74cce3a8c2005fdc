//! What must hold of every step: what came out is what the difference between before and after
//! asks for, no more and no less.

use std::net::IpAddr;

use heartbeat_proto::control::{AgentCommand, ServerEvent};
use heartbeat_proto::vim::EventKind;
use heartbeat_proto::{HostId, InstanceId};

use super::Step;
use crate::inventory::tests::check::{InstanceView, Snapshot};
use crate::inventory::tests::harness::ip;
use crate::inventory::{Command, Output};

/// A step, and what was known before and after.
pub(super) struct Change<'a> {
    pub(super) step: &'a Step,
    pub(super) before: Snapshot,
    pub(super) after: Snapshot,
    pub(super) outputs: Vec<Output>,
}

/// Whether the command changes nothing even if it is carried out.
pub(super) fn only_asks(command: &Command) -> bool {
    match command {
        Command::AddHost(_)
        | Command::GetHost(_)
        | Command::DeleteHost(_)
        | Command::GetInstance(_) => true,
        Command::SwitchHost { .. }
        | Command::AddInstance { .. }
        | Command::SwitchInstance { .. }
        | Command::DeleteInstance(_)
        | Command::Act { .. } => false,
    }
}

pub(super) fn assert_holds(change: &Change<'_>) {
    change.servers_know();
    change.only_its_source_changes_it();
    change.vim_is_told_what_is_known();
    change.alarms_are_allowed();
    change.outputs_are_bounded();
}

impl Change<'_> {
    fn commands(&self) -> impl Iterator<Item = (IpAddr, &AgentCommand)> {
        self.outputs.iter().filter_map(|output| match output {
            Output::Command(ip, command) => Some((*ip, command)),
            _ => None,
        })
    }

    /// Which host an event is from: the one that it names, else the one with the address.
    fn sender(&self) -> Option<HostId> {
        let Step::Event(from, hostname, _) = self.step else { return None };
        let mut hosts = self.before.hosts.iter();
        let named = hosts.find(|(_, host)| host.name == *hostname).map(|(id, _)| *id);
        named.or_else(|| self.before.addresses.get(&ip(*from)).copied())
    }

    /// A server is told of every change of what it has to know: its host's reporting, its
    /// instances and theirs.
    fn servers_know(&self) {
        for (id, host) in &self.after.hosts {
            let before = self.before.hosts.get(id).map(|host| host.reporting);
            let told = self.commands().filter_map(|(to, command)| match command {
                AgentCommand::ModHost { host, reporting } if host == id => Some((to, *reporting)),
                _ => None,
            });
            let told = told.last();
            assert!(told.is_none_or(|told| told == (host.ip, host.reporting)), "{told:?}");
            if before.is_some_and(|before| before != host.reporting) {
                assert!(told.is_some(), "{} does not know", host.name);
            }
        }
        let ids = self.before.instances.keys().chain(self.after.instances.keys());
        for id in ids {
            self.servers_know_instance(id);
        }
        for (to, command) in self.commands() {
            assert!(!matches!(command, AgentCommand::Loopback));
            let mut hosts = self.before.hosts.values().chain(self.after.hosts.values());
            assert!(hosts.any(|host| host.ip == to), "{command:?} to {to}, which is no host's");
        }
    }

    fn servers_know_instance(&self, id: &InstanceId) {
        let (before, after) = (self.before.instances.get(id), self.after.instances.get(id));
        let mut told = Vec::new();
        for (to, command) in self.commands() {
            match command {
                AgentCommand::AddInstance { instance, reporting } if instance == id => {
                    told.push((to, "ADD_INST", *reporting));
                }
                AgentCommand::ModInstance { instance, reporting } if instance == id => {
                    told.push((to, "MOD_INST", *reporting));
                }
                AgentCommand::DelInstance { instance } if instance == id => {
                    told.push((to, "DEL_INST", false));
                }
                _ => {}
            }
        }
        let deleted = self.outputs.iter().filter(|output| **output == Output::Deleted(*id)).count();
        assert_eq!(deleted, usize::from(before.is_some() && after.is_none()), "{id}: {deleted}");
        let at = |view: &InstanceView, hosts: &Snapshot| hosts.hosts[&view.host].ip;
        match (before, after) {
            (Some(before), None) => {
                assert_eq!(told, [(at(before, &self.before), "DEL_INST", false)], "{id} is gone");
            }
            (Some(before), Some(after)) if before.host == after.host => {
                let to = at(after, &self.after);
                // A server that claims it for another host is told to drop it.
                let claimed = self.event_of() == Some(*id) && self.sender() != Some(after.host);
                let word = if claimed { "DEL_INST" } else { "MOD_INST" };
                assert!(told.iter().all(|told| told.1 == word), "{id}: {told:?}");
                let last = told.iter().rfind(|told| told.1 != "DEL_INST");
                assert!(last.is_none_or(|last| (last.0, last.2) == (to, after.reporting)));
                assert!(last.is_some() || before.reporting == after.reporting, "{id} unknown");
            }
            (before, Some(after)) => {
                let to = at(after, &self.after);
                let mut told = told.iter();
                if let Some(before) = before {
                    let left = (at(before, &self.before), "DEL_INST", false);
                    assert_eq!(told.next(), Some(&left), "{id} has moved");
                }
                let added = told.next();
                assert_eq!(added.map(|told| (told.0, told.1)), Some((to, "ADD_INST")), "{id}");
                let last = told.next_back().or(added);
                assert_eq!(last.map(|told| told.2), Some(after.reporting), "{id}");
            }
            (None, None) => {}
        }
    }

    /// Reporting is the VIM's, the heartbeat the server's, hosts are the maintenance system's.
    fn only_its_source_changes_it(&self) {
        let from_vim = matches!(self.step, Step::Command(_) | Step::State(..) | Step::List(..));
        let maintenance = matches!(self.step, Step::Host(..) | Step::HostGone(..));
        let names = |snapshot: &Snapshot| -> Vec<_> {
            snapshot.hosts.iter().map(|(id, host)| (*id, host.name.clone(), host.ip)).collect()
        };
        assert!(maintenance || names(&self.before) == names(&self.after));
        for (ip, id) in &self.before.addresses {
            let there = self.after.hosts.get(id).is_some_and(|host| host.ip == *ip);
            assert!(!there || self.after.addresses.contains_key(ip), "{ip} is nobody's");
        }
        for (id, host) in &self.after.hosts {
            let before = self.before.hosts.get(id).is_some_and(|before| before.reporting);
            assert!(from_vim || host.reporting == before, "{id}: reporting");
        }
        for (id, after) in &self.after.instances {
            let Some(before) = self.before.instances.get(id) else {
                assert!(from_vim, "{id} added");
                assert!(!after.heartbeating);
                continue;
            };
            let commanded = (before.host, before.reporting) != (after.host, after.reporting);
            assert!(from_vim || !commanded, "{id}: host or reporting");
            let moved = before.host != after.host;
            if before.heartbeating != after.heartbeating {
                let told = self.sender() == Some(before.host) && self.event_of() == Some(*id);
                assert!(told || moved, "{id}: heartbeat");
            }
            assert!(!moved || !after.heartbeating, "{id} heartbeats where it has just come to");
        }
    }

    /// Which instance the step's event is about.
    fn event_of(&self) -> Option<InstanceId> {
        let Step::Event(_, _, event) = self.step else { return None };
        match event {
            ServerEvent::MonitorReady => None,
            ServerEvent::Instance(instance, _)
            | ServerEvent::Running(instance, _)
            | ServerEvent::Stopped(instance, _)
            | ServerEvent::IllHealth(instance, _)
            | ServerEvent::Loss(instance)
            | ServerEvent::VoteNotify(instance, _) => Some(*instance),
        }
    }

    /// Only an event makes an event, only about its instance and under the name of its host; a
    /// heartbeat that it changed is told.
    fn vim_is_told_what_is_known(&self) {
        let mut states = 0;
        for output in &self.outputs {
            if let Output::Ask(question) = output {
                let host = &self.after.hosts[&question.host];
                assert_eq!(*host.name, *question.hostname);
            }
            let Output::Event(event) = output else { continue };
            let known = &self.after.instances[&event.instance];
            assert_eq!(self.event_of(), Some(event.instance));
            assert_eq!(self.sender(), Some(known.host));
            assert_eq!(*self.after.hosts[&known.host].name, *event.hostname);
            if let EventKind::Service { reporting, heartbeating, .. } = event.kind {
                assert_eq!((reporting, heartbeating), (known.reporting, known.heartbeating));
                states += 1;
            }
        }
        let changed = self.event_of().is_some_and(|id| {
            let heartbeating =
                |snapshot: &Snapshot| snapshot.instances.get(&id).map(|known| known.heartbeating);
            heartbeating(&self.before) != heartbeating(&self.after)
        });
        assert!(states <= 1 && (states == 1 || !changed), "{states} states");
    }

    /// An alarm goes out if and only if a LOSS or ILLHEALTH came from the instance's own host
    /// while reporting was on at both levels.
    fn alarms_are_allowed(&self) {
        let failed = match self.step {
            Step::Event(_, _, ServerEvent::Loss(id) | ServerEvent::IllHealth(id, _)) => Some(id),
            _ => None,
        };
        let allowed = failed.and_then(|id| self.before.instances.get(id)).is_some_and(|known| {
            let host = self.before.hosts[&known.host].reporting;
            self.sender() == Some(known.host) && known.reporting && host
        });
        let is_alarm = |output: &&Output| matches!(output, Output::Event(event) if matches!(event.kind, EventKind::Alarm { .. }));
        let alarms = self.outputs.iter().filter(is_alarm).count();
        assert_eq!(alarms, usize::from(allowed), "{:?}", self.step);
    }

    /// An input makes at most three outputs, but for those that are about every instance of a
    /// host and for the audit.
    fn outputs_are_bounded(&self) {
        let gone = self.before.instances.keys();
        let gone = gone.filter(|id| !self.after.instances.contains_key(id)).count();
        let host = |id: Option<HostId>| {
            id.and_then(|id| self.after.hosts.get(&id)).map_or(0, |host| host.instances)
        };
        let bound = match self.step {
            Step::Host(id, ..) => 2 * gone + 2.max(1 + host(Some(super::host_id(*id)))),
            Step::HostGone(..) => 2 * gone,
            Step::Event(_, _, ServerEvent::MonitorReady) => 1 + host(self.sender()),
            Step::Event(..) | Step::Command(_) => 3,
            Step::Audit | Step::AuditRound => 4 * self.after.hosts.len(),
            Step::State(..) | Step::RequestHosts | Step::Wait(_) => 1,
            Step::List(_, listed) => 2 * listed.len(),
        };
        let notes =
            self.outputs.iter().filter(|o| matches!(o, Output::Note(_) | Output::Moved(_))).count();
        assert!(self.outputs.len() - notes <= bound, "{} of {bound}", self.outputs.len() - notes);
        assert!(notes <= bound.max(3) + 1, "{notes} notes");
    }
}
