//! One vote or notification, and who still has to say something to it: the event script, and every application that
//! asked to be asked. One rejection rejects; an error is told unless somebody rejects; else the guest agrees.

use heartbeat_proto::client::{Action, Verdict};
use heartbeat_proto::guest::{NotificationType, VoteResult};

use crate::applications::Id;

/// Who has a say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Voter {
    /// The event script.
    Script,
    /// A local application.
    Application(Id),
}

/// An answer of one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The action may go on, or has been prepared for.
    Agrees,
    /// The action shall not happen; of a notification, as an error.
    Objects(String),
    /// No answer could be had.
    Failed(String),
}

/// A vote or notification that is open.
#[derive(Debug)]
pub(crate) struct Ballot {
    pub(crate) action: Action,
    waiting: Vec<Voter>,
    error: Option<String>,
}

impl Ballot {
    /// Opens it. Without voters, its verdict is there at once.
    pub(crate) fn new(action: Action, voters: Vec<Voter>) -> Self {
        Self { action, waiting: voters, error: None }
    }

    /// Who has not answered yet.
    pub(crate) fn waiting(&self) -> &[Voter] {
        &self.waiting
    }

    /// Takes an answer; what comes twice, or from somebody who was not asked, means nothing.
    pub(crate) fn take(&mut self, voter: Voter, answer: Answer) -> Option<Verdict> {
        let at = self.waiting.iter().position(|waiting| *waiting == voter)?;
        self.waiting.swap_remove(at);
        match (answer, self.action.notification_type) {
            (Answer::Agrees, _) => {}
            (Answer::Objects(reason), NotificationType::Revocable) => {
                return Some(verdict(VoteResult::Reject, &reason));
            }
            (Answer::Objects(reason), NotificationType::Irrevocable)
            | (Answer::Failed(reason), _) => {
                self.error.get_or_insert(reason);
            }
        }
        self.verdict()
    }

    /// The verdict, once everybody has answered.
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        if !self.waiting.is_empty() {
            return None;
        }
        Some(match &self.error {
            Some(reason) => verdict(VoteResult::Error, reason),
            None => verdict(self.action.notification_type.agreement(), ""),
        })
    }
}

fn verdict(vote_result: VoteResult, log_msg: &str) -> Verdict {
    Verdict { vote_result, log_msg: log_msg.into() }
}

#[cfg(test)]
pub(crate) mod tests {
    use heartbeat_proto::MonotonicTime;
    use heartbeat_proto::client::{Client, Output, Settings};
    use heartbeat_proto::guest::{EventType, HostMessage};

    use super::*;

    /// An action as the state machine gives it.
    pub(crate) fn action(notification_type: NotificationType) -> Action {
        let (now, event_type) = (MonotonicTime::START, EventType::Stop);
        let mut client = Client::new(Settings::default());
        client.handle_opened(now);
        client.handle_timeout(now, 10);
        let mut bytes = Vec::new();
        HostMessage::InitAck { invocation_id: 5 }.encode(1, &mut bytes);
        let timeout_ms = 9000;
        let notify = HostMessage::ActionNotify {
            invocation_id: 5,
            event_type,
            notification_type,
            timeout_ms,
        };
        notify.encode(2, &mut bytes);
        client.handle_bytes(now, &bytes);
        let mut outputs = std::iter::from_fn(|| client.poll_output());
        let decide = outputs.find_map(|output| match output {
            Output::Decide(action) => Some(action),
            Output::Send { .. } | Output::Withdraw(_) | Output::Note(_) => None,
        });
        decide.unwrap()
    }

    fn voters(count: u64) -> Vec<Voter> {
        std::iter::once(Voter::Script)
            .chain((1..count).map(|id| Voter::Application(Id(id))))
            .collect()
    }

    fn objects(reason: &str) -> Answer {
        Answer::Objects(reason.into())
    }

    #[test]
    fn nobody_to_ask_agrees() {
        let agreed = |kind| Ballot::new(action(kind), Vec::new()).verdict();
        assert_eq!(agreed(NotificationType::Revocable), Some(verdict(VoteResult::Accept, "")));
        assert_eq!(agreed(NotificationType::Irrevocable), Some(verdict(VoteResult::Complete, "")));
    }

    #[test]
    fn all_must_agree_and_one_rejection_is_enough() {
        let mut ballot = Ballot::new(action(NotificationType::Revocable), voters(3));
        assert_eq!(ballot.take(Voter::Application(Id(2)), Answer::Agrees), None);
        assert_eq!(ballot.take(Voter::Application(Id(2)), objects("twice")), None);
        assert_eq!(ballot.take(Voter::Application(Id(9)), objects("not asked")), None);
        assert_eq!(ballot.waiting(), [Voter::Script, Voter::Application(Id(1))]);
        assert_eq!(
            ballot.take(Voter::Script, objects("a backup runs")),
            Some(verdict(VoteResult::Reject, "a backup runs"))
        );

        let mut ballot = Ballot::new(action(NotificationType::Revocable), voters(2));
        assert_eq!(ballot.take(Voter::Script, Answer::Agrees), None);
        assert_eq!(
            ballot.take(Voter::Application(Id(1)), Answer::Agrees),
            Some(verdict(VoteResult::Accept, ""))
        );
    }

    #[test]
    fn an_error_is_told_unless_somebody_rejects() {
        let failed = |reason: &str| Answer::Failed(reason.into());
        let mut ballot = Ballot::new(action(NotificationType::Revocable), voters(3));
        assert_eq!(ballot.take(Voter::Script, failed("first")), None);
        assert_eq!(ballot.take(Voter::Application(Id(1)), failed("second")), None);
        assert_eq!(
            ballot.take(Voter::Application(Id(2)), Answer::Agrees),
            Some(verdict(VoteResult::Error, "first"))
        );
        let mut ballot = Ballot::new(action(NotificationType::Revocable), voters(2));
        assert_eq!(ballot.take(Voter::Script, failed("first")), None);
        assert_eq!(
            ballot.take(Voter::Application(Id(1)), objects("no")),
            Some(verdict(VoteResult::Reject, "no"))
        );
    }

    #[test]
    fn a_notification_is_never_rejected() {
        let mut ballot = Ballot::new(action(NotificationType::Irrevocable), voters(1));
        assert_eq!(
            ballot.take(Voter::Script, objects("cannot flush")),
            Some(verdict(VoteResult::Error, "cannot flush"))
        );
    }
}
