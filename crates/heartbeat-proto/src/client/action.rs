//! The vote or notification that is open, of which there is one at most.

use std::time::Duration;

use super::output::{Action, ActionId, Note, Output, Outputs, Verdict};
use super::settings::PROPAGATION;
use crate::MonotonicTime;
use crate::guest::{ActionResponse, EventType, GuestMessage, NotificationType, VoteResult};

/// The longest time that an answer may take, whatever the host allows.
pub const MAX_LIMIT: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, Default)]
pub(super) struct Actions {
    open: Option<Open>,
    /// How many there were.
    count: u64,
}

#[derive(Debug)]
struct Open {
    action: Action,
    deadline: MonotonicTime,
}

impl Actions {
    /// The host asks or tells; what was open before is no longer waited for.
    pub(super) fn open(
        &mut self,
        now: MonotonicTime,
        event_type: EventType,
        notification_type: NotificationType,
        timeout: Duration,
        out: &mut Outputs,
    ) {
        self.withdraw(out);
        self.count += 1;
        let on_the_way = if timeout > PROPAGATION { PROPAGATION } else { Duration::ZERO };
        let limit = timeout.saturating_sub(on_the_way).min(MAX_LIMIT);
        let action = Action { id: ActionId(self.count), event_type, notification_type, limit };
        out.note(Note::Asked(action.clone()));
        out.push(Output::Decide(action.clone()));
        self.open = Some(Open { action, deadline: now + limit });
    }

    /// Nobody waits for an answer any more.
    pub(super) fn withdraw(&mut self, out: &mut Outputs) {
        if let Some(Open { action, .. }) = self.open.take() {
            out.push(Output::Withdraw(action.id));
            out.note(Note::Withdrawn { event_type: action.event_type });
        }
    }

    pub(super) fn deadline(&self) -> Option<MonotonicTime> {
        self.open.as_ref().map(|open| open.deadline)
    }

    pub(super) fn handle_timeout(
        &mut self,
        now: MonotonicTime,
        invocation: Option<u64>,
        out: &mut Outputs,
    ) {
        if let Some(open) = self.open.as_ref().filter(|open| open.deadline <= now) {
            let id = open.action.id;
            out.push(Output::Withdraw(id));
            let log_msg = format!("no answer within {} ms", open.action.limit.as_millis());
            let verdict =
                Verdict { vote_result: VoteResult::Timeout, log_msg: log_msg.as_str().into() };
            self.conclude(id, verdict, invocation, out);
        }
    }

    pub(super) fn conclude(
        &mut self,
        id: ActionId,
        verdict: Verdict,
        invocation: Option<u64>,
        out: &mut Outputs,
    ) {
        let Some(Open { action, .. }) = self.open.take_if(|open| open.action.id == id) else {
            return;
        };
        let Some(invocation_id) = invocation else { return };
        let Action { event_type, notification_type, .. } = action;
        let Verdict { vote_result, log_msg } = verdict.clone();
        out.note(Note::Concluded { event_type: event_type.clone(), notification_type, verdict });
        out.send(GuestMessage::ActionResponse(ActionResponse {
            invocation_id,
            event_type,
            notification_type,
            vote_result,
            log_msg,
        }));
    }
}
