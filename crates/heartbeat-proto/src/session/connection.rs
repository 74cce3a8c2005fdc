//! Whether the channel is connected, and when to try again.

use std::time::Duration;

use super::output::{Output, Outputs};
use crate::MonotonicTime;

/// The wait after the first failed attempt.
pub const MIN_BACKOFF: Duration = Duration::from_secs(1);

/// The longest wait between attempts.
pub const MAX_BACKOFF: Duration = Duration::from_secs(60);

/// The wait after the very first attempt, if nobody listened: QEMU binds its socket a moment before
/// it listens, and whoever sees the file appear can be there in between.
pub const SETTLING: Duration = Duration::from_millis(3);

/// Why an attempt to connect failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectError {
    /// There is no channel of this instance (any more).
    NotFound,
    /// Nobody listens, too many wait already, or we lack something: worth another attempt.
    Unavailable,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// `Output::Connect` is out, its outcome is not in.
    Connecting,
    Connected {
        since: MonotonicTime,
    },
    /// Not connected; another attempt at this time.
    Waiting {
        until: MonotonicTime,
    },
    /// Not connected on purpose, until a `resume` or something happens to the channel.
    Suspended,
}

/// The connection's side of a session.
#[derive(Debug)]
pub(super) struct Connection {
    state: State,
    backoff: Duration,
    /// The channel has only just appeared, or something has just happened to it.
    settling: bool,
    /// The controller named this instance: it is kept although its channel is gone.
    pub(super) provisioned: bool,
}

impl Connection {
    /// Asks for the first attempt at once.
    pub(super) fn start(provisioned: bool, out: &mut Outputs) -> Self {
        out.push(Output::Connect);
        Self { state: State::Connecting, backoff: MIN_BACKOFF, settling: true, provisioned }
    }

    pub(super) const fn is_connected(&self) -> bool {
        matches!(self.state, State::Connected { .. })
    }

    /// Neither connected nor about to be.
    pub(super) const fn is_lost(&self) -> bool {
        matches!(self.state, State::Waiting { .. } | State::Suspended)
    }

    pub(super) const fn is_suspended(&self) -> bool {
        matches!(self.state, State::Suspended)
    }

    pub(super) const fn deadline(&self) -> Option<MonotonicTime> {
        match self.state {
            State::Waiting { until } => Some(until),
            State::Connecting | State::Connected { .. } | State::Suspended => None,
        }
    }

    pub(super) fn connected(&mut self, now: MonotonicTime) {
        self.state = State::Connected { since: now };
        self.backoff = MIN_BACKOFF;
        self.settling = false;
    }

    /// The channel is there, but nobody takes us.
    pub(super) fn refused(&mut self, now: MonotonicTime) {
        if std::mem::take(&mut self.settling) {
            self.state = State::Waiting { until: now + SETTLING };
        } else {
            self.failed(now);
        }
    }

    pub(super) fn failed(&mut self, now: MonotonicTime) {
        self.state = State::Waiting { until: now + self.backoff };
        self.backoff = (self.backoff * 2).min(MAX_BACKOFF);
    }

    /// The other end closed. Tried again at once, unless it closes as fast as we connect.
    pub(super) fn closed(&mut self, now: MonotonicTime, out: &mut Outputs) {
        let State::Connected { since } = self.state else { return };
        out.push(Output::Close);
        if now.since(since) < MIN_BACKOFF {
            self.failed(now);
        } else {
            self.connect(out);
        }
    }

    /// Closes what is open and connects anew at once.
    pub(super) fn reconnect(&mut self, out: &mut Outputs) {
        self.close(out);
        self.backoff = MIN_BACKOFF;
        self.settling = true;
        self.connect(out);
    }

    /// The channel is gone but the instance stays: look for it now and then.
    pub(super) fn gone(&mut self, now: MonotonicTime, out: &mut Outputs) {
        self.close(out);
        self.backoff = MIN_BACKOFF;
        self.failed(now);
    }

    pub(super) fn suspend(&mut self, out: &mut Outputs) {
        self.close(out);
        self.state = State::Suspended;
    }

    pub(super) fn close(&mut self, out: &mut Outputs) {
        if self.is_connected() {
            out.push(Output::Close);
        }
    }

    pub(super) fn handle_timeout(&mut self, now: MonotonicTime, out: &mut Outputs) {
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.connect(out);
        }
    }

    fn connect(&mut self, out: &mut Outputs) {
        self.state = State::Connecting;
        out.push(Output::Connect);
    }
}
