//! What a session is told, and what its inputs are judged by.

use std::time::Duration;

use crate::MonotonicTime;

/// What the operator set for all guests of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The shortest interval between challenges; what a guest asks below it is raised to it.
    pub pulse_floor: Duration,
    /// How many challenges in a row may go unanswered.
    pub failure_threshold: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { pulse_floor: Duration::from_millis(400), failure_threshold: 1 }
    }
}

/// The two switches that the orchestrator has; faults are reported while both are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reporting {
    /// For the host as a whole.
    pub host: bool,
    /// For this instance.
    pub instance: bool,
}

impl Reporting {
    /// Whether faults are reported.
    #[must_use]
    pub const fn enabled(self) -> bool {
        self.host && self.instance
    }
}

/// Where the numbers of the challenges come from.
pub trait Random {
    /// An unpredictable number; the bits above 31 are not used.
    fn challenge(&mut self) -> u32;
}

impl<F: FnMut() -> u32> Random for F {
    fn challenge(&mut self) -> u32 {
        self()
    }
}

/// What an input is judged by.
pub(super) struct Context<'a> {
    pub(super) now: MonotonicTime,
    pub(super) settings: Settings,
    pub(super) reporting: Reporting,
    pub(super) random: &'a mut dyn Random,
}

/// What a session is doing, for the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The channel is not connected.
    Disconnected,
    /// The guest is suspended; its channel is closed on purpose.
    Suspended,
    /// The guest is expected to send an `init`.
    WaitingInit,
    /// The guest is paused and not asked.
    Paused,
    /// A challenge is out.
    WaitingResponse,
    /// The last challenge was answered.
    WaitingChallenge,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Disconnected,
        Self::Suspended,
        Self::WaitingInit,
        Self::Paused,
        Self::WaitingResponse,
        Self::WaitingChallenge,
    ];

    /// The state's name, as the protocol's table has it where it has one.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::Suspended => "suspended",
            Self::WaitingInit => "waiting_init",
            Self::Paused => "paused",
            Self::WaitingResponse => "waiting_response",
            Self::WaitingChallenge => "waiting_challenge",
        }
    }
}

/// The context of one input of a session. A macro, because it borrows only some of the session: its
/// other parts change while the context is there.
macro_rules! context {
    ($session:ident, $now:expr, $random:expr) => {
        $crate::session::context::Context {
            now: $now,
            settings: $session.settings,
            reporting: $session.reporting,
            random: $random,
        }
    };
}

pub(super) use context;
