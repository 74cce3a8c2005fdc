//! Votes and notifications, from the question to what its outcome does to the heartbeat.

use super::context::{Random, context};
use super::output::{ConcludedBy, Note, Report};
use super::vote::{self, OpenVote};
use super::{INIT_EXPECTED_AFTER, Session};
use crate::MonotonicTime;
use crate::guest::{
    ActionResponse, EventType, HostMessage, MAX_LOG_MSG, NotificationType, Text, VoteResult,
};

impl Session {
    /// The guest is to be asked or told of an action.
    pub fn handle_action(
        &mut self,
        now: MonotonicTime,
        event: &EventType,
        notification: NotificationType,
        random: &mut dyn Random,
    ) {
        // What is agreed to may be a suspend, and a resume ends that one too.
        if let Some(older) = self.vote.take() {
            self.agreed(now, &older, ConcludedBy::Replaced);
        }
        if *event == EventType::Resume
            && !(self.connection.is_connected() && self.heartbeat.heartbeating)
        {
            self.reconnect();
        }
        let (timeout, known) = vote::notice(event, notification, &self.heartbeat.parameters);
        let vote = OpenVote { event: event.clone(), notification, deadline: now + timeout };
        if self.connection.is_connected() {
            let event = event.clone();
            self.out.note(Note::Asked { event, notification, timeout, known });
            self.out.send(HostMessage::ActionNotify {
                invocation_id: self.heartbeat.invocation_id,
                event_type: vote.event.clone(),
                notification_type: notification,
                timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
            });
            if vote.event == EventType::Unpause && notification == NotificationType::Irrevocable {
                self.heartbeat.unpause(&mut context!(self, now, random), &mut self.out);
            }
            self.vote = Some(vote);
        } else {
            self.agreed(now, &vote, ConcludedBy::NotConnected);
        }
        self.settle(now);
    }

    pub(super) fn handle_vote(&mut self, now: MonotonicTime, response: ActionResponse) {
        if !self.is_this_invocation(now, response.invocation_id) {
            return;
        }
        match self.vote.take_if(|vote| vote.is_answered_by(&response)) {
            Some(vote) => {
                let ActionResponse { vote_result, log_msg, .. } = response;
                self.conclude(now, &vote, vote_result, log_msg, ConcludedBy::Answer);
            }
            None => self.out.note(Note::UnexpectedVote),
        }
    }

    pub(super) fn agreed(&mut self, now: MonotonicTime, vote: &OpenVote, by: ConcludedBy) {
        self.conclude(now, vote, vote.notification.agreement(), Text::default(), by);
    }

    /// Reports how a vote ended, and does what its action asks of the heartbeat.
    fn conclude(
        &mut self,
        now: MonotonicTime,
        vote: &OpenVote,
        result: VoteResult,
        reason: Text<MAX_LOG_MSG>,
        by: ConcludedBy,
    ) {
        let (event, notification) = (vote.event.clone(), vote.notification);
        self.out.note(Note::Concluded { event, notification, vote: result, by });
        self.out.report(Report::Vote(vote.outcome(result, reason)));
        if vote::expects_init(&vote.event) {
            self.init_expected_at = Some(now + INIT_EXPECTED_AFTER);
        }
        if notification == NotificationType::Revocable || result == VoteResult::Reject {
            return;
        }
        if vote.event == EventType::Pause {
            self.heartbeat.pause();
        } else if vote.event == EventType::Suspend && self.connection.is_connected() {
            // One that is not connected goes on looking for its channel, which costs next to
            // nothing, and finds it should the suspension be called off.
            self.heartbeat.stop(self.reporting, &mut self.out);
            self.connection.suspend(&mut self.out);
        }
    }
}
