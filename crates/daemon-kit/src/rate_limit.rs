//! A token bucket for log lines that a guest or the network can cause.

use std::time::{Duration, Instant};

/// Lets `burst` lines through at once, then one per `refill`, and counts what it left out.
///
/// For one thread, and without allocation, so that every guest can have its own. Made for
///
/// ```
/// # use std::time::{Duration, Instant};
/// # use daemon_kit::RateLimit;
/// # let mut limit = RateLimit::new(5, Duration::from_secs(10));
/// # let now = Instant::now();
/// if let Some(left_out) = limit.allow(now) {
///     tracing::warn!(left_out, "a guest answered the wrong challenge");
/// }
/// ```
#[derive(Clone, Debug)]
pub struct RateLimit {
    burst: u32,
    refill: Duration,
    tokens: u32,
    /// When the last token came back; `None` before the first use.
    refilled: Option<Instant>,
    left_out: u64,
}

impl RateLimit {
    /// A full bucket. A `burst` of 0 counts as 1; with a `refill` of zero everything is let
    /// through.
    pub const fn new(burst: u32, refill: Duration) -> RateLimit {
        let burst = if burst == 0 { 1 } else { burst };
        RateLimit { burst, refill, tokens: burst, refilled: None, left_out: 0 }
    }

    /// Asks for one line: `Some` lets it through, with the number left out since the last one that
    /// was. A `now` before an earlier one brings nothing back and does no harm.
    pub fn allow(&mut self, now: Instant) -> Option<u64> {
        self.take_back(now);
        if self.tokens == 0 {
            self.left_out = self.left_out.saturating_add(1);
            return None;
        }
        self.tokens -= 1;
        Some(std::mem::take(&mut self.left_out))
    }

    fn take_back(&mut self, now: Instant) {
        let since = *self.refilled.get_or_insert(now);
        let elapsed = now.saturating_duration_since(since);
        // More than u32::MAX intervals fill any bucket, as does a refill of no time.
        let whole = elapsed.as_nanos().checked_div(self.refill.as_nanos()).unwrap_or(u128::MAX);
        let whole = u32::try_from(whole).unwrap_or(u32::MAX);
        if whole >= self.burst - self.tokens {
            self.tokens = self.burst;
            self.refilled = Some(now.max(since));
        } else {
            // The part of an interval that is left counts towards the next token.
            self.tokens += whole;
            self.refilled = Some(since + self.refill * whole);
        }
    }
}

/// A log line that is held to a rate: `limited!(limit.allow(now), warn, field = 1, "message")`. Where lines were left
/// out before it, it says how many.
#[macro_export]
macro_rules! limited {
    ($allowed:expr, $level:ident, $($rest:tt)+) => {
        if let Some(left_out) = $allowed {
            let left_out = (left_out > 0).then_some(left_out);
            ::tracing::$level!(left_out, $($rest)+);
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_then_one_per_interval_with_the_number_left_out() {
        let start = Instant::now();
        let mut limit = RateLimit::new(2, SECOND);
        assert_eq!(limit.allow(start), Some(0));
        assert_eq!(limit.allow(start), Some(0));
        assert_eq!(limit.allow(start), None);
        assert_eq!(limit.allow(start + SECOND / 2), None);
        assert_eq!(limit.allow(start + SECOND), Some(2));
        assert_eq!(limit.allow(start + SECOND), None);
        // Three quarters and one quarter make a token.
        assert_eq!(limit.allow(start + SECOND * 7 / 4), None);
        assert_eq!(limit.allow(start + SECOND * 2), Some(2));
    }

    #[test]
    fn a_long_silence_fills_the_bucket_and_no_more() {
        let start = Instant::now();
        let mut limit = RateLimit::new(2, Duration::from_nanos(1));
        let later = start + SECOND * 3600 * 24 * 365;
        assert_eq!(limit.allow(start), Some(0));
        for expected in [Some(0), Some(0), None] {
            assert_eq!(limit.allow(later), expected);
        }
        assert_eq!(limit.allow(start), None, "time running backwards");
        assert_eq!(limit.allow(later + SECOND), Some(2));
    }

    #[test]
    fn a_full_bucket_saves_nothing_up() {
        let start = Instant::now();
        let mut limit = RateLimit::new(1, SECOND);
        assert_eq!(limit.allow(start), Some(0));
        assert_eq!(limit.allow(start + SECOND * 19 / 10), Some(0));
        assert_eq!(
            limit.allow(start + SECOND * 20 / 10),
            None,
            "the bucket was full: 1 s from then"
        );
        assert_eq!(limit.allow(start + SECOND * 29 / 10), Some(1));
    }

    #[test]
    fn odd_arguments() {
        const ALWAYS: RateLimit = RateLimit::new(0, Duration::ZERO);
        let now = Instant::now();
        let mut limit = ALWAYS;
        assert!((0..100).all(|_| limit.allow(now) == Some(0)));
        let mut limit = RateLimit::new(0, SECOND);
        assert_eq!((limit.allow(now), limit.allow(now)), (Some(0), None));
    }
}
