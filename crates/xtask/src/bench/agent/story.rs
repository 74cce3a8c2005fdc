//! What happens to instances, and what the VIM has to know of it in the end.
//!
//! Some instances have a hard time: they run with ever another repair action, vote, stop and are
//! lost, again and again. Others only stop and run. One, the first, is unwell before all of this: a VIM
//! that hangs does so over that alarm.

use std::collections::HashMap;

use heartbeat_proto::InstanceId;
use heartbeat_proto::control::{ServerEvent, VoteNotify};
use heartbeat_proto::guest::{CorrectiveAction, EventType, NotificationType, VoteResult};
use lab::vim::VimRequest;
use serde_json::Value;

use super::fleet::{info, instance_id};

/// Instances that have a hard time; each has as many alarms and votes as there are repair actions.
const TROUBLED: u32 = 20;
/// Instances that stop and run.
const RESTLESS: u32 = 400;
/// All of them, and the one that is unwell.
pub(super) const INSTANCES: u32 = 1 + TROUBLED + RESTLESS;

/// What happens, in order, and what is to be known of each instance.
#[derive(Debug, Default)]
pub(super) struct Story {
    pub(super) events: Vec<ServerEvent>,
    expected: HashMap<String, Known>,
}

/// What the VIM is told of an instance.
#[derive(Debug, Default, PartialEq, Eq)]
struct Known {
    /// Alarms and votes, in order.
    kept: Vec<String>,
    /// The last state.
    state: String,
}

/// How what the VIM was told differs from what happened.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Differences {
    pub(super) missing: usize,
    pub(super) repeated: usize,
    /// Instances whose alarms and votes came in another order.
    pub(super) disordered: usize,
    /// Instances whose last state is another one.
    pub(super) outdated: usize,
}

impl Story {
    /// 1,000 changes of state, 100 alarms and 100 votes.
    pub(super) fn new() -> Self {
        let mut story = Self::default();
        let troubled = 1..=TROUBLED;
        let restless = TROUBLED + 1..INSTANCES;
        for (round, &action) in CorrectiveAction::ALL.iter().enumerate() {
            for instance in troubled.clone().map(instance_id) {
                story.state(instance, true, action);
                story.vote(instance, &format!("vote {round}"));
                story.state(instance, false, action);
                story.loss(instance, action);
            }
            // A fifth of the others in each round.
            for instance in restless.clone().skip(round).step_by(CorrectiveAction::ALL.len()) {
                story.state(instance_id(instance), false, action);
                story.state(instance_id(instance), true, action);
            }
        }
        story
    }

    /// The alarm before all others. It must not come again either.
    pub(super) fn prelude(&mut self) -> ServerEvent {
        let action = CorrectiveAction::Reboot;
        let known = self.known(instance_id(0));
        known.kept.push(format!("unhealthy, {action}"));
        ServerEvent::IllHealth(instance_id(0), info(true, action))
    }

    fn known(&mut self, instance: InstanceId) -> &mut Known {
        self.expected.entry(instance.to_string()).or_default()
    }

    fn state(&mut self, instance: InstanceId, heartbeating: bool, action: CorrectiveAction) {
        let info = info(heartbeating, action);
        let (event, word) = match heartbeating {
            true => (ServerEvent::Running(instance, info), "enabled"),
            false => (ServerEvent::Stopped(instance, info), "disabled"),
        };
        self.events.push(event);
        self.known(instance).state = word.into();
    }

    fn vote(&mut self, instance: InstanceId, reason: &str) {
        let vote = VoteNotify {
            notification_type: NotificationType::Revocable,
            event_type: EventType::Reboot,
            vote: VoteResult::Reject,
            reason: reason.into(),
        };
        self.events.push(ServerEvent::VoteNotify(instance, vote));
        self.known(instance).kept.push(reason.into());
    }

    fn loss(&mut self, instance: InstanceId, action: CorrectiveAction) {
        self.events.push(ServerEvent::Loss(instance));
        self.known(instance).kept.push(format!("failed, {action}"));
    }

    /// Compares what happened with what the VIM was told.
    pub(super) fn compare(&self, requests: &[VimRequest]) -> Differences {
        let mut told: HashMap<&str, Known> = HashMap::new();
        for request in requests {
            told.entry(request.instance()).or_default().take(&request.json());
        }
        let mut differences = Differences::default();
        for (instance, expected) in &self.expected {
            let nothing = Known::default();
            let told = told.get(instance.as_str()).unwrap_or(&nothing);
            differences.add(expected, told);
        }
        differences
    }
}

impl Known {
    fn take(&mut self, event: &Value) {
        let data = &event["event-data"];
        let service = &data["services"][0];
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match word(&event["event-type"]).as_str() {
            "service" => self.state = word(&service["status"]),
            "alarm" => {
                let (state, action) = (word(&service["state"]), word(&service["repair-action"]));
                self.kept.push(format!("{state}, {action}"));
            }
            _ => self.kept.push(word(&data["reason"])),
        }
    }
}

impl Differences {
    fn add(&mut self, expected: &Known, told: &Known) {
        let mut once: Vec<&String> = Vec::new();
        for one in &told.kept {
            match once.contains(&one) {
                true => self.repeated += 1,
                false => once.push(one),
            }
        }
        let missing = expected.kept.iter().filter(|one| !once.contains(one)).count();
        let present: Vec<&String> = expected.kept.iter().filter(|one| once.contains(one)).collect();
        self.missing += missing;
        self.disordered += usize::from(present != once);
        self.outdated += usize::from(expected.state != told.state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(kept: &[&str], state: &str) -> Known {
        let kept = kept.iter().map(|&one| one.to_owned()).collect();
        Known { kept, state: state.into() }
    }

    fn difference(told: &Known) -> [usize; 4] {
        let mut all = Differences::default();
        all.add(&known(&["a", "b", "c"], "enabled"), told);
        [all.missing, all.repeated, all.disordered, all.outdated]
    }

    #[test]
    fn every_difference_is_found() {
        assert_eq!(difference(&known(&["a", "b", "c"], "enabled")), [0, 0, 0, 0]);
        assert_eq!(difference(&known(&["a", "c"], "enabled")), [1, 0, 0, 0]);
        assert_eq!(difference(&known(&["a", "b", "b", "c"], "enabled")), [0, 1, 0, 0]);
        assert_eq!(difference(&known(&["b", "a", "c"], "enabled")), [0, 0, 1, 0]);
        assert_eq!(difference(&known(&["a", "b", "c"], "disabled")), [0, 0, 0, 1]);
        assert_eq!(difference(&known(&[], "")), [3, 0, 0, 1]);
    }

    #[test]
    fn the_story_is_as_long_as_it_should_be() {
        let story = Story::new();
        let count = |wanted: fn(&ServerEvent) -> bool| {
            story.events.iter().filter(|event| wanted(event)).count()
        };
        let states = |event: &ServerEvent| {
            matches!(event, ServerEvent::Running(..) | ServerEvent::Stopped(..))
        };
        assert_eq!(count(states), 1000);
        assert_eq!(count(|event| matches!(event, ServerEvent::Loss(_))), 100);
        assert_eq!(count(|event| matches!(event, ServerEvent::VoteNotify(..))), 100);
    }
}
