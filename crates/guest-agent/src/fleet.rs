//! The way to the guestServers and back.
//!
//! The main loop owns it. Receiving may be dropped while it waits and loses nothing; sending waits
//! for room in the kernel's buffer alone. What is read and written is the [`Desk`]'s.

mod desk;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use daemon_kit::udp::Sender;
use heartbeat_proto::control::MAX_LEN;
use tokio::net::UdpSocket;
use tracing::{debug, info};

pub(crate) use desk::{Desk, Rejected, Said};

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
    room: Box<[u8; ROOM]>,
    sender: Sender,
}

impl Fleet {
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let (room, sender) = (Box::new([0; ROOM]), Sender::default());
        Ok(Self { socket: bind(address)?, floating: None, room, sender })
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The floating address is known: it is listened on if it is ours.
    pub(crate) fn adopt_floating(&mut self, ip: IpAddr) {
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

    /// Waits for a datagram, which is in [`bytes`](Self::bytes) then. May be dropped while it waits.
    pub(crate) async fn receive(&mut self) -> (usize, SocketAddr) {
        loop {
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
                Ok(received) => return received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // The answer to something we sent: nobody listens there. Should it be something that
                // stays, it shall not take all our time.
                Err(error) => {
                    debug!(%error, "UDP error");
                    tokio::time::sleep(ERROR_PAUSE).await;
                }
            }
        }
    }

    /// The datagram of this length that was received last.
    pub(crate) fn bytes(&self, len: usize) -> &[u8] {
        &self.room[..len]
    }

    pub(crate) async fn send(&mut self, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
        self.sender.send(&self.socket, bytes, to).await
    }
}
