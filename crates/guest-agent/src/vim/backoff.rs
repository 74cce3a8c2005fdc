//! How long a VIM that is away is left alone.

use std::time::Duration;

use heartbeat_proto::MonotonicTime;

/// The pause after the first failure; it doubles up to the longest one.
pub(super) const MIN_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause of events.
pub(super) const MAX_PAUSE: Duration = Duration::from_secs(30);

/// Pauses after failures, each twice as long as the one before, until something succeeds.
#[derive(Debug)]
pub(super) struct Backoff {
    next_pause: Duration,
    longest: Duration,
    until: Option<MonotonicTime>,
}

impl Backoff {
    /// With pauses up to this one.
    pub(super) const fn up_to(longest: Duration) -> Self {
        Self { next_pause: MIN_PAUSE, longest, until: None }
    }

    /// Something failed: the pause from `now` on.
    pub(super) fn handle_failure(&mut self, now: MonotonicTime) -> Duration {
        let pause = self.next_pause;
        self.next_pause = (pause * 2).min(self.longest);
        self.until = Some(now + pause);
        pause
    }

    /// Something succeeded: no pause, and the next one is a short one again.
    pub(super) fn handle_success(&mut self) {
        *self = Self::up_to(self.longest);
    }

    /// When the last pause ends or ended, if nothing has succeeded since.
    pub(super) const fn until(&self) -> Option<MonotonicTime> {
        self.until
    }

    /// Whether a pause is going on.
    pub(super) fn pauses(&self, now: MonotonicTime) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_half_a_minute_and_begin_anew_after_a_success() {
        let mut backoff = Backoff::up_to(MAX_PAUSE);
        let now = MonotonicTime::START + Duration::from_secs(100);
        assert!(!backoff.pauses(now));
        let mut pauses = Vec::new();
        for _ in 0..8 {
            pauses.push(backoff.handle_failure(now).as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(backoff.until(), Some(now + MAX_PAUSE));
        assert!(backoff.pauses(now + (MAX_PAUSE - Duration::from_nanos(1))));
        assert!(!backoff.pauses(now + MAX_PAUSE));
        backoff.handle_success();
        assert!(!backoff.pauses(now));
        assert_eq!(backoff.handle_failure(now), MIN_PAUSE);
    }
}
