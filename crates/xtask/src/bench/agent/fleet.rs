//! Many guestServers, leaner than the lab's: they keep what they are told, answer queries, and count.
//!
//! The instances are numbered; the first ones are on the first host, and so on. Each host has an
//! address of its own in 127/8, and all have the same port.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, Result};
use heartbeat_proto::control::{
    AgentCommand, Datagram, InstanceInfo, Length, MAX_LEN, ServerEvent,
};
use heartbeat_proto::guest::CorrectiveAction;
use heartbeat_proto::{HostId, InstanceId};
use tokio::net::UdpSocket;

/// Hosts whose addresses differ in the last byte only.
const HOSTS_A_NET: u32 = 250;

/// How many there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub(super) hosts: u32,
    /// On each host.
    pub(super) instances: u32,
}

impl Size {
    pub(super) fn all(self) -> u32 {
        self.hosts * self.instances
    }
}

pub(super) fn host_id(host: u32) -> HostId {
    HostId::from_u128(0xc0_0000 + u128::from(host))
}

pub(super) fn hostname(host: u32) -> String {
    format!("compute-{host}")
}

pub(super) fn host_ip(host: u32) -> IpAddr {
    let byte = |value: u32| u8::try_from(value).unwrap_or(u8::MAX);
    IpAddr::V4(Ipv4Addr::new(127, 1, byte(host / HOSTS_A_NET), byte(host % HOSTS_A_NET + 1)))
}

pub(super) fn instance_id(instance: u32) -> InstanceId {
    InstanceId::from_u128(0x100_0000 + u128::from(instance))
}

/// What all hosts count together.
#[derive(Debug, Default)]
struct Counts {
    known: AtomicU32,
    /// When the last instance became known.
    all_known: OnceLock<Instant>,
    queries: AtomicU64,
    sent: AtomicU64,
    /// No query is answered any more.
    silent: AtomicBool,
}

/// One guestServer.
#[derive(Debug)]
struct Host {
    name: String,
    socket: UdpSocket,
    /// Its instances' numbers begin here.
    first: u32,
    /// Those that it was told of.
    instances: Mutex<Vec<Option<InstanceInfo>>>,
    size: Size,
    counts: Arc<Counts>,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Fleet {
    size: Size,
    hosts: Vec<Arc<Host>>,
    counts: Arc<Counts>,
}

impl Fleet {
    /// Binds them, and serves on the current runtime.
    pub(super) async fn start(size: Size, port: u16) -> Result<Self> {
        let counts = Arc::new(Counts::default());
        let mut hosts = Vec::new();
        for number in 0..size.hosts {
            let address = SocketAddr::new(host_ip(number), port);
            let socket =
                UdpSocket::bind(address).await.with_context(|| format!("cannot bind {address}"))?;
            let host = Arc::new(Host {
                name: hostname(number),
                socket,
                first: number * size.instances,
                instances: Mutex::new(vec![None; usize::try_from(size.instances)?]),
                size,
                counts: Arc::clone(&counts),
            });
            tokio::spawn(serve(Arc::clone(&host)));
            hosts.push(host);
        }
        Ok(Self { size, hosts, counts })
    }

    /// When the last of all instances became known, if it has.
    pub(super) fn all_known(&self) -> Option<Instant> {
        self.counts.all_known.get().copied()
    }

    /// Queries that arrived.
    pub(super) fn queries(&self) -> u64 {
        self.counts.queries.load(Ordering::Relaxed)
    }

    /// Datagrams that were sent, nearly all of them answers to queries.
    pub(super) fn sent(&self) -> u64 {
        self.counts.sent.load(Ordering::Relaxed)
    }

    /// From now on, no query is answered.
    pub(super) fn fall_silent(&self) {
        self.counts.silent.store(true, Ordering::Relaxed);
    }

    /// The host of this instance tells guestAgent something of it.
    pub(super) async fn tell(&self, agent: SocketAddr, event: &ServerEvent) -> Result<()> {
        let instance = match event {
            ServerEvent::MonitorReady => None,
            ServerEvent::Instance(id, _)
            | ServerEvent::Running(id, _)
            | ServerEvent::Stopped(id, _)
            | ServerEvent::IllHealth(id, _)
            | ServerEvent::Loss(id)
            | ServerEvent::VoteNotify(id, _) => Some(*id),
        };
        let number = (0..self.size.all()).find(|&number| Some(instance_id(number)) == instance);
        let number = number.context("an event of no instance of the fleet")?;
        let host = &self.hosts[usize::try_from(number / self.size.instances)?];
        if let ServerEvent::Running(_, info) | ServerEvent::Stopped(_, info) = event {
            host.lock()[usize::try_from(number % self.size.instances)?] = Some(*info);
        }
        host.send(event, agent, &mut Vec::new()).await;
        Ok(())
    }
}

/// What a guestServer tells of an instance.
pub(super) fn info(heartbeating: bool, repair_action: CorrectiveAction) -> InstanceInfo {
    InstanceInfo {
        reporting: true,
        heartbeating,
        repair_action,
        restart_secs: 121,
        shutdown_secs: 11,
        suspend_secs: 12,
        resume_secs: 13,
        vote_secs: 10,
    }
}

impl Host {
    fn lock(&self) -> MutexGuard<'_, Vec<Option<InstanceInfo>>> {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn obey(&self, command: &AgentCommand) {
        let (AgentCommand::AddInstance { instance, reporting }
        | AgentCommand::ModInstance { instance, reporting }) = *command
        else {
            return;
        };
        for (at, known) in (self.first..).zip(self.lock().iter_mut()) {
            if instance_id(at) != instance {
                continue;
            }
            if known.is_none() {
                let before = self.counts.known.fetch_add(1, Ordering::Relaxed);
                if before + 1 == self.size.all() {
                    self.counts.all_known.get_or_init(Instant::now);
                }
            }
            let info = known.get_or_insert(info(true, CorrectiveAction::Reboot));
            info.reporting = reporting;
        }
    }

    async fn answer(&self, agent: SocketAddr, bytes: &mut Vec<u8>) {
        self.counts.queries.fetch_add(1, Ordering::Relaxed);
        if self.counts.silent.load(Ordering::Relaxed) {
            return;
        }
        let instances = self.lock().clone();
        for (at, info) in (self.first..).zip(instances) {
            if let Some(info) = info {
                self.send(&ServerEvent::Instance(instance_id(at), info), agent, bytes).await;
            }
        }
    }

    async fn send(&self, event: &ServerEvent, agent: SocketAddr, bytes: &mut Vec<u8>) {
        event.with_datagram(&self.name, |datagram| datagram.encode(Length::Full, bytes));
        if self.socket.send_to(bytes, agent).await.is_ok() {
            self.counts.sent.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn serve(host: Arc<Host>) {
    let mut room = vec![0; 2 * MAX_LEN];
    let mut bytes = Vec::new();
    loop {
        // An error is the answer to a datagram that nobody took.
        let Ok((length, from)) = host.socket.recv_from(&mut room).await else { continue };
        let Ok(datagram) = Datagram::decode(&room[..length]) else { continue };
        match AgentCommand::decode(&datagram) {
            Ok(AgentCommand::Query) => host.answer(from, &mut bytes).await,
            Ok(command) => host.obey(&command),
            Err(_) => {}
        }
    }
}
