//! The guest's side of the heartbeat as a state machine (docs/protocol.md, "The guest's side").
//!
//! ```text
//!                 +-- every init_retry: init, with a fresh invocation_id
//!                 v  |
//!  Disabled --> Enabling -- init_ack of one of the last two --> Enabled --+
//!   |    port     ^                                              |   ^    | challenge, action_notify:
//!   |    opened   +--- no challenge for max(2 x interval, 5 s); --+   +----+ answered
//!   |    ^             the host spoke of another session, and init_retry is over
//!   +----+ port closed, from any state                  exit, from any state --> Left
//! ```

mod action;
mod output;
mod settings;

use std::time::Duration;

pub use action::MAX_LIMIT;
pub use output::{Action, ActionId, Health, Note, Output, Verdict};
pub use settings::{CHALLENGE_PATIENCE, INIT_RETRY, PROPAGATION, Settings};

use crate::MonotonicTime;
use crate::guest::{
    ChallengeResponse, CorrectiveAction, Frame, GuestMessage, Health as HealthWord, HostMessage,
    LineFramer, MalformedKind, Received, VERSION,
};
use action::Actions;
use output::Outputs;

/// The guest's side of one channel.
///
/// The driver calls one `handle_*` with what happened, then takes every [`Output`] from
/// [`poll_output`](Self::poll_output) and carries it out, then waits for input or for
/// [`poll_timeout`](Self::poll_timeout). When both are there, input goes first: a challenge that has arrived is a
/// challenge, however late this program is.
#[derive(Debug)]
pub struct Client {
    settings: Settings,
    health: Health,
    framer: LineFramer,
    state: State,
    /// The `invocation_id`s of the last two `init`s, the newest first.
    asked: [Option<u64>; 2],
    /// When the last of them is to be repeated.
    next_init: MonotonicTime,
    /// The host spoke of another session: the next deadline is for an `init`.
    doubted: bool,
    /// `init`s since the last acknowledgement.
    unacknowledged: u32,
    actions: Actions,
    out: Outputs,
}

/// What the guest's side is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// There is no port, or no host at its other end.
    Disabled,
    /// It sends `init`.
    Enabling {
        /// When the next one is due.
        next_init: MonotonicTime,
    },
    /// It answers challenges.
    Enabled {
        /// The session.
        invocation_id: u64,
        /// The last challenge, or the acknowledgement.
        last_challenge: MonotonicTime,
        /// When it starts over, unless a challenge comes.
        deadline: MonotonicTime,
        /// Challenges answered.
        answered: u64,
    },
    /// It said `exit`, and says nothing more.
    Left,
}

impl State {
    /// The state's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Enabling { .. } => "enabling",
            Self::Enabled { .. } => "enabled",
            Self::Left => "left",
        }
    }

    /// The session that the host acknowledged.
    #[must_use]
    pub const fn session(self) -> Option<u64> {
        match self {
            Self::Enabled { invocation_id, .. } => Some(invocation_id),
            Self::Disabled | Self::Enabling { .. } | Self::Left => None,
        }
    }
}

impl Client {
    /// A guest whose port is not open yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            health: Health::Healthy,
            framer: LineFramer::default(),
            state: State::Disabled,
            asked: [None; 2],
            next_init: MonotonicTime::START,
            doubted: false,
            unacknowledged: 0,
            actions: Actions::default(),
            out: Outputs::default(),
        }
    }

    /// The port is open, and a host is at its other end: `init` is due at once.
    pub fn handle_opened(&mut self, now: MonotonicTime) {
        match self.state {
            State::Disabled => self.state = State::Enabling { next_init: now },
            State::Enabling { .. } | State::Enabled { .. } | State::Left => {}
        }
    }

    /// The port was closed, or the host is gone from its other end.
    pub fn handle_closed(&mut self) {
        self.framer = LineFramer::default();
        self.actions.withdraw(&mut self.out);
        match self.state {
            State::Disabled | State::Left => {}
            State::Enabling { .. } | State::Enabled { .. } => {
                self.state = State::Disabled;
                self.asked = [None; 2];
                (self.unacknowledged, self.doubted) = (0, false);
            }
        }
    }

    /// The next piece of what the host said.
    pub fn handle_bytes(&mut self, now: MonotonicTime, bytes: &[u8]) {
        let mut framer = std::mem::take(&mut self.framer);
        framer.push(bytes, |frame| match frame {
            Frame::TooLong => self.out.note(Note::TooLong),
            Frame::Line { bytes, leading } => match HostMessage::decode(bytes) {
                Ok(received) => self.handle_message(now, received),
                Err(malformed) => {
                    if let Some(sequence) = malformed.sequence {
                        self.out.seen(sequence);
                    }
                    self.out.note(match malformed.kind {
                        MalformedKind::NotAnObject if leading => Note::Fragment,
                        kind => Note::Malformed(kind),
                    });
                }
            },
        });
        self.framer = framer;
    }

    /// The time of [`poll_timeout`](Self::poll_timeout) has come, or a later one. `random`: an unpredictable number,
    /// for the `invocation_id` of an `init`.
    pub fn handle_timeout(&mut self, now: MonotonicTime, random: u32) {
        self.actions.handle_timeout(now, self.invocation(), &mut self.out);
        match self.state {
            State::Enabling { next_init } if next_init <= now => self.ask(now, random),
            State::Enabled { deadline, .. } if deadline <= now && self.doubted => {
                self.ask(now, random);
            }
            State::Enabled { deadline, last_challenge, .. } if deadline <= now => {
                let late = now.since(deadline);
                if late > self.settings.interval() {
                    // Whoever was not scheduled has not looked whether challenges come.
                    self.out.note(Note::LostTime { late });
                    self.postpone(now);
                } else {
                    self.out.note(Note::Silent { silent: now.since(last_challenge) });
                    self.ask(now, random);
                }
            }
            State::Disabled | State::Enabling { .. } | State::Enabled { .. } | State::Left => {}
        }
    }

    /// The guest's answer to an action. It is ignored when nobody waits for it any more.
    pub fn handle_verdict(&mut self, id: ActionId, verdict: Verdict) {
        self.actions.conclude(id, verdict, self.invocation(), &mut self.out);
    }

    /// How the guest is from now on.
    pub fn handle_health(&mut self, health: Health) {
        self.health = health;
    }

    /// What the guest says of itself from now on. If that is news for a host, it is told at once.
    pub fn handle_settings(&mut self, now: MonotonicTime, settings: Settings) {
        let news = self.settings.init(0) != settings.init(0);
        self.settings = settings;
        match self.state {
            State::Enabling { .. } | State::Enabled { .. } if news => {
                self.state = State::Enabling { next_init: now };
            }
            State::Disabled | State::Enabling { .. } | State::Enabled { .. } | State::Left => {}
        }
    }

    /// The guest's program ends on purpose: the host is told, and nothing is said after that.
    pub fn handle_exit(&mut self, reason: &str) {
        self.actions.withdraw(&mut self.out);
        match self.state {
            State::Enabling { .. } | State::Enabled { .. } => {
                self.out.send(GuestMessage::Exit { log_msg: reason.into() });
            }
            State::Disabled | State::Left => {}
        }
        self.state = State::Left;
    }

    /// The next thing to do, until there is none.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called, if nothing comes before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<MonotonicTime> {
        let next = match self.state {
            State::Enabling { next_init } => Some(next_init),
            State::Enabled { deadline, .. } => Some(deadline),
            State::Disabled | State::Left => None,
        };
        next.into_iter().chain(self.actions.deadline()).min()
    }

    /// What it is doing.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// What it says of itself.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How the guest is.
    #[must_use]
    pub const fn health(&self) -> &Health {
        &self.health
    }

    fn handle_message(&mut self, now: MonotonicTime, received: Received<HostMessage>) {
        if received.version > VERSION {
            self.out.note(Note::Version(received.version));
            return;
        }
        self.out.seen(received.sequence);
        match (received.message, self.state) {
            // One that said `exit` is gone, whatever still arrives; without a port nothing does.
            (
                HostMessage::InitAck { .. }
                | HostMessage::Challenge { .. }
                | HostMessage::ActionNotify { .. }
                | HostMessage::Nack { .. },
                State::Disabled | State::Left,
            ) => {}
            (
                HostMessage::InitAck { invocation_id },
                State::Enabling { .. } | State::Enabled { .. },
            ) => self.acknowledged(now, invocation_id),
            (HostMessage::Challenge { heartbeat_challenge }, State::Enabled { .. }) => {
                self.answer(now, heartbeat_challenge);
            }
            (HostMessage::Challenge { .. }, State::Enabling { .. }) => {
                self.out.note(Note::StaleChallenge);
            }
            (
                HostMessage::ActionNotify {
                    invocation_id,
                    event_type,
                    notification_type,
                    timeout_ms,
                },
                State::Enabling { .. } | State::Enabled { .. },
            ) => {
                if !self.asked.contains(&Some(invocation_id)) {
                    self.out.note(Note::WrongInvocation);
                    self.doubt(now);
                    return;
                }
                // The host has taken that `init`, whether or not its acknowledgement came through.
                if self.state.session() != Some(invocation_id) {
                    self.acknowledged(now, invocation_id);
                }
                let limit = Duration::from_millis(timeout_ms);
                self.actions.open(now, event_type, notification_type, limit, &mut self.out);
            }
            (HostMessage::Nack { log_msg, .. }, State::Enabling { .. } | State::Enabled { .. }) => {
                self.out.note(Note::Nack { log_msg });
            }
        }
    }

    /// The session that the host has, as far as is known here: the last `init` that it acknowledged, or the one that it
    /// is about to take.
    const fn invocation(&self) -> Option<u64> {
        match self.state {
            State::Enabling { .. } => self.asked[0],
            State::Enabled { .. } | State::Disabled | State::Left => self.state.session(),
        }
    }

    fn ask(&mut self, now: MonotonicTime, random: u32) {
        // Zero is what a host says before the first `init`, and the C++ daemons print the number as a signed one.
        let invocation_id = u64::from(random >> 1).max(1);
        self.asked = [Some(invocation_id), self.asked[0]];
        self.doubted = false;
        self.next_init = now + self.settings.init_retry;
        self.state = State::Enabling { next_init: self.next_init };
        self.out.note(Note::Asking { before: self.unacknowledged });
        self.unacknowledged = self.unacknowledged.saturating_add(1);
        self.out.send(GuestMessage::Init(self.settings.init(invocation_id)));
    }

    /// A host that was away finds several `init`s waiting and acknowledges each: the last one counts.
    fn acknowledged(&mut self, now: MonotonicTime, invocation_id: u64) {
        if !self.asked.contains(&Some(invocation_id)) {
            self.out.note(Note::WrongAck);
            self.doubt(now);
            return;
        }
        (self.unacknowledged, self.doubted) = (0, false);
        self.out.note(Note::Acknowledged);
        let deadline = now + self.settings.patience();
        self.state = State::Enabled { invocation_id, last_challenge: now, deadline, answered: 0 };
    }

    /// The host has another session than the guest, although both heartbeat in it: an `init` must have been damaged on its
    /// way. Votes would get lost in such a session, so there will be another `init`, but not more often than it is repeated
    /// anyway. Until then challenges are answered: they carry no session.
    fn doubt(&mut self, now: MonotonicTime) {
        if let State::Enabled { deadline, .. } = &mut self.state {
            *deadline = (*deadline).min(now.max(self.next_init));
            self.doubted = true;
        }
    }

    fn answer(&mut self, now: MonotonicTime, challenge: u32) {
        let first = match &mut self.state {
            State::Enabled { last_challenge, answered, .. } => {
                *last_challenge = now;
                *answered += 1;
                *answered == 1
            }
            State::Disabled | State::Enabling { .. } | State::Left => return,
        };
        if !self.doubted {
            self.postpone(now);
        }
        self.out.send(GuestMessage::ChallengeResponse(self.health.respond(challenge)));
        self.out.note(Note::Answered { first });
    }

    fn postpone(&mut self, now: MonotonicTime) {
        if let State::Enabled { deadline, .. } = &mut self.state {
            *deadline = now + self.settings.patience();
        }
    }
}

impl Health {
    fn respond(&self, challenge: u32) -> ChallengeResponse {
        let (heartbeat_health, corrective_action, log_msg) = match self {
            Self::Healthy => (HealthWord::Healthy, CorrectiveAction::None, "".into()),
            Self::Unhealthy { corrective_action, log_msg } => {
                (HealthWord::Unhealthy, *corrective_action, log_msg.clone())
            }
        };
        let heartbeat_response = u64::from(challenge);
        ChallengeResponse { heartbeat_response, heartbeat_health, corrective_action, log_msg }
    }
}

#[cfg(test)]
mod tests;
