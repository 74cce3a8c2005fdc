//! The kernel's monotonic clock, as the rules want it.

use std::time::Duration;

use heartbeat_proto::MonotonicTime;
use tokio::time::Instant;

/// The one clock of the daemon. It stands still while the host is suspended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    pub(crate) fn now(self) -> MonotonicTime {
        MonotonicTime::after_start(self.start.elapsed())
    }

    /// When the runtime's timer has to fire for this moment.
    pub(crate) fn instant(self, time: MonotonicTime) -> Instant {
        // A moment that the runtime cannot express lies beyond anything that is waited for.
        const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
        self.start + time.since_start().min(FAR)
    }
}
