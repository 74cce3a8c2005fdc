//! What the maintenance system tells of hosts.

use heartbeat_proto::control::ServerEvent;

use super::harness::{Bench, NOT_FOUND, NOTHING, host_id, info, instance_id, ip, name};
use crate::inventory::{Command, Note};

#[test]
fn a_host_that_is_told_again_changes_nothing() {
    let mut bench = Bench::running();
    let before = bench.inventory.snapshot();
    bench.add_host(1);
    bench.mod_host(1, "compute-1", "10.0.0.1");
    assert!(bench.outputs.is_empty());
    assert_eq!(bench.inventory.snapshot(), before);
}

#[test]
fn mod_host_of_an_unknown_host_adds_it() {
    let mut bench = Bench::new();
    bench.mod_host(1, "compute-1", "10.0.0.1");
    assert_eq!(bench.words(), ["ask state of compute-1", "ask instances of compute-1"]);
    let added = Note::HostAdded { name: "compute-1".into(), ip: ip(1) };
    assert_eq!(bench.notes(), [&added]);
}

#[test]
fn del_host_tells_the_server_of_each_instance_then_host_and_instances_are_forgotten() {
    let mut bench = Bench::running();
    bench.patch(2, 1, "disabled");
    bench.patch(3, 2, "enabled");
    bench.del_host(1);
    let mut words = bench.words();
    words.sort();
    assert_eq!(words, ["10.0.0.1 DEL_INST i1", "10.0.0.1 DEL_INST i2", "deleted i1", "deleted i2"]);
    let deleted = Note::HostDeleted { name: "compute-1".into(), instances: 2 };
    assert_eq!(bench.notes().last(), Some(&&deleted));
    assert_eq!(bench.get(1), NOT_FOUND);
    assert_eq!(bench.get(2), NOT_FOUND);
    assert_eq!(bench.http(Command::GetHost(host_id(1))), NOT_FOUND);
    assert!(bench.get(3).contains("compute-2"));
}

#[test]
fn del_host_of_an_unknown_host_does_nothing() {
    let mut bench = Bench::running();
    bench.del_host(9);
    assert!(bench.outputs.is_empty());
}

#[test]
fn a_host_that_comes_back_begins_anew() {
    let mut bench = Bench::running();
    bench.del_host(1);
    bench.add_host(1);
    assert_eq!(bench.words(), ["ask state of compute-1", "ask instances of compute-1"]);
    let host = &bench.inventory.snapshot().hosts[&host_id(1)];
    assert_eq!((host.reporting, host.instances), (false, 0));
}

#[test]
fn a_host_that_cannot_be_is_refused_and_the_rest_goes_on() {
    let long = "x".repeat(254);
    for (name, ip) in [
        ("", "10.0.0.3"),
        (&*long, "10.0.0.3"),
        ("compute-3", ""),
        ("compute-3", "10.0.0"),
        ("compute-3", "10.0.0.256"),
        ("compute-3", "compute-3"),
        ("compute-3", "10.0.0.3:80"),
        ("compute-3", "0.0.0.0"),
        ("compute-3", "::"),
        ("compute-3", "::ffff:0.0.0.0"),
        ("compute-3", "224.0.0.1"),
        ("compute-3", "::ffff:224.0.0.1"),
        ("compute-3", "ff02::1"),
        ("compute-3", "255.255.255.255"),
    ] {
        let mut bench = Bench::running();
        let before = bench.inventory.snapshot();
        for host in [3, 1] {
            bench.mod_host(host, name, ip);
            assert_eq!(bench.words(), NOTHING, "{name:?} {ip:?}");
            let [Note::HostRefused { name: noted, .. }] = bench.notes()[..] else {
                panic!("{name:?} {ip:?}: {:?}", bench.notes())
            };
            assert!(noted.len() <= 64);
            assert_eq!(bench.inventory.snapshot(), before, "{name:?} {ip:?}");
        }
        bench.add_host(3);
        assert_eq!(bench.inventory.host_count(), 3);
    }
}

#[test]
fn addresses_of_both_families_are_taken() {
    for (given, used) in
        [("10.0.0.3", "10.0.0.3"), ("fd00::3", "fd00::3"), ("::ffff:10.0.0.3", "10.0.0.3")]
    {
        let mut bench = Bench::new();
        bench.mod_host(3, &"x".repeat(253), given);
        bench.datagram(used.parse().unwrap(), "localhost", ServerEvent::MonitorReady);
        assert_eq!(bench.words(), [format!("{used} MOD_HOST disabled")]);
    }
}

#[test]
fn a_host_with_another_address_keeps_its_instances_and_its_server_is_told_everything_there() {
    let mut bench = Bench::running();
    bench.mod_host(1, "compute-1", "10.0.0.7");
    assert_eq!(bench.words(), ["10.0.0.7 MOD_HOST enabled", "10.0.0.7 MOD_INST i1 enabled"]);
    assert_eq!(bench.notes(), [&Note::HostChanged { name: "compute-1".into(), ip: ip(7) }]);
    bench.datagram(ip(1), "localhost", ServerEvent::Loss(instance_id(1)));
    assert_eq!(bench.words(), NOTHING, "its former address is nobody's");
    bench.datagram(ip(7), "localhost", ServerEvent::Stopped(instance_id(1), info()));
    assert_eq!(bench.words().len(), 1);
}

#[test]
fn a_host_with_another_name_keeps_its_instances() {
    let mut bench = Bench::running();
    bench.mod_host(1, "worker-1", "10.0.0.1");
    assert!(bench.get(1).contains("worker-1"));
    assert_eq!(bench.put_host(1, true), NOT_FOUND, "its former name is nobody's");
    bench.datagram(ip(1), "worker-1", ServerEvent::Stopped(instance_id(1), info()));
    assert_eq!(bench.words(), ["i1 on worker-1: reporting enabled, heartbeat disabled, 121 s"]);
}

#[test]
fn a_name_given_to_another_machine_means_that_the_former_one_is_gone() {
    let mut bench = Bench::running();
    bench.mod_host(3, "compute-1", "10.0.0.3");
    assert_eq!(
        bench.words(),
        [
            "10.0.0.1 DEL_INST i1",
            "deleted i1",
            "ask state of compute-1",
            "ask instances of compute-1"
        ]
    );
    assert_eq!(bench.http(Command::GetHost(host_id(1))), NOT_FOUND);
    assert_eq!(bench.inventory.host_count(), 2);
}

#[test]
fn hosts_that_swap_their_addresses_are_each_found_at_their_new_one() {
    let mut bench = Bench::running();
    bench.mod_host(1, "compute-1", "10.0.0.2");
    bench.mod_host(2, "compute-2", "10.0.0.1");
    bench.datagram(ip(2), "localhost", ServerEvent::Loss(instance_id(1)));
    assert_eq!(bench.words().len(), 2);
    bench.datagram(ip(1), "localhost", ServerEvent::Loss(instance_id(1)));
    assert_eq!(bench.words(), NOTHING);
}

#[test]
fn an_address_given_to_another_host_stays_its_own_when_the_former_one_goes() {
    let mut bench = Bench::running();
    bench.mod_host(3, "compute-3", "10.0.0.2");
    bench.del_host(2);
    bench.datagram(ip(2), "localhost", ServerEvent::MonitorReady);
    assert_eq!(bench.words(), ["10.0.0.2 MOD_HOST disabled"]);
}

#[test]
fn a_host_that_is_told_again_has_its_address_back() {
    let mut bench = Bench::running();
    bench.mod_host(3, "compute-3", "10.0.0.1");
    bench.del_host(3);
    bench.add_host(1);
    bench.datagram(ip(1), "localhost", ServerEvent::Loss(instance_id(1)));
    assert_eq!(bench.words().len(), 2);
}

#[test]
fn del_host_goes_by_the_name_and_else_by_the_identifier() {
    use heartbeat_proto::control::MaintenanceCommand::DelHost;

    for (hostname, uuid, gone) in [
        (name(1), host_id(2), Some(1)),
        (name(9), host_id(2), Some(2)),
        (name(1), host_id(9), Some(1)),
        (name(9), host_id(9), None),
    ] {
        let mut bench = Bench::with_hosts();
        bench.maintenance(&DelHost { hostname: hostname.into(), uuid });
        let left: Vec<_> = bench.inventory.snapshot().hosts.into_keys().collect();
        let expected: Vec<_> =
            [1, 2].into_iter().filter(|host| Some(*host) != gone).map(host_id).collect();
        assert_eq!(left, expected);
    }
}
