//! The connection to one guest: bytes in, at a bounded rate, and messages out, if it reads them.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use daemon_kit::unpredictable;
use heartbeat_proto::MonotonicTime;
use heartbeat_proto::guest::{Frame, HostMessage, LineFramer};
use heartbeat_proto::session::{Session, Unreadable};
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::net::UnixStream;

use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::watch::Inode;

/// Bytes read at once: more than an answer to a challenge has. What comes in one piece is
/// handled before anybody else has a turn, and each of its lines may be worth an output of the
/// session, so this bounds both.
const READ_SIZE: usize = 256;

/// Bytes a second that are read from one guest in the long run; a guest in its right mind sends
/// less than one in a hundred of that. What comes faster waits in the channel, where it holds up
/// nobody but its writer.
const READ_RATE: u64 = 64 * 1024;

/// Bytes that may come at once beyond that.
const READ_BURST: u64 = 16 * 1024;

/// What one read counts at least, in bytes, so that many small pieces are held to a rate too.
const READ_COST: usize = 32;

/// Bytes that wait for a guest that does not read. While any wait, challenges are left out: when
/// it reads again, only the newest is of use.
pub(super) const MAX_UNSENT: usize = 4096;

/// What came from the guest.
pub(super) enum Input {
    /// Something, and it was handled.
    Some,
    /// As much as is read at once; there may be more.
    Much,
    /// Too much: reading is put off until [`Link::resumes_at`].
    PutOff,
    /// The end.
    Closed(String),
}

/// A connected channel.
pub(super) struct Link {
    stream: UnixStream,
    /// The socket file that it was connected through.
    pub(super) inode: Inode,
    framer: LineFramer,
    unsent: Vec<u8>,
    /// The channel took only a part of `unsent` when it was last tried.
    blocked: bool,
    reads: Allowance,
}

impl Link {
    pub(super) fn new(stream: UnixStream, inode: Inode, now: MonotonicTime) -> Self {
        Self {
            stream,
            inode,
            framer: LineFramer::default(),
            unsent: Vec::new(),
            blocked: false,
            reads: Allowance { used_up_at: now, put_off: None },
        }
    }

    /// Keeps a message for [`flush`](Self::flush), unless too much waits already.
    pub(super) fn send(&mut self, sequence: u64, message: &HostMessage, metrics: &Metrics) {
        if matches!(message, HostMessage::Challenge { .. }) {
            if self.blocked {
                metrics.challenges_skipped.increment();
                return;
            }
            metrics.challenges.increment();
        }
        let before = self.unsent.len();
        message.encode(sequence, &mut self.unsent);
        if self.unsent.len() > MAX_UNSENT {
            self.unsent.truncate(before);
            metrics.messages_skipped.increment();
        }
    }

    /// Writes as much as the channel takes now.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.try_write(&self.unsent) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => drop(self.unsent.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.blocked = !self.unsent.is_empty();
        Ok(())
    }

    /// Bytes that wait for the guest to read.
    #[cfg(test)]
    pub(super) fn unsent(&self) -> usize {
        self.unsent.len()
    }

    /// When reading goes on, if it was put off.
    pub(super) fn resumes_at(&self) -> Option<MonotonicTime> {
        self.reads.put_off
    }

    /// Waits for bytes and hands their lines to the session; writes what is unsent meanwhile.
    /// May be dropped while it waits: nothing that was read is lost.
    pub(super) async fn input(
        &mut self,
        clock: Clock,
        session: &mut Session,
        metrics: &Metrics,
    ) -> Input {
        poll_fn(|cx| self.poll_input(cx, clock, session, metrics)).await
    }

    fn poll_input(
        &mut self,
        cx: &mut Context<'_>,
        clock: Clock,
        session: &mut Session,
        metrics: &Metrics,
    ) -> Poll<Input> {
        if let Err(error) = self.poll_unsent(cx) {
            return Poll::Ready(Input::Closed(error.to_string()));
        }
        let before = self.reads.put_off;
        if !self.reads.allowed(clock.now()) {
            // Told once, so that the caller's clock is set; that clock wakes us when reading goes on.
            return if before.is_none() { Poll::Ready(Input::PutOff) } else { Poll::Pending };
        }
        let mut room = [0; READ_SIZE];
        let mut buffer = ReadBuf::new(&mut room);
        match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
            Err(error) => Poll::Ready(Input::Closed(error.to_string())),
            Ok(()) if buffer.filled().is_empty() => {
                Poll::Ready(Input::Closed("end of file".into()))
            }
            Ok(()) => {
                let bytes = buffer.filled();
                let now = clock.now();
                self.reads.spend(bytes.len());
                metrics.bytes_received.add(bytes.len() as u64);
                self.framer.push(bytes, |frame| {
                    let unreadable = session.handle_frame(now, &frame, &mut unpredictable);
                    let Frame::Line { bytes, .. } = frame else { return };
                    let counter = match unreadable {
                        Some(Unreadable::Malformed) => &metrics.bytes_malformed,
                        Some(Unreadable::Fragment) => &metrics.bytes_fragments,
                        Some(Unreadable::TooLong) | None => return,
                    };
                    counter.add(bytes.len() as u64);
                });
                match self.framer.take_thrown_away() {
                    0 => {}
                    thrown_away => metrics.bytes_too_long.add(thrown_away),
                }
                Poll::Ready(if bytes.len() == READ_SIZE { Input::Much } else { Input::Some })
            }
        }
    }

    fn poll_unsent(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.poll_write_ready(cx) {
                Poll::Pending => break,
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Ready(Ok(())) => self.flush()?,
            }
        }
        Ok(())
    }
}

/// How much may be read now: a token bucket of bytes, kept as the moment at which it is full.
struct Allowance {
    used_up_at: MonotonicTime,
    /// Set while nothing may be read.
    put_off: Option<MonotonicTime>,
}

impl Allowance {
    const BURST: Duration = Duration::from_millis(1000 * READ_BURST / READ_RATE);

    fn allowed(&mut self, now: MonotonicTime) -> bool {
        self.used_up_at = self.used_up_at.max(now);
        let ahead = self.used_up_at.since(now);
        self.put_off =
            (ahead > Self::BURST).then(|| now + (ahead - Self::BURST) + Duration::from_millis(1));
        self.put_off.is_none()
    }

    fn spend(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes.max(READ_COST)).unwrap_or(u64::MAX);
        let nanos = bytes.saturating_mul(1_000_000_000 / READ_RATE);
        self.used_up_at = self.used_up_at + Duration::from_nanos(nanos);
    }
}
