//! Time as the rules see it: a moment that somebody else read from a clock, and a rate.

use std::ops::Add;
use std::time::Duration;

/// A moment on a monotonic clock, in nanoseconds since an arbitrary start.
///
/// The daemon takes it from the kernel's monotonic clock, a simulation from its own. It never
/// goes back and does not know the date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct MonotonicTime(u64);

impl MonotonicTime {
    /// The clock's arbitrary start.
    pub const START: Self = Self(0);

    /// The moment this long after the clock's start. Exact to the nanosecond for 584 years.
    #[must_use]
    pub fn after_start(elapsed: Duration) -> Self {
        Self(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX))
    }

    /// How long after the clock's start this moment is.
    #[must_use]
    pub const fn since_start(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// How long after `earlier` this moment is; zero when it is not after it.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for MonotonicTime {
    type Output = Self;

    /// The moment `later` after this one; the clock's end when there is none.
    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(later.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// A rate: `burst` at once, then one a `period`.
///
/// Kept as the single moment at which the bucket would be full again, so that thousands of them
/// cost eight bytes each.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokenBucket {
    full_at: MonotonicTime,
}

impl TokenBucket {
    /// Takes a token at `now`, if there is one.
    pub fn take(&mut self, now: MonotonicTime, burst: u32, period: Duration) -> bool {
        let base = self.full_at.max(now);
        if base.since(now) + period > period * burst {
            return false;
        }
        self.full_at = base + period;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> MonotonicTime {
        MonotonicTime::after_start(Duration::from_millis(millis))
    }

    #[test]
    fn a_moment_never_runs_backwards_or_over() {
        assert_eq!(at(5).since(at(3)), Duration::from_millis(2));
        assert_eq!(at(3).since(at(5)), Duration::ZERO);
        assert!(at(1) + Duration::MAX > at(u64::from(u32::MAX)));
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut bucket = TokenBucket::default();
        let mut taken = |millis| bucket.take(at(millis), 3, Duration::from_millis(100));
        assert_eq!([0, 0, 0, 0].map(&mut taken), [true, true, true, false]);
        assert_eq!([99, 100, 100].map(&mut taken), [false, true, false]);
        assert_eq!([5000, 5000, 5000, 5000].map(&mut taken), [true, true, true, false]);
    }
}
