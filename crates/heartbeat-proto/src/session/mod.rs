//! The heartbeat of one guest as a state machine (docs/protocol.md, "The heartbeat of one guest").
//!
//! [`Session`] joins three parts, each in its own file: the connection to the channel, the
//! heartbeat over it, and the votes and notifications beside it.

mod actions;
mod connection;
mod context;
mod heartbeat;
mod output;
mod parameters;
mod vote;

use std::time::Duration;

pub use connection::{ConnectError, MAX_BACKOFF, MIN_BACKOFF, SETTLING};
pub use context::{Random, Reporting, Settings, State};
pub use output::{Clamped, ConcludedBy, Note, Output, Report, Unreadable};
pub use parameters::{MAX_INTERVAL, MAX_SECS};

use crate::control::InstanceInfo;
use crate::guest::{Frame, GuestMessage, HostMessage, Malformed, MalformedKind};
use crate::{MonotonicTime, TokenBucket};
use connection::Connection;
use context::context;
use heartbeat::{Heartbeat, Phase};
use output::Outputs;
use vote::OpenVote;

/// A connection without a heartbeat for this long is made anew.
pub const IDLE_RECONNECT: Duration = Duration::from_secs(120);

/// This long after an action that ends a guest's session, an `init` is awaited.
pub const INIT_EXPECTED_AFTER: Duration = Duration::from_secs(60);

/// How many `nack` go out at once; what a guest gets wrong beyond that is only counted.
const NACK_BURST: u32 = 32;

/// How often one more goes out after that.
const NACK_PERIOD: Duration = Duration::from_millis(125);

/// One guest: its connection, its heartbeat and its open vote.
///
/// The driver calls one `handle_*` with what happened, then takes every [`Output`] from
/// [`poll_output`](Self::poll_output) and carries it out, then waits for input or for
/// [`poll_timeout`](Self::poll_timeout). When both are there, input goes first: an answer that has
/// arrived is an answer, however late this process is. Between two calls nothing happens, and
/// memory is bounded: a few outputs for each input.
#[derive(Debug)]
pub struct Session {
    settings: Settings,
    reporting: Reporting,
    connection: Connection,
    heartbeat: Heartbeat,
    vote: Option<OpenVote>,
    /// When the guest is expected to start over.
    init_expected_at: Option<MonotonicTime>,
    /// When a connection without a heartbeat is made anew.
    idle_at: Option<MonotonicTime>,
    nacks: TokenBucket,
    out: Outputs,
}

impl Session {
    /// A session for an instance whose channel is to be connected at once.
    ///
    /// `provisioned`: the controller named the instance, so it stays when its channel is gone.
    #[must_use]
    pub fn new(settings: Settings, reporting: Reporting, provisioned: bool) -> Self {
        let mut out = Outputs::default();
        Self {
            settings,
            reporting,
            connection: Connection::start(provisioned, &mut out),
            heartbeat: Heartbeat::default(),
            vote: None,
            init_expected_at: None,
            idle_at: None,
            nacks: TokenBucket::default(),
            out,
        }
    }

    /// The channel is connected.
    pub fn handle_connected(&mut self, now: MonotonicTime) {
        self.connection.connected(now);
        self.settle(now);
    }

    /// The attempt to connect failed.
    pub fn handle_connect_failed(&mut self, now: MonotonicTime, error: ConnectError) {
        match error {
            ConnectError::NotFound if !self.connection.provisioned => self.forget(now),
            ConnectError::NotFound => self.connection.failed(now),
            ConnectError::Unavailable => self.connection.refused(now),
        }
        self.settle(now);
    }

    /// The other end closed the channel, or reading or writing failed.
    pub fn handle_closed(&mut self, now: MonotonicTime) {
        self.heartbeat.stop(self.reporting, &mut self.out);
        self.connection.closed(now, &mut self.out);
        self.settle(now);
    }

    /// The channel's file was made or moved in: if it is not connected, connect at once.
    pub fn handle_channel_seen(&mut self, now: MonotonicTime) {
        if self.connection.is_lost() {
            self.reconnect();
        }
        self.settle(now);
    }

    /// The channel's file was replaced or changed: connect to it anew.
    pub fn handle_channel_changed(&mut self, now: MonotonicTime) {
        self.reconnect();
        self.settle(now);
    }

    /// The channel's file is gone.
    pub fn handle_channel_gone(&mut self, now: MonotonicTime) {
        if self.connection.provisioned {
            self.heartbeat.stop(self.reporting, &mut self.out);
            self.connection.gone(now, &mut self.out);
        } else {
            self.forget(now);
        }
        self.settle(now);
    }

    /// The controller named the instance.
    pub fn handle_provisioned(&mut self) {
        self.connection.provisioned = true;
    }

    /// The controller deleted the instance: it does not want to hear of it again.
    pub fn handle_deleted(&mut self) {
        self.connection.close(&mut self.out);
        self.out.push(Output::Forget);
    }

    /// One or both of the reporting switches may have changed.
    pub fn handle_reporting(&mut self, now: MonotonicTime, reporting: Reporting) {
        let before = std::mem::replace(&mut self.reporting, reporting).enabled();
        let enabled = reporting.enabled();
        if before != enabled {
            self.out.note(Note::Reporting(enabled));
            if !enabled {
                self.heartbeat.stop(self.reporting, &mut self.out);
            }
        }
        self.settle(now);
    }

    /// The operator changed the settings. A challenge that is out keeps its deadline.
    pub fn handle_settings(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// The channel delivered a line. Those that were read together with the one that made the
    /// session close the channel are thrown away. Says why it is no message, if it is none.
    pub fn handle_frame(
        &mut self,
        now: MonotonicTime,
        frame: &Frame<'_>,
        random: &mut dyn Random,
    ) -> Option<Unreadable> {
        if !self.connection.is_connected() {
            return None;
        }
        let unreadable = match frame {
            Frame::TooLong => {
                self.out.note(Note::TooLong);
                self.nack(now, "message too long");
                Some(Unreadable::TooLong)
            }
            Frame::Line { bytes, leading } => match GuestMessage::decode(bytes) {
                Ok(received) => {
                    self.out.seen(received.sequence);
                    self.handle_message(now, received.message, random);
                    None
                }
                Err(malformed) => Some(self.handle_malformed(now, malformed, *leading)),
            },
        };
        self.settle(now);
        unreadable
    }

    /// The time of [`poll_timeout`](Self::poll_timeout) has come, or a later one.
    pub fn handle_timeout(&mut self, now: MonotonicTime, random: &mut dyn Random) {
        let due = |at: Option<MonotonicTime>| at.is_some_and(|at| at <= now);
        if let Some(vote) = self.vote.take_if(|vote| vote.deadline <= now) {
            self.agreed(now, &vote, ConcludedBy::Timeout);
        }
        if due(self.init_expected_at) {
            self.init_expected_at = None;
            // A paused guest waits for its `init` already, and nobody minds how long.
            if self.heartbeat.phase != Phase::Paused {
                self.out.note(Note::AwaitingInit);
                self.heartbeat.await_init();
            }
        }
        self.heartbeat.handle_timeout(&mut context!(self, now, random), &mut self.out);
        if due(self.idle_at) {
            self.idle_at = None;
            self.out.note(Note::Idle);
            self.reconnect();
        }
        self.connection.handle_timeout(now, &mut self.out);
        self.settle(now);
    }

    /// The next thing to do, until there is none.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called, if nothing comes before.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<MonotonicTime> {
        [
            self.heartbeat.deadline(),
            self.vote.as_ref().map(|vote| vote.deadline),
            self.init_expected_at,
            self.idle_at,
            self.connection.deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// What the controller is told of the instance.
    #[must_use]
    pub fn info(&self) -> InstanceInfo {
        self.heartbeat.info(self.reporting.instance)
    }

    /// The guest's name for itself; empty before its first `init`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.heartbeat.parameters.name
    }

    /// What the session is doing.
    #[must_use]
    pub const fn state(&self) -> State {
        if self.connection.is_suspended() {
            return State::Suspended;
        }
        if !self.connection.is_connected() {
            return State::Disconnected;
        }
        match self.heartbeat.phase {
            Phase::WaitingInit => State::WaitingInit,
            Phase::Paused => State::Paused,
            Phase::WaitingResponse { .. } => State::WaitingResponse,
            Phase::WaitingChallenge { .. } => State::WaitingChallenge,
        }
    }

    /// Challenges missed in a row.
    #[must_use]
    pub const fn misses(&self) -> u32 {
        self.heartbeat.misses
    }

    fn handle_message(
        &mut self,
        now: MonotonicTime,
        message: GuestMessage,
        random: &mut dyn Random,
    ) {
        let mut context = context!(self, now, random);
        match message {
            GuestMessage::Init(init) => {
                if self.heartbeat.handle_init(&init, &mut context, &mut self.out) {
                    self.init_expected_at = None;
                }
            }
            GuestMessage::ChallengeResponse(response) => {
                self.heartbeat.handle_response(&response, &context, &mut self.out);
            }
            GuestMessage::ActionResponse(response) => self.handle_vote(now, response),
            GuestMessage::Exit { log_msg } => {
                self.out.note(Note::Exit { log_msg });
                self.heartbeat.stop(self.reporting, &mut self.out);
            }
        }
    }

    fn is_this_invocation(&mut self, now: MonotonicTime, received: u64) -> bool {
        let expected = self.heartbeat.invocation_id;
        if received != expected {
            self.out.note(Note::WrongInvocation { received, expected });
            self.nack(
                now,
                &format!("Invocation id mismatch. Received: {received} expect: {expected}"),
            );
        }
        received == expected
    }

    fn handle_malformed(
        &mut self,
        now: MonotonicTime,
        malformed: Malformed,
        leading: bool,
    ) -> Unreadable {
        if let Some(sequence) = malformed.sequence {
            self.out.seen(sequence);
        }
        match malformed.kind {
            MalformedKind::NotAnObject if leading => {
                self.out.note(Note::Fragment);
                return Unreadable::Fragment;
            }
            MalformedKind::NotAnObject => self.out.note(Note::Malformed(malformed.kind)),
            MalformedKind::BadVersion(_)
            | MalformedKind::Key(_)
            | MalformedKind::UnsupportedType(_) => {
                if malformed.invocation_id.is_none_or(|id| self.is_this_invocation(now, id)) {
                    self.nack(now, &malformed.kind.to_string());
                    self.out.note(Note::Malformed(malformed.kind));
                }
            }
        }
        Unreadable::Malformed
    }

    fn nack(&mut self, now: MonotonicTime, log_msg: &str) {
        if self.nacks.take(now, NACK_BURST, NACK_PERIOD) {
            let invocation_id = self.heartbeat.invocation_id;
            self.out.send(HostMessage::Nack { invocation_id, log_msg: log_msg.into() });
        }
    }

    fn reconnect(&mut self) {
        self.heartbeat.stop(self.reporting, &mut self.out);
        self.connection.reconnect(&mut self.out);
    }

    fn forget(&mut self, now: MonotonicTime) {
        if let Some(vote) = self.vote.take() {
            self.agreed(now, &vote, ConcludedBy::Gone);
        }
        self.heartbeat.stop(self.reporting, &mut self.out);
        self.handle_deleted();
    }

    /// Starts or stops the idle clock: it runs while the channel is connected and nobody is
    /// asked, except of a paused guest, which is not asked on purpose.
    fn settle(&mut self, now: MonotonicTime) {
        let idle = match self.heartbeat.phase {
            Phase::Paused => false,
            Phase::WaitingInit => true,
            Phase::WaitingResponse { .. } | Phase::WaitingChallenge { .. } => {
                !self.heartbeat.heartbeating
            }
        };
        if !(idle && self.connection.is_connected()) {
            self.idle_at = None;
        } else if self.idle_at.is_none() {
            self.idle_at = Some(now + IDLE_RECONNECT);
        }
    }
}

#[cfg(test)]
mod tests;
