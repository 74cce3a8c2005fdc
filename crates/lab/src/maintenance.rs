//! A stand-in for mtcAgent, the maintenance system: it tells guestAgent which hosts there are when that says
//! MONITOR_READY, and whenever it is told to.
//!
//! A thread of its own receives and answers. It ends with the [`MtcAgent`].

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use heartbeat_proto::HostId;
use heartbeat_proto::control::{Datagram, Host, Length, MAX_LEN, Signature, code};
use serde::Serialize;

use crate::record::Record;

/// Asks that are remembered; of more, the oldest go.
const REMEMBERED: usize = 1000;

/// How long the receiving thread sleeps at most before it looks whether it is to end.
const LOOK_AROUND: Duration = Duration::from_millis(200);

/// A MONITOR_READY that arrived.
#[derive(Debug, Clone)]
pub struct Asked {
    /// When.
    pub at: Instant,
    /// Who sent it.
    pub from: SocketAddr,
    /// All of its bytes.
    pub bytes: Vec<u8>,
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes from {}", self.bytes.len(), self.from)
    }
}

#[derive(Debug, Clone)]
struct Entry {
    hostname: String,
    ip: String,
}

#[derive(Debug)]
struct Shared {
    socket: UdpSocket,
    hosts: Mutex<BTreeMap<HostId, Entry>>,
    agent: Mutex<Option<SocketAddr>>,
    asked: Record<Asked>,
    ending: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A lab mtcAgent.
#[derive(Debug)]
pub struct MtcAgent {
    shared: Arc<Shared>,
    address: SocketAddr,
    receiver: Option<JoinHandle<()>>,
}

impl MtcAgent {
    /// An mtcAgent at `ip`, on any free port: see [`MtcAgent::port`].
    ///
    /// # Errors
    ///
    /// The address cannot be bound.
    pub fn start(ip: IpAddr) -> Result<Self> {
        let socket = UdpSocket::bind((ip, 0)).context("cannot bind mtcAgent")?;
        socket.set_read_timeout(Some(LOOK_AROUND))?;
        let address = socket.local_addr()?;
        let shared = Arc::new(Shared {
            socket,
            hosts: Mutex::default(),
            agent: Mutex::default(),
            asked: Record::new(REMEMBERED),
            ending: AtomicBool::new(false),
        });
        let theirs = Arc::clone(&shared);
        let receiver =
            std::thread::Builder::new().name("lab-mtc".into()).spawn(move || theirs.receive())?;
        Ok(Self { shared, address, receiver: Some(receiver) })
    }

    /// What `--mtc-event-port` takes.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Where guestAgent takes commands; else it is learned from its first MONITOR_READY.
    pub fn set_agent(&self, agent: SocketAddr) {
        *lock(&self.shared.agent) = Some(agent);
    }

    /// There is this host: tells it now, if guestAgent is known, and whenever it asks.
    ///
    /// # Errors
    ///
    /// It cannot be sent.
    pub fn add_host(&self, host: HostId, hostname: &str, ip: &str) -> Result<()> {
        let entry = Entry { hostname: hostname.into(), ip: ip.into() };
        self.shared.tell(code::ADD_HOST, host, &entry)?;
        lock(&self.shared.hosts).insert(host, entry);
        Ok(())
    }

    /// A host has another name or address.
    ///
    /// # Errors
    ///
    /// It cannot be sent.
    pub fn mod_host(&self, host: HostId, hostname: &str, ip: &str) -> Result<()> {
        let entry = Entry { hostname: hostname.into(), ip: ip.into() };
        self.shared.tell(code::MOD_HOST, host, &entry)?;
        lock(&self.shared.hosts).insert(host, entry);
        Ok(())
    }

    /// A host is gone.
    ///
    /// # Errors
    ///
    /// It cannot be sent.
    pub fn del_host(&self, host: HostId, hostname: &str) -> Result<()> {
        lock(&self.shared.hosts).remove(&host);
        let uuid = host;
        self.shared.send(code::DEL_HOST, &serde_json::to_string(&Gone { hostname, uuid })?)
    }

    /// Sends these bytes to guestAgent.
    ///
    /// # Errors
    ///
    /// guestAgent is not known yet, or it cannot be sent.
    pub fn send_raw(&self, bytes: &[u8]) -> Result<()> {
        let agent = *lock(&self.shared.agent);
        self.shared.socket.send_to(bytes, agent.context("guestAgent is not known yet")?)?;
        Ok(())
    }

    /// Waits for the next MONITOR_READY that has not been waited for.
    ///
    /// # Errors
    ///
    /// None comes within `within`.
    pub async fn wait_asked(&self, within: Duration) -> Result<Asked> {
        self.shared.asked.wait_for("MONITOR_READY at mtcAgent", within, |_| true).await
    }

    /// Every MONITOR_READY so far.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.all()
    }
}

#[derive(Serialize)]
struct Gone<'a> {
    hostname: &'a str,
    uuid: HostId,
}

impl Shared {
    fn receive(&self) {
        let mut room = vec![0; 2 * MAX_LEN];
        while !self.ending.load(Ordering::Relaxed) {
            let Ok((length, from)) = self.socket.recv_from(&mut room) else { continue };
            if self.ending.load(Ordering::Relaxed) {
                return;
            }
            let bytes = room[..length].to_vec();
            let ready = Datagram::decode(&bytes).is_ok_and(|datagram| {
                datagram.command == code::MONITOR_READY && datagram.sender == "guestAgent"
            });
            self.asked.add(|| Asked { at: Instant::now(), from, bytes });
            if ready {
                lock(&self.agent).get_or_insert(from);
                let hosts = lock(&self.hosts).clone();
                for (host, entry) in &hosts {
                    // What cannot be sent is asked for again.
                    let _ = self.tell(code::ADD_HOST, *host, entry);
                }
            }
        }
    }

    /// Tells of a host, if guestAgent is known.
    fn tell(&self, command: u32, uuid: HostId, entry: &Entry) -> Result<()> {
        if lock(&self.agent).is_none() {
            return Ok(());
        }
        let (hostname, ip) = (entry.hostname.as_str().into(), entry.ip.as_str().into());
        let personality = "worker".into();
        self.send(command, &serde_json::to_string(&Host { hostname, uuid, ip, personality })?)
    }

    fn send(&self, command: u32, text: &str) -> Result<()> {
        let signature = Signature::MaintenanceCommand;
        let mut bytes = Vec::new();
        Datagram::plain(signature, command, text).encode(Length::Fitting, &mut bytes);
        let agent = *lock(&self.agent);
        self.socket.send_to(&bytes, agent.context("guestAgent is not known yet")?)?;
        Ok(())
    }
}

impl Drop for MtcAgent {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::Relaxed);
        // Wakes the thread; without it, it ends a little later.
        let _ = self.shared.socket.send_to(&[], self.address);
        if let Some(receiver) = self.receiver.take() {
            let _ = receiver.join();
        }
    }
}
