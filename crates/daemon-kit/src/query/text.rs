//! Times as a table shows them.

use std::time::{Duration, SystemTime};

/// A time in at most six characters, its two largest units: `3m12s`, `5h07m`, `12d03h`; below ten seconds `0.4s`, below a
/// second `462µs` and `1.5ms`.
#[must_use]
pub fn short(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0 if time.as_micros() < 1000 => format!("{}µs", time.as_micros()),
        0 if time.as_millis() < 100 => format!("{:.1}ms", time.as_secs_f64() * 1e3),
        0 => format!("{}ms", time.as_millis()),
        1..10 => format!("{:.1}s", (time.as_secs_f64() * 10.0).floor() / 10.0),
        10..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m{:02}s", seconds % 60),
        3600..86_400 => format!("{hours}h{:02}m", minutes % 60),
        _ if days < 100 => format!("{days}d{:02}h", hours % 24),
        _ => format!("{days}d"),
    }
}

/// A number of seconds that the daemon gave, as [`short`] shows it; `-` for none.
#[must_use]
pub fn ago(seconds: Option<f64>) -> String {
    // What is no time, such as a negative number, is none.
    seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).map_or("-".into(), short)
}

/// The time of day, in UTC, so long ago: `2026-11-25T15:41:43.120Z`. It is as good as the wall clock is now, and follows its
/// corrections.
#[must_use]
pub fn clock_time(ago: Duration) -> String {
    let time = SystemTime::now().checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH);
    humantime::format_rfc3339_millis(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short_and_say_their_two_largest_units() {
        for (millis, wanted) in [
            (0, "0µs"),
            (1, "1.0ms"),
            (99, "99.0ms"),
            (100, "100ms"),
            (999, "999ms"),
            (1000, "1.0s"),
            (9999, "9.9s"),
            (10_000, "10s"),
            (59_999, "59s"),
            (192_000, "3m12s"),
            (3_600_000, "1h00m"),
            (86_399_000, "23h59m"),
            (86_400_000, "1d00h"),
            (8_640_000_000, "100d"),
        ] {
            let text = short(Duration::from_millis(millis));
            assert_eq!(text, wanted);
            assert!(text.chars().count() <= 6, "{text}");
        }
        assert_eq!(short(Duration::from_micros(462)), "462µs");
        assert_eq!(
            (ago(None), ago(Some(-1.0)), ago(Some(0.4))),
            ("-".into(), "-".into(), "400ms".into())
        );
    }
}
