//! guestServer without a machine, for the simulation of a whole site (crates/simulation): bytes of datagrams in and out, bytes
//! of channels in and out, and its sessions driven on one thread. Nothing else uses it.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use heartbeat_proto::control::{Guard, InstanceInfo, ServerEvent};
use heartbeat_proto::guest::LineFramer;
use heartbeat_proto::session::{ConnectError, Output, Report, Settings};
use heartbeat_proto::{InstanceId, MonotonicTime};

use crate::channel_name::Naming;
use crate::controller::Desk;
use crate::core::Core;
use crate::instances::{Files, Guest, Instances, Machine};
use crate::journal::Journal;
use crate::watch::Sighting;

/// The channels of a host, as QEMU serves them.
pub trait Channels {
    /// Somebody connects to an instance's channel, and says by which number this connection is known. Says whether it is
    /// taken.
    fn connect(&mut self, instance: InstanceId, connection: u64) -> bool;
    /// The connection is closed.
    fn close(&mut self, connection: u64);
    /// These bytes are written.
    fn send(&mut self, connection: u64, bytes: &[u8]);
}

/// How much waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Events that are not acknowledged.
    pub events: usize,
    /// Sessions.
    pub sessions: usize,
    /// The most orders that wait for one of them.
    pub orders: usize,
}

/// The machine that the instances see.
#[derive(Debug, Clone, Default)]
struct Stage {
    now: Rc<Cell<MonotonicTime>>,
    directory: Rc<RefCell<HashMap<InstanceId, u64>>>,
    started: Rc<RefCell<Vec<Started>>>,
}

struct Started(Guest);

impl std::fmt::Debug for Started {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Started").field(&self.0.instance).finish()
    }
}

impl Machine for Stage {
    fn now(&self) -> MonotonicTime {
        self.now.get()
    }

    fn sockets(&self, instance: InstanceId) -> Files {
        let mut files = Files::default();
        files.set(Naming::Current, self.directory.borrow().get(&instance).copied());
        files
    }

    fn start(&self, guest: Guest) {
        self.started.borrow_mut().push(Started(guest));
    }
}

/// A connection to a channel.
struct Link {
    connection: u64,
    inode: u64,
    framer: LineFramer,
}

/// A guest's session, and what its task would have.
struct Driven {
    guest: Guest,
    link: Option<Link>,
    over: bool,
}

/// One life of a guestServer.
pub struct Server {
    core: Core,
    stage: Stage,
    driven: Vec<Driven>,
    connections: u64,
    reports: VecDeque<(InstanceId, Report)>,
    random: Box<dyn FnMut() -> u32>,
    bytes: Vec<u8>,
}

impl Server {
    /// A process that has just started, and whose controller has this address. Connections are numbered from `connections`.
    #[must_use]
    pub fn new(
        hostname: &str,
        controller: SocketAddr,
        guard: Guard,
        mut random: Box<dyn FnMut() -> u32>,
        connections: u64,
    ) -> Self {
        let journal = Arc::new(Journal::default());
        let stage = Stage::default();
        let instances =
            Instances::new(Box::new(stage.clone()), journal.clone(), Settings::default());
        let mut desk = Desk::new(hostname.to_owned(), controller.port(), guard, random());
        desk.handle_named(controller.ip());
        let core = Core::new(instances, desk, journal);
        let (driven, reports, bytes) = (Vec::new(), VecDeque::new(), Vec::new());
        Self { core, stage, driven, connections, reports, random, bytes }
    }

    /// The listing of the channel directory: each instance with its socket's inode.
    pub fn handle_listing(
        &mut self,
        now: MonotonicTime,
        channels: &mut dyn Channels,
        listing: &[(InstanceId, u64)],
    ) {
        *self.stage.directory.borrow_mut() = listing.iter().copied().collect();
        let listing = listing.iter().map(|(id, inode)| (*id, Naming::Current, *inode)).collect();
        self.core.instances.handle_sighting(Sighting::Listing(listing));
        self.drive(now, channels);
    }

    /// Something happened to an instance's channel: it is this socket now, or is gone; or was modified.
    pub fn handle_sighting(
        &mut self,
        now: MonotonicTime,
        channels: &mut dyn Channels,
        instance: InstanceId,
        inode: Option<u64>,
        modified: bool,
    ) {
        match inode {
            Some(inode) => self.stage.directory.borrow_mut().insert(instance, inode),
            None => self.stage.directory.borrow_mut().remove(&instance),
        };
        let name = crate::channel_name::ChannelName { instance, naming: Naming::Current };
        self.core.instances.handle_sighting(Sighting::Channel { name, inode, modified });
        self.drive(now, channels);
    }

    /// A datagram came in. Only the controller may command without a seal.
    pub fn handle_datagram(
        &mut self,
        now: MonotonicTime,
        channels: &mut dyn Channels,
        micros: u64,
        bytes: &[u8],
        from: SocketAddr,
        controller: IpAddr,
    ) {
        self.stage.now.set(now);
        self.core.handle_datagram(now, micros, bytes, from, |ip| ip == controller);
        self.drive(now, channels);
    }

    /// The next datagram to be sent.
    pub fn poll_datagram(
        &mut self,
        now: MonotonicTime,
        micros: u64,
    ) -> Option<(SocketAddr, Vec<u8>)> {
        if self.core.desk.ready_at().is_some_and(|at| at <= now) {
            self.core.desk.announce(now);
        }
        while self.core.has_to_answer() {
            self.core.answer_query(now);
        }
        let letter = self.core.poll_letter(now, micros, &mut self.bytes)?;
        self.core.handle_sent(&letter, Ok(()));
        Some((letter.to, self.bytes.clone()))
    }

    /// A channel delivered bytes.
    pub fn handle_bytes(
        &mut self,
        now: MonotonicTime,
        channels: &mut dyn Channels,
        connection: u64,
        bytes: &[u8],
    ) {
        let random = &mut self.random;
        for driven in &mut self.driven {
            let session = &mut driven.guest.session;
            if let Some(link) = driven.link.as_mut().filter(|link| link.connection == connection) {
                link.framer.push(bytes, |frame| {
                    session.handle_frame(now, &frame, random);
                });
            }
        }
        self.drive(now, channels);
    }

    /// A channel was closed from its other end.
    pub fn handle_closed(
        &mut self,
        now: MonotonicTime,
        channels: &mut dyn Channels,
        connection: u64,
    ) {
        for driven in &mut self.driven {
            if driven.link.take_if(|link| link.connection == connection).is_some() {
                driven.guest.session.handle_closed(now);
            }
        }
        self.drive(now, channels);
    }

    /// When something is to be done although nothing has happened.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<MonotonicTime> {
        let sessions = self.driven.iter().filter_map(|one| one.guest.session.poll_timeout());
        let desk = self.core.desk.ready_at().into_iter().chain(self.core.desk.poll_timeout());
        sessions.chain(desk).min()
    }

    /// That time has come, or a later one. What is to be sent comes from [`poll_datagram`](Self::poll_datagram).
    pub fn handle_timeout(&mut self, now: MonotonicTime, channels: &mut dyn Channels) {
        for driven in &mut self.driven {
            let session = &mut driven.guest.session;
            if session.poll_timeout().is_some_and(|at| at <= now) {
                session.handle_timeout(now, &mut self.random);
            }
        }
        self.drive(now, channels);
    }

    /// What sessions have reported, as it was handed over.
    pub fn poll_report(&mut self) -> Option<(InstanceId, Report)> {
        self.reports.pop_front()
    }

    /// Reports that are not acknowledged as done.
    pub fn unacknowledged(&self) -> impl Iterator<Item = &ServerEvent> {
        self.core.desk.reports()
    }

    /// What the controller is told of an instance, and whether faults of the host are reported.
    #[must_use]
    pub fn instance(&self, instance: InstanceId) -> Option<(InstanceInfo, bool)> {
        Some((self.core.instances.info(instance)?, self.core.instances.host_reporting()))
    }

    /// How much waits.
    #[must_use]
    pub fn sizes(&self, now: MonotonicTime) -> Sizes {
        Sizes {
            events: self.core.desk.delivery(now).pending,
            sessions: self.driven.len(),
            orders: self.driven.iter().map(|one| one.guest.seat.waiting()).max().unwrap_or(0),
        }
    }

    /// Does what the tasks of the guests would do.
    fn drive(&mut self, now: MonotonicTime, channels: &mut dyn Channels) {
        self.stage.now.set(now);
        loop {
            let started = std::mem::take(&mut *self.stage.started.borrow_mut());
            let started =
                started.into_iter().map(|Started(guest)| Driven { guest, link: None, over: false });
            self.driven.extend(started);
            for place in 0..self.driven.len() {
                self.drive_one(now, channels, place);
            }
            self.driven.retain(|driven| !driven.over);
            if self.stage.started.borrow().is_empty() {
                break;
            }
        }
    }

    fn drive_one(&mut self, now: MonotonicTime, channels: &mut dyn Channels, place: usize) {
        loop {
            self.carry_out(now, channels, place);
            let driven = &mut self.driven[place];
            driven.guest.seat.publish(now, &driven.guest.session);
            if driven.over {
                return;
            }
            let Some(order) = driven.guest.seat.poll_order() else { return };
            let connected = driven.link.as_ref().map(|link| link.inode);
            order.carry_out(now, &mut driven.guest.session, connected, &mut self.random);
        }
    }

    fn carry_out(&mut self, now: MonotonicTime, channels: &mut dyn Channels, place: usize) {
        let Self { core, driven, connections, reports, stage, .. } = self;
        let Driven { guest, link, over } = &mut driven[place];
        while let Some(output) = guest.session.poll_output() {
            match output {
                Output::Connect => {
                    *connections += 1;
                    let inode = stage.directory.borrow().get(&guest.instance).copied();
                    match inode {
                        Some(inode) if channels.connect(guest.instance, *connections) => {
                            let (connection, framer) = (*connections, LineFramer::default());
                            *link = Some(Link { connection, inode, framer });
                            guest.session.handle_connected(now);
                        }
                        Some(_) => {
                            guest.session.handle_connect_failed(now, ConnectError::Unavailable);
                        }
                        None => guest.session.handle_connect_failed(now, ConnectError::NotFound),
                    }
                }
                Output::Close => {
                    if let Some(link) = link.take() {
                        channels.close(link.connection);
                    }
                }
                Output::Send { sequence, message } => {
                    if let Some(link) = link {
                        let mut bytes = Vec::new();
                        message.encode(sequence, &mut bytes);
                        channels.send(link.connection, &bytes);
                    }
                }
                Output::Report(report) => {
                    reports.push_back((guest.instance, report.clone()));
                    core.handle_report(now, guest.instance, report);
                }
                Output::Note(_) => {}
                Output::Forget => {
                    *over = true;
                    if let Some(link) = link.take() {
                        channels.close(link.connection);
                    }
                    core.instances.handle_forgotten(guest.instance, guest.generation);
                    return;
                }
            }
        }
    }
}
