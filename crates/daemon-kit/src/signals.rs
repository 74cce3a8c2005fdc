//! The signals a daemon obeys, as values for its main loop.
//!
//! `PIPE` needs nothing: the Rust runtime ignores it before `main`, so that writing to a closed
//! pipe or socket is an error of that write (a test holds it to that).

use std::io;

use tokio::signal::unix::{self, SignalKind};

/// What a signal asks of the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// `TERM` or `INT`: stop cleanly.
    Terminate,
    /// `HUP`: read the configuration again.
    Reload,
    /// `USR1`: write the health file anew.
    Health,
}

/// The installed handlers. They stay installed to the end of the process, also after this is
/// dropped.
#[derive(Debug)]
pub struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    hangup: unix::Signal,
    user1: unix::Signal,
}

impl Signals {
    /// Installs the handlers. Call it early, inside the runtime: before it, each of these signals
    /// ends the process.
    ///
    /// # Errors
    ///
    /// When the machine refuses a handler.
    pub fn install() -> io::Result<Signals> {
        Ok(Signals {
            terminate: unix::signal(SignalKind::terminate())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
            hangup: unix::signal(SignalKind::hangup())?,
            user1: unix::signal(SignalKind::user_defined1())?,
        })
    }

    /// Waits for the next signal. Signals of one kind that arrive while none is waited for become
    /// one; a request to stop comes before all others.
    ///
    /// Cancel safe: no signal is lost when the future is dropped, so it may be a branch of
    /// `select!`.
    pub async fn recv(&mut self) -> Signal {
        tokio::select! {
            biased;
            Some(()) = self.terminate.recv() => Signal::Terminate,
            Some(()) = self.interrupt.recv() => Signal::Terminate,
            Some(()) = self.hangup.recv() => Signal::Reload,
            Some(()) = self.user1.recv() => Signal::Health,
            // tokio never ends these streams.
            else => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use nix::sys::signal::{Signal as Kind, raise};

    use super::*;

    async fn next(signals: &mut Signals) -> Signal {
        tokio::time::timeout(Duration::from_secs(10), signals.recv()).await.expect("a signal")
    }

    #[tokio::test]
    async fn each_signal_has_its_meaning_and_none_is_lost() {
        let mut signals = Signals::install().unwrap();
        for (kind, meaning) in [
            (Kind::SIGTERM, Signal::Terminate),
            (Kind::SIGINT, Signal::Terminate),
            (Kind::SIGHUP, Signal::Reload),
            (Kind::SIGUSR1, Signal::Health),
        ] {
            raise(kind).unwrap();
            assert_eq!(next(&mut signals).await, meaning);
        }

        // A wait that was begun and dropped takes nothing with it.
        assert!(tokio::time::timeout(Duration::ZERO, signals.recv()).await.is_err());
        raise(Kind::SIGUSR1).unwrap();
        raise(Kind::SIGTERM).unwrap();
        let mut seen = [next(&mut signals).await, next(&mut signals).await];
        seen.sort_by_key(|signal| *signal as u8);
        assert_eq!(seen, [Signal::Terminate, Signal::Health]);
    }

    #[test]
    fn pipe_is_ignored() {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
        let ignored = u64::from_str_radix(mask.trim(), 16).unwrap();
        assert_ne!(ignored & (1 << (Kind::SIGPIPE as u32 - 1)), 0, "SigIgn: {mask}");
    }
}
