//! Failures: which become alarms, and the agent's own record of what is reported.

use heartbeat_proto::control::{InstanceInfo, ServerEvent};
use heartbeat_proto::guest::CorrectiveAction::{self, Log, Reboot, Stop};

use super::harness::{Bench, NOTHING, info, instance_id, ip, name};
use crate::inventory::{Note, Output, Withheld};

fn state(on: bool) -> &'static str {
    if on { "enabled" } else { "disabled" }
}

fn with(repair_action: CorrectiveAction) -> InstanceInfo {
    InstanceInfo { repair_action, ..info() }
}

/// Stopped, so that a loss is nothing but the loss.
fn stopped() -> Bench {
    let mut bench = Bench::running();
    bench.server(1, ServerEvent::Stopped(instance_id(1), info()));
    bench
}

#[test]
fn loss_and_illhealth_are_alarms_only_while_reporting_is_enabled_at_both_levels() {
    for host in [true, false] {
        for instance in [true, false] {
            let mut bench = stopped();
            bench.put_host(1, host);
            bench.patch(1, 1, state(instance));
            let info = InstanceInfo { reporting: instance, ..info() };
            for (event, word) in [
                (ServerEvent::Loss(instance_id(1)), "failed"),
                (ServerEvent::IllHealth(instance_id(1), info), "unhealthy"),
            ] {
                bench.server(1, event);
                let (on, instance_id) = ("compute-1".into(), instance_id(1));
                if host && instance {
                    assert_eq!(bench.words(), [format!("i1 on compute-1: {word}, reboot")]);
                    let note = Note::Alarm { instance: instance_id, host: on, state: word };
                    assert_eq!(bench.notes(), [&note]);
                } else {
                    assert_eq!(bench.words(), NOTHING);
                    let note = Note::AlarmWithheld {
                        instance: instance_id,
                        host: on,
                        state: word,
                        why: Withheld::Reporting,
                    };
                    assert_eq!(bench.notes(), [&note]);
                }
            }
        }
    }
}

#[test]
fn a_failure_is_not_judged_before_it_is_known_whether_its_host_is_reported() {
    let mut bench = Bench::new();
    bench.add_host(1);
    bench.vim_lists(1, &[(1, "enabled")]);
    bench.server(1, ServerEvent::Loss(instance_id(1)));
    assert_eq!(bench.words(), NOTHING);
    let note = Note::AlarmWithheld {
        instance: instance_id(1),
        host: "compute-1".into(),
        state: "failed",
        why: Withheld::Unknown,
    };
    assert_eq!(bench.notes(), [&note]);
    bench.vim_says_state(1, "enabled");
    bench.server(1, ServerEvent::Loss(instance_id(1)));
    assert!(bench.words().contains(&"i1 on compute-1: failed, log".to_owned()));
}

#[test]
fn alarms_have_the_bodies_that_the_vim_expects() {
    let mut bench = stopped();
    for (event, state) in [
        (ServerEvent::Loss(instance_id(1)), "failed"),
        (ServerEvent::IllHealth(instance_id(1), info()), "unhealthy"),
    ] {
        bench.server(1, event);
        let Some(Output::Event(event)) = bench.outputs.last() else { panic!("no event") };
        let body: serde_json::Value = serde_json::from_str(&event.body()).unwrap();
        let service =
            serde_json::json!({"service": "heartbeat", "state": state, "repair-action": "reboot"});
        let expected = serde_json::json!({
            "uuid": instance_id(1),
            "hostname": "compute-1",
            "event-type": "alarm",
            "event-data": {"services": [service]},
        });
        assert_eq!(body, expected);
    }
}

#[test]
fn a_loss_asks_for_the_action_of_the_last_info_that_was_no_illhealth() {
    let id = instance_id(1);
    for last in [ServerEvent::Running, ServerEvent::Stopped, ServerEvent::Instance] {
        let mut bench = Bench::running();
        bench.server(1, last(id, with(Stop)));
        bench.server(1, ServerEvent::IllHealth(id, with(Log)));
        assert_eq!(bench.words(), ["i1 on compute-1: unhealthy, log"]);
        bench.server(1, ServerEvent::Loss(id));
        let words = bench.words();
        assert_eq!(words.last().map(String::as_str), Some("i1 on compute-1: failed, stop"));
    }
}

#[test]
fn illhealth_asks_for_its_own_action() {
    let mut bench = Bench::running();
    for action in [Reboot, Stop, Log] {
        bench.server(1, ServerEvent::IllHealth(instance_id(1), with(action)));
        assert_eq!(bench.words(), [format!("i1 on compute-1: unhealthy, {action}")]);
    }
}

#[test]
fn illhealth_does_not_stop_the_heartbeat() {
    let mut bench = Bench::running();
    let before = bench.inventory.snapshot();
    bench.server(1, ServerEvent::IllHealth(instance_id(1), with(Stop)));
    assert_eq!(bench.inventory.snapshot(), before);
}

#[test]
fn a_late_loss_from_the_former_host_is_no_alarm() {
    let mut bench = Bench::running();
    bench.patch(1, 2, "enabled");
    bench.server(1, ServerEvent::Loss(instance_id(1)));
    assert_eq!(bench.words(), NOTHING);
    bench.server(2, ServerEvent::Loss(instance_id(1)));
    let state = "i1 on compute-2: reporting enabled, heartbeat disabled, 121 s";
    assert_eq!(bench.words(), [state, "i1 on compute-2: failed, reboot"], "its first word there");
}

#[test]
fn the_new_hosts_reporting_counts_after_a_move() {
    let mut bench = Bench::running();
    bench.put_host(2, false);
    bench.patch(1, 2, "enabled");
    bench.server(2, ServerEvent::Loss(instance_id(1)));
    let state = "i1 on compute-2: reporting enabled, heartbeat disabled, 121 s";
    assert_eq!(bench.words(), [state], "no alarm");
}

#[test]
fn a_difference_in_a_servers_message_never_changes_the_reporting_and_is_answered() {
    let id = instance_id(1);
    for make in
        [ServerEvent::Running, ServerEvent::Stopped, ServerEvent::Instance, ServerEvent::IllHealth]
    {
        for ours in [true, false] {
            let mut bench = Bench::running();
            bench.patch(1, 1, state(ours));
            let before = bench.get(1);
            bench.server(1, make(id, InstanceInfo { reporting: !ours, ..info() }));
            let corrected = format!("10.0.0.1 MOD_INST i1 {}", state(ours));
            assert_eq!(bench.words()[0], corrected);
            assert_eq!(bench.words().iter().filter(|word| word.contains("MOD_INST")).count(), 1);
            assert!(
                bench.notes().contains(&&Note::Corrected { instance: id, host: name(1).into() })
            );
            bench.server(1, make(id, InstanceInfo { reporting: ours, ..info() }));
            assert!(bench.words().iter().all(|word| !word.contains("MOD_INST")));
            bench.server(1, ServerEvent::Running(id, InstanceInfo { reporting: ours, ..info() }));
            assert_eq!(bench.get(1), before);
        }
    }
}

#[test]
fn an_alarm_uses_the_agents_record_though_the_server_differs() {
    let id = instance_id(1);
    let mut bench = Bench::running();
    bench.server(1, ServerEvent::IllHealth(id, InstanceInfo { reporting: false, ..info() }));
    assert_eq!(bench.words()[1..], ["i1 on compute-1: unhealthy, reboot"]);
    bench.patch(1, 1, "disabled");
    bench.server(1, ServerEvent::IllHealth(id, info()));
    assert_eq!(bench.words(), ["10.0.0.1 MOD_INST i1 disabled"]);
}

#[test]
fn an_answer_to_a_server_goes_to_its_hosts_own_address() {
    let mut bench = Bench::running();
    let info = InstanceInfo { reporting: false, ..info() };
    bench.datagram(ip(9), &name(1), ServerEvent::Instance(instance_id(1), info));
    assert_eq!(bench.words(), ["10.0.0.1 MOD_INST i1 enabled"]);
}
