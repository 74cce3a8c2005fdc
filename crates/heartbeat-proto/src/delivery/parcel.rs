//! What a message is worth: whether it may be replaced, how long it is kept, and what makes it old news.

use crate::InstanceId;
use crate::control::{AgentCommand, ServerEvent};

/// What a message says the state of; of several that wait, only the last is worth sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// A host's reporting.
    Host,
    /// The wish to be told of all instances.
    Query,
    /// An instance.
    Instance(InstanceId),
    /// An instance, in the answer to a query.
    Answer(InstanceId),
}

/// How a message is kept until it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Its sender says it again anyway: it is sent once.
    Once,
    /// A newer one of the same topic replaces it.
    State(Topic),
    /// Somebody waits for what comes of it, for some seconds.
    Action,
    /// It is never replaced, and kept for whoever is the controller next.
    Report(InstanceId),
}

/// What a message says, as far as it makes older ones old news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    /// So it is, and the guest, if it is about one, is heartbeating.
    Alive,
    /// So it is, and the guest is not heartbeating.
    NotAlive,
    /// The guest failed: news even if a newer message says that it is not heartbeating.
    Failed,
    /// The guest is not well: news unless a newer message says that its heartbeat started.
    NotWell,
}

/// A message that may be numbered.
pub trait Parcel {
    /// How it is kept.
    fn class(&self) -> Class;

    /// Whether an older message of the same instance need not be sent any more because of this one.
    fn outdates(&self, older: &Self) -> bool;

    /// What it is about and what it says of that, if its order among others matters.
    fn says(&self) -> Option<(Topic, Says)>;
}

impl Parcel for ServerEvent {
    fn class(&self) -> Class {
        match self {
            Self::MonitorReady => Class::Once,
            Self::Instance(instance, _) => Class::State(Topic::Answer(*instance)),
            Self::Running(instance, _) | Self::Stopped(instance, _) => {
                Class::State(Topic::Instance(*instance))
            }
            Self::IllHealth(instance, _) | Self::Loss(instance) | Self::VoteNotify(instance, _) => {
                Class::Report(*instance)
            }
        }
    }

    /// A guest that is heartbeating again has not failed.
    fn outdates(&self, older: &Self) -> bool {
        matches!(self, Self::Running(..)) && matches!(older, Self::Loss(_) | Self::IllHealth(..))
    }

    fn says(&self) -> Option<(Topic, Says)> {
        let (instance, says) = match self {
            Self::MonitorReady | Self::VoteNotify(..) => return None,
            Self::Instance(instance, info) => {
                (instance, if info.heartbeating { Says::Alive } else { Says::NotAlive })
            }
            Self::Running(instance, _) => (instance, Says::Alive),
            Self::Stopped(instance, _) => (instance, Says::NotAlive),
            Self::IllHealth(instance, _) => (instance, Says::NotWell),
            Self::Loss(instance) => (instance, Says::Failed),
        };
        Some((Topic::Instance(*instance), says))
    }
}

impl Parcel for AgentCommand {
    fn class(&self) -> Class {
        match self {
            Self::ModHost { .. } => Class::State(Topic::Host),
            Self::Query => Class::State(Topic::Query),
            Self::AddInstance { instance, .. }
            | Self::ModInstance { instance, .. }
            | Self::DelInstance { instance } => Class::State(Topic::Instance(*instance)),
            Self::Vote { .. } | Self::Notify { .. } => Class::Action,
            Self::Loopback => Class::Once,
        }
    }

    fn outdates(&self, _older: &Self) -> bool {
        false
    }

    fn says(&self) -> Option<(Topic, Says)> {
        match self {
            Self::ModHost { .. } => Some((Topic::Host, Says::Alive)),
            Self::AddInstance { instance, .. }
            | Self::ModInstance { instance, .. }
            | Self::DelInstance { instance } => Some((Topic::Instance(*instance), Says::Alive)),
            Self::Query | Self::Vote { .. } | Self::Notify { .. } | Self::Loopback => None,
        }
    }
}
