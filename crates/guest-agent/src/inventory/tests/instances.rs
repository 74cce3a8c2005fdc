//! The VIM's commands about instances.

use heartbeat_proto::control::ServerEvent;
use heartbeat_proto::vim::command::Service;

use super::harness::{
    Bench, INVALID, NO_CONTENT, NOT_FOUND, NOTHING, PASS, info, instance_id, name,
};
use crate::inventory::{Command, Note};

/// The services body of instance 1.
fn services(host: u8, state: &str, restart_timeout: &str, status: &str) -> String {
    format!(
        "{{\"uuid\":\"00000000-0000-0000-0000-000000000001\",\"hostname\":\"compute-{host}\",\
         \"services\":[{{\"service\":\"heartbeat\",\"state\":\"{state}\",\
         \"restart-timeout\":\"{restart_timeout}\",\"status\":\"{status}\"}}]}}"
    )
}

#[test]
fn post_adds_an_instance_with_its_reporting_disabled_then_queries_its_server() {
    let mut bench = Bench::with_hosts();
    assert_eq!(bench.post(1, 1), PASS);
    assert_eq!(bench.words(), ["10.0.0.1 ADD_INST i1 disabled", "10.0.0.1 QRY_INST"]);
    assert_eq!(bench.get(1), services(1, "disabled", "0", "disabled"));
}

#[test]
fn post_takes_a_list_of_names_or_of_objects_whatever_state_they_say() {
    let object = |service: &str, state: Option<&str>| Service::Object {
        service: service.into(),
        state: state.map(Into::into),
    };
    for services in [
        vec![Service::Name("heartbeat".into())],
        vec![object("heartbeat", None)],
        vec![object("heartbeat", Some("enabled"))],
        vec![Service::Name("other".into()), object("heartbeat", Some("whatever"))],
    ] {
        let mut bench = Bench::with_hosts();
        let (instance, hostname) = (instance_id(1), name(1).into());
        assert_eq!(bench.http(Command::AddInstance { instance, hostname, services }), PASS);
        assert_eq!(bench.words(), ["10.0.0.1 ADD_INST i1 disabled", "10.0.0.1 QRY_INST"]);
    }
}

#[test]
fn post_of_an_instance_known_on_that_host_changes_nothing() {
    let mut bench = Bench::running();
    let before = bench.inventory.snapshot();
    assert_eq!(bench.post(1, 1), PASS);
    assert!(bench.outputs.is_empty());
    assert_eq!(bench.inventory.snapshot(), before);
}

#[test]
fn post_with_another_hostname_moves_the_instance_with_its_reporting() {
    let mut bench = Bench::running();
    assert_eq!(bench.post(1, 2), PASS);
    assert_eq!(
        bench.words(),
        ["10.0.0.1 DEL_INST i1", "10.0.0.2 ADD_INST i1 enabled", "10.0.0.2 QRY_INST"]
    );
    assert_eq!(bench.get(1), services(2, "enabled", "0", "disabled"));
}

#[test]
fn post_with_an_unknown_host_leaves_an_instance_where_it_is() {
    let mut bench = Bench::running();
    assert_eq!(bench.post(1, 9), INVALID);
    assert!(bench.outputs.is_empty());
    assert_eq!(bench.get(1), services(1, "enabled", "121", "enabled"));
}

#[test]
fn patch_of_an_unknown_instance_adds_it_with_that_reporting() {
    for state in ["enabled", "disabled"] {
        let mut bench = Bench::with_hosts();
        assert_eq!(bench.patch(1, 1, state), services(1, state, "0", "disabled"));
        assert_eq!(bench.words(), [format!("10.0.0.1 ADD_INST i1 {state}")]);
    }
}

#[test]
fn patch_of_a_known_instance_sets_its_reporting_and_tells_its_server_every_time() {
    let mut bench = Bench::running();
    for state in ["disabled", "disabled", "enabled", "enabled"] {
        assert_eq!(bench.patch(1, 1, state), services(1, state, "121", "enabled"));
        assert_eq!(bench.words(), [format!("10.0.0.1 MOD_INST i1 {state}")]);
    }
}

#[test]
fn patch_with_another_hostname_moves_the_instance_and_sets_its_reporting() {
    for state in ["enabled", "disabled"] {
        let mut bench = Bench::running();
        assert_eq!(bench.patch(1, 2, state), services(2, state, "0", "disabled"));
        let added = format!("10.0.0.2 ADD_INST i1 {state}");
        assert_eq!(bench.words(), ["10.0.0.1 DEL_INST i1", &added]);
    }
}

#[test]
fn only_a_change_of_an_instances_reporting_is_noted() {
    let mut bench = Bench::running();
    bench.patch(1, 1, "enabled");
    assert!(bench.notes().is_empty());
    bench.patch(1, 1, "disabled");
    let (instance, host) = (instance_id(1), "compute-1".into());
    let changed = Note::InstanceReporting { instance, host, reporting: false };
    assert_eq!(bench.notes(), [&changed]);
}

#[test]
fn get_tells_the_reporting_as_state_and_the_heartbeat_as_status() {
    let mut bench = Bench::with_hosts();
    bench.patch(1, 1, "enabled");
    assert_eq!(bench.get(1), services(1, "enabled", "0", "disabled"));
    assert!(bench.outputs.is_empty());
    bench.server(1, ServerEvent::Running(instance_id(1), info()));
    bench.patch(1, 1, "disabled");
    assert_eq!(bench.get(1), services(1, "disabled", "121", "enabled"));
}

#[test]
fn the_restart_timeout_is_zero_while_the_instance_is_not_heartbeating() {
    let mut bench = Bench::running();
    assert_eq!(bench.get(1), services(1, "enabled", "121", "enabled"));
    bench.server(1, ServerEvent::Stopped(instance_id(1), info()));
    assert_eq!(bench.get(1), services(1, "enabled", "0", "disabled"));
}

#[test]
fn delete_tells_the_server_and_the_instance_is_unknown_from_then_on() {
    let mut bench = Bench::running();
    assert_eq!(bench.delete(1), NO_CONTENT);
    assert_eq!(bench.words(), ["10.0.0.1 DEL_INST i1", "deleted i1"]);
    assert_eq!(bench.get(1), NOT_FOUND);
    assert_eq!(bench.delete(1), NOT_FOUND);
    assert_eq!(bench.words(), NOTHING);
}

#[test]
fn nothing_of_a_deleted_instance_outlives_it() {
    let mut bench = Bench::running();
    bench.delete(1);
    bench.post(1, 1);
    assert_eq!(bench.get(1), services(1, "disabled", "0", "disabled"));
}

#[test]
fn after_a_move_its_former_host_may_be_deleted_without_harm() {
    let mut bench = Bench::running();
    bench.patch(1, 2, "enabled");
    bench.del_host(1);
    assert_eq!(bench.words(), NOTHING);
    assert_eq!(bench.get(1), services(2, "enabled", "0", "disabled"));
}

#[test]
fn more_than_a_hundred_instances_fit_on_a_host() {
    let mut bench = Bench::with_hosts();
    for instance in 1..=1000 {
        assert_eq!(bench.post(instance, 1), PASS);
    }
    assert_eq!(bench.inventory.instance_count(), 1000);
    assert_eq!(bench.inventory.host_count(), 2);
    bench.del_host(1);
    assert_eq!(bench.words().iter().filter(|word| word.contains("DEL_INST")).count(), 1000);
    assert_eq!(bench.inventory.instance_count(), 0);
    assert_eq!(bench.inventory.host_count(), 1);
}
