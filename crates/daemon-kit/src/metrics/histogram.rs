//! How long things take.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::ser::{Serialize, SerializeStruct as _, Serializer};

/// Times, counted by the smallest bound that they do not exceed.
///
/// To count one is two additions to atomics and a search among some dozen numbers.
#[derive(Debug)]
pub struct Histogram {
    /// In microseconds, growing.
    bounds: &'static [u64],
    /// One more than there are bounds: the last is for what exceeds them all.
    counts: Box<[AtomicU64]>,
    sum_nanos: AtomicU64,
}

impl Histogram {
    /// One without times, with these bounds in microseconds.
    #[must_use]
    pub fn new(bounds: &'static [u64]) -> Self {
        let counts = std::iter::repeat_with(AtomicU64::default).take(bounds.len() + 1);
        Self { bounds, counts: counts.collect(), sum_nanos: AtomicU64::default() }
    }

    /// Counts a time.
    pub fn observe(&self, time: Duration) {
        let place = self.bounds.partition_point(|bound| Duration::from_micros(*bound) < time);
        if let Some(count) = self.counts.get(place) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// How many times were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// All times together.
    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_nanos.load(Ordering::Relaxed))
    }

    /// Each bound in seconds, and how many times do not exceed it; at last infinity, and how many there are.
    pub(super) fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let bounds = self.bounds.iter().map(|micros| Duration::from_micros(*micros).as_secs_f64());
        let mut so_far = 0;
        bounds.chain([f64::INFINITY]).zip(&self.counts).map(move |(bound, count)| {
            so_far += count.load(Ordering::Relaxed);
            (bound, so_far)
        })
    }
}

/// How many, and how long altogether.
impl Serialize for Histogram {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut shown = serializer.serialize_struct("Histogram", 2)?;
        shown.serialize_field("count", &self.count())?;
        shown.serialize_field("sum_secs", &self.sum().as_secs_f64())?;
        shown.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_under_the_bounds_that_it_does_not_exceed() {
        let histogram = Histogram::new(&[100, 250, 1_000_000]);
        for micros in [99, 100, 101, 1_000_000, 1_000_001] {
            histogram.observe(Duration::from_micros(micros));
        }
        let counted: Vec<_> = histogram.cumulative().collect();
        assert_eq!(counted, [(0.0001, 2), (0.00025, 3), (1.0, 4), (f64::INFINITY, 5)]);
        assert_eq!(histogram.sum(), Duration::from_micros(99 + 100 + 101 + 1_000_000 + 1_000_001));
        assert_eq!(serde_json::to_value(&histogram).unwrap()["count"], 5);
    }
}
