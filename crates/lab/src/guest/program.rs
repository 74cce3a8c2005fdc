//! The program inside a virtual machine: the real guest's side of the heartbeat, told how to misbehave and watched.
//!
//! All that a well-behaved program does is [`Client`]'s, the same that runs in guestClient. Here it is decided what
//! becomes of its answers on their way out, and whoever watches is shown both directions. The client has each verdict
//! at once, so that no time of its own runs: a vote that is late or missing is so by what happens to the answer.
//!
//! The port counts as open and a host as present from the beginning, as for a program whose port does not tell.

use std::collections::VecDeque;
use std::time::Duration;

use heartbeat_proto::MonotonicTime;
use heartbeat_proto::client::{Action, Client, Note, Output, State, Verdict};
use heartbeat_proto::guest::{
    Frame, GuestMessage, HostMessage, LineFramer, Malformed, NotificationType, Received, VoteResult,
};

use super::profile::{Answering, Profile, Voting};

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
    client: Client,
    /// For whoever watches; the client has its own.
    framer: LineFramer,
    /// Answers that wait for their time.
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    due: MonotonicTime,
    /// The number that the client gave it. Another one may have gone out since.
    sequence: u64,
    message: GuestMessage,
}

impl Program {
    /// A program that has just been started; its first `init` is due at once.
    #[must_use]
    pub fn new(profile: Profile) -> Self {
        let mut client = Client::new(profile.settings.clone());
        client.handle_health(profile.health.clone());
        client.handle_opened(MonotonicTime::START);
        Self { profile, client, framer: LineFramer::default(), waiting: VecDeque::new() }
    }

    /// Changes what it is and how it answers. If `init` has something new to say, it is due at once.
    pub fn set_profile(&mut self, now: MonotonicTime, profile: Profile) {
        self.client.handle_settings(now, profile.settings.clone());
        self.client.handle_health(profile.health.clone());
        self.profile = profile;
    }

    /// The session that the host acknowledged, if it has.
    #[must_use]
    pub fn invocation_id(&self) -> Option<u64> {
        self.client.state().session()
    }

    /// Starts the program anew, as after a crash: whatever it knew is forgotten, its `init` is due at once.
    pub fn restart(&mut self) {
        let profile = std::mem::take(&mut self.profile);
        *self = Self::new(profile);
    }

    /// Says `exit` with this reason, and nothing more before [`restart`](Self::restart).
    pub fn exit(
        &mut self,
        now: MonotonicTime,
        reason: &str,
        out: &mut Vec<u8>,
        mut observe: impl FnMut(Observed<'_>),
    ) {
        self.waiting.clear();
        self.client.handle_exit(reason);
        self.carry_out(now, out, &mut observe);
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
            Frame::Line { bytes, .. } => {
                match HostMessage::decode(bytes) {
                    Ok(received) => observe(Observed::Received(&received)),
                    Err(malformed) => observe(Observed::Malformed(&malformed)),
                }
                // Line by line: what it makes the program say comes before the next one.
                self.client.handle_bytes(now, bytes);
                self.client.handle_bytes(now, b"\n");
                self.carry_out(now, out, &mut observe);
            }
            Frame::TooLong => observe(Observed::TooLong),
        });
        self.framer = framer;
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due; `None` while nothing is waited for.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<MonotonicTime> {
        let answer = self.waiting.iter().map(|waiting| waiting.due).min();
        self.client_timeout().into_iter().chain(answer).min()
    }

    /// Does whatever is due at `now`; `random` is called once for each `init`.
    pub fn handle_timeout(
        &mut self,
        now: MonotonicTime,
        random: impl FnOnce() -> u32,
        out: &mut Vec<u8>,
        mut observe: impl FnMut(Observed<'_>),
    ) {
        while let Some(at) = self.waiting.iter().position(|waiting| waiting.due <= now) {
            if let Some(Waiting { sequence, message, .. }) = self.waiting.remove(at) {
                send(sequence, &message, out, &mut observe);
            }
        }
        if self.client_timeout().is_some_and(|due| due <= now) {
            self.client.handle_timeout(now, random());
            self.carry_out(now, out, &mut observe);
        }
    }

    /// When the client is to be woken. One that never answers waits for challenges for ever.
    fn client_timeout(&self) -> Option<MonotonicTime> {
        match (self.profile.answering, self.client.state()) {
            (Answering::Never, State::Enabled { .. }) => None,
            _ => self.client.poll_timeout(),
        }
    }

    /// Does what the client wants, or what the profile makes of it.
    fn carry_out(
        &mut self,
        now: MonotonicTime,
        out: &mut Vec<u8>,
        observe: &mut impl FnMut(Observed<'_>),
    ) {
        while let Some(output) = self.client.poll_output() {
            match output {
                Output::Send { sequence, mut message } => match self.distort(&mut message) {
                    None => {}
                    Some(Duration::ZERO) => send(sequence, &message, out, observe),
                    Some(delay) => {
                        if self.waiting.len() == MAX_WAITING {
                            self.waiting.pop_front();
                        }
                        let due = now + delay;
                        self.waiting.push_back(Waiting { due, sequence, message });
                    }
                },
                Output::Decide(action) => {
                    let verdict = self.profile.voting.verdict(&action);
                    self.client.handle_verdict(action.id, verdict);
                }
                Output::Note(Note::Silent { .. }) => {
                    self.waiting.clear();
                    observe(Observed::StartedOver);
                }
                // There is a verdict before there is anything to withdraw; the notes are for a log.
                Output::Withdraw(_) | Output::Note(_) => {}
            }
        }
    }

    /// Makes of an answer what the profile says, and gives how much later it goes out, if it does.
    fn distort(&self, message: &mut GuestMessage) -> Option<Duration> {
        match message {
            GuestMessage::ChallengeResponse(response) => match self.profile.answering {
                Answering::AtOnce => Some(Duration::ZERO),
                Answering::Late(delay) => Some(delay),
                Answering::WrongNumber => {
                    response.heartbeat_response ^= 1;
                    Some(Duration::ZERO)
                }
                Answering::Never => None,
            },
            GuestMessage::ActionResponse(_) => match self.profile.voting {
                Voting::Accept | Voting::Reject(_) | Voting::Say(..) => Some(Duration::ZERO),
                Voting::Late(delay) => Some(delay),
                Voting::Never => None,
            },
            GuestMessage::Init(_) | GuestMessage::Exit { .. } => Some(Duration::ZERO),
        }
    }
}

impl Voting {
    fn verdict(&self, action: &Action) -> Verdict {
        let agreement = action.notification_type.agreement();
        let (vote_result, text) = match (self, action.notification_type) {
            (Self::Say(result, text), _) => (*result, text.as_str()),
            (Self::Reject(text), NotificationType::Revocable) => {
                (VoteResult::Reject, text.as_str())
            }
            (Self::Reject(_), NotificationType::Irrevocable)
            | (Self::Accept | Self::Late(_) | Self::Never, _) => (agreement, ""),
        };
        Verdict { vote_result, log_msg: text.into() }
    }
}

fn send(
    sequence: u64,
    message: &GuestMessage,
    out: &mut Vec<u8>,
    observe: &mut impl FnMut(Observed<'_>),
) {
    message.encode(sequence, out);
    observe(Observed::Sent(message));
}

#[cfg(test)]
mod tests;
