//! The way to the guestServers and back.
//!
//! The main loop owns it. Receiving may be dropped while it waits and loses nothing; sending waits
//! for room in the kernel's buffer alone.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use daemon_kit::security::unix_micros;
use daemon_kit::udp::Sender;
use heartbeat_proto::control::{
    Ack, Datagram, DatagramError, Guard, Hosted, Length, MAX_LEN, Numbering, PayloadError,
    REVISION, SealError, ServerEvent, Signature, acknowledgement,
};
use heartbeat_proto::delivery::Transmit;
use tokio::net::UdpSocket;
use tracing::{debug, info};

use crate::courier::Sending;
use crate::journal::Journal;
use crate::metrics::Fate;

/// Bytes of the kernel's receive buffer that are asked for; the kernel may give less. The answers
/// of a step of the audit, ten hosts with a hundred instances each, fit in four times over.
const RECEIVE_BUFFER: usize = 8 * 1024 * 1024;

/// Bytes of the kernel's send buffer that are asked for; the kernel may give less.
const SEND_BUFFER: usize = 1024 * 1024;

/// The pause after an error of a socket.
pub(crate) const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// Room for a datagram. More than the longest, so that one that is too long is not taken for one
/// that is not.
const ROOM: usize = 2 * MAX_LEN;

/// What is wrong with a datagram.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Rejected {
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Datagram(#[from] DatagramError),
    #[error("not signed as what comes here is")]
    Signature,
    #[error(transparent)]
    Payload(#[from] PayloadError),
}

impl Rejected {
    /// What it would have told or commanded, as far as that could be read.
    pub(crate) const fn command(&self) -> Option<&'static str> {
        match self {
            Self::Seal(_) | Self::Datagram(_) | Self::Signature => None,
            Self::Payload(error) => error.command(),
        }
    }

    /// As it is counted.
    pub(crate) const fn fate(&self) -> Fate {
        match self {
            Self::Seal(_) => Fate::BadSeal,
            Self::Signature => Fate::Unsigned,
            Self::Datagram(_) | Self::Payload(_) => Fate::Malformed,
        }
    }
}

/// A UDP socket with buffers for a fleet.
pub(crate) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    daemon_kit::udp::bind(address, RECEIVE_BUFFER, SEND_BUFFER)
}

/// The guestServers, all of them.
pub(crate) struct Fleet {
    socket: UdpSocket,
    /// The same port on the floating address, where that is not covered by `socket`: a guestServer
    /// that has not been commanded yet speaks to it.
    floating: Option<UdpSocket>,
    /// The floating address as it is told in every command.
    source: String,
    server_port: u16,
    /// Our name as a recipient.
    hostname: String,
    guard: Guard,
    room: Box<[u8; ROOM]>,
    outgoing: Vec<u8>,
    sender: Sender,
}

impl Fleet {
    pub(crate) fn bind(
        address: SocketAddr,
        server_port: u16,
        hostname: String,
        guard: Guard,
    ) -> io::Result<Self> {
        Ok(Self {
            socket: bind(address)?,
            floating: None,
            source: address.ip().to_string(),
            server_port,
            hostname,
            guard,
            room: Box::new([0; ROOM]),
            outgoing: Vec::with_capacity(MAX_LEN),
            sender: Sender::default(),
        })
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The floating address is known: it is told from now on, and listened on if it is ours.
    pub(crate) fn adopt_floating(&mut self, ip: IpAddr) {
        self.source = ip.to_string();
        let Ok(local) = self.socket.local_addr() else { return };
        if local.ip().is_unspecified() || local.ip() == ip || self.floating.is_some() {
            return;
        }
        let address = SocketAddr::new(ip, local.port());
        match bind(address) {
            Ok(socket) => {
                info!(%address, "listening on the floating address too");
                self.floating = Some(socket);
            }
            // On a controller that is not active it is somebody else's.
            Err(error) => debug!(%address, %error, "the floating address is not here"),
        }
    }

    /// Waits for a datagram. May be dropped while it waits.
    pub(crate) async fn receive(&mut self) -> Received<'_> {
        let (len, from) = loop {
            let room = &mut *self.room;
            // One room will do for both: only the socket that is read from writes into it.
            let received = match &self.floating {
                None => self.socket.recv_from(room).await,
                Some(floating) => {
                    tokio::select! {
                        ready = self.socket.readable() => ready.and_then(|()| self.socket.try_recv_from(room)),
                        ready = floating.readable() => ready.and_then(|()| floating.try_recv_from(room)),
                    }
                }
            };
            match received {
                Ok(received) => break received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // The answer to something we sent: nobody listens there. Should it be something that
                // stays, it shall not take all our time.
                Err(error) => {
                    debug!(%error, "UDP error");
                    tokio::time::sleep(ERROR_PAUSE).await;
                }
            }
        };
        let bytes = &self.room[..len];
        Received { from, sealed: self.guard.check(bytes, unix_micros(), &self.hostname), bytes }
    }

    /// Other keys, or another mode.
    pub(crate) fn set_guard(&mut self, guard: Guard) {
        self.guard = guard;
    }

    /// Sends a command.
    pub(crate) async fn send(&mut self, sending: &Sending, journal: &mut Journal) {
        let Transmit { message: command, numbering, again } = &sending.transmit;
        command.with_datagram(&self.source, |plain| {
            Datagram { numbering: *numbering, ..*plain }
                .encode(Length::Fitting, &mut self.outgoing);
        });
        let to = SocketAddr::new(sending.to, self.server_port);
        match self.send_sealed(to, sending.name.as_deref()).await {
            Ok(()) => journal.metrics.datagrams.sent(command.name(), *again),
            Err(error) => journal.unsent(to, command, &error.to_string()),
        }
    }

    /// Acknowledges what came from this address.
    pub(crate) async fn acknowledge(&mut self, to: SocketAddr, ack: Ack, journal: &Journal) {
        acknowledgement(Signature::GuestMessage, ack).encode(Length::Fitting, &mut self.outgoing);
        let sent = self.send_sealed(to, None).await.is_ok();
        journal.metrics.datagrams.acknowledged(sent);
    }

    async fn send_sealed(&mut self, to: SocketAddr, recipient: Option<&str>) -> io::Result<()> {
        self.guard.seal(&mut self.outgoing, unix_micros(), recipient);
        self.sender.send(&self.socket, &self.outgoing, to).await
    }
}

/// A datagram that came in.
pub(crate) struct Received<'a> {
    pub(crate) from: SocketAddr,
    /// Whether its seal was looked at, or why it is not to be taken.
    sealed: Result<bool, SealError>,
    bytes: &'a [u8],
}

/// What a datagram says.
pub(crate) enum Said<'a> {
    /// That something of ours has arrived.
    Ack(Ack),
    /// Something that happened at a host.
    Event(Hosted<'a>, Numbering),
}

impl Received<'_> {
    /// What it says.
    pub(crate) fn said(&self) -> Result<Said<'_>, Rejected> {
        let sealed = self.sealed?;
        let datagram = Datagram::decode(self.bytes)?;
        if datagram.signature == Signature::MaintenanceCommand {
            return Err(Rejected::Signature);
        }
        if let Some(ack) = Ack::of(&datagram) {
            return Ok(Said::Ack(ack));
        }
        let numbering = datagram.numbering;
        if sealed && (numbering.revision < REVISION || numbering.number == 0) {
            // What is sealed is of ours, and numbered: else anybody could repeat it.
            return Err(SealError::Unnumbered.into());
        }
        Ok(Said::Event(ServerEvent::decode(&datagram)?, numbering))
    }
}
