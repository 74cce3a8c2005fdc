//! What should run, and what runs: the instances that the channel directory shows and the
//! controller names, and a task for each.
//!
//! The main loop owns this. It never waits for a guest: orders go to seats, and what is asked of an
//! instance is read from its seat. Synchronous: what it needs of the machine is a [`Machine`], which a simulation is too.

mod machine;

use std::collections::BTreeMap;
use std::sync::Arc;

use heartbeat_proto::InstanceId;
use heartbeat_proto::control::InstanceInfo;
use heartbeat_proto::guest::{EventType, NotificationType};
use heartbeat_proto::session::{Reporting, Session, Settings, State};

use crate::channel_name::Naming;
use crate::journal::Journal;
use crate::seat::{ChannelOrder, Known, Order, Seat};
use crate::watch::{Inode, Sighting};
pub(crate) use machine::{Files, Guest, Machine};

#[derive(Debug)]
struct Entry {
    /// Tells this entry's task from an earlier one of the same instance.
    generation: u64,
    /// The controller named it.
    provisioned: bool,
    reporting: bool,
    files: Files,
    seat: Arc<Seat>,
}

/// What the metrics show of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) state: State,
    pub(crate) heartbeating: bool,
    pub(crate) reporting: bool,
    pub(crate) provisioned: bool,
    pub(crate) misses: u32,
}

/// Why a command is not carried out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// There is no such instance.
    UnknownInstance,
    /// Too many orders wait for it.
    TooManyOrders,
    /// There are too many instances without a channel: [`MAX_WITHOUT_CHANNEL`].
    TooManyInstances,
}

/// Instances that the controller named and that have no channel. More than a host ever has, and few
/// enough that a flood of commands does not matter; one that has a channel is always taken.
const MAX_WITHOUT_CHANNEL: usize = 4096;

/// Every instance of the host.
#[derive(Debug)]
pub(crate) struct Instances {
    machine: Box<dyn Machine>,
    journal: Arc<Journal>,
    settings: Settings,
    host_reporting: bool,
    /// In an order, so that what is done for all of them is done in one.
    entries: BTreeMap<InstanceId, Entry>,
    generations: u64,
}

impl Instances {
    /// None yet. Faults of the host are reported until the controller says otherwise.
    pub(crate) fn new(
        machine: Box<dyn Machine>,
        journal: Arc<Journal>,
        settings: Settings,
    ) -> Self {
        let entries = BTreeMap::new();
        Self { machine, journal, settings, host_reporting: true, entries, generations: 0 }
    }

    /// Something was seen in the channel directory.
    pub(crate) fn handle_sighting(&mut self, sighting: Sighting) {
        match sighting {
            Sighting::Channel { name, inode, modified } => {
                self.channel(name.instance, name.naming, inode, modified);
            }
            Sighting::Listing(channels) => self.listing(channels),
        }
    }

    fn channel(
        &mut self,
        instance: InstanceId,
        naming: Naming,
        inode: Option<Inode>,
        modified: bool,
    ) {
        let Some(entry) = self.entries.get_mut(&instance) else {
            if inode.is_some() {
                let mut files = Files::default();
                files.set(naming, inode);
                self.add(instance, files, false, false);
            }
            return;
        };
        let before = entry.files.preferred();
        entry.files.set(naming, inode);
        match entry.files.preferred() {
            // The other one of its two names is not the one that is connected.
            Some(preferred) if modified && inode == Some(preferred) => {
                entry.order(ChannelOrder::Modified);
            }
            Some(_) if modified => {}
            Some(inode) => entry.order(ChannelOrder::Seen(inode)),
            None if before.is_some() => self.gone(instance),
            None => {}
        }
    }

    fn listing(&mut self, channels: Vec<(InstanceId, Naming, Inode)>) {
        let mut listed: BTreeMap<InstanceId, Files> = BTreeMap::new();
        for (instance, naming, inode) in channels {
            listed.entry(instance).or_default().set(naming, Some(inode));
        }
        let gone: Vec<InstanceId> = self
            .entries
            .iter()
            .filter(|(id, entry)| entry.files != Files::default() && !listed.contains_key(id))
            .map(|(id, _)| *id)
            .collect();
        for instance in gone {
            self.gone(instance);
        }
        for (instance, files) in listed {
            match self.entries.get_mut(&instance) {
                None => drop(self.add(instance, files, false, false)),
                Some(entry) => {
                    let before = std::mem::replace(&mut entry.files, files).preferred();
                    match files.preferred() {
                        Some(inode) if before != Some(inode) => {
                            entry.order(ChannelOrder::Seen(inode));
                        }
                        Some(_) | None => {}
                    }
                }
            }
        }
    }

    /// The controller named an instance and says whether its faults are reported.
    pub(crate) fn provision(
        &mut self,
        instance: InstanceId,
        reporting: bool,
    ) -> Result<(), Refused> {
        let host = self.host_reporting;
        match self.entries.get_mut(&instance) {
            None => {
                // Its channel may be there all the time, if the instance was deleted before.
                let files = self.machine.sockets(instance);
                if files == Files::default() && self.without_channel() >= MAX_WITHOUT_CHANNEL {
                    return Err(Refused::TooManyInstances);
                }
                self.add(instance, files, true, reporting);
            }
            Some(entry) => {
                if !std::mem::replace(&mut entry.provisioned, true) {
                    entry.seat.order(Order::Provisioned);
                }
                if std::mem::replace(&mut entry.reporting, reporting) != reporting {
                    entry.seat.order(Order::Reporting(Reporting { host, instance: reporting }));
                }
            }
        }
        Ok(())
    }

    /// Counted only when an instance without a channel is named, which is rare.
    fn without_channel(&self) -> usize {
        self.entries.values().filter(|entry| entry.files == Files::default()).count()
    }

    /// The controller deleted an instance.
    pub(crate) fn delete(&mut self, instance: InstanceId) -> Result<(), Refused> {
        let entry = self.entries.remove(&instance).ok_or(Refused::UnknownInstance)?;
        entry.seat.order(Order::Deleted);
        Ok(())
    }

    /// The controller switched the reporting of the whole host.
    pub(crate) fn set_host_reporting(&mut self, host: bool) {
        if std::mem::replace(&mut self.host_reporting, host) != host {
            for entry in self.entries.values() {
                let instance = entry.reporting;
                entry.seat.order(Order::Reporting(Reporting { host, instance }));
            }
        }
    }

    /// The operator changed the settings.
    pub(crate) fn set_settings(&mut self, settings: Settings) {
        self.settings = settings;
        for entry in self.entries.values() {
            entry.seat.order(Order::Settings(settings));
        }
    }

    /// A guest is to be asked or told of an action.
    pub(crate) fn act(
        &self,
        instance: InstanceId,
        event: EventType,
        notification: NotificationType,
    ) -> Result<(), Refused> {
        let entry = self.entries.get(&instance).ok_or(Refused::UnknownInstance)?;
        let taken = entry.seat.order(Order::Action(event, notification));
        if taken { Ok(()) } else { Err(Refused::TooManyOrders) }
    }

    /// The task of an instance has ended by itself.
    pub(crate) fn handle_forgotten(&mut self, instance: InstanceId, generation: u64) {
        let current = self.entries.get(&instance).is_some_and(|e| e.generation == generation);
        let Some(entry) = current.then(|| self.entries.remove(&instance)).flatten() else { return };
        // What came while it ended may be a reason to start anew, and the new one answers for it.
        let left_over = entry.seat.left_over();
        let seen = |order: &Order| matches!(order, Order::Channel(ChannelOrder::Seen(_)));
        if entry.provisioned || left_over.iter().any(seen) {
            let seat = self.add(instance, entry.files, entry.provisioned, entry.reporting);
            for action in left_over.into_iter().filter(|o| matches!(o, Order::Action(..))) {
                seat.order(action);
            }
        } else {
            let actions = left_over.iter().filter(|order| matches!(order, Order::Action(..)));
            let dropped = &self.journal.metrics.datagrams.actions_dropped;
            dropped.add(actions.count() as u64);
        }
    }

    /// Whether faults of this host are reported.
    pub(crate) const fn host_reporting(&self) -> bool {
        self.host_reporting
    }

    /// Every instance that is known now.
    pub(crate) fn ids(&self) -> impl Iterator<Item = InstanceId> {
        self.entries.keys().copied()
    }

    /// What the controller is told of an instance.
    pub(crate) fn info(&self, instance: InstanceId) -> Option<InstanceInfo> {
        self.entries.get(&instance).map(|entry| entry.seat.info())
    }

    /// What the guest of an instance calls itself, if the instance is known.
    pub(crate) fn name(&self, instance: InstanceId) -> Option<String> {
        self.entries.get(&instance).map(|entry| entry.seat.name())
    }

    /// What is known of every instance, and whether the controller named it.
    pub(crate) fn all(&self) -> impl Iterator<Item = (InstanceId, bool, Known)> {
        self.entries.iter().map(|(id, entry)| (*id, entry.provisioned, entry.seat.known()))
    }

    /// The same of one of them.
    pub(crate) fn get(&self, instance: InstanceId) -> Option<(bool, Known)> {
        self.entries.get(&instance).map(|entry| (entry.provisioned, entry.seat.known()))
    }

    /// What the metrics show of every instance.
    pub(crate) fn summaries(&self) -> impl Iterator<Item = Summary> {
        self.entries.values().map(Entry::summary)
    }

    /// What they show of one.
    pub(crate) fn summary(&self, instance: InstanceId) -> Option<Summary> {
        self.entries.get(&instance).map(Entry::summary)
    }

    fn gone(&mut self, instance: InstanceId) {
        let Some(entry) = self.entries.get_mut(&instance) else { return };
        entry.files = Files::default();
        entry.order(ChannelOrder::Gone);
        if !entry.provisioned {
            // Its task ends by itself; should the channel come back, it gets another one.
            self.entries.remove(&instance);
        }
    }

    fn add(
        &mut self,
        instance: InstanceId,
        files: Files,
        provisioned: bool,
        reporting: bool,
    ) -> Arc<Seat> {
        self.generations += 1;
        let generation = self.generations;
        let switches = Reporting { host: self.host_reporting, instance: reporting };
        let session = Session::new(self.settings, switches, provisioned);
        let seat = Arc::new(Seat::new(self.machine.now(), &session));
        self.journal.added(instance, provisioned);
        self.machine.start(Guest { instance, generation, seat: seat.clone(), session });
        let entry = Entry { generation, provisioned, reporting, files, seat: seat.clone() };
        self.entries.insert(instance, entry);
        seat
    }
}

impl Entry {
    fn summary(&self) -> Summary {
        self.seat.with_known(|known| Summary {
            state: known.state,
            heartbeating: known.info.heartbeating,
            reporting: known.info.reporting,
            provisioned: self.provisioned,
            misses: known.misses,
        })
    }

    fn order(&self, order: ChannelOrder) {
        // Only actions are ever refused.
        self.seat.order(Order::Channel(order));
    }
}
