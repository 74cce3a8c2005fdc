//! What guestAgent decides: what a message of the VIM's, of a guestServer's or of the maintenance system's changes, and what
//! is sent for it.
//!
//! Pure and synchronous: time and bytes go in, jobs for the VIM and the bytes of datagrams come out. The
//! [`Daemon`](crate::daemon::Daemon) turns it with the clock, the sockets and the transmitter of the machine, the simulation of
//! a whole site (crates/simulation) with its own.

mod servers;
mod vim;

use std::net::SocketAddr;

use heartbeat_proto::MonotonicTime;
use heartbeat_proto::control::{Ack, AgentCommand};
use tracing::debug;

use crate::courier::Courier;
use crate::fleet::Desk;
use crate::history::Histories;
use crate::inventory::{Inventory, Output};
use crate::journal::Journal;
use crate::vim::Dispatcher;

/// The inventory, and what is on its way to and from the VIM and the guestServers.
///
/// After every `handle_*`, and when [`poll_timeout`](Self::poll_timeout) has come: [`carry_out`](Self::carry_out), then
/// [`poll_job`](Self::poll_job) and [`poll_letter`](Self::poll_letter).
pub(crate) struct Core {
    pub(crate) inventory: Inventory,
    pub(crate) histories: Histories,
    pub(crate) journal: Journal,
    /// What is on its way to and from guestServers.
    pub(crate) courier: Courier,
    pub(crate) desk: Desk,
    /// The event of a guestServer's that this turn deals with.
    open: Option<servers::Open>,
    /// What is to be acknowledged.
    acks: Vec<(SocketAddr, Ack)>,
    pub(crate) dispatcher: Dispatcher,
    /// Why the VIM could not be told the last time; none since it could.
    pub(crate) vim_failure: Option<String>,
    /// When the VIM last took an event or answered a question.
    pub(crate) vim_heard: Option<MonotonicTime>,
    /// When the job that is with the transmitter was handed over.
    asked_vim_at: MonotonicTime,
    hosts_wanted: bool,
    random: Box<dyn FnMut() -> u32>,
}

/// A datagram to a guestServer, to be sent now.
#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) to: SocketAddr,
    pub(crate) what: Contents,
}

/// What a datagram is.
#[derive(Debug)]
pub(crate) enum Contents {
    Ack,
    Command {
        command: AgentCommand,
        /// It was sent before.
        again: bool,
    },
}

impl Core {
    /// Nothing is known yet. `seals`: whether datagrams are sealed; `random` gives numbers that nobody can guess.
    pub(crate) fn new(desk: Desk, seals: bool, random: Box<dyn FnMut() -> u32>) -> Self {
        let mut courier = Courier::default();
        courier.set_always_numbered(seals);
        Self {
            inventory: Inventory::default(),
            histories: Histories::default(),
            journal: Journal::default(),
            courier,
            desk,
            open: None,
            acks: Vec::new(),
            dispatcher: Dispatcher::default(),
            vim_failure: None,
            vim_heard: None,
            asked_vim_at: MonotonicTime::START,
            hosts_wanted: false,
            random,
        }
    }

    /// When something is to be done although nothing has happened.
    pub(crate) fn poll_timeout(&self) -> Option<MonotonicTime> {
        self.courier.poll_timeout().into_iter().chain(self.dispatcher.poll_timeout()).min()
    }

    /// Whether the maintenance system is to be asked for the hosts, once.
    pub(crate) fn poll_hosts_wanted(&mut self) -> bool {
        std::mem::take(&mut self.hosts_wanted)
    }

    /// Does what the inventory wants.
    pub(crate) fn carry_out(&mut self, now: MonotonicTime) {
        while let Some(output) = self.inventory.poll_output() {
            match output {
                Output::Command(to, command) => {
                    self.courier.push(now, to, command, &mut self.random);
                }
                Output::Event(event) => self.push_event(now, event),
                Output::Ask(question) => {
                    if self.dispatcher.push_question(question) {
                        self.journal.metrics.questions_failed.increment();
                    }
                }
                Output::Deleted(instance) => {
                    let dropped = self.dispatcher.handle_deleted(instance);
                    self.journal.metrics.events.outdated.add(dropped as u64);
                    if dropped > 0 {
                        debug!(%instance, dropped, "events of a deleted instance dropped");
                    }
                }
                Output::Moved(instance) => {
                    let dropped = self.dispatcher.handle_moved(instance);
                    self.journal.metrics.events.outdated.add(dropped as u64);
                    if dropped > 0 {
                        let host = self.inventory.host_of(instance).unwrap_or_default();
                        self.journal.outdated(instance, &host, dropped);
                    }
                }
                Output::ReadyForMaintenance => {
                    self.journal.metrics.hosts_asked.increment();
                    self.hosts_wanted = true;
                }
                Output::Note(note) => {
                    self.histories.note(now, &note);
                    self.journal.note(&note);
                }
            }
        }
        self.close(now);
    }
}
