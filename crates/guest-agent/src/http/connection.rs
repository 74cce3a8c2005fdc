//! One connection: hyper, and a clock for what it is waiting for.
//!
//! ```text
//!            first byte          end of header       response made      response written
//!   (accepted) ──► Header ──────────────► Busy ─────────────► Taking ──────────────► Idle
//!                    ▲                                                                │
//!                    └──────────────────────── first byte ────────────────────────────┘
//!   any ──► Closing, once hyper is done with it
//! ```
//!
//! Each phase has a time limit; past it the connection is closed. hyper has a time limit for headers
//! too, but counts the idle time before them as part of it.

use std::convert::Infallible;
use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::Limits;
use super::exchange::Exchanges;

/// The least that hyper takes as the size of its buffers, in bytes.
const MIN_BUFFER: usize = 8192;

/// The most that is thrown away of what a client still sends after the last answer, in bytes.
const MAX_LINGER: usize = 1024 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// A header is to come.
    Header,
    /// A body is to come, or the main loop's answer. These have time limits of their own, which lead
    /// to an answer; the one here is for a client that takes none.
    Busy,
    /// The client is to take the response.
    Taking,
    /// The next request may come or not.
    Idle,
    /// What the client still sends is thrown away.
    Closing,
}

/// What the connection waits for, and until when.
#[derive(Debug)]
struct Clock {
    limits: Limits,
    state: Mutex<(Phase, Instant)>,
}

impl Clock {
    fn new(limits: Limits) -> Self {
        let deadline = Instant::now() + limits.header_time;
        Self { limits, state: Mutex::new((Phase::Header, deadline)) }
    }

    fn state(&self) -> (Phase, Instant) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, phase: Phase) {
        let limits = &self.limits;
        let time = match phase {
            Phase::Header => limits.header_time,
            Phase::Busy => {
                limits.body_time + limits.answer_time + limits.take_time + Duration::from_secs(1)
            }
            Phase::Taking => limits.take_time,
            Phase::Idle => limits.idle_time,
            Phase::Closing => limits.linger_time,
        };
        let state = (phase, Instant::now() + time);
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    fn leave(&self, from: Phase, to: Phase) {
        if self.state().0 == from {
            self.enter(to);
        }
    }
}

/// A stream that tells the clock what happens on it, and that is shut down only after its last
/// answer had a chance to arrive.
struct Watched<S> {
    stream: S,
    clock: Arc<Clock>,
    thrown_away: usize,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            self.clock.leave(Phase::Idle, Phase::Header);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        // hyper flushes once all its bytes are written.
        self.clock.leave(Phase::Taking, Phase::Idle);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.clock.state().0 != Phase::Closing {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.clock.enter(Phase::Closing);
        }
        let mut scrap = [0; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut scrap);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            let read = buffer.filled().len();
            self.thrown_away += read;
            if read == 0 || self.thrown_away > MAX_LINGER {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

/// Serves a connection to its end. `room` is notified when an idle one shall make room.
pub(super) async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    exchanges: Arc<Exchanges>,
    room: Arc<Notify>,
) {
    let limits = exchanges.limits;
    let clock = Arc::new(Clock::new(limits));
    let io = TokioIo::new(Watched { stream, clock: Arc::clone(&clock), thrown_away: 0 });
    let service = service_fn(|request| {
        clock.enter(Phase::Busy);
        let (clock, exchanges) = (&clock, &exchanges);
        async move {
            let response = exchanges.handle(request).await;
            clock.enter(Phase::Taking);
            Ok::<_, Infallible>(response)
        }
    });
    let header = limits.header.max(MIN_BUFFER);
    let connection = http1::Builder::new()
        .max_buf_size(header)
        .max_header_size(header)
        .header_read_timeout(None)
        // A client may end its side after its request; a command that came whole is carried out.
        .half_close(true)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    let mut timer = pin!(sleep_until(clock.state().1));
    let mut asked_to_go = None;
    let counts = &exchanges.counts;
    poll_fn(|cx| {
        if let Poll::Ready(result) = connection.as_mut().poll(cx) {
            if result.is_err() {
                counts.connections_broken.increment();
            }
            return Poll::Ready(());
        }
        let (phase, deadline) = clock.state();
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        if timer.as_mut().poll(cx).is_ready() {
            match phase {
                Phase::Idle => counts.connections_idle.increment(),
                Phase::Header | Phase::Busy | Phase::Taking => counts.connections_late.increment(),
                Phase::Closing => {}
            }
            return Poll::Ready(());
        }
        if phase != Phase::Idle {
            asked_to_go = None;
            return Poll::Pending;
        }
        // Whoever waits longest is notified first.
        let asked = asked_to_go.get_or_insert_with(|| Box::pin(Arc::clone(&room).notified_owned()));
        ready!(asked.as_mut().poll(cx));
        counts.connections_evicted.increment();
        Poll::Ready(())
    })
    .await;
}
