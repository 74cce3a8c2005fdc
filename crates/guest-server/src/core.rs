//! What guestServer decides: what a command of the controller's changes, what it is told of the guests.
//!
//! Pure and synchronous: time, datagrams and reports go in, orders for the guests' seats and the bytes of datagrams come out.
//! The [`Daemon`](crate::daemon::Daemon) turns it with the clock and the socket of the machine, the simulation of a whole site
//! (crates/simulation) with its own.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use daemon_kit::describe;
use heartbeat_proto::control::{AgentCommand, ServerEvent};
use heartbeat_proto::guest::NotificationType;
use heartbeat_proto::session::Report;
use heartbeat_proto::{InstanceId, MonotonicTime};
use tracing::debug;

use crate::controller::{Contents, Desk, Incoming, Letter, Outcome, Rejected};
use crate::instances::{Instances, Refused};
use crate::journal::Journal;
use crate::metrics::{ACK, Fate};

/// Instances told of in one turn of the loop while a query is answered.
const QUERY_BATCH: usize = 32;

/// The instances, and the correspondence with the controller about them.
pub(crate) struct Core {
    pub(crate) instances: Instances,
    pub(crate) desk: Desk,
    query: Query,
    journal: Arc<Journal>,
}

/// The answer to QRY_INST, one instance after the other.
#[derive(Default)]
struct Query {
    waiting: VecDeque<InstanceId>,
    /// Another query came meanwhile: answer that too, once.
    again: bool,
}

impl Query {
    fn ask(&mut self, instances: &Instances) {
        if self.waiting.is_empty() {
            self.waiting.extend(instances.ids());
        } else {
            self.again = true;
        }
    }
}

impl Core {
    pub(crate) fn new(instances: Instances, desk: Desk, journal: Arc<Journal>) -> Self {
        Self { instances, desk, query: Query::default(), journal }
    }

    /// A datagram came in. `micros` is the time of the wall; `may_command` says whether one without a seal may come from an
    /// address. Says whether it was thrown away because it may not.
    pub(crate) fn handle_datagram(
        &mut self,
        now: MonotonicTime,
        micros: u64,
        bytes: &[u8],
        from: SocketAddr,
        may_command: impl Fn(IpAddr) -> bool,
    ) -> bool {
        let incoming = self.desk.handle_datagram(now, micros, bytes, from, may_command);
        let Incoming { outcome, new_commander } = incoming;
        if let Some(commander) = new_commander {
            self.journal.commanded(commander);
        }
        let datagrams = &self.journal.metrics.datagrams;
        match outcome {
            Ok(Outcome::Command(command)) => {
                let name = command.name();
                let fate = self.handle_command(command);
                self.journal.metrics.datagrams.received(Some(name), fate);
            }
            Ok(Outcome::Acknowledged) => datagrams.received(Some(ACK), Fate::Obeyed),
            Ok(Outcome::Double) => datagrams.received(None, Fate::Double),
            Ok(Outcome::OldNews(what)) => {
                datagrams.received(None, Fate::OldNews);
                debug!(%from, what, "old news");
            }
            Err(rejected) => {
                let fate = match rejected {
                    Rejected::Unsigned => Fate::Unsigned,
                    Rejected::Seal(_) => Fate::BadSeal,
                    Rejected::Stranger => Fate::Stranger,
                    Rejected::Datagram(_) | Rejected::Payload(_) => Fate::Malformed,
                };
                datagrams.received(rejected.command(), fate);
                self.journal.bad_datagram(from, &describe(&rejected));
                return matches!(rejected, Rejected::Stranger);
            }
        }
        false
    }

    fn handle_command(&mut self, command: AgentCommand) -> Fate {
        debug!(?command, "command");
        let name = command.name();
        let (instance, done) = match command {
            AgentCommand::ModHost { host, reporting } => {
                if self.instances.host_reporting() != reporting {
                    self.journal.host_reporting(host, reporting);
                }
                self.instances.set_host_reporting(reporting);
                return Fate::Obeyed;
            }
            AgentCommand::Query => {
                self.query.ask(&self.instances);
                return Fate::Obeyed;
            }
            AgentCommand::Loopback => return Fate::Obeyed,
            AgentCommand::AddInstance { instance, reporting }
            | AgentCommand::ModInstance { instance, reporting } => {
                (instance, self.instances.provision(instance, reporting))
            }
            AgentCommand::DelInstance { instance } => (instance, self.instances.delete(instance)),
            AgentCommand::Vote { instance, event } => {
                (instance, self.instances.act(instance, event, NotificationType::Revocable))
            }
            AgentCommand::Notify { instance, event } => {
                (instance, self.instances.act(instance, event, NotificationType::Irrevocable))
            }
        };
        let (fate, why) = match done {
            Ok(()) => return Fate::Obeyed,
            Err(Refused::UnknownInstance) => (Fate::UnknownInstance, "no such instance"),
            Err(Refused::TooManyOrders) => (Fate::Refused, "too many wait for it"),
            Err(Refused::TooManyInstances) => {
                (Fate::Refused, "too many instances without a channel")
            }
        };
        let guest = self.instances.name(instance);
        self.journal.bad_command(instance, guest.as_deref(), name, why);
        fate
    }

    /// A guest's session has something that the controller has to know.
    pub(crate) fn handle_report(
        &mut self,
        now: MonotonicTime,
        instance: InstanceId,
        report: Report,
    ) {
        let event = match report {
            Report::Running(info) => ServerEvent::Running(instance, info),
            Report::Stopped(info) => ServerEvent::Stopped(instance, info),
            Report::IllHealth(info) => ServerEvent::IllHealth(instance, info),
            Report::Loss => ServerEvent::Loss(instance),
            Report::Vote(vote) => ServerEvent::VoteNotify(instance, vote),
        };
        self.tell(now, &event);
    }

    /// Whether there is more to be told of a query.
    pub(crate) fn has_to_answer(&self) -> bool {
        !self.query.waiting.is_empty()
    }

    /// Goes on with the answer to a query, a part of it at a time so that others have their turn.
    pub(crate) fn answer_query(&mut self, now: MonotonicTime) {
        for _ in 0..QUERY_BATCH {
            let Some(instance) = self.query.waiting.pop_front() else { break };
            if let Some(info) = self.instances.info(instance) {
                self.tell(now, &ServerEvent::Instance(instance, info));
            }
        }
        if self.query.waiting.is_empty() && std::mem::take(&mut self.query.again) {
            self.query.ask(&self.instances);
        }
    }

    fn tell(&mut self, now: MonotonicTime, event: &ServerEvent) {
        if !self.desk.push(now, event.clone()) {
            let why = "the controller's address is not known yet";
            self.journal.unsent(event, self.name(event).as_deref(), why);
        }
    }

    /// The next datagram to be sent, with its bytes in `bytes`; until there is none.
    pub(crate) fn poll_letter(
        &mut self,
        now: MonotonicTime,
        micros: u64,
        bytes: &mut Vec<u8>,
    ) -> Option<Letter> {
        let letter = self.desk.poll_letter(now, micros, bytes);
        while let Some(event) = self.desk.poll_lost() {
            self.journal.given_up(&event, self.name(&event).as_deref());
        }
        letter
    }

    /// What became of a datagram that was to be sent.
    pub(crate) fn handle_sent(&self, letter: &Letter, sent: io::Result<()>) {
        let datagrams = &self.journal.metrics.datagrams;
        match (&letter.what, sent) {
            (Contents::Ack, sent) => datagrams.acknowledged(sent.is_ok()),
            (Contents::Event { event, again }, Ok(())) => datagrams.sent(event.name(), *again),
            (Contents::Event { event, .. }, Err(error)) => {
                let why = format!("{}: {error}", letter.to);
                self.journal.unsent(event, self.name(event).as_deref(), &why);
            }
        }
    }

    /// What the guest of an event's instance calls itself.
    fn name(&self, event: &ServerEvent) -> Option<String> {
        event.instance().and_then(|instance| self.instances.name(instance))
    }
}
