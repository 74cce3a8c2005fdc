//! The way to the maintenance system and back.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use heartbeat_proto::control::{
    Datagram, Length, MAX_LEN, MaintenanceCommand, Signature, ready_for_maintenance,
};
use tokio::net::UdpSocket;
use tracing::{debug, warn};

use crate::fleet::{ERROR_PAUSE, Rejected, bind};

/// Room for a datagram; see [`crate::fleet`].
const ROOM: usize = 2 * MAX_LEN;

/// The maintenance system.
pub(crate) struct Maintenance {
    socket: Arc<UdpSocket>,
    host: Arc<str>,
    event_port: u16,
    room: Box<[u8; ROOM]>,
}

impl Maintenance {
    pub(crate) fn bind(address: SocketAddr, host: &str, event_port: u16) -> io::Result<Self> {
        let socket = Arc::new(bind(address)?);
        Ok(Self { socket, host: host.into(), event_port, room: Box::new([0; ROOM]) })
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Waits for a datagram. May be dropped while it waits.
    pub(crate) async fn receive(&mut self) -> Received<'_> {
        let (len, from) = loop {
            match self.socket.recv_from(&mut *self.room).await {
                Ok(received) => break received,
                Err(error) => {
                    debug!(%error, "UDP error");
                    tokio::time::sleep(ERROR_PAUSE).await;
                }
            }
        };
        Received { from, bytes: &self.room[..len] }
    }

    /// Tells the maintenance system that the hosts are wanted. Aside, for its name has to be looked
    /// up, and a name service may be slow.
    pub(crate) fn announce(&self) {
        let (socket, host, port) = (self.socket.clone(), self.host.clone(), self.event_port);
        tokio::spawn(async move {
            let ipv4 = socket.local_addr().is_ok_and(|address| address.is_ipv4());
            let found = match tokio::net::lookup_host((&*host, port)).await {
                Ok(mut found) => found.find(|address| address.is_ipv4() == ipv4),
                Err(error) => {
                    warn!(%host, %error, "the maintenance system's name has no address");
                    return;
                }
            };
            let Some(to) = found else {
                warn!(%host, "the maintenance system has no address of our family");
                return;
            };
            let mut bytes = Vec::new();
            ready_for_maintenance().encode(Length::Fitting, &mut bytes);
            match socket.send_to(&bytes, to).await {
                Ok(_) => debug!(%to, "asked the maintenance system for the hosts"),
                Err(error) => warn!(%to, %error, "cannot ask the maintenance system for the hosts"),
            }
        });
    }
}

/// A datagram that came in.
pub(crate) struct Received<'a> {
    pub(crate) from: SocketAddr,
    bytes: &'a [u8],
}

impl Received<'_> {
    /// The command that it is.
    pub(crate) fn command(&self) -> Result<MaintenanceCommand<'_>, Rejected> {
        let datagram = Datagram::decode(self.bytes)?;
        match datagram.signature {
            Signature::MaintenanceCommand => Ok(MaintenanceCommand::decode(&datagram)?),
            Signature::GuestMessage | Signature::None => Err(Rejected::Signature),
        }
    }
}
