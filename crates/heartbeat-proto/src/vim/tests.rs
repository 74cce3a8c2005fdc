//! Pinned by the requests of the C++ daemon.

use super::command::{Answer, InstanceBody, Service, ServiceStatus};
use super::*;
use crate::control::VoteNotify;
use crate::guest::{CorrectiveAction, EventType, NotificationType, VoteResult};
use crate::{HostId, InstanceId, Switch};

const GOLDEN: &str = include_str!("../../testdata/vim.jsonl");

const HOST: &str = "010e7741-1173-4a3b-88fa-c4e5905500ca";

fn service(reporting: bool, heartbeating: bool, restart_secs: u64) -> EventKind {
    EventKind::Service { reporting, heartbeating, restart_secs }
}

fn alarm(state: AlarmState) -> EventKind {
    EventKind::Alarm { state, repair_action: CorrectiveAction::Reboot }
}

fn action(event: &str, response: GuestResponse, reason: &str) -> EventKind {
    EventKind::Action { event: event.into(), response, reason: reason.into() }
}

#[test]
fn our_requests_say_what_the_golden_ones_say() {
    let ours = [
        service(true, true, 121),
        action("stop", GuestResponse::Allow, ""),
        action("reboot", GuestResponse::Reject, "not now"),
        action("pause", GuestResponse::Proceed, ""),
        action("bogus", GuestResponse::Proceed, ""),
        alarm(AlarmState::Unhealthy),
        service(true, false, 121),
        alarm(AlarmState::Failed),
        service(false, false, 121),
        service(false, true, 601),
    ];
    let golden: Vec<serde_json::Value> =
        GOLDEN.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let patches =
        golden.iter().filter(|entry| entry["head"].as_str().unwrap().starts_with("PATCH"));
    let mut compared = 0;
    for (golden, kind) in patches.zip(ours) {
        let head = golden["head"].as_str().unwrap();
        let path = head.split(' ').nth(1).unwrap();
        let instance: InstanceId = path.rsplit('/').next().unwrap().parse().unwrap();
        let event = InstanceEvent { instance, hostname: "vm".into(), kind };
        assert_eq!(event.path(), path);
        let golden: serde_json::Value =
            serde_json::from_str(golden["body"].as_str().unwrap()).unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&event.body()).unwrap(), golden);
        compared += 1;
    }
    assert_eq!(compared, 10);
}

#[test]
fn the_host_query_has_the_golden_body() {
    let golden: serde_json::Value = serde_json::from_str(GOLDEN.lines().next().unwrap()).unwrap();
    let golden: serde_json::Value = serde_json::from_str(golden["body"].as_str().unwrap()).unwrap();
    let host: HostId = HOST.parse().unwrap();
    let ours: serde_json::Value = serde_json::from_str(&host_query_body("vm", host)).unwrap();
    assert_eq!(ours, golden);
}

#[test]
fn whatever_is_no_rejection_is_agreement() {
    for vote in VoteResult::ALL {
        for (notification_type, agreed) in [
            (NotificationType::Revocable, GuestResponse::Allow),
            (NotificationType::Irrevocable, GuestResponse::Proceed),
        ] {
            let event_type = EventType::Stop;
            let notify =
                VoteNotify { notification_type, event_type, vote: *vote, reason: "".into() };
            let expected = if *vote == VoteResult::Reject { GuestResponse::Reject } else { agreed };
            assert_eq!(GuestResponse::of(&notify), expected, "{vote} {notification_type}");
        }
    }
}

#[test]
fn the_vims_answers_are_read() {
    let state: HostState =
        serde_json::from_str(&format!(r#"{{"uuid":"{HOST}","state":"enabled","x":1}}"#)).unwrap();
    assert!(bool::from(state.state));
    assert!(serde_json::from_str::<HostState>(r#"{"admin_state":"enabled"}"#).is_err());

    let list: InstanceList = serde_json::from_str(
        r#"{"instances":[{"uuid":"8d80875b-fa73-4ccb-bce3-1cd4df104400","hostname":"vm","services":
        [{"service":"heartbeat","state":"enabled"}]},{"uuid":"8d80875b-fa73-4ccb-bce3-1cd4df104401",
        "hostname":"vm","services":[]}]}"#,
    )
    .unwrap();
    let reporting: Vec<_> = list.instances.iter().map(ListedInstance::reporting).collect();
    assert_eq!(reporting, [Some(true), None]);
}

#[test]
fn services_are_named_or_described() {
    let body = |services: &str| {
        let text = format!(
            r#"{{"uuid":"8d80875b-fa73-4ccb-bce3-1cd4df104400","hostname":"vm","services":{services}}}"#
        );
        serde_json::from_str::<InstanceBody>(&text).map(|body| body.services)
    };
    assert_eq!(body(r#"["heartbeat"]"#).unwrap(), [Service::Name("heartbeat".into())]);
    let described = body(r#"[{"service":"heartbeat","state":"enabled"}]"#).unwrap();
    assert_eq!(described[0].name(), "heartbeat");
    assert!(body(r#"["heartbeat", 7]"#).is_err());
    assert!(body("7").is_err());
}

#[test]
fn answers_have_the_shape_that_the_vim_reads() {
    let uuid: InstanceId = "8d80875b-fa73-4ccb-bce3-1cd4df104400".parse().unwrap();
    let json = |answer: &Answer| serde_json::to_string(answer).unwrap();
    assert_eq!(json(&Answer::PASS), r#"{"status":"pass"}"#);
    let services = Answer::Services {
        uuid,
        hostname: "vm".into(),
        services: [ServiceStatus::new(true, true, 120)],
    };
    assert_eq!(
        json(&services),
        r#"{"uuid":"8d80875b-fa73-4ccb-bce3-1cd4df104400","hostname":"vm","services":[{"service":"heartbeat","state":"enabled","restart-timeout":"120","status":"enabled"}]}"#
    );
    let silent = ServiceStatus::new(true, false, 120);
    assert!(serde_json::to_string(&silent).unwrap().contains(r#""restart-timeout":"0""#));
    let action = Answer::Action { uuid, hostname: "vm".into(), action: "stop".into(), timeout: 11 };
    assert!(json(&action).ends_with(r#""action":"stop","timeout":"11"}"#));
    let state = Switch::Disabled;
    let host = Answer::Host { uuid: HOST.parse().unwrap(), hostname: "vm".into(), state };
    assert!(json(&host).ends_with(r#""hostname":"vm","state":"disabled"}"#));
}
