//! How late the challenges of one guest are.
//!
//! The guest's schedule is one challenge an interval. Where it begins is not known to the guest; it
//! is taken from the challenge that came earliest with regard to it. So the lateness of a challenge
//! is by how much it came later than an exact interval after the earliest one, times its number:
//! a period that is too long, a challenge that is left out and one that comes late all show.

use std::time::{Duration, Instant};

use super::site::millis;

/// A challenge and by how many milliseconds it was late.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Challenge {
    pub(super) at: Instant,
    pub(super) late: f64,
}

/// How late each of these challenges was, which came in this order.
pub(super) fn lateness(times: &[Instant], interval: Duration) -> Vec<Challenge> {
    let Some(&first) = times.first() else { return Vec::new() };
    let interval = millis(interval);
    let mut challenges = Vec::with_capacity(times.len());
    let mut planned = 0.0;
    let mut earliest = f64::INFINITY;
    for &at in times {
        let late = millis(at.saturating_duration_since(first)) - planned;
        earliest = earliest.min(late);
        challenges.push(Challenge { at, late });
        planned += interval;
    }
    for challenge in &mut challenges {
        challenge.late -= earliest;
    }
    challenges
}

/// The real period, in milliseconds: from the first challenge to the last.
pub(super) fn period(times: &[Instant]) -> Option<f64> {
    let intervals = u32::try_from(times.len().checked_sub(1)?).ok()?;
    let whole = times.last()?.saturating_duration_since(*times.first()?);
    whole.checked_div(intervals).map(millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn late(millis: &[u64]) -> Vec<f64> {
        let start = Instant::now();
        let times: Vec<_> = millis.iter().map(|&at| start + Duration::from_millis(at)).collect();
        lateness(&times, Duration::from_secs(1)).iter().map(|c| c.late.round()).collect()
    }

    #[test]
    fn the_earliest_challenge_makes_the_schedule() {
        assert_eq!(late(&[0, 1000, 2000]), [0.0, 0.0, 0.0]);
        assert_eq!(late(&[5, 1000, 2007]), [5.0, 0.0, 7.0]);
    }

    #[test]
    fn a_long_period_and_a_challenge_left_out_show() {
        assert_eq!(late(&[0, 1020, 2040]), [0.0, 20.0, 40.0]);
        assert_eq!(late(&[0, 1000, 3000]), [0.0, 0.0, 1000.0]);
        assert!(late(&[]).is_empty());
    }

    #[test]
    fn the_period_is_that_of_the_whole() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(period(&[at(0), at(900), at(2040)]), Some(1020.0));
        assert_eq!(period(&[at(0)]), None);
        assert_eq!(period(&[]), None);
    }
}
