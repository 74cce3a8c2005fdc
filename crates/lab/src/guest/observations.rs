//! What a lab guest saw, and when.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use heartbeat_proto::guest::{GuestMessage, HostMessage};

use super::program::Observed;
use crate::record::Record;

/// How many delays of acknowledgements are kept.
const MAX_DELAYS: usize = 1024;

/// Something that a guest saw or did.
#[derive(Debug, Clone)]
pub struct Seen {
    /// When it read or wrote that.
    pub at: Instant,
    /// How long after the guest's start that was.
    pub elapsed: Duration,
    /// What it was.
    pub what: What,
}

/// What a guest saw or did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A host is served.
    Connected,
    /// The host that was served is gone.
    Disconnected,
    /// The host said this.
    Received {
        /// The host's sequence number.
        sequence: u64,
        /// The message.
        message: HostMessage,
    },
    /// The host wrote a line that is no message; this is what is wrong with it.
    Malformed(String),
    /// The program said this. The host may not have taken it yet.
    Sent(GuestMessage),
    /// No challenge came for too long: the program starts over.
    StartedOver,
    /// The socket cannot be used any more; this is the error.
    Failed(String),
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:9.3} ms  {:?}", self.elapsed.as_secs_f64() * 1e3, self.what)
    }
}

/// How often something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Connections of hosts.
    pub connections: u64,
    /// `init` said.
    pub inits: u64,
    /// `init_ack` read.
    pub init_acks: u64,
    /// `challenge` read.
    pub challenges: u64,
    /// `challenge_response` said.
    pub responses: u64,
    /// `action_notify` read.
    pub actions: u64,
    /// `action_response` said.
    pub action_responses: u64,
    /// `nack` read.
    pub nacks: u64,
    /// Lines read that are no message.
    pub malformed: u64,
    /// Times that the program started over.
    pub restarts: u64,
    /// What the program said in vain, because too much was waiting for the host.
    pub lost: u64,
}

/// What the guest's task writes down and its handle reads.
#[derive(Debug)]
pub(super) struct Observations {
    pub(super) record: Record<Seen>,
    figures: Mutex<Figures>,
}

/// All that is measured.
#[derive(Debug, Clone)]
pub(super) struct Figures {
    pub(super) counters: Counters,
    pub(super) bound: Instant,
    pub(super) first_connected: Option<Instant>,
    pub(super) challenges: Vec<Instant>,
    pub(super) ack_delays: Vec<Duration>,
    times_challenges: bool,
    /// An `init` that the host has not taken yet, and when it took the last one.
    init_waits: bool,
    init_taken: Option<Instant>,
}

impl Observations {
    pub(super) fn new(bound: Instant, remembers: usize, times_challenges: bool) -> Self {
        let figures = Figures {
            counters: Counters::default(),
            bound,
            first_connected: None,
            challenges: Vec::new(),
            ack_delays: Vec::new(),
            times_challenges,
            init_waits: false,
            init_taken: None,
        };
        Self { record: Record::new(remembers), figures: Mutex::new(figures) }
    }

    pub(super) fn figures(&self) -> MutexGuard<'_, Figures> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over what the behaviour says about remembering.
    pub(super) fn keep(&self, remembers: usize, times_challenges: bool) {
        self.record.set_limit(remembers);
        self.figures().times_challenges = times_challenges;
    }

    /// The guest is started once more.
    pub(super) fn bound_again(&self, now: Instant) {
        let mut figures = self.figures();
        figures.bound = now;
        figures.first_connected = None;
        figures.init_waits = false;
        figures.init_taken = None;
    }

    pub(super) fn connected(&self, now: Instant, started: Instant) {
        let mut figures = self.figures();
        figures.counters.connections += 1;
        figures.first_connected.get_or_insert(now);
        drop(figures);
        self.note(now, started, || What::Connected);
    }

    pub(super) fn note(&self, at: Instant, started: Instant, what: impl FnOnce() -> What) {
        self.record.add(|| Seen { at, elapsed: at.duration_since(started), what: what() });
    }

    /// The host has taken all that was said.
    pub(super) fn flushed(&self) {
        let mut figures = self.figures();
        if std::mem::take(&mut figures.init_waits) {
            figures.init_taken = Some(Instant::now());
        }
    }

    /// Counts, measures and notes what the program saw or did at `now`.
    pub(super) fn program(&self, now: Instant, started: Instant, observed: &Observed<'_>) {
        self.figures().count(now, observed);
        self.note(now, started, || match *observed {
            Observed::Sent(message) => What::Sent(message.clone()),
            Observed::Received(received) => {
                What::Received { sequence: received.sequence, message: received.message.clone() }
            }
            Observed::Malformed(malformed) => What::Malformed(malformed.to_string()),
            Observed::TooLong => What::Malformed("message too long".into()),
            Observed::StartedOver => What::StartedOver,
        });
    }
}

impl Figures {
    fn count(&mut self, now: Instant, observed: &Observed<'_>) {
        let counters = &mut self.counters;
        match observed {
            Observed::Sent(message) => match message {
                GuestMessage::Init(_) => {
                    counters.inits += 1;
                    self.init_waits = true;
                }
                GuestMessage::ChallengeResponse(_) => counters.responses += 1,
                GuestMessage::ActionResponse(_) => counters.action_responses += 1,
                GuestMessage::Exit { .. } => {}
            },
            Observed::Received(received) => match received.message {
                HostMessage::InitAck { .. } => {
                    counters.init_acks += 1;
                    if let Some(taken) = self.init_taken.take()
                        && self.ack_delays.len() < MAX_DELAYS
                    {
                        self.ack_delays.push(now.saturating_duration_since(taken));
                    }
                }
                HostMessage::Challenge { .. } => {
                    counters.challenges += 1;
                    if self.times_challenges {
                        self.challenges.push(now);
                    }
                }
                HostMessage::ActionNotify { .. } => counters.actions += 1,
                HostMessage::Nack { .. } => counters.nacks += 1,
            },
            Observed::Malformed(_) | Observed::TooLong => counters.malformed += 1,
            Observed::StartedOver => counters.restarts += 1,
        }
    }
}
