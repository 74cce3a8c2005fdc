//! The way to the controller and back: one UDP socket.
//!
//! The main loop owns it. Receiving may be dropped while it waits and loses nothing; sending does
//! not wait for anybody but the kernel.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use daemon_kit::udp::Sender;
use heartbeat_proto::control::{
    AgentCommand, Datagram, DatagramError, Length, MAX_LEN, PayloadError, ServerEvent, Signature,
};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::journal::Journal;

/// The first wait for a command after MONITOR_READY; it doubles up to [`MAX_READY_PERIOD`].
const MIN_READY_PERIOD: Duration = Duration::from_secs(5);

/// The longest wait for a command before MONITOR_READY is sent again.
const MAX_READY_PERIOD: Duration = Duration::from_secs(60);

/// Bytes of the kernel's receive buffer that are asked for; the kernel may give less.
const RECEIVE_BUFFER: usize = 1024 * 1024;

/// Bytes of the kernel's send buffer that are asked for; the kernel may give less.
const SEND_BUFFER: usize = 1024 * 1024;

/// The pause after an error of the socket.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// Room for a datagram. More than the longest, so that one that is too long is not taken for one
/// that is not.
const ROOM: usize = 2 * MAX_LEN;

/// What is wrong with a datagram.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Rejected {
    #[error(transparent)]
    Datagram(#[from] DatagramError),
    #[error("not signed by guestAgent")]
    Unsigned,
    #[error(transparent)]
    Payload(#[from] PayloadError),
}

impl Rejected {
    /// What it would have commanded, as far as that could be read.
    pub(crate) const fn command(&self) -> Option<&'static str> {
        match self {
            Self::Datagram(_) | Self::Unsigned => None,
            Self::Payload(error) => error.command(),
        }
    }
}

/// A datagram that came in: a command, or what is wrong with it.
pub(crate) struct Incoming {
    pub(crate) from: SocketAddr,
    pub(crate) command: Result<AgentCommand, Rejected>,
    /// Who commands from now on, if that has changed.
    pub(crate) new_commander: Option<IpAddr>,
}

/// Who is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Peer {
    /// Nobody yet: the controller's name has no address so far.
    Unknown,
    /// What the controller's name says, until a command came.
    Named(SocketAddr),
    /// Where the last valid command came from.
    Commanded(SocketAddr),
}

/// The controller, as this host sees it.
pub(crate) struct Controller {
    socket: UdpSocket,
    hostname: String,
    /// The controller's name, for as long as it has not sent a command.
    name: String,
    agent_port: u16,
    peer: Peer,
    ready_period: Duration,
    ready_at: Option<Instant>,
    addresses: mpsc::Receiver<SocketAddr>,
    resolved: mpsc::Sender<SocketAddr>,
    room: Box<[u8; ROOM]>,
    outgoing: Vec<u8>,
    sender: Sender,
}

/// What may happen at the controller's side.
pub(crate) enum Occurred {
    /// A datagram came in.
    Received(Incoming),
    /// It is time to say MONITOR_READY.
    ReadyDue,
}

impl Controller {
    pub(crate) fn bind(
        address: SocketAddr,
        hostname: String,
        name: String,
        agent_port: u16,
    ) -> io::Result<Self> {
        let socket = daemon_kit::udp::bind(address, RECEIVE_BUFFER, SEND_BUFFER)?;
        let (resolved, addresses) = mpsc::channel(1);
        Ok(Self {
            socket,
            hostname,
            name,
            agent_port,
            peer: Peer::Unknown,
            ready_period: MIN_READY_PERIOD,
            ready_at: Some(Instant::now()),
            addresses,
            resolved,
            room: Box::new([0; ROOM]),
            outgoing: Vec::with_capacity(MAX_LEN),
            sender: Sender::default(),
        })
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Where events go now.
    pub(crate) const fn peer(&self) -> Option<SocketAddr> {
        match self.peer {
            Peer::Unknown => None,
            Peer::Named(address) | Peer::Commanded(address) => Some(address),
        }
    }

    /// Whether a command has come.
    pub(crate) const fn is_commanded(&self) -> bool {
        matches!(self.peer, Peer::Commanded(_))
    }

    /// Waits for something to happen. May be dropped while it waits.
    pub(crate) async fn next(&mut self) -> Occurred {
        loop {
            let ready_at = self.ready_at;
            tokio::select! {
                // The rare ones first, so that many datagrams do not hold them up.
                biased;
                Some(address) = self.addresses.recv() => {
                    if !self.is_commanded() {
                        let first = self.peer == Peer::Unknown;
                        self.peer = Peer::Named(address);
                        if first {
                            return Occurred::ReadyDue;
                        }
                    }
                }
                () = async { match ready_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                } } => return Occurred::ReadyDue,
                received = self.socket.recv_from(&mut *self.room) => match received {
                    Ok((len, from)) => return Occurred::Received(self.decode(len, from)),
                    Err(error) => {
                        // The answer to something we sent: nobody listens there. Should it be
                        // something that stays, it shall not take all our time.
                        debug!(%error, "UDP error");
                        tokio::time::sleep(ERROR_PAUSE).await;
                    }
                },
            }
        }
    }

    fn decode(&mut self, len: usize, from: SocketAddr) -> Incoming {
        let command = Datagram::decode(&self.room[..len]).map_err(Rejected::from).and_then(|d| {
            match d.signature {
                Signature::GuestMessage => Ok(AgentCommand::decode(&d)?),
                Signature::MaintenanceCommand | Signature::None => Err(Rejected::Unsigned),
            }
        });
        let new_commander = if command.is_ok() { self.commanded(from) } else { None };
        Incoming { from, command, new_commander }
    }

    /// A valid command came; says who commands from now on, if that has changed.
    fn commanded(&mut self, mut from: SocketAddr) -> Option<IpAddr> {
        // It listens on its own port, whichever it sent from.
        from.set_port(self.agent_port);
        self.ready_at = None;
        let before = std::mem::replace(&mut self.peer, Peer::Commanded(from));
        (before != self.peer).then(|| from.ip())
    }

    /// Says MONITOR_READY, if the controller's address is known, and looks up its name anew: it may
    /// have moved. When a name gets its first address, this is due at once.
    pub(crate) async fn announce(&mut self, journal: &Journal) {
        self.resolve();
        self.ready_at = Some(Instant::now() + self.ready_period);
        if self.peer().is_some() {
            self.ready_period = (self.ready_period * 2).min(MAX_READY_PERIOD);
            let ready = ServerEvent::MonitorReady;
            if let Err(why) = self.send(&ready, journal).await {
                journal.unsent(&ready, None, &why);
            }
        }
    }

    /// Looks up the controller's name aside, for a name service may be slow.
    fn resolve(&mut self) {
        if let Ok(ip) = self.name.parse::<IpAddr>() {
            self.peer = Peer::Named(SocketAddr::new(ip, self.agent_port));
            return;
        }
        let (name, port, resolved) = (self.name.clone(), self.agent_port, self.resolved.clone());
        let ipv4 = self.socket.local_addr().is_ok_and(|address| address.is_ipv4());
        tokio::spawn(async move {
            match tokio::net::lookup_host((name.as_str(), port)).await {
                Ok(mut found) => match found.find(|address| address.is_ipv4() == ipv4) {
                    Some(address) => drop(resolved.send(address).await),
                    None => warn!(controller = name, "the controller has no address of our family"),
                },
                Err(error) => {
                    warn!(controller = name, %error, "the controller's name has no address");
                }
            }
        });
    }

    /// Sends an event, or says in the log that it could not.
    pub(crate) async fn send(
        &mut self,
        event: &ServerEvent,
        journal: &Journal,
    ) -> Result<(), String> {
        let peer = self.peer().ok_or("the controller's address is not known yet")?;
        event.with_datagram(&self.hostname, |d| d.encode(Length::Full, &mut self.outgoing));
        match self.sender.send(&self.socket, &self.outgoing, peer).await {
            Ok(()) => {
                journal.metrics.datagrams.sent(event.name(), true);
                Ok(())
            }
            Err(error) => Err(format!("{peer}: {error}")),
        }
    }
}
