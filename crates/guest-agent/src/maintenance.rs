//! The way to the maintenance system and back.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use daemon_kit::{RateLimit, limited};
use heartbeat_proto::control::{
    Datagram, Length, MAX_LEN, MaintenanceCommand, Signature, ready_for_maintenance,
};
use tokio::net::UdpSocket;
use tracing::debug;

use crate::fleet::{ERROR_PAUSE, Rejected, bind};

/// Room for a datagram; see [`crate::fleet`].
const ROOM: usize = 2 * MAX_LEN;

/// The maintenance system.
pub(crate) struct Maintenance {
    socket: Arc<UdpSocket>,
    host: Arc<str>,
    event_port: u16,
    room: Box<[u8; ROOM]>,
    /// For what goes wrong with asking it, which the VIM's commands can make us do every second.
    troubles: Arc<Mutex<RateLimit>>,
}

impl Maintenance {
    pub(crate) fn bind(address: SocketAddr, host: &str, event_port: u16) -> io::Result<Self> {
        let socket = Arc::new(bind(address)?);
        let troubles = Arc::new(Mutex::new(RateLimit::new(20, Duration::from_secs(60))));
        let room = Box::new([0; ROOM]);
        Ok(Self { socket, host: host.into(), event_port, room, troubles })
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
        let troubles = self.troubles.clone();
        let allow =
            move || troubles.lock().unwrap_or_else(PoisonError::into_inner).allow(Instant::now());
        tokio::spawn(async move {
            let ipv4 = socket.local_addr().is_ok_and(|address| address.is_ipv4());
            let found = match tokio::net::lookup_host((&*host, port)).await {
                Ok(mut found) => found.find(|address| address.is_ipv4() == ipv4),
                Err(error) => {
                    limited!(
                        allow(), warn, mtc = &*host, %error,
                        "the maintenance system's name has no address"
                    );
                    return;
                }
            };
            let Some(to) = found else {
                limited!(
                    allow(),
                    warn,
                    mtc = &*host,
                    "the maintenance system has no address of our family"
                );
                return;
            };
            let mut bytes = Vec::new();
            ready_for_maintenance().encode(Length::Fitting, &mut bytes);
            match socket.send_to(&bytes, to).await {
                Ok(_) => debug!(%to, "asked the maintenance system for the hosts"),
                Err(error) => limited!(
                    allow(), warn, %to, %error, "cannot ask the maintenance system for the hosts"
                ),
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
