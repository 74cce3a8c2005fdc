//! What the instances need of the machine: the time, the channel directory, and somebody who keeps a session going.

use std::path::Path;
use std::sync::Arc;

use heartbeat_proto::session::Session;
use heartbeat_proto::{InstanceId, MonotonicTime};

use crate::channel_name::{ChannelName, Naming};
use crate::seat::Seat;
use crate::watch::{self, Inode};

/// The machine, as the instances see it.
pub(crate) trait Machine: std::fmt::Debug {
    /// The time.
    fn now(&self) -> MonotonicTime;

    /// The sockets of an instance that are in the channel directory now.
    fn sockets(&self, instance: InstanceId) -> Files;

    /// Keeps the session of a guest going from now on, until it is over.
    fn start(&self, guest: Guest);
}

/// What is needed to keep the session of a guest going.
pub(crate) struct Guest {
    pub(crate) instance: InstanceId,
    /// Tells it from an earlier one of the same instance.
    pub(crate) generation: u64,
    pub(crate) seat: Arc<Seat>,
    pub(crate) session: Session,
}

/// The sockets of one instance in the channel directory, one for each of its names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Files([Option<Inode>; Naming::ALL.len()]);

impl Files {
    /// Those that are there now.
    pub(crate) fn find(dir: &Path, instance: InstanceId) -> Self {
        let mut files = Self::default();
        for naming in Naming::ALL {
            files.set(naming, watch::socket_at(&ChannelName { instance, naming }.path(dir)));
        }
        files
    }

    pub(crate) fn set(&mut self, naming: Naming, inode: Option<Inode>) {
        let Self([current, former]) = self;
        match naming {
            Naming::Current => *current = inode,
            Naming::Former => *former = inode,
        }
    }

    /// The one that is connected to.
    pub(crate) fn preferred(self) -> Option<Inode> {
        self.0.into_iter().flatten().next()
    }
}
