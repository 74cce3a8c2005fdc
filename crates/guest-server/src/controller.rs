//! The way to the controller and back: one UDP socket.
//!
//! The main loop owns it. Receiving may be dropped while it waits and loses nothing; sending does
//! not wait for anybody but the kernel. What is received and what is sent is the [`Desk`]'s.

mod commanders;
mod desk;
mod reception;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use daemon_kit::udp::Sender;
use heartbeat_proto::control::MAX_LEN;
use tokio::net::UdpSocket;
use tokio::time::Instant;
use tracing::debug;

use commanders::Commanders;
pub(crate) use desk::{Contents, Delivery, Desk, Letter};
pub(crate) use reception::{Incoming, Outcome, Rejected};

/// Bytes of the kernel's receive buffer that are asked for; the kernel may give less.
const RECEIVE_BUFFER: usize = 1024 * 1024;

/// Bytes of the kernel's send buffer that are asked for; the kernel may give less.
const SEND_BUFFER: usize = 1024 * 1024;

/// The pause after an error of the socket.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// Room for a datagram. More than the longest, so that one that is too long is not taken for one
/// that is not.
const ROOM: usize = 2 * MAX_LEN;

/// How the controller is reached and who it may be.
pub(crate) struct Settings {
    pub(crate) address: SocketAddr,
    /// The controller's name, for as long as it has not sent a command.
    pub(crate) name: String,
    /// Who may command besides it, unless commands have to be sealed.
    pub(crate) controllers: Vec<String>,
}

/// The socket, and who may command.
pub(crate) struct Controller {
    socket: UdpSocket,
    commanders: Commanders,
    room: Box<[u8; ROOM]>,
    sender: Sender,
}

/// What may happen at the controller's side.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Occurred {
    /// A datagram of this length came in from this address: [`Controller::bytes`].
    Received(usize, SocketAddr),
    /// The controller's name was looked up and has this address.
    Named(IpAddr),
    /// It is time to say MONITOR_READY.
    ReadyDue,
    /// Something may be sent.
    SendDue,
}

impl Controller {
    pub(crate) fn bind(settings: Settings) -> io::Result<Self> {
        let Settings { address, name, controllers } = settings;
        let socket = daemon_kit::udp::bind(address, RECEIVE_BUFFER, SEND_BUFFER)?;
        Ok(Self {
            socket,
            commanders: Commanders::new(name, controllers, address.is_ipv4()),
            room: Box::new([0; ROOM]),
            sender: Sender::default(),
        })
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Waits for something to happen: at the latest until MONITOR_READY is due, or something is to be sent. May be dropped
    /// while it waits.
    pub(crate) async fn next(
        &mut self,
        ready_at: Option<Instant>,
        send_at: Option<Instant>,
    ) -> Occurred {
        loop {
            tokio::select! {
                // The rare ones first, so that many datagrams do not hold them up.
                biased;
                named = self.commanders.next() => {
                    if let Some(ip) = named {
                        return Occurred::Named(ip);
                    }
                }
                () = until(ready_at) => return Occurred::ReadyDue,
                () = until(send_at) => return Occurred::SendDue,
                received = self.socket.recv_from(&mut *self.room) => match received {
                    Ok((len, from)) => return Occurred::Received(len, from),
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

    /// The datagram of this length that was received last.
    pub(crate) fn bytes(&self, len: usize) -> &[u8] {
        &self.room[..len]
    }

    /// Whether commands without a seal are taken from this address.
    pub(crate) fn may_command(&self, ip: IpAddr) -> bool {
        self.commanders.may_command(ip)
    }

    /// Looks up who may command. Where the controller's name is an address already, gives that.
    pub(crate) fn look_up(&mut self) -> Option<IpAddr> {
        self.commanders.look_up()
    }

    /// Somebody commands who may not: maybe an address has moved.
    pub(crate) fn look_again(&mut self) {
        self.commanders.look_again();
    }

    pub(crate) async fn send(&mut self, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
        self.sender.send(&self.socket, bytes, to).await
    }
}

/// Waits for a moment; for ever, if there is none.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
