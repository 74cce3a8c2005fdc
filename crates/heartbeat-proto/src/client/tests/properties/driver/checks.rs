//! What has to come out of a client, and what did.

use std::time::Duration;

use super::{Driver, Port, Wanted};
use crate::client::{Action, Health, Note, Output, State};
use crate::guest::{
    ActionResponse, ChallengeResponse, GuestMessage, Health as HealthWord, HostMessage,
};

/// The most that one line, or one input of another kind, may lead to: two deadlines at once.
const MOST_OUTPUTS: usize = 6;

impl Driver {
    pub(super) fn want(&mut self, message: HostMessage) {
        let asked = |id| self.inits.iter().rev().take(2).any(|init| *init == id);
        match message {
            HostMessage::InitAck { invocation_id } => {
                if asked(invocation_id) {
                    (self.acknowledged, self.heard) = (true, self.now);
                    (self.session, self.doubted) = (Some(invocation_id), false);
                } else {
                    self.doubted = self.acknowledged;
                }
            }
            HostMessage::Challenge { heartbeat_challenge } => {
                if self.acknowledged {
                    self.heard = self.now;
                    self.wanted.push_back(Wanted::Answer(heartbeat_challenge));
                }
            }
            HostMessage::ActionNotify {
                invocation_id,
                event_type,
                notification_type,
                timeout_ms,
            } => {
                if asked(invocation_id) {
                    if !self.acknowledged || self.session != Some(invocation_id) {
                        (self.acknowledged, self.heard) = (true, self.now);
                        self.doubted = false;
                    }
                    self.session = Some(invocation_id);
                    let is_decide = |wanted: &Wanted| matches!(wanted, Wanted::Decide(..));
                    if self.open.is_some() || self.wanted.iter().any(is_decide) {
                        self.wanted.push_back(Wanted::Withdraw);
                    }
                    let timeout = Duration::from_millis(timeout_ms);
                    self.wanted.push_back(Wanted::Decide(event_type, notification_type, timeout));
                } else {
                    self.doubted = self.acknowledged;
                }
            }
            HostMessage::Nack { .. } => {}
        }
    }

    /// What came out at the last input, which was worth this many lines.
    pub(super) fn check(&mut self, lines: usize) {
        let outputs: Vec<Output> = std::iter::from_fn(|| self.client.poll_output()).collect();
        assert!(outputs.len() <= lines * MOST_OUTPUTS, "{lines} lines: {outputs:?}");
        let mut sequences = Vec::new();
        for output in outputs {
            match output {
                Output::Send { sequence, message } => {
                    assert!(self.port == Port::Open || self.wanted.front() == Some(&Wanted::Exit));
                    sequences.push(sequence);
                    self.check_message(message);
                }
                Output::Decide(action) => self.check_decide(action),
                Output::Withdraw(id) => {
                    assert_eq!(self.wanted.pop_front(), Some(Wanted::Withdraw));
                    let open = self.open.take().map(|(action, _)| action.id);
                    assert_eq!(open, Some(id), "not the open one");
                    self.former = Some(id);
                }
                Output::Note(Note::Silent { silent }) => {
                    assert_eq!(silent, self.now.since(self.heard));
                    assert!(silent >= self.client.settings().patience(), "after {silent:?}");
                    self.acknowledged = false;
                }
                Output::Note(_) => {}
            }
        }
        assert!(self.wanted.is_empty(), "missing: {:?}", self.wanted);
        self.check_state();
    }

    fn check_state(&self) {
        let port = match self.client.state() {
            State::Disabled => Port::Closed,
            State::Enabling { .. } | State::Enabled { .. } => Port::Open,
            State::Left => Port::Left,
        };
        let enabled = matches!(self.client.state(), State::Enabled { .. });
        assert_eq!((port, enabled), (self.port, self.acknowledged));
        let due = self.client.poll_timeout();
        assert_eq!(due.is_some(), port == Port::Open, "who waits for nothing waits for ever");
        if let Some((_, deadline)) = &self.open {
            assert!(due.is_some_and(|due| due <= *deadline), "sleeps over its answer");
        }
    }

    fn check_decide(&mut self, action: Action) {
        assert!(self.open.is_none(), "two are open");
        assert!(self.former.is_none_or(|former| former < action.id), "not a new one");
        let Some(Wanted::Decide(event_type, notification_type, timeout)) = self.wanted.pop_front()
        else {
            panic!("nobody asked: {action:?}");
        };
        assert_eq!(
            (&action.event_type, action.notification_type),
            (&event_type, notification_type)
        );
        assert!(action.limit <= timeout, "longer than the host waits");
        let deadline = self.now + action.limit;
        self.open = Some((action, deadline));
    }

    fn check_message(&mut self, message: GuestMessage) {
        match message {
            GuestMessage::Init(init) => {
                assert!(!self.acknowledged || self.doubted, "asks although it is acknowledged");
                (self.acknowledged, self.doubted) = (false, false);
                let id = init.invocation_id;
                assert!((1..1 << 31).contains(&id), "{id}");
                // Another one than the last, unless the dice fell the same; the smallest ones meet at 1.
                let drawn = std::mem::replace(&mut self.drawn, self.random);
                let same = id == 1 || drawn >> 1 == self.random >> 1;
                assert!(same || self.inits.last() != Some(&id), "{id} again");
                assert_eq!(init, self.client.settings().init(id));
                self.inits.push(id);
            }
            GuestMessage::ChallengeResponse(response) => {
                let Some(Wanted::Answer(number)) = self.wanted.pop_front() else {
                    panic!("nobody asked: {response:?}");
                };
                assert_eq!(response.heartbeat_response, u64::from(number));
                self.check_health(&response);
            }
            GuestMessage::ActionResponse(response) => {
                let ActionResponse { invocation_id, vote_result, .. } = response;
                assert_eq!(self.wanted.pop_front(), Some(Wanted::Response(vote_result)));
                let newest: Vec<_> = self.inits.iter().rev().take(2).collect();
                assert!(newest.contains(&&invocation_id), "{invocation_id}, not of {newest:?}");
                if self.acknowledged {
                    assert_eq!(Some(invocation_id), self.session, "not the host's session");
                }
            }
            GuestMessage::Exit { log_msg } => {
                assert_eq!(self.wanted.pop_front(), Some(Wanted::Exit));
                assert_eq!(&*log_msg, "bye");
            }
        }
    }

    fn check_health(&self, response: &ChallengeResponse) {
        let said = (response.heartbeat_health, &response.log_msg);
        match &self.health {
            Health::Healthy => assert_eq!(said, (HealthWord::Healthy, &"".into())),
            Health::Unhealthy { corrective_action, log_msg } => {
                assert_eq!(said, (HealthWord::Unhealthy, log_msg));
                assert_eq!(response.corrective_action, *corrective_action);
            }
        }
    }
}
