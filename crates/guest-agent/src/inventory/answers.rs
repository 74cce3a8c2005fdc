//! What the VIM answers when it is asked of a host.

use heartbeat_proto::control::AgentCommand;
use heartbeat_proto::vim::{HostState, InstanceList, ListedInstance};
use heartbeat_proto::{HostId, InstanceId};

use super::Inventory;
use super::output::{Note, Question, Revision};

impl Inventory {
    /// The VIM has said whether faults of a host's instances are reported. What it commanded since
    /// it was asked counts more.
    pub(crate) fn handle_host_state(&mut self, question: &Question, answer: &HostState) {
        let id = question.host;
        let Some(host) = self.hosts.get_mut(&id) else { return };
        if host.state_known || question.asked_at < host.added_at {
            return;
        }
        let other = answer.uuid.is_some_and(|uuid| uuid != id)
            || answer.hostname.as_ref().is_some_and(|name| **name != *host.name);
        if other {
            let host = host.name.clone();
            self.out.note(Note::AnswerRefused { host, why: "it is about another host" });
            return;
        }
        host.state_known = true;
        if host.switched_at <= question.asked_at {
            self.switch_host(id, answer.state.into());
        }
    }

    /// The VIM has listed a host's instances. None is removed for not being listed. A list that
    /// names another host is asked for again.
    pub(crate) fn handle_instances(&mut self, question: &Question, answer: &InstanceList) {
        let id = question.host;
        let Some(host) = self.hosts.get_mut(&id) else { return };
        let current = host.added_at.max(self.deleted_lost_at);
        if host.instances_known || question.asked_at < current {
            return;
        }
        let name = host.name.clone();
        let (ours, others): (Vec<_>, Vec<_>) =
            answer.instances.iter().partition(|listed| *listed.hostname == *name);
        host.instances_known = others.is_empty();
        for listed in ours {
            self.listed(id, listed, question.asked_at);
        }
        if others.is_empty() {
            self.host_listed(id);
        } else {
            self.out.note(Note::AnswerRefused { host: name, why: "it lists another host" });
        }
    }

    /// This host is no longer waited for.
    pub(super) fn host_listed(&mut self, id: HostId) {
        self.unlisted.remove(&id);
        if self.unlisted.is_empty() {
            self.deleted = std::collections::HashMap::new();
        }
    }

    fn listed(&mut self, host: HostId, listed: &ListedInstance, asked_at: Revision) {
        let instance = listed.uuid;
        let Some(reporting) = listed.reporting() else { return };
        let deleted_at = self.deleted.get(&instance).copied().unwrap_or_default();
        // What was commanded since it was asked counts more: where the instance is, and whether it
        // is reported, each for itself.
        match self.instances.get_mut(&instance) {
            None if deleted_at > asked_at => {}
            None => {
                self.add_instance(instance, host, reporting, deleted_at);
                self.expect_word(instance);
            }
            Some(known) if known.host != host => {
                if known.commanded_at <= asked_at {
                    self.move_instance(instance, host, reporting);
                }
            }
            Some(known) if known.switched_at > asked_at => {}
            Some(known) => {
                if std::mem::replace(&mut known.reporting, reporting) != reporting {
                    let host = self.host_name(host);
                    self.out.note(Note::InstanceReporting { instance, host, reporting });
                }
                self.command(host, AgentCommand::ModInstance { instance, reporting });
            }
        }
    }

    /// The VIM knows more of this instance than we do, and maybe what is no longer so.
    fn expect_word(&mut self, instance: InstanceId) {
        if let Some(known) = self.instances.get_mut(&instance) {
            known.unheard = true;
        }
    }
}
