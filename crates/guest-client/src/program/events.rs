//! What scripts and applications say, and what becomes of it.

use daemon_kit::describe;
use heartbeat_proto::MonotonicTime;
use heartbeat_proto::client::{Action, Verdict};
use heartbeat_proto::guest::EventType;
use serde_json::Value;
use tracing::trace;

use super::Program;
use crate::applications::Id;
use crate::applications::message::{self, Said};
use crate::ballot::{Answer, Ballot, Voter};
use crate::condition::safe;
use crate::script::Outcome;
use crate::scripts::{Checked, Ended};
use crate::socket::{Event, What};
use crate::status;

impl Program {
    /// Asks the script and the applications about an event.
    pub(super) fn decide(&mut self, action: Action) {
        self.withdraw();
        if !is_plain(&action.event_type) {
            let answer = Answer::Failed("not an event that anybody here could know".to_owned());
            let mut ballot = Ballot::new(action, vec![Voter::Script]);
            if let Some(verdict) = ballot.take(Voter::Script, answer) {
                self.conclude(&ballot, verdict);
            }
            return;
        }
        self.ballots += 1;
        let event = message::event(self.ballots, &action);
        let mut voters = Vec::new();
        if self.scripts.ask(&action) {
            voters.push(Voter::Script);
        }
        let asked: Vec<Id> = self.applications.voters().collect();
        for id in asked {
            // One that cannot be told has not answered: that is known when the time is over.
            self.answer(id, event.clone());
            voters.push(Voter::Application(id));
        }
        let ballot = Ballot::new(action, voters);
        match ballot.verdict() {
            Some(verdict) => self.conclude(&ballot, verdict),
            None => self.ballot = Some(ballot),
        }
    }

    /// Nobody waits for an answer any more.
    pub(super) fn withdraw(&mut self) {
        let Some(ballot) = self.ballot.take() else { return };
        self.scripts.withdraw();
        let mut missing = Vec::new();
        for voter in ballot.waiting() {
            match *voter {
                Voter::Script => missing.push("the event script".to_owned()),
                Voter::Application(id) => {
                    missing.push(self.applications.name(id).unwrap_or("one that left").to_owned());
                    self.answer(id, message::withdrawn(self.ballots));
                }
            }
        }
        self.journal.unanswered(&missing.join(", "));
    }

    fn take_answer(&mut self, voter: Voter, answer: Answer) {
        let Some(ballot) = &mut self.ballot else { return };
        let Some(verdict) = ballot.take(voter, answer) else { return };
        if let Some(ballot) = self.ballot.take() {
            self.conclude(&ballot, verdict);
        }
    }

    fn conclude(&mut self, ballot: &Ballot, verdict: Verdict) {
        self.scripts.withdraw();
        for voter in ballot.waiting() {
            if let Voter::Application(id) = *voter {
                self.answer(id, message::withdrawn(self.ballots));
            }
        }
        self.client.handle_verdict(ballot.action.id, verdict);
    }

    /// A script has ended.
    pub(super) fn handle_ended(&mut self, now: MonotonicTime, ended: Ended) {
        match ended {
            Ended::Check(outcome) => {
                if let Some(checked) = self.scripts.handle_check(now, outcome) {
                    self.tell_checked(&checked);
                }
            }
            Ended::Event(id, outcome) => {
                if self.ballot.as_ref().is_none_or(|ballot| ballot.action.id != id) {
                    return;
                }
                if let Some((path, why)) = self.scripts.handle_event(&outcome) {
                    self.journal.no_event_script(path, why);
                }
                let answer = match outcome {
                    Outcome::Success => Answer::Agrees,
                    Outcome::Failure(reason) => Answer::Objects(reason),
                    Outcome::NotRun(why) => Answer::Failed(format!("event script: {why}")),
                };
                self.take_answer(Voter::Script, answer);
            }
        }
    }

    pub(super) fn tell_checked(&mut self, checked: &Checked) {
        if let (Some(script), _) = self.scripts.health() {
            self.journal.checked(script, checked);
        }
    }

    /// An application did something.
    pub(super) fn handle_application(&mut self, now: MonotonicTime, Event { id, what }: Event) {
        match what {
            What::Connected(answers) => {
                self.answers.insert(id, answers);
            }
            What::Closed => {
                self.answers.remove(&id);
                let gone = "an application that was asked is gone".to_owned();
                self.applications.closed(now, id);
                self.take_answer(Voter::Application(id), Answer::Failed(gone));
            }
            What::Said(said) => {
                trace!(?id, ?said, "application");
                match self.said(now, id, said) {
                    Ok(Some(answer)) => self.answer(id, answer),
                    Ok(None) => {}
                    Err(why) => {
                        self.journal.refused(self.applications.name(id), &why);
                        self.answer(id, message::error(&why));
                    }
                }
            }
        }
    }

    fn said(&mut self, now: MonotonicTime, id: Id, said: Said) -> Result<Option<Value>, String> {
        match said {
            Said::Register(registration) => {
                let answer = message::registered(&registration.name);
                self.applications.register(now, id, registration)?;
                Ok(Some(answer))
            }
            Said::Beat => self.applications.beat(now, id).map(|()| None),
            Said::Unhealthy { reason } => {
                self.applications.unhealthy(now, id, &reason).map(|()| None)
            }
            Said::Deregister => {
                self.applications.deregister(id)?;
                self.take_answer(Voter::Application(id), Answer::Agrees);
                Ok(Some(message::deregistered()))
            }
            Said::Vote { id: ballot, answer } => self.voted(id, ballot, answer).map(|()| None),
            Said::Status => Ok(Some(status::document(
                &self.client,
                self.port.as_ref(),
                self.host,
                &self.scripts,
                &self.applications,
                &self.journal.metrics,
            ))),
        }
    }

    fn voted(&mut self, id: Id, ballot: u64, answer: Answer) -> Result<(), String> {
        let name = self.applications.name(id).ok_or("not registered")?;
        let voter = Voter::Application(id);
        let open = self.ballots == ballot
            && self.ballot.as_ref().is_some_and(|ballot| ballot.waiting().contains(&voter));
        if !open {
            return Err(format!("id: {ballot}: nobody waits for an answer to that"));
        }
        let signed = |reason: String| safe(format!("{name}: {reason}").as_bytes());
        let answer = match answer {
            Answer::Agrees => Answer::Agrees,
            Answer::Objects(reason) => Answer::Objects(signed(reason)),
            Answer::Failed(reason) => Answer::Failed(signed(reason)),
        };
        self.take_answer(voter, answer);
        Ok(())
    }

    /// Says something to an application.
    fn answer(&mut self, id: Id, answer: Value) {
        let Some(answers) = self.answers.get(&id) else { return };
        if let Err(error) = answers.try_send(answer) {
            trace!(error = describe(&error), "not told");
            self.journal.deaf(self.applications.name(id));
        }
    }
}

/// Whether the word can be handed to a script without surprises.
fn is_plain(event: &EventType) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let word = event.as_str();
    !word.is_empty() && word.bytes().all(allowed)
}
