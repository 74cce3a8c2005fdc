//! UDP sockets with buffers that hold a burst.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::timeout;
use tracing::warn;

/// Binds a UDP socket whose kernel buffers are as large as asked for, in bytes, or as the kernel gives. Call it inside
/// the runtime.
///
/// Beyond the system's limit it takes a privilege; where that is lacking and the limit is lower, a warning says which
/// limit to raise: what does not fit into the buffer is lost without a trace.
///
/// # Errors
///
/// The address is not of this host, or its port is taken.
pub fn bind(address: SocketAddr, receive: usize, send: usize) -> io::Result<UdpSocket> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    if setsockopt(&socket, sockopt::RcvBufForce, &receive).is_err() {
        let _ = socket.set_recv_buffer_size(receive);
        // The kernel counts its own bookkeeping too, and says twice what was asked for.
        let given = socket.recv_buffer_size().unwrap_or_default() / 2;
        if given < receive {
            warn!(%address, given, wanted = receive, "small receive buffer: raise net.core.rmem_max");
        }
    }
    if setsockopt(&socket, sockopt::SndBufForce, &send).is_err() {
        // A small one makes senders wait, no more.
        let _ = socket.set_send_buffer_size(send);
    }
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// How long a datagram waits for room in the kernel's buffer before it is given up.
pub const SEND_PATIENCE: Duration = Duration::from_millis(20);

/// Sends datagrams, and never waits for long: a device that stalls fills the kernel's buffer, and a main loop must
/// not stand still for that.
#[derive(Debug, Default)]
pub struct Sender {
    /// There was no room the last time: not worth waiting for again until there is.
    stalled: bool,
}

impl Sender {
    /// Sends a datagram, or gives up after [`SEND_PATIENCE`].
    ///
    /// # Errors
    ///
    /// The kernel does not take it; nobody knows whether the other side would have got it.
    pub async fn send(
        &mut self,
        socket: &UdpSocket,
        bytes: &[u8],
        to: SocketAddr,
    ) -> io::Result<()> {
        let full = || io::Error::new(io::ErrorKind::WouldBlock, "no room in the kernel's buffer");
        let sent = match socket.try_send_to(bytes, to) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !self.stalled => {
                let waited = timeout(SEND_PATIENCE, socket.send_to(bytes, to)).await;
                waited.unwrap_or_else(|_| Err(full()))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(full()),
            sent => sent,
        };
        self.stalled = sent.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        sent.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_bound_port_is_refused_a_second_time() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let first = bind(any, 1 << 16, 1 << 16).unwrap();
        let error = bind(first.local_addr().unwrap(), 1 << 16, 1 << 16).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[tokio::test]
    async fn what_is_sent_arrives_and_an_address_that_cannot_be_reached_is_an_error() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (from, to) =
            (bind(any, 1 << 16, 1 << 16).unwrap(), bind(any, 1 << 16, 1 << 16).unwrap());
        let mut sender = Sender::default();
        sender.send(&from, b"hello", to.local_addr().unwrap()).await.unwrap();
        let mut room = [0; 16];
        assert_eq!(to.recv(&mut room).await.unwrap(), 5);
        assert!(sender.send(&from, b"hello", SocketAddr::from(([192, 0, 2, 1], 9))).await.is_err());
    }
}
