//! Telling the supervisor (systemd, or what speaks its protocol) how the daemon is: readiness,
//! reload, stop, watchdog.
//!
//! The supervisor names its socket in `NOTIFY_SOCKET`; without it nothing is sent, which is not an
//! error. A message that cannot be sent is logged and otherwise forgotten: the supervisor will
//! notice, and the daemon goes on. The variables stay in the environment; whoever starts children
//! takes them away from those.

use std::env;
use std::io::{self, ErrorKind};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tracing::{debug, warn};

use crate::{RateLimit, limited};

/// How often a supervisor that cannot be reached is mentioned.
static LIMIT: Mutex<RateLimit> = Mutex::new(RateLimit::new(3, Duration::from_secs(60)));

/// How often, and with which pause, it is tried to say READY to a supervisor whose queue is full.
const READY_ATTEMPTS: u32 = 10;
const READY_PAUSE: Duration = Duration::from_millis(10);

/// The shortest pause between two watchdog messages. A supervisor that wants them more often cannot
/// be satisfied without the daemon doing nothing else.
pub const MIN_WATCHDOG_INTERVAL: Duration = Duration::from_millis(10);

/// The supervisor as the environment names it.
#[derive(Clone, Debug)]
pub struct Supervisor {
    watchdog_interval: Option<Duration>,
}

impl Supervisor {
    /// Reads `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    pub fn from_env() -> Supervisor {
        // sd-notify compares WATCHDOG_PID with ours: in a wrapped daemon the watchdog may be meant
        // for the wrapper.
        let watchdog =
            sd_notify::watchdog_enabled().filter(|_| env::var_os("NOTIFY_SOCKET").is_some());
        Supervisor { watchdog_interval: watchdog.and_then(ping_interval) }
    }

    /// Every socket is bound and the first scan done: the daemon serves. Also ends a reload.
    /// `status` is shown to the operator.
    pub fn ready(&self, status: &str) {
        let status = one_line(status);
        send_patiently(&[NotifyState::Ready, NotifyState::Status(&status)]);
    }

    /// The configuration is being read again; [`Supervisor::ready`] must follow.
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            // systemd wants the time in the same message, to tell this reload from an earlier one.
            Ok(now) => send(&[NotifyState::Reloading, now]),
            Err(error) => warn!(%error, "cannot tell the supervisor about the reload"),
        }
    }

    /// The daemon is about to stop.
    pub fn stopping(&self) {
        send(&[NotifyState::Stopping]);
    }

    /// The main loop is alive. Call it from the main loop itself, every
    /// [`Supervisor::watchdog_interval`].
    pub fn watchdog_ping(&self) {
        send(&[NotifyState::Watchdog]);
    }

    /// How often to call [`Supervisor::watchdog_ping`]: half the time the supervisor allows, at
    /// least [`MIN_WATCHDOG_INTERVAL`]. `None` if it does not ask for it, or asks another process.
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.watchdog_interval
    }
}

fn ping_interval(allowed: Duration) -> Option<Duration> {
    // 0 means off, and the largest number is how systemd writes "never".
    let on = !allowed.is_zero() && allowed != Duration::from_micros(u64::MAX);
    on.then(|| (allowed / 2).max(MIN_WATCHDOG_INTERVAL))
}

/// The protocol is lines of `NAME=value`: a newline inside a value would begin another one.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = try_send(states) {
        // start-stop-daemon listens until the daemon is ready, then it goes and takes the socket with it.
        if error.kind() == ErrorKind::NotFound {
            debug!(%error, "nobody listens at NOTIFY_SOCKET any more");
            return;
        }
        let mut limit = LIMIT.lock().unwrap_or_else(PoisonError::into_inner);
        limited!(
            limit.allow(Instant::now()),
            warn,
            %error,
            "cannot reach the supervisor through NOTIFY_SOCKET"
        );
    }
}

/// The one message that must not be lost for a moment's congestion.
fn send_patiently(states: &[NotifyState<'_>]) {
    let full = || try_send(states).is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
    for _ in 0..READY_ATTEMPTS {
        if !full() {
            return;
        }
        std::thread::sleep(READY_PAUSE);
    }
    send(states);
}

/// Sends without waiting: a supervisor that does not read must not hold up the daemon.
fn try_send(states: &[NotifyState<'_>]) -> io::Result<()> {
    let Some(path) = env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let message: String = states.iter().map(|state| format!("{state}\n")).collect();
    let address = match path.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(&path)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to_addr(message.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests;
