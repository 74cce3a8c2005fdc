//! Hosts and instances: what is known, what a message changes, and what must be sent for it.
//!
//! Pure: messages and time go in, outputs come out. One `handle_*` for each source: the maintenance
//! system ([`maintenance`]), the guestServers ([`servers`]), the VIM's commands ([`commands`]), its
//! answers ([`answers`]), and the audit ([`audit`]). The caller takes every [`Output`] from
//! [`Inventory::poll_output`] after each. A message costs the same at 100,000 instances as at one,
//! but for those that are about every instance of a host.

mod answers;
mod audit;
mod commands;
mod maintenance;
mod output;
mod servers;
mod view;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use heartbeat_proto::control::{AgentCommand, InstanceInfo};
use heartbeat_proto::guest::{CorrectiveAction, EventType, Notice, NotificationType};
use heartbeat_proto::vim::{AlarmState, EventKind, InstanceEvent};
use heartbeat_proto::{HostId, InstanceId, MonotonicTime, TokenBucket};

pub(crate) use audit::{AUDIT_PERIOD, AUDIT_STEPS, FIRST_AUDIT};
pub(crate) use commands::{Command, Outcome, Refusal};
pub(crate) use output::{Found, Heard, Note, Output, Question, Revision, Topic, Withheld};

use output::Outputs;

/// How often the maintenance system is asked for the hosts at most.
const READY_PERIOD: Duration = Duration::from_secs(1);

/// How many deletions are remembered while a host's instances are not listed. The VIM may never
/// list them; when there are more, they are forgotten, and the lists under way asked for again.
const MAX_DELETED: usize = 10_000;

/// In how many audits a guestServer is told its host's reporting again after a change: no answer of
/// its shows it, so one datagram that is lost would leave it wrong for good.
const REMINDERS: u8 = 6;

/// A host, as far as it is known.
#[derive(Debug)]
struct Host {
    name: Box<str>,
    ip: IpAddr,
    /// Whether faults of its instances are reported; not before the VIM says so.
    reporting: bool,
    /// When the VIM last switched it.
    switched_at: Revision,
    /// What the VIM had commanded when the host was added: an answer to an earlier question is
    /// about its former life.
    added_at: Revision,
    /// Whether the VIM has answered for its state and its instances.
    state_known: bool,
    instances_known: bool,
    /// In an order, so that what is sent for all of them is sent in one.
    instances: BTreeSet<InstanceId>,
    /// When its guestServer last said something.
    heard_at: Option<MonotonicTime>,
    /// An address of its own that it was seen to send from, other than `ip`.
    other_address: Option<IpAddr>,
    /// In how many audits its guestServer is still told the reporting again.
    reminders: u8,
}

impl Host {
    /// Whether the VIM has said whether faults of its instances are reported.
    fn is_reporting_known(&self) -> bool {
        self.state_known || self.switched_at != Revision::default()
    }
}

/// An instance, as far as it is known.
#[derive(Debug)]
struct Instance {
    host: HostId,
    /// Whether its faults are reported. This record is what counts, whatever a guestServer says.
    reporting: bool,
    heartbeating: bool,
    /// The VIM has listed it, and no guestServer has said yet whether it is heartbeating. What is
    /// said first is told, even if it is what we took for granted: the VIM may know it otherwise.
    unheard: bool,
    /// What is to be done when it fails, from the last info that was no ILLHEALTH.
    repair_action: CorrectiveAction,
    times: Times,
    /// When the VIM last commanded something of it.
    commanded_at: Revision,
    /// When the VIM last said whether its faults are reported: by a PATCH, or by a DELETE.
    switched_at: Revision,
    /// What its guest was last asked about or told of.
    last_action: Option<EventType>,
}

/// The times that its guest asked for, in seconds.
#[derive(Debug, Clone, Copy)]
struct Times {
    restart: u64,
    shutdown: u64,
    suspend: u64,
    resume: u64,
    vote: u64,
}

impl Default for Times {
    /// What holds before any `init`.
    fn default() -> Self {
        Self { restart: 120, shutdown: 10, suspend: 10, resume: 10, vote: 10 }
    }
}

impl From<&InstanceInfo> for Times {
    fn from(info: &InstanceInfo) -> Self {
        Self {
            restart: info.restart_secs,
            shutdown: info.shutdown_secs,
            suspend: info.suspend_secs,
            resume: info.resume_secs,
            vote: info.vote_secs,
        }
    }
}

impl Times {
    /// How long a guest has for an action.
    fn of(&self, event: &EventType, notification: NotificationType) -> u64 {
        match (notification, event.notice()) {
            (NotificationType::Revocable, _) | (NotificationType::Irrevocable, None) => self.vote,
            (NotificationType::Irrevocable, Some(Notice::Shutdown)) => self.shutdown,
            (NotificationType::Irrevocable, Some(Notice::Suspend)) => self.suspend,
            (NotificationType::Irrevocable, Some(Notice::Resume)) => self.resume,
        }
    }
}

/// Everything that is known of hosts and instances.
#[derive(Debug, Default)]
pub(crate) struct Inventory {
    hosts: HashMap<HostId, Host>,
    names: HashMap<Box<str>, HostId>,
    addresses: HashMap<IpAddr, HostId>,
    instances: HashMap<InstanceId, Instance>,
    revision: Revision,
    /// Instances that the VIM deleted while it is still asked for its lists: an answer from before
    /// must not bring them back. Empty when no host is waited for, and at most [`MAX_DELETED`].
    deleted: HashMap<InstanceId, Revision>,
    /// When `deleted` last was full and emptied: lists that were asked for before are of no use.
    deleted_lost_at: Revision,
    /// Hosts whose instances the VIM has not listed yet.
    unlisted: HashSet<HostId>,
    /// Instances whose failures the VIM is not told of, because an operator said so.
    muted: HashSet<InstanceId>,
    ready: TokenBucket,
    audit: audit::Round,
    out: Outputs,
}

impl Inventory {
    /// The next thing to do, until there is none.
    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.out.pop()
    }

    /// The VIM is not told of this instance's failures until it is unmuted.
    pub(crate) fn mute(&mut self, instance: InstanceId) {
        self.muted.insert(instance);
    }

    /// It is told of them again.
    pub(crate) fn unmute(&mut self, instance: InstanceId) {
        self.muted.remove(&instance);
    }

    /// Asks the maintenance system for the hosts, at most once a second.
    fn want_hosts(&mut self, now: MonotonicTime) {
        if self.ready.take(now, 1, READY_PERIOD) {
            self.out.push(Output::ReadyForMaintenance);
        }
    }

    fn named(&self, hostname: &str) -> Option<HostId> {
        self.names.get(hostname).copied()
    }

    fn host_name(&self, host: HostId) -> Box<str> {
        self.hosts.get(&host).map(|host| host.name.clone()).unwrap_or_default()
    }

    /// The name of the host that an instance is on.
    pub(crate) fn host_of(&self, instance: InstanceId) -> Option<Box<str>> {
        self.instances.get(&instance).map(|known| self.host_name(known.host))
    }

    fn command(&mut self, host: HostId, command: AgentCommand) {
        if let Some(host) = self.hosts.get(&host) {
            self.out.push(Output::Command(host.ip, command));
        }
    }

    /// Tells a guestServer its host's reporting, now and in some audits to come.
    fn command_host(&mut self, id: HostId) {
        if let Some(host) = self.hosts.get_mut(&id) {
            host.reminders = REMINDERS;
            let reporting = host.reporting;
            self.command(id, AgentCommand::ModHost { host: id, reporting });
        }
    }

    /// Tells the VIM of an instance.
    fn tell(&mut self, instance: InstanceId, kind: EventKind) {
        if let Some(known) = self.instances.get(&instance) {
            let hostname = self.host_name(known.host);
            self.out.push(Output::Event(InstanceEvent { instance, hostname, kind }));
        }
    }

    fn tell_state(&mut self, instance: InstanceId) {
        if let Some(known) = self.instances.get(&instance) {
            let kind = EventKind::Service {
                reporting: known.reporting,
                heartbeating: known.heartbeating,
                restart_secs: known.times.restart,
            };
            self.tell(instance, kind);
        }
    }

    /// Tells the VIM of a failure, while failures are reported at both levels.
    fn alarm(&mut self, instance: InstanceId, state: AlarmState, repair_action: CorrectiveAction) {
        let Some(known) = self.instances.get(&instance) else { return };
        let host = self.hosts.get(&known.host).is_some_and(|host| host.reporting);
        let word = match state {
            AlarmState::Failed => "failed",
            AlarmState::Unhealthy => "unhealthy",
        };
        let name = self.host_name(known.host);
        let withheld = if !host || !known.reporting {
            Some(Withheld::Reporting)
        } else if self.muted.contains(&instance) {
            Some(Withheld::Muted)
        } else {
            None
        };
        if let Some(why) = withheld {
            self.out.note(Note::AlarmWithheld { instance, host: name, state: word, why });
        } else {
            self.out.note(Note::Alarm { instance, host: name, state: word });
            self.tell(instance, EventKind::Alarm { state, repair_action });
        }
    }

    /// Makes a new instance known and tells its guestServer.
    fn add_instance(
        &mut self,
        instance: InstanceId,
        host: HostId,
        reporting: bool,
        commanded_at: Revision,
    ) {
        self.instances.insert(
            instance,
            Instance {
                host,
                reporting,
                heartbeating: false,
                unheard: false,
                repair_action: CorrectiveAction::Log,
                times: Times::default(),
                commanded_at,
                switched_at: commanded_at,
                last_action: None,
            },
        );
        if let Some(host) = self.hosts.get_mut(&host) {
            host.instances.insert(instance);
        }
        let name = self.host_name(host);
        self.out.note(Note::InstanceAdded { instance, host: name, reporting });
        self.command(host, AgentCommand::AddInstance { instance, reporting });
    }

    /// Puts a known instance on another host, as it is but not heartbeating there yet.
    fn move_instance(&mut self, instance: InstanceId, to: HostId, reporting: bool) {
        let Some(known) = self.instances.get_mut(&instance) else { return };
        let from = std::mem::replace(&mut known.host, to);
        known.heartbeating = false;
        known.reporting = reporting;
        // The VIM may believe it alive: the new host's first word is told in any case.
        known.unheard = true;
        self.out.push(Output::Moved(instance));
        self.command(from, AgentCommand::DelInstance { instance });
        if let Some(host) = self.hosts.get_mut(&from) {
            host.instances.remove(&instance);
        }
        if let Some(host) = self.hosts.get_mut(&to) {
            host.instances.insert(instance);
        }
        let (from, name) = (self.host_name(from), self.host_name(to));
        self.out.note(Note::InstanceMoved { instance, from, to: name });
        self.command(to, AgentCommand::AddInstance { instance, reporting });
    }

    /// Forgets an instance and tells its guestServer.
    fn delete_instance(&mut self, instance: InstanceId) {
        let Some(known) = self.instances.remove(&instance) else { return };
        self.command(known.host, AgentCommand::DelInstance { instance });
        if let Some(host) = self.hosts.get_mut(&known.host) {
            host.instances.remove(&instance);
        }
        self.out.push(Output::Deleted(instance));
        let host = self.host_name(known.host);
        self.out.note(Note::InstanceDeleted { instance, host });
    }
}

#[cfg(test)]
mod tests;
