//! The guest's side of the heartbeat as the program inside a virtual machine runs it: no I/O, no clock, no
//! randomness of its own.
//!
//! ```text
//!              handle_timeout: init, again each second with a fresh invocation_id
//!                 +--------+
//!                 v        |
//!  new, restart ----> asking -- init_ack of one of the last two ids --> watched --+
//!                 ^                                                       ^  |    | challenge,
//!                 |                                                       +--|----+ action_notify:
//!                 +---- no challenge for max(2 x interval, 5 s) -------------+      answered
//!
//!  exit: says `exit`, then nothing until restart
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use heartbeat_proto::MonotonicTime;
use heartbeat_proto::guest::{
    ActionResponse, ChallengeResponse, EventType, Frame, GuestMessage, HostMessage, Init,
    LineFramer, MAX_CHALLENGE, Malformed, NotificationType, Received, VoteResult,
};

use super::profile::{Answering, Profile, Voting};

/// How long an `init` waits for its `init_ack` before the next one.
pub const INIT_RETRY: Duration = Duration::from_secs(1);
/// The least time without a challenge after which the program starts over.
pub const CHALLENGE_PATIENCE: Duration = Duration::from_secs(5);
/// Answers that wait for their time, at most; of more, the oldest is forgotten.
const MAX_WAITING: usize = 32;

/// What a [`Program`] saw or did, for whoever watches it.
#[derive(Debug)]
pub enum Observed<'a> {
    /// It said this.
    Sent(&'a GuestMessage),
    /// The host said this.
    Received(&'a Received<HostMessage>),
    /// A line from the host is no message.
    Malformed(&'a Malformed),
    /// A line from the host is too long.
    TooLong,
    /// No challenge came for too long: it starts over with `init`.
    StartedOver,
}

/// The guest's side of one channel.
///
/// Feed it with [`handle_bytes`](Self::handle_bytes) whenever the host said something and with
/// [`handle_timeout`](Self::handle_timeout) whenever [`poll_timeout`](Self::poll_timeout) is due, which it is from
/// the beginning; write what they append to `out`. Before a late timeout, feed what is there to be read.
#[derive(Debug)]
pub struct Program {
    profile: Profile,
    framer: LineFramer,
    /// The last number seen or sent; the next one sent is one more.
    sequence: u64,
    /// The `invocation_id`s of the last two `init`s, the newest first.
    asked: [Option<u64>; 2],
    state: State,
    /// Answers that wait for their time.
    waiting: VecDeque<(MonotonicTime, GuestMessage)>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Not acknowledged; the next `init` is due then.
    Asking { next_init: MonotonicTime },
    /// Acknowledged; it starts over then, unless a challenge comes, or waits for ever.
    Watched { invocation_id: u64, patience: Option<MonotonicTime> },
    /// It said `exit`.
    Gone,
}

impl Program {
    /// A program that has just been started; its first `init` is due at once.
    #[must_use]
    pub fn new(profile: Profile) -> Self {
        Self {
            profile,
            framer: LineFramer::default(),
            sequence: 0,
            asked: [None; 2],
            state: State::Asking { next_init: MonotonicTime::START },
            waiting: VecDeque::new(),
        }
    }

    /// What it is and how it answers.
    #[must_use]
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Changes how it answers from now on; what `init` says is said with the next `init`.
    pub fn profile_mut(&mut self) -> &mut Profile {
        &mut self.profile
    }

    /// The session that the host acknowledged, if it has.
    #[must_use]
    pub fn invocation_id(&self) -> Option<u64> {
        match self.state {
            State::Watched { invocation_id, .. } => Some(invocation_id),
            State::Asking { .. } | State::Gone => None,
        }
    }

    /// Starts the program anew, as after a crash: whatever it knew is forgotten, its `init` is due at once.
    pub fn restart(&mut self) {
        let profile = std::mem::take(&mut self.profile);
        *self = Self::new(profile);
    }

    /// Says `exit` with this reason, and nothing more before [`restart`](Self::restart).
    pub fn exit(&mut self, reason: &str, out: &mut Vec<u8>, mut observe: impl FnMut(Observed<'_>)) {
        self.send(&GuestMessage::Exit { log_msg: reason.into() }, out, &mut observe);
        self.waiting.clear();
        self.state = State::Gone;
    }

    /// Takes the next piece of what the host said.
    pub fn handle_bytes(
        &mut self,
        now: MonotonicTime,
        bytes: &[u8],
        out: &mut Vec<u8>,
        mut observe: impl FnMut(Observed<'_>),
    ) {
        let mut framer = std::mem::take(&mut self.framer);
        framer.push(bytes, |frame| match frame {
            Frame::Line { bytes, .. } => match HostMessage::decode(bytes) {
                Ok(received) => {
                    observe(Observed::Received(&received));
                    self.handle_message(now, received, out, &mut observe);
                }
                Err(malformed) => observe(Observed::Malformed(&malformed)),
            },
            Frame::TooLong => observe(Observed::TooLong),
        });
        self.framer = framer;
    }

    /// Takes one message of the host.
    pub fn handle_message(
        &mut self,
        now: MonotonicTime,
        received: Received<HostMessage>,
        out: &mut Vec<u8>,
        mut observe: impl FnMut(Observed<'_>),
    ) {
        self.sequence = received.sequence;
        match (received.message, self.state) {
            // A host that was away finds several `init`s waiting and acknowledges each: the last one counts.
            (
                HostMessage::InitAck { invocation_id },
                State::Asking { .. } | State::Watched { .. },
            ) => {
                if self.asked.contains(&Some(invocation_id)) {
                    let patience = self.patience(now);
                    self.state = State::Watched { invocation_id, patience };
                }
            }
            (
                HostMessage::Challenge { heartbeat_challenge },
                State::Watched { invocation_id, .. },
            ) => {
                let patience = self.patience(now);
                self.state = State::Watched { invocation_id, patience };
                self.answer_challenge(now, heartbeat_challenge, out, &mut observe);
            }
            (
                HostMessage::ActionNotify { invocation_id, event_type, notification_type, .. },
                State::Watched { invocation_id: ours, .. },
            ) if invocation_id == ours => {
                self.answer_action(now, event_type, notification_type, out, &mut observe);
            }
            // A challenge from before the session is old; another session's action is not for us;
            // nothing is to be done about a nack.
            (
                HostMessage::InitAck { .. }
                | HostMessage::Challenge { .. }
                | HostMessage::ActionNotify { .. }
                | HostMessage::Nack { .. },
                State::Asking { .. } | State::Watched { .. } | State::Gone,
            ) => {}
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due; `None` while nothing is waited for.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<MonotonicTime> {
        let next = match self.state {
            State::Asking { next_init } => Some(next_init),
            State::Watched { patience, .. } => patience,
            State::Gone => None,
        };
        let answer = self.waiting.iter().map(|&(due, _)| due).min();
        next.into_iter().chain(answer).min()
    }

    /// Does whatever is due at `now`; `random` is called once for each `init`.
    pub fn handle_timeout(
        &mut self,
        now: MonotonicTime,
        random: impl FnOnce() -> u32,
        out: &mut Vec<u8>,
        mut observe: impl FnMut(Observed<'_>),
    ) {
        while let Some(at) = self.waiting.iter().position(|&(due, _)| due <= now) {
            if let Some((_, message)) = self.waiting.remove(at) {
                self.send(&message, out, &mut observe);
            }
        }
        match self.state {
            State::Asking { next_init } if next_init <= now => {
                self.ask(now, random(), out, &mut observe);
            }
            State::Watched { patience: Some(patience), .. } if patience <= now => {
                observe(Observed::StartedOver);
                self.waiting.clear();
                self.ask(now, random(), out, &mut observe);
            }
            State::Asking { .. } | State::Watched { .. } | State::Gone => {}
        }
    }

    fn ask(
        &mut self,
        now: MonotonicTime,
        random: u32,
        out: &mut Vec<u8>,
        observe: &mut impl FnMut(Observed<'_>),
    ) {
        let invocation_id = u64::from(random);
        self.asked = [Some(invocation_id), self.asked[0]];
        self.state = State::Asking { next_init: now + INIT_RETRY };
        let profile = &self.profile;
        let init = Init {
            invocation_id,
            name: profile.name.as_str().into(),
            heartbeat_interval_ms: profile.heartbeat_interval_ms,
            vote_secs: profile.vote_secs,
            shutdown_notice_secs: profile.shutdown_notice_secs,
            suspend_notice_secs: profile.suspend_notice_secs,
            resume_notice_secs: profile.resume_notice_secs,
            restart_secs: profile.restart_secs,
            corrective_action: profile.corrective_action,
        };
        self.send(&GuestMessage::Init(init), out, observe);
    }

    fn answer_challenge(
        &mut self,
        now: MonotonicTime,
        challenge: u32,
        out: &mut Vec<u8>,
        observe: &mut impl FnMut(Observed<'_>),
    ) {
        let (number, delay) = match self.profile.answering {
            Answering::AtOnce => (challenge, Duration::ZERO),
            Answering::Late(delay) => (challenge, delay),
            Answering::WrongNumber => (challenge ^ 1, Duration::ZERO),
            Answering::Never => return,
        };
        let (heartbeat_health, corrective_action, log_msg) = self.profile.health.on_the_wire();
        let response = GuestMessage::ChallengeResponse(ChallengeResponse {
            heartbeat_response: u64::from(number.min(MAX_CHALLENGE)),
            heartbeat_health,
            corrective_action,
            log_msg: log_msg.into(),
        });
        self.send_after(now, delay, response, out, observe);
    }

    fn answer_action(
        &mut self,
        now: MonotonicTime,
        event_type: EventType,
        notification_type: NotificationType,
        out: &mut Vec<u8>,
        observe: &mut impl FnMut(Observed<'_>),
    ) {
        let agreement = notification_type.agreement();
        let (vote_result, log_msg, delay) = match &self.profile.voting {
            Voting::Accept => (agreement, "", Duration::ZERO),
            Voting::Reject(text) => match notification_type {
                NotificationType::Revocable => (VoteResult::Reject, text.as_str(), Duration::ZERO),
                NotificationType::Irrevocable => (agreement, "", Duration::ZERO),
            },
            Voting::Say(result, text) => (*result, text.as_str(), Duration::ZERO),
            Voting::Late(delay) => (agreement, "", *delay),
            Voting::Never => return,
        };
        let State::Watched { invocation_id, .. } = self.state else { return };
        let response = GuestMessage::ActionResponse(ActionResponse {
            invocation_id,
            event_type,
            notification_type,
            vote_result,
            log_msg: log_msg.into(),
        });
        self.send_after(now, delay, response, out, observe);
    }

    /// When to start over unless a challenge comes. A program that answers nothing waits for ever.
    fn patience(&self, now: MonotonicTime) -> Option<MonotonicTime> {
        let interval = Duration::from_millis(self.profile.heartbeat_interval_ms);
        match self.profile.answering {
            Answering::Never => None,
            Answering::AtOnce | Answering::Late(_) | Answering::WrongNumber => {
                Some(now + interval.saturating_mul(2).max(CHALLENGE_PATIENCE))
            }
        }
    }

    fn send_after(
        &mut self,
        now: MonotonicTime,
        delay: Duration,
        message: GuestMessage,
        out: &mut Vec<u8>,
        observe: &mut impl FnMut(Observed<'_>),
    ) {
        if delay.is_zero() {
            self.send(&message, out, observe);
            return;
        }
        if self.waiting.len() == MAX_WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back((now + delay, message));
    }

    fn send(
        &mut self,
        message: &GuestMessage,
        out: &mut Vec<u8>,
        observe: &mut impl FnMut(Observed<'_>),
    ) {
        self.sequence = self.sequence.saturating_add(1);
        message.encode(self.sequence, out);
        observe(Observed::Sent(message));
    }
}

#[cfg(test)]
mod tests;
