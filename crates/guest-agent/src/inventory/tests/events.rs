//! What the guestServers tell of changes, and what of it reaches the VIM.

use heartbeat_proto::control::{InstanceInfo, ServerEvent, VoteNotify};
use heartbeat_proto::guest::{NotificationType, VoteResult};

use super::harness::{Bench, NOTHING, host_id, info, instance_id, ip, name};
use crate::inventory::{Found, Note, Output};

/// Every event that is about instance 1.
pub(super) fn events() -> [ServerEvent; 6] {
    let instance = instance_id(1);
    [
        ServerEvent::Instance(instance, info()),
        ServerEvent::Running(instance, info()),
        ServerEvent::Stopped(instance, info()),
        ServerEvent::IllHealth(instance, info()),
        ServerEvent::Loss(instance),
        ServerEvent::VoteNotify(
            instance,
            VoteNotify {
                notification_type: NotificationType::Revocable,
                event_type: "stop".into(),
                vote: VoteResult::Accept,
                reason: "".into(),
            },
        ),
    ]
}

/// The body of the only event that came out.
fn body(bench: &Bench) -> serde_json::Value {
    let events: Vec<_> = bench
        .outputs
        .iter()
        .filter_map(|output| match output {
            Output::Event(event) => Some(event),
            _ => None,
        })
        .collect();
    let [event] = events[..] else { panic!("not one event: {events:?}") };
    assert_eq!(event.path(), format!("/nfvi-plugins/v1/instances/{}", instance_id(1)));
    serde_json::from_str(&event.body()).unwrap()
}

fn service(state: &str, status: &str, restart_timeout: &str) -> serde_json::Value {
    serde_json::json!({
        "uuid": instance_id(1),
        "hostname": "compute-1",
        "event-type": "service",
        "event-data": {"services": [{
            "service": "heartbeat",
            "state": state,
            "status": status,
            "restart-timeout": restart_timeout,
        }]},
    })
}

#[test]
fn running_and_stopped_tell_the_vim_the_reporting_as_state_and_the_heartbeat_as_status() {
    let mut bench = Bench::with_hosts();
    for state in ["disabled", "enabled"] {
        bench.patch(1, 1, state);
        let info = InstanceInfo { reporting: state == "enabled", ..info() };
        bench.server(1, ServerEvent::Running(instance_id(1), info));
        assert_eq!(body(&bench), service(state, "enabled", "121"));
        bench.server(1, ServerEvent::Stopped(instance_id(1), info));
        assert_eq!(body(&bench), service(state, "disabled", "0"));
    }
}

#[test]
fn running_and_stopped_mean_what_they_say_whatever_their_info_says_of_the_heartbeat() {
    let mut bench = Bench::with_hosts();
    bench.patch(1, 1, "enabled");
    for heartbeating in [false, true] {
        let info = InstanceInfo { heartbeating, ..info() };
        bench.server(1, ServerEvent::Running(instance_id(1), info));
        assert_eq!(bench.words(), ["i1 on compute-1: reporting enabled, heartbeat enabled, 121 s"]);
        bench.server(1, ServerEvent::Stopped(instance_id(1), info));
        assert_eq!(
            bench.words(),
            ["i1 on compute-1: reporting enabled, heartbeat disabled, 121 s"]
        );
    }
}

#[test]
fn a_change_that_its_server_told_is_noted_as_told() {
    let bench = Bench::running();
    let (instance, host, by) = (instance_id(1), "compute-1".into(), Found::Told);
    assert_eq!(bench.notes(), [&Note::Heartbeating { instance, host, heartbeating: true, by }]);
}

#[test]
fn running_again_is_told_again_for_the_guest_may_ask_for_another_restart_time() {
    let mut bench = Bench::running();
    bench.server(
        1,
        ServerEvent::Running(instance_id(1), InstanceInfo { restart_secs: 600, ..info() }),
    );
    assert_eq!(bench.words(), ["i1 on compute-1: reporting enabled, heartbeat enabled, 600 s"]);
}

#[test]
fn a_change_is_told_whether_or_not_faults_are_reported() {
    let mut bench = Bench::running();
    bench.put_host(1, false);
    bench.patch(1, 1, "disabled");
    bench.server(
        1,
        ServerEvent::Stopped(instance_id(1), InstanceInfo { reporting: false, ..info() }),
    );
    assert_eq!(bench.words(), ["i1 on compute-1: reporting disabled, heartbeat disabled, 121 s"]);
}

#[test]
fn a_loss_whose_stopped_never_came_tells_the_state_before_the_alarm() {
    let mut bench = Bench::running();
    bench.server(1, ServerEvent::Loss(instance_id(1)));
    assert_eq!(
        bench.words(),
        [
            "i1 on compute-1: reporting enabled, heartbeat disabled, 121 s",
            "i1 on compute-1: failed, reboot"
        ]
    );
    bench.server(1, ServerEvent::Loss(instance_id(1)));
    assert_eq!(bench.words(), ["i1 on compute-1: failed, reboot"]);
}

#[test]
fn events_of_an_instance_from_a_host_that_it_is_not_on_are_ignored() {
    let mut bench = Bench::running();
    bench.patch(1, 2, "enabled");
    bench.server(2, ServerEvent::Running(instance_id(1), info()));
    let before = bench.inventory.snapshot();
    for event in events() {
        let name = event.name();
        bench.server(1, event);
        let expected: &[&str] = if name == "QRY_INST" { &["10.0.0.1 DEL_INST i1"] } else { &[] };
        assert_eq!(bench.words(), expected, "{name}");
        assert_eq!(bench.inventory.snapshot(), before, "{name}");
    }
}

#[test]
fn events_of_an_unknown_instance_are_ignored() {
    let mut bench = Bench::with_hosts();
    for event in events() {
        let name = event.name();
        bench.server(1, event);
        let expected: &[&str] = if name == "QRY_INST" { &["10.0.0.1 DEL_INST i1"] } else { &[] };
        assert_eq!(bench.words(), expected, "{name}");
        assert_eq!(bench.inventory.instance_count(), 0);
    }
}

#[test]
fn a_foreign_event_is_noted_with_its_name() {
    let mut bench = Bench::running();
    bench.server(2, ServerEvent::Loss(instance_id(1)));
    let (instance, host, event) = (instance_id(1), "compute-2".into(), "LOSS");
    assert_eq!(bench.notes(), [&Note::ForeignEvent { instance, host, event }]);
}

#[test]
fn events_from_an_unknown_host_are_dropped_and_noted() {
    let mut bench = Bench::running();
    let before = bench.inventory.snapshot();
    let from = std::net::SocketAddr::new(ip(9), 2411);
    for event in events().into_iter().chain([ServerEvent::MonitorReady]) {
        bench.datagram(ip(9), "stranger", event);
        assert_eq!(bench.words(), NOTHING);
        assert_eq!(bench.notes(), [&Note::UnknownSender { from, hostname: "stranger".into() }]);
        assert_eq!(bench.inventory.snapshot(), before);
    }
    bench.datagram(ip(9), &"x".repeat(1000), ServerEvent::MonitorReady);
    assert_eq!(bench.notes(), [&Note::UnknownSender { from, hostname: "x".repeat(64).into() }]);
}

#[test]
fn a_known_host_behind_another_address_is_taken_by_its_name_and_noted_once() {
    let mut bench = Bench::running();
    let stopped = || ServerEvent::Stopped(instance_id(1), info());
    for (from, noted) in
        [(ip(9), true), (ip(9), false), (ip(1), false), (ip(9), false), (ip(8), true)]
    {
        bench.datagram(from, &name(1), stopped());
        assert_eq!(bench.words().len(), 1);
        let note = Note::OtherAddress { from, host: "compute-1".into() };
        assert_eq!(bench.notes().contains(&&note), noted, "{from}");
    }
}

#[test]
fn a_hosts_name_counts_more_than_its_address() {
    let mut bench = Bench::running();
    bench.datagram(ip(2), &name(1), ServerEvent::Loss(instance_id(1)));
    assert_eq!(bench.words().len(), 2, "host 1 sends from an address that host 2 has");
    bench.datagram(ip(1), &name(2), ServerEvent::Loss(instance_id(1)));
    assert_eq!(bench.words(), NOTHING, "host 2 does not have it, whatever it sends from");
}

#[test]
fn a_host_with_a_name_of_its_own_is_known_by_its_address() {
    let mut bench = Bench::running();
    for from in ["10.0.0.1", "::ffff:10.0.0.1"] {
        bench.datagram(from.parse().unwrap(), "localhost", ServerEvent::MonitorReady);
        assert_eq!(bench.words(), ["10.0.0.1 MOD_HOST enabled", "10.0.0.1 MOD_INST i1 enabled"]);
    }
}

#[test]
fn when_a_server_is_ready_it_is_told_its_hosts_reporting_and_every_instances() {
    let mut bench = Bench::running();
    bench.patch(2, 1, "disabled");
    bench.patch(3, 2, "enabled");
    bench.server(1, ServerEvent::MonitorReady);
    let mut words = bench.words();
    assert_eq!(words.remove(0), "10.0.0.1 MOD_HOST enabled");
    words.sort();
    assert_eq!(words, ["10.0.0.1 MOD_INST i1 enabled", "10.0.0.1 MOD_INST i2 disabled"]);
    assert_eq!(bench.notes(), [&Note::ServerReady { host: "compute-1".into() }]);

    bench.put_host(2, false);
    bench.del_host(1);
    bench.server(2, ServerEvent::MonitorReady);
    assert_eq!(bench.words(), ["10.0.0.2 MOD_HOST disabled", "10.0.0.2 MOD_INST i3 enabled"]);
    assert!(!bench.inventory.snapshot().hosts.contains_key(&host_id(1)));
}
