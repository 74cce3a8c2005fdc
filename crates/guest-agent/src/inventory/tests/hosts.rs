//! The VIM's commands about hosts.

use super::harness::{
    BAD_STATE, Bench, INVALID, NO_CONTENT, NOT_FOUND, NOTHING, PASS, host_id, instance_id, millis,
};
use crate::inventory::{Command, Note};

const HOST_1: &str = "00000000-0000-0000-0000-000000000001";

fn host_body(state: &str) -> String {
    format!(r#"{{"uuid":"{HOST_1}","hostname":"compute-1","state":"{state}"}}"#)
}

#[test]
fn post_of_a_known_host_passes_and_changes_nothing() {
    let mut bench = Bench::running();
    let before = bench.inventory.snapshot();
    assert_eq!(bench.http(Command::AddHost(host_id(1))), PASS);
    assert!(bench.outputs.is_empty());
    assert_eq!(bench.inventory.snapshot(), before);
}

#[test]
fn put_switches_the_hosts_reporting_and_tells_its_server_every_time() {
    let mut bench = Bench::with_hosts();
    for (reporting, word) in
        [(false, "disabled"), (false, "disabled"), (true, "enabled"), (true, "enabled")]
    {
        assert_eq!(bench.put_host(1, reporting), PASS);
        assert_eq!(bench.words(), [format!("10.0.0.1 MOD_HOST {word}")]);
        assert_eq!(bench.http(Command::GetHost(host_id(1))), host_body(word));
    }
}

#[test]
fn put_looks_the_host_up_by_its_name_and_leaves_the_others_alone() {
    let mut bench = Bench::with_hosts();
    bench.put_host(2, false);
    assert_eq!(bench.words(), ["10.0.0.2 MOD_HOST disabled"]);
    assert_eq!(bench.http(Command::GetHost(host_id(1))), host_body("enabled"));
}

#[test]
fn only_a_change_of_a_hosts_reporting_is_noted() {
    let mut bench = Bench::with_hosts();
    bench.put_host(1, true);
    assert!(bench.notes().is_empty());
    bench.put_host(1, false);
    let changed = Note::HostReporting { name: "compute-1".into(), reporting: false };
    assert_eq!(bench.notes(), [&changed]);
}

#[test]
fn get_tells_a_hosts_name_and_state_and_sends_nothing() {
    let mut bench = Bench::with_hosts();
    assert_eq!(bench.http(Command::GetHost(host_id(1))), host_body("enabled"));
    assert!(bench.outputs.is_empty());
}

#[test]
fn a_hosts_reporting_is_disabled_until_the_vim_says_otherwise() {
    let mut bench = Bench::new();
    bench.add_host(1);
    assert_eq!(bench.http(Command::GetHost(host_id(1))), host_body("disabled"));
}

#[test]
fn delete_of_a_host_known_or_not_has_no_content_and_changes_nothing() {
    let mut bench = Bench::running();
    let before = bench.inventory.snapshot();
    for host in [1, 9] {
        assert_eq!(bench.http(Command::DeleteHost(host_id(host))), NO_CONTENT);
        assert!(bench.outputs.is_empty());
    }
    assert_eq!(bench.inventory.snapshot(), before);
}

/// Every command that can be refused, and how; `compute-9`, host 9 and instance 9 are unknown.
fn refused() -> Vec<(Command, &'static str, bool)> {
    use super::harness::heartbeat;
    use heartbeat_proto::guest::NotificationType::{Irrevocable, Revocable};
    use heartbeat_proto::vim::command::Service;

    let hostname = |host: u8| super::harness::name(host).into();
    let post = |host, services| Command::AddInstance {
        instance: instance_id(1),
        hostname: hostname(host),
        services,
    };
    let patch = |host, services| Command::SwitchInstance {
        instance: instance_id(1),
        hostname: hostname(host),
        services,
    };
    let act = |instance, action: &str, notification| Command::Act {
        instance: instance_id(instance),
        action: action.into(),
        notification,
    };
    let named = |service: &str| vec![Service::Name(service.into())];
    let object = |service: &str, state: Option<&str>| {
        vec![Service::Object { service: service.into(), state: state.map(Into::into) }]
    };
    vec![
        (Command::AddHost(host_id(9)), NOT_FOUND, true),
        (Command::SwitchHost { hostname: hostname(9), reporting: true }, NOT_FOUND, true),
        (Command::GetHost(host_id(9)), NOT_FOUND, true),
        (post(9, named("heartbeat")), INVALID, false),
        (post(2, named("watchdog")), INVALID, false),
        (post(2, vec![]), INVALID, false),
        (patch(9, heartbeat("disabled")), NOT_FOUND, true),
        (patch(2, object("watchdog", Some("enabled"))), INVALID, false),
        (patch(2, vec![]), INVALID, false),
        (patch(2, named("heartbeat")), INVALID, false),
        (patch(2, heartbeat("on")), BAD_STATE, false),
        (patch(2, heartbeat("Enabled")), BAD_STATE, false),
        (patch(2, heartbeat("")), BAD_STATE, false),
        (patch(2, object("heartbeat", None)), "command parse error", false),
        (Command::GetInstance(instance_id(9)), NOT_FOUND, false),
        (Command::DeleteInstance(instance_id(9)), NOT_FOUND, false),
        (act(9, "stop", Revocable), NOT_FOUND, false),
        (act(9, "stop", Irrevocable), NOT_FOUND, false),
        (act(1, "", Revocable), INVALID, false),
        (act(1, &"x".repeat(65), Irrevocable), INVALID, false),
    ]
}

#[test]
fn a_request_that_is_refused_changes_nothing_and_says_why() {
    for (command, reason, _) in refused() {
        let mut bench = Bench::running();
        let before = bench.inventory.snapshot();
        assert_eq!(bench.http(command.clone()), reason, "{command:?}");
        assert_eq!(bench.inventory.snapshot(), before, "{command:?}");
        assert!(bench.words().iter().all(|word| word == "MONITOR_READY"), "{command:?}");
    }
}

#[test]
fn every_404_about_a_host_and_nothing_else_asks_the_maintenance_system_for_the_hosts() {
    for (command, _, asks) in refused() {
        let mut bench = Bench::running();
        bench.http(command.clone());
        let expected: &[&str] = if asks { &["MONITOR_READY"] } else { &[] };
        assert_eq!(bench.words(), expected, "{command:?}");
    }
}

#[test]
fn the_maintenance_system_is_asked_at_most_once_a_second() {
    let mut bench = Bench::new();
    let mut asked = |wait| {
        bench.now = bench.now + millis(wait);
        assert_eq!(bench.http(Command::GetHost(host_id(9))), NOT_FOUND);
        bench.words() == ["MONITOR_READY"]
    };
    assert_eq!(
        [0, 0, 999, 1, 999, 1, 5000, 0].map(&mut asked),
        [true, false, false, true, false, true, true, false]
    );
}

#[test]
fn asking_at_the_start_and_for_a_404_counts_against_the_same_second() {
    let mut bench = Bench::new();
    bench.inventory.request_hosts(bench.now);
    bench.drain();
    assert_eq!(bench.words(), ["MONITOR_READY"]);
    assert_eq!(bench.patch(1, 1, "enabled"), NOT_FOUND);
    assert_eq!(bench.words(), NOTHING);
    bench.now = bench.now + millis(1000);
    bench.inventory.request_hosts(bench.now);
    bench.drain();
    assert_eq!(bench.words(), ["MONITOR_READY"]);
}
