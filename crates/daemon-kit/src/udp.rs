//! UDP sockets with buffers that hold a burst.

use std::io;
use std::net::SocketAddr;

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
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
}
