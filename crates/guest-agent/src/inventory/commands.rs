//! What the VIM commands over HTTP.

use heartbeat_proto::control::AgentCommand;
use heartbeat_proto::guest::{EventType, NotificationType};
use heartbeat_proto::vim::HEARTBEAT;
use heartbeat_proto::vim::command::{Answer, Reason, Service, ServiceStatus};
use heartbeat_proto::{HostId, InstanceId, MonotonicTime};

use super::output::Note;
use super::{Inventory, MAX_DELETED, Revision};

/// The longest name of an action, in bytes.
const MAX_ACTION: usize = 64;

/// A command whose form is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// `POST /v1/hosts/<uuid>`
    AddHost(HostId),
    /// `PUT /v1/hosts/<uuid>/enable` and `/disable`
    SwitchHost {
        /// The host's name: what it is looked up by.
        hostname: Box<str>,
        /// Whether faults of its instances are reported.
        reporting: bool,
    },
    /// `GET /v1/hosts/<uuid>`
    GetHost(HostId),
    /// `DELETE /v1/hosts/<uuid>`
    DeleteHost(HostId),
    /// `POST /v1/instances/<uuid>`
    AddInstance {
        /// Which.
        instance: InstanceId,
        /// The host that it is on.
        hostname: Box<str>,
        /// What it wants.
        services: Vec<Service>,
    },
    /// `PATCH /v1/instances/<uuid>`
    SwitchInstance {
        /// Which.
        instance: InstanceId,
        /// The host that it is on.
        hostname: Box<str>,
        /// What is switched.
        services: Vec<Service>,
    },
    /// `GET /v1/instances/<uuid>`
    GetInstance(InstanceId),
    /// `DELETE /v1/instances/<uuid>`
    DeleteInstance(InstanceId),
    /// `POST /v1/instances/<uuid>/vote` and `/notify`
    Act {
        /// Which.
        instance: InstanceId,
        /// What is about to happen to it.
        action: Box<str>,
        /// Asked or told.
        notification: NotificationType,
    },
}

/// A command that was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// With this answer.
    Answer(Answer),
    /// There is nothing to say.
    NoContent,
}

/// A command that was refused. Nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal(pub(crate) Reason);

const PASS: Result<Outcome, Refusal> = Ok(Outcome::Answer(Answer::PASS));

impl Inventory {
    /// The VIM commands something.
    ///
    /// # Errors
    /// When it is refused; nothing has changed then.
    pub(crate) fn handle_command(
        &mut self,
        now: MonotonicTime,
        command: Command,
    ) -> Result<Outcome, Refusal> {
        match command {
            Command::AddHost(host) => match self.hosts.contains_key(&host) {
                true => PASS,
                false => Err(self.no_host(now)),
            },
            Command::SwitchHost { hostname, reporting } => {
                let host = self.named(&hostname).ok_or_else(|| self.no_host(now))?;
                let revision = self.next_revision();
                if let Some(host) = self.hosts.get_mut(&host) {
                    host.switched_at = revision;
                }
                self.switch_host(host, reporting);
                PASS
            }
            Command::GetHost(id) => {
                let Some(host) = self.hosts.get(&id) else { return Err(self.no_host(now)) };
                let (hostname, state) = (host.name.clone(), host.reporting.into());
                Ok(Outcome::Answer(Answer::Host { uuid: id, hostname, state }))
            }
            // Hosts come and go with the maintenance system.
            Command::DeleteHost(_) => Ok(Outcome::NoContent),
            Command::AddInstance { instance, hostname, services } => {
                if !services.iter().any(|service| service.name() == HEARTBEAT) {
                    return Err(Refusal(Reason::InvalidData));
                }
                let host = self.named(&hostname).ok_or(Refusal(Reason::InvalidData))?;
                self.want_instance(instance, host);
                PASS
            }
            Command::SwitchInstance { instance, hostname, services } => {
                let reporting = wanted_state(&services)?;
                let host = self.named(&hostname).ok_or_else(|| self.no_host(now))?;
                self.switch_instance(instance, host, reporting);
                self.services(instance)
            }
            Command::GetInstance(instance) => self.services(instance),
            Command::DeleteInstance(instance) => {
                self.remember_deletion(instance);
                if !self.instances.contains_key(&instance) {
                    return Err(Refusal(Reason::NotFound));
                }
                self.delete_instance(instance);
                Ok(Outcome::NoContent)
            }
            Command::Act { instance, action, notification } => {
                self.act(instance, action, notification)
            }
        }
    }

    /// Switches the reporting of a host and tells its guestServer.
    pub(super) fn switch_host(&mut self, id: HostId, reporting: bool) {
        let Some(host) = self.hosts.get_mut(&id) else { return };
        if std::mem::replace(&mut host.reporting, reporting) != reporting {
            let name = host.name.clone();
            self.out.note(Note::HostReporting { name, reporting });
        }
        self.command_host(id);
    }

    /// Switches the reporting of an instance, adding or moving it as it takes.
    fn switch_instance(&mut self, instance: InstanceId, host: HostId, reporting: bool) {
        let revision = self.next_revision();
        match self.instances.get_mut(&instance) {
            None => self.add_instance(instance, host, reporting, revision),
            Some(known) => {
                known.commanded_at = revision;
                known.switched_at = revision;
                let moved = known.host != host;
                let before = std::mem::replace(&mut known.reporting, reporting);
                if before != reporting {
                    let host = self.host_name(host);
                    self.out.note(Note::InstanceReporting { instance, host, reporting });
                }
                if moved {
                    self.move_instance(instance, host, reporting);
                } else {
                    self.command(host, AgentCommand::ModInstance { instance, reporting });
                }
            }
        }
    }

    /// Adds an instance with its reporting off, or moves it as it is.
    fn want_instance(&mut self, instance: InstanceId, host: HostId) {
        let revision = self.next_revision();
        match self.instances.get_mut(&instance) {
            None => {
                self.add_instance(instance, host, false, revision);
                // Where it is was commanded now; whether it is reported, a list may still say.
                let deleted_at = self.deleted.get(&instance).copied().unwrap_or_default();
                if let Some(known) = self.instances.get_mut(&instance) {
                    known.switched_at = deleted_at;
                }
            }
            Some(known) => {
                known.commanded_at = revision;
                if known.host == host {
                    return;
                }
                let reporting = known.reporting;
                self.move_instance(instance, host, reporting);
            }
        }
        self.command(host, AgentCommand::Query);
    }

    /// The VIM deletes an instance, known or not: a list that it was asked for before may still
    /// name it.
    fn remember_deletion(&mut self, instance: InstanceId) {
        let revision = self.next_revision();
        if self.unlisted.is_empty() {
            return;
        }
        if self.deleted.len() >= MAX_DELETED {
            self.deleted.clear();
            self.deleted_lost_at = revision;
        }
        self.deleted.insert(instance, revision);
    }

    fn act(
        &mut self,
        instance: InstanceId,
        action: Box<str>,
        notification: NotificationType,
    ) -> Result<Outcome, Refusal> {
        if action.is_empty() || action.len() > MAX_ACTION {
            return Err(Refusal(Reason::InvalidData));
        }
        let known = self.instances.get_mut(&instance).ok_or(Refusal(Reason::NotFound))?;
        let event = EventType::from(&*action);
        let timeout = if known.heartbeating { known.times.of(&event, notification) } else { 0 };
        let (host, heartbeating) = (known.host, known.heartbeating);
        if heartbeating {
            known.last_action = Some(event.clone());
            self.command(
                host,
                match notification {
                    NotificationType::Revocable => AgentCommand::Vote { instance, event },
                    NotificationType::Irrevocable => AgentCommand::Notify { instance, event },
                },
            );
        }
        let hostname = self.host_name(host);
        Ok(Outcome::Answer(Answer::Action { uuid: instance, hostname, action, timeout }))
    }

    fn services(&self, instance: InstanceId) -> Result<Outcome, Refusal> {
        let known = self.instances.get(&instance).ok_or(Refusal(Reason::NotFound))?;
        Ok(Outcome::Answer(Answer::Services {
            uuid: instance,
            hostname: self.host_name(known.host),
            services: [ServiceStatus::new(
                known.reporting,
                known.heartbeating,
                known.times.restart,
            )],
        }))
    }

    fn no_host(&mut self, now: MonotonicTime) -> Refusal {
        self.want_hosts(now);
        Refusal(Reason::NotFound)
    }

    fn next_revision(&mut self) -> Revision {
        self.revision.0 += 1;
        self.revision
    }
}

/// Whether the heartbeat service shall be reported.
fn wanted_state(services: &[Service]) -> Result<bool, Refusal> {
    let [Service::Object { service, state }, ..] = services else {
        return Err(Refusal(Reason::InvalidData));
    };
    if service != HEARTBEAT {
        return Err(Refusal(Reason::InvalidData));
    }
    match state.as_deref() {
        Some("enabled") => Ok(true),
        Some("disabled") => Ok(false),
        Some(_) => Err(Refusal(Reason::BadState)),
        None => Err(Refusal(Reason::Parse)),
    }
}
