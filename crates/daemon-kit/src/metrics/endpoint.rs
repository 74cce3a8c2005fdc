//! The metrics over HTTP: `GET /metrics`, one request a connection.
//!
//! The [`Exporter`](super::Exporter) owns the listener and accepts in the main loop, at a bounded rate; each connection
//! is a task that owns nothing but its bytes, within the limits below, and asks the main loop for the text. Whoever
//! fills all connections holds up others that ask for metrics, never the daemon.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::exporter::{Asker, Reply};
use super::exposition;

/// Connections at once. More wait in the kernel's queue.
pub const MAX_CONNECTIONS: usize = 8;

/// The longest request line and header together, in bytes; a longer one is 431. hyper takes no less.
pub const MAX_HEADER: usize = 8192;

/// Connections that are accepted at once after a pause.
pub const BURST: u32 = 20;

/// One more connection is accepted in this time, so that asking again and again costs the daemon little.
pub const PERIOD: Duration = Duration::from_millis(200);

/// Connections that wait in the kernel.
const BACKLOG: u32 = 64;

/// How long a connection may take for what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// From the connection to the end of the header; after that it is closed.
    pub(super) header_time: Duration,
    /// For the main loop's answer; without one it is 503.
    pub(super) answer_time: Duration,
    /// Altogether; then it is closed, with an answer that was not taken.
    pub(super) connection_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_time: Duration::from_secs(5),
            answer_time: Duration::from_secs(5),
            connection_time: Duration::from_secs(20),
        }
    }
}

/// A listening socket and its pace.
#[derive(Debug)]
pub(super) struct Endpoint {
    listener: TcpListener,
    /// What was asked for: port 0 stays 0.
    pub(super) asked: SocketAddr,
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// When all that was accepted so far is accounted for; see [`BURST`].
    paid_until: Instant,
}

impl Endpoint {
    pub(super) fn bind(asked: SocketAddr) -> io::Result<Self> {
        let socket = match asked {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        // Connections of a daemon that has just ended must not keep its successor from its port.
        socket.set_reuseaddr(true)?;
        socket.bind(asked)?;
        let listener = socket.listen(BACKLOG)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, asked, address, paid_until: Instant::now() })
    }

    /// When the next connection may be accepted, if not now.
    pub(super) fn resumes_at(&self) -> Option<Instant> {
        let at = self.paid_until.checked_sub(PERIOD * BURST)?;
        (at > Instant::now()).then_some(at)
    }

    /// The next connection. May be dropped while it waits.
    pub(super) async fn accept(&self) -> io::Result<TcpStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }

    /// One was accepted.
    pub(super) fn pay(&mut self) {
        self.paid_until = self.paid_until.max(Instant::now()) + PERIOD;
    }

    /// Nothing is accepted for a while.
    pub(super) fn pause(&mut self, time: Duration) {
        self.paid_until = Instant::now() + PERIOD * BURST + time;
    }
}

/// Serves a connection to its end.
pub(super) async fn serve(stream: TcpStream, askers: mpsc::Sender<Asker>, limits: Limits) {
    let service = service_fn(|request| {
        let askers = &askers;
        async move { Ok::<_, Infallible>(answer(&request, askers, limits).await) }
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        // A client may end its side after its request.
        .half_close(true)
        .max_buf_size(MAX_HEADER)
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .serve_connection(TokioIo::new(stream), service);
    // Whatever goes wrong is the client's loss.
    let _ = timeout(limits.connection_time, connection).await;
}

async fn answer<B>(
    request: &Request<B>,
    askers: &mpsc::Sender<Asker>,
    limits: Limits,
) -> Response<Full<Bytes>> {
    if request.uri().path() != "/metrics" {
        return short(StatusCode::NOT_FOUND, "metrics are at /metrics\n");
    }
    if request.method() != Method::GET {
        let mut response = short(StatusCode::METHOD_NOT_ALLOWED, "expected GET\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
        return response;
    }
    let (reply, text) = oneshot::channel();
    let asked = async {
        Asker::ask(Reply::Http(reply), askers).await?;
        text.await.ok()
    };
    match timeout(limits.answer_time, asked).await {
        Ok(Some(text)) => response(StatusCode::OK, exposition::CONTENT_TYPE, text),
        Ok(None) | Err(_) => short(StatusCode::SERVICE_UNAVAILABLE, "the daemon did not answer\n"),
    }
}

fn short(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    response(status, "text/plain; charset=utf-8", Bytes::from_static(text.as_bytes()))
}

fn response(status: StatusCode, content: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content));
    response
}
