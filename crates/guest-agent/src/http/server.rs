//! Listens, and accepts.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use daemon_kit::{RateLimit, limited};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use super::connection::serve;
use super::counts::Counts;
use super::exchange::Exchanges;
use super::{Limits, REQUESTS_DEPTH, Request};

/// Connections that the kernel keeps for us; its own limit may be lower.
const BACKLOG: u32 = 1024;

/// The pause after a failed accept. Out of file descriptors, the next one fails as fast.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The listening socket. Connections wait in the kernel until it is spawned.
#[derive(Debug)]
pub(crate) struct Listener {
    listener: TcpListener,
    limits: Limits,
    counts: Arc<Counts>,
}

/// Listens on an address; port 0 means any free one. Call it inside the runtime.
///
/// # Errors
/// When the machine refuses it.
pub(crate) fn bind(address: SocketAddr) -> io::Result<Listener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Connections of a daemon that has just ended must not keep its successor from its port.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let listener = socket.listen(BACKLOG)?;
    let limits = Limits::within(daemon_kit::open_files()?);
    Ok(Listener { listener, limits, counts: Arc::default() })
}

impl Listener {
    /// Where it listens.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// What is counted.
    pub(crate) fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    #[cfg(test)]
    pub(super) fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Serves the socket from a task of its own and returns where the main loop receives the
    /// commands.
    ///
    /// The socket and all connections are closed once the receiver has been dropped, or with the
    /// runtime.
    pub(crate) fn spawn(self) -> mpsc::Receiver<Request> {
        let (requests, receiver) = mpsc::channel(REQUESTS_DEPTH);
        let exchanges = Exchanges::new(self.limits, Arc::clone(&self.counts), requests);
        tokio::spawn(self.run(Arc::new(exchanges)));
        receiver
    }

    async fn run(self, exchanges: Arc<Exchanges>) {
        // Dropped with this future, and all connections with it.
        let mut connections = JoinSet::new();
        let room = Arc::new(Notify::new());
        let mut failures = RateLimit::new(3, Duration::from_secs(60));
        loop {
            let accepted = tokio::select! {
                () = exchanges.closed() => return,
                Some(_) = connections.join_next() => continue,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    self.counts.connections.increment();
                    if !self.make_room(&mut connections, &room, &exchanges).await {
                        return;
                    }
                    // A failure costs some time and nothing else.
                    let _ = stream.set_nodelay(true);
                    connections.spawn(serve(stream, Arc::clone(&exchanges), Arc::clone(&room)));
                }
                Err(error) => {
                    self.counts.accept_failures.increment();
                    let allowed = failures.allow(Instant::now());
                    limited!(allowed, warn, %error, "cannot accept HTTP connections");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Waits until there is room for one more connection. False when the main loop is gone.
    async fn make_room(
        &self,
        connections: &mut JoinSet<()>,
        room: &Arc<Notify>,
        exchanges: &Exchanges,
    ) -> bool {
        // Those that have ended since.
        while connections.try_join_next().is_some() {}
        if connections.len() < self.limits.connections {
            return true;
        }
        self.counts.connections_waited.increment();
        while connections.len() >= self.limits.connections {
            // The one that has been idle longest goes; if none is, the next one that becomes so.
            room.notify_one();
            tokio::select! {
                () = exchanges.closed() => return false,
                _ = connections.join_next() => {}
            }
        }
        // If another one ended first, nobody need go any more.
        pin!(room.notified()).as_mut().enable();
        true
    }
}
