//! Lines with the time since the start, in colour where somebody looks.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

/// Who speaks in a line, and how it looks.
#[derive(Clone, Copy)]
pub(super) enum Voice {
    /// What the demo does to the guests or asks of the daemon.
    Hand,
    /// What is well.
    Good,
    /// What is worth a look.
    Warning,
    /// What went wrong with a guest.
    Bad,
}

impl Voice {
    const fn style(self) -> (&'static str, &'static str) {
        match self {
            Self::Hand => ("\x1b[36m", ">"),
            Self::Good => ("\x1b[32m", "+"),
            Self::Warning => ("\x1b[33m", "!"),
            Self::Bad => ("\x1b[1;31m", "x"),
        }
    }
}

/// The story so far.
pub(super) struct Timeline {
    start: Instant,
    colour: bool,
}

impl Timeline {
    pub(super) fn begin(title: &str) -> Self {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let (bold, plain) = if colour { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
        println!("\n{bold}{title}{plain}\n");
        Self { start: Instant::now(), colour }
    }

    /// A line at this moment.
    pub(super) fn tell(&self, voice: Voice, who: &str, what: &str) {
        self.tell_at(Instant::now(), voice, who, what);
    }

    /// A line about something that happened at `at`.
    pub(super) fn tell_at(&self, at: Instant, voice: Voice, who: &str, what: &str) {
        let elapsed = at.saturating_duration_since(self.start).as_secs_f64();
        let (style, mark) = voice.style();
        let (style, plain) = if self.colour { (style, "\x1b[0m") } else { ("", "") };
        println!("{elapsed:8.3} s  {style}{mark} {who:<12}{plain} {what}");
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A time as people read it.
pub(super) fn millis(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1000.0)
}
