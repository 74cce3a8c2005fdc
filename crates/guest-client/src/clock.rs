//! The kernel's monotonic clock: a change of the wall clock means nothing here.

use std::time::Duration;

use heartbeat_proto::MonotonicTime;
use tokio::time::Instant;

/// What is as good as never.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(self) -> MonotonicTime {
        MonotonicTime::after_start(self.0.elapsed())
    }

    /// Waits until then; for ever without a time.
    pub(crate) async fn sleep_until(self, time: Option<MonotonicTime>) {
        match time {
            Some(time) => tokio::time::sleep_until(self.0 + time.since_start().min(FAR)).await,
            None => std::future::pending().await,
        }
    }
}
