//! What the inventory wants done, and what it has seen.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use heartbeat_proto::control::AgentCommand;
use heartbeat_proto::vim::InstanceEvent;
use heartbeat_proto::{HostId, InstanceId};

/// What has to be done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Output {
    /// Send this command to the guestServer at this address.
    Command(IpAddr, AgentCommand),
    /// Tell the VIM.
    Event(InstanceEvent),
    /// Ask the VIM.
    Ask(Question),
    /// Nothing more is to be told of this instance as a failure: it is gone.
    Deleted(InstanceId),
    /// What waits of this instance's state and failure is outdated: it is on another host.
    Moved(InstanceId),
    /// Ask the maintenance system for the hosts.
    ReadyForMaintenance,
    /// Tell the log and the metrics.
    Note(Note),
}

/// What the VIM is asked of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    /// Which host.
    pub(crate) host: HostId,
    /// Its name.
    pub(crate) hostname: Box<str>,
    /// What of it.
    pub(crate) topic: Topic,
    /// What the VIM had commanded when it was asked: what it commands later outdates its answer.
    pub(crate) asked_at: Revision,
}

/// What of a host the VIM is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Topic {
    /// Whether faults of its instances are reported.
    State,
    /// Its instances.
    Instances,
}

/// A running number of the VIM's commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Revision(pub(super) u64);

/// What happened, for the log and the metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Note {
    /// The maintenance system told of a host.
    HostAdded { name: Box<str>, ip: IpAddr },
    /// A host has another name or address.
    HostChanged { name: Box<str>, ip: IpAddr },
    /// A host is gone, with so many instances.
    HostDeleted { name: Box<str>, instances: usize },
    /// What the maintenance system told of a host makes no sense.
    HostRefused { name: Box<str>, why: &'static str },
    /// The reporting of a host's faults was switched.
    HostReporting { name: Box<str>, reporting: bool },
    /// An instance is watched from now on.
    InstanceAdded { instance: InstanceId, host: Box<str>, reporting: bool },
    /// An instance is on another host.
    InstanceMoved { instance: InstanceId, from: Box<str>, to: Box<str> },
    /// An instance is gone.
    InstanceDeleted { instance: InstanceId, host: Box<str> },
    /// The reporting of an instance's faults was switched.
    InstanceReporting { instance: InstanceId, host: Box<str>, reporting: bool },
    /// An instance is heartbeating, or no longer.
    Heartbeating { instance: InstanceId, host: Box<str>, heartbeating: bool, by: Found },
    /// The VIM is told of a failure.
    Alarm { instance: InstanceId, host: Box<str>, state: &'static str },
    /// A failure is not told to the VIM.
    AlarmWithheld { instance: InstanceId, host: Box<str>, state: &'static str, why: Withheld },
    /// A vote or notification is over.
    Vote { instance: InstanceId, host: Box<str>, event: Box<str>, response: &'static str },
    /// A guestServer has started.
    ServerReady { host: Box<str> },
    /// A guestServer had another mind about an instance's reporting and was corrected.
    Corrected { instance: InstanceId, host: Box<str> },
    /// A guestServer has an instance that is not on its host, and was told to drop it.
    Disowned { instance: InstanceId, host: Box<str> },
    /// An event of an instance that is not known, or not on the host that sent it.
    ForeignEvent { instance: InstanceId, host: Box<str>, event: &'static str },
    /// A datagram from a host that is not known.
    UnknownSender { from: SocketAddr, hostname: Box<str> },
    /// A known host sends from another address than the maintenance system gave.
    OtherAddress { from: IpAddr, host: Box<str> },
    /// What the VIM answered makes no sense.
    AnswerRefused { host: Box<str>, why: &'static str },
}

/// Why the VIM is not told of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Withheld {
    /// Its reporting is off, at one level or both.
    Reporting,
    /// An operator has muted the instance.
    Muted,
    /// The VIM has not said yet whether faults of its host are reported; its guestServer keeps it until then.
    Unknown,
}

impl Withheld {
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Reporting => "its reporting is off",
            Self::Muted => "it is muted",
            Self::Unknown => "it is not known yet whether its host's reporting is on",
        }
    }
}

/// What became of an event of a guestServer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It was taken.
    Taken,
    /// Its host is not known.
    UnknownSender,
    /// Its instance is not known, or not on that host.
    Foreign,
    /// Its instance is not known, and its host's instances are not known yet, or it is a failure, and whether its host's
    /// reporting is on is not known yet: we have just started, and may know more soon.
    TooEarly,
}

/// How it was found that an instance's heartbeat started or stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// Its guestServer told.
    Told,
    /// An audit found it.
    Audit,
}

/// The queue of outputs.
#[derive(Debug, Default)]
pub(super) struct Outputs(VecDeque<Output>);

impl Outputs {
    pub(super) fn push(&mut self, output: Output) {
        self.0.push_back(output);
    }

    pub(super) fn note(&mut self, note: Note) {
        self.push(Output::Note(note));
    }

    pub(super) fn pop(&mut self) -> Option<Output> {
        self.0.pop_front()
    }
}
