//! Votes and notifications: asked for by the VIM, and their outcome.

use heartbeat_proto::control::{ServerEvent, VoteNotify};
use heartbeat_proto::guest::NotificationType::{self, Irrevocable, Revocable};
use heartbeat_proto::guest::VoteResult;

use super::harness::{Bench, NOTHING, info, instance_id};
use crate::inventory::Output;

fn answer(action: &str, timeout: &str) -> String {
    format!(
        "{{\"uuid\":\"00000000-0000-0000-0000-000000000001\",\"hostname\":\"compute-1\",\
         \"action\":\"{action}\",\"timeout\":\"{timeout}\"}}"
    )
}

/// Every action, and the time of its notification: [`info`]'s shutdown time is 11 s, suspend 12 s,
/// resume 13 s, vote 10 s.
const TIMES: [(&str, &str); 14] = [
    ("stop", "11"),
    ("reboot", "11"),
    ("pause", "12"),
    ("suspend", "12"),
    ("resize_begin", "12"),
    ("live_migrate_begin", "12"),
    ("cold_migrate_begin", "12"),
    ("unpause", "13"),
    ("resume", "13"),
    ("resize_end", "13"),
    ("live_migrate_end", "13"),
    ("cold_migrate_end", "13"),
    ("unknown", "10"),
    ("defragment", "10"),
];

#[test]
fn a_notification_is_answered_with_its_own_time_and_goes_to_the_server() {
    let mut bench = Bench::running();
    for (action, timeout) in TIMES {
        assert_eq!(bench.act(1, Irrevocable, action), answer(action, timeout));
        assert_eq!(bench.words(), [format!("10.0.0.1 NOTIFY_INST i1 {action}")]);
    }
}

#[test]
fn a_vote_is_answered_with_the_vote_time_whatever_it_is_about_and_goes_to_the_server() {
    let mut bench = Bench::running();
    for (action, _) in TIMES {
        assert_eq!(bench.act(1, Revocable, action), answer(action, "10"));
        assert_eq!(bench.words(), [format!("10.0.0.1 VOTE_INST i1 {action}")]);
    }
}

#[test]
fn without_a_heartbeat_the_time_is_zero_and_nothing_is_sent() {
    let mut bench = Bench::running();
    bench.server(1, ServerEvent::Stopped(instance_id(1), info()));
    for notification in [Revocable, Irrevocable] {
        assert_eq!(bench.act(1, notification, "stop"), answer("stop", "0"));
        assert_eq!(bench.words(), NOTHING);
    }
}

#[test]
fn an_instance_that_has_just_moved_is_not_asked_before_it_is_heartbeating_there() {
    let mut bench = Bench::running();
    bench.post(1, 2);
    let moved = answer("stop", "0").replace("compute-1", "compute-2");
    assert_eq!(bench.act(1, Revocable, "stop"), moved);
    assert_eq!(bench.words(), NOTHING);
    bench.server(2, ServerEvent::Running(instance_id(1), info()));
    bench.act(1, Revocable, "stop");
    assert_eq!(bench.words(), ["10.0.0.2 VOTE_INST i1 stop"]);
}

#[test]
fn an_action_of_64_bytes_is_passed_on() {
    let mut bench = Bench::running();
    let action = "x".repeat(64);
    assert_eq!(bench.act(1, Revocable, &action), answer(&action, "10"));
    assert_eq!(bench.words(), [format!("10.0.0.1 VOTE_INST i1 {action}")]);
}

#[test]
fn the_times_are_those_of_the_newest_info_from_the_guest() {
    let mut bench = Bench::running();
    let newer = heartbeat_proto::control::InstanceInfo { shutdown_secs: 77, ..info() };
    bench.server(1, ServerEvent::Instance(instance_id(1), newer));
    assert_eq!(bench.act(1, Irrevocable, "stop"), answer("stop", "77"));
}

fn outcome(notification_type: NotificationType, vote: VoteResult, reason: &str) -> ServerEvent {
    let event_type = "reboot".into();
    let vote = VoteNotify { notification_type, event_type, vote, reason: reason.into() };
    ServerEvent::VoteNotify(instance_id(1), vote)
}

#[test]
fn every_outcome_reaches_the_vim_as_reject_allow_or_proceed() {
    let mut bench = Bench::running();
    for (notification_type, agreed) in [(Revocable, "Allow"), (Irrevocable, "Proceed")] {
        for vote in VoteResult::ALL {
            bench.server(1, outcome(notification_type, *vote, "as you like"));
            let response = if *vote == VoteResult::Reject { "Reject" } else { agreed };
            assert_eq!(bench.words(), [format!("i1: reboot, {response}, \"as you like\"")]);
        }
    }
}

#[test]
fn an_outcome_has_the_body_that_the_vim_expects() {
    let mut bench = Bench::running();
    bench.server(1, outcome(Revocable, VoteResult::Reject, "not now"));
    let Some(Output::Event(event)) = bench.outputs.last() else { panic!("no event") };
    let body: serde_json::Value = serde_json::from_str(&event.body()).unwrap();
    let expected = serde_json::json!({
        "uuid": instance_id(1),
        "event-type": "action",
        "event-data": {"action": "reboot", "guest-response": "reject", "reason": "not now"},
    });
    assert_eq!(body, expected);
}

#[test]
fn an_outcome_reaches_the_vim_whether_or_not_faults_are_reported() {
    let mut bench = Bench::running();
    bench.put_host(1, false);
    bench.patch(1, 1, "disabled");
    bench.server(1, outcome(Revocable, VoteResult::Accept, ""));
    assert_eq!(bench.words(), ["i1: reboot, Allow, \"\""]);
}
