//! guestAgent without a machine, for the simulation of a whole site (crates/simulation): bytes of datagrams in and out,
//! requests to the VIM out and their replies in. Nothing else uses it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use heartbeat_proto::control::{Guard, MaintenanceCommand};
use heartbeat_proto::guest::NotificationType;
use heartbeat_proto::vim::InstanceEvent;
use heartbeat_proto::vim::command::{Answer, Service};
use heartbeat_proto::{HostId, InstanceId, MonotonicTime};

use crate::core::Core;
use crate::fleet::Desk;
use crate::inventory::{self, Command, Outcome, Topic};
use crate::vim::{Job, SimulatedReply};

/// The pause before the first step of the audit.
pub const FIRST_AUDIT: Duration = inventory::FIRST_AUDIT;

/// The pause between two steps of it.
pub const AUDIT_STEP: Duration = Duration::from_millis(100);

/// How often the maintenance system is asked for the hosts until it tells of the first one.
pub const READY_PERIOD: Duration = crate::daemon::READY_PERIOD;

/// A request to the VIM.
#[derive(Debug, Clone)]
pub enum Request {
    /// An instance's event.
    Event(InstanceEvent),
    /// The state of a host is asked for.
    State(HostId),
    /// The instances of a host are asked for.
    Instances(HostId),
}

/// What came of a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// 200 with this body.
    Success(Vec<u8>),
    /// The connection was closed without a byte after the whole request was sent.
    Silence,
    /// 500.
    Failed,
    /// The connection was refused.
    Away,
}

/// How much waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Events that the VIM does not have.
    pub events: usize,
    /// Questions to it.
    pub questions: usize,
    /// Commands that are not acknowledged.
    pub commands: usize,
    /// Messages of guestServers' that are held.
    pub held: usize,
}

/// One life of a guestAgent.
pub struct Agent {
    core: Core,
    bytes: Vec<u8>,
    job: Option<Job>,
}

impl Agent {
    /// A process that has just started.
    #[must_use]
    pub fn new(
        address: IpAddr,
        server_port: u16,
        guard: Guard,
        random: Box<dyn FnMut() -> u32>,
    ) -> Self {
        let seals = guard.seals();
        let desk = Desk::new(address, server_port, "controller-0".to_owned(), guard);
        Self { core: Core::new(desk, seals, random), bytes: Vec::new(), job: None }
    }

    /// A datagram of a guestServer's came in.
    pub fn handle_datagram(
        &mut self,
        now: MonotonicTime,
        micros: u64,
        bytes: &[u8],
        from: SocketAddr,
    ) {
        self.core.handle_datagram(now, micros, bytes, from);
        self.core.carry_out(now);
    }

    /// The maintenance system told of a host.
    pub fn handle_maintenance(&mut self, now: MonotonicTime, command: &MaintenanceCommand<'_>) {
        self.core.inventory.handle_maintenance(command);
        self.core.carry_out(now);
    }

    /// It is time for a step of the audit.
    pub fn handle_audit_step(&mut self, now: MonotonicTime) {
        self.core.inventory.handle_audit_step();
        self.core.carry_out(now);
    }

    /// It is time to ask the maintenance system for the hosts.
    pub fn handle_ready_due(&mut self, now: MonotonicTime) {
        self.core.inventory.request_hosts(now);
        self.core.carry_out(now);
    }

    /// The VIM's `PUT /v1/hosts/<uuid>/enable` or `/disable`. Says whether it was answered 200.
    pub fn switch_host(&mut self, now: MonotonicTime, hostname: &str, reporting: bool) -> bool {
        self.command(now, Command::SwitchHost { hostname: hostname.into(), reporting }).is_some()
    }

    /// The VIM's `PATCH /v1/instances/<uuid>`. Says whether it was answered 200.
    pub fn switch_instance(
        &mut self,
        now: MonotonicTime,
        instance: InstanceId,
        hostname: &str,
        reporting: bool,
    ) -> bool {
        let state = if reporting { "enabled" } else { "disabled" };
        let service = Service::Object { service: "heartbeat".into(), state: Some(state.into()) };
        let (hostname, services) = (hostname.into(), vec![service]);
        self.command(now, Command::SwitchInstance { instance, hostname, services }).is_some()
    }

    /// The VIM's `POST /v1/instances/<uuid>/vote` or `/notify`. Gives for how many seconds its outcome is to be waited for.
    pub fn act(
        &mut self,
        now: MonotonicTime,
        instance: InstanceId,
        action: &str,
        notification: NotificationType,
    ) -> Option<u64> {
        let action = action.into();
        match self.command(now, Command::Act { instance, action, notification })? {
            Outcome::Answer(Answer::Action { timeout, .. }) => Some(timeout),
            Outcome::Answer(_) | Outcome::NoContent => None,
        }
    }

    fn command(&mut self, now: MonotonicTime, command: Command) -> Option<Outcome> {
        let outcome = self.core.inventory.handle_command(now, command).ok();
        self.core.carry_out(now);
        outcome
    }

    /// The next request to the VIM; only one at a time is under way.
    pub fn poll_request(&mut self, now: MonotonicTime) -> Option<Request> {
        let job = self.core.poll_job(now)?;
        self.job = Some(job.clone());
        Some(match job {
            Job::Event(event) => Request::Event(event),
            Job::Question(question) => match question.topic {
                Topic::State => Request::State(question.host),
                Topic::Instances => Request::Instances(question.host),
            },
        })
    }

    /// What came of it.
    pub fn handle_reply(&mut self, now: MonotonicTime, reply: Reply) {
        let Some(job) = self.job.take() else { return };
        let reply = match reply {
            Reply::Success(body) => SimulatedReply::Success(body),
            Reply::Silence => SimulatedReply::Silence,
            Reply::Failed => SimulatedReply::Failed,
            Reply::Away => SimulatedReply::Away,
        };
        self.core.handle_done(now, reply.conclude(job));
        self.core.carry_out(now);
    }

    /// The next datagram to be sent.
    pub fn poll_datagram(
        &mut self,
        now: MonotonicTime,
        micros: u64,
    ) -> Option<(SocketAddr, Vec<u8>)> {
        let letter = self.core.poll_letter(now, micros, &mut self.bytes)?;
        self.core.handle_sent(&letter, Ok(()));
        Some((letter.to, self.bytes.clone()))
    }

    /// Whether the maintenance system is asked for the hosts, once.
    pub fn poll_hosts_wanted(&mut self) -> bool {
        self.core.poll_hosts_wanted()
    }

    /// When something may be to be sent although nothing has happened.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<MonotonicTime> {
        self.core.poll_timeout()
    }

    /// Whether it knows a host: then there are audits.
    #[must_use]
    pub fn knows_hosts(&self) -> bool {
        self.core.inventory.host_count() > 0
    }

    /// Whether faults of an instance are reported, of its host as well, and whether it is heartbeating.
    #[must_use]
    pub fn instance(&self, instance: InstanceId) -> Option<(bool, bool, bool)> {
        let (known, host) = self.core.inventory.instance(instance)?;
        Some((known.reporting, host, known.heartbeating))
    }

    /// How much waits.
    #[must_use]
    pub fn sizes(&self, now: MonotonicTime) -> Sizes {
        Sizes {
            events: self.core.dispatcher.event_count(),
            questions: self.core.dispatcher.question_count(),
            commands: self.core.courier.unacknowledged(now, Duration::MAX).0,
            held: self.core.courier.held(),
        }
    }
}
