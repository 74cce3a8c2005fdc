//! The audit: what is asked, of whom and how often, and what its answers change.

use heartbeat_proto::control::{InstanceInfo, ServerEvent};

use super::harness::{Bench, NOTHING, info, instance_id};
use crate::inventory::{AUDIT_PERIOD, AUDIT_STEPS, FIRST_AUDIT, Found, Note};

#[test]
fn the_first_audit_begins_after_two_seconds_and_the_next_after_ten() {
    assert_eq!((FIRST_AUDIT.as_secs(), AUDIT_PERIOD.as_secs()), (2, 10));
    assert_eq!(AUDIT_PERIOD.as_millis() / u128::from(AUDIT_STEPS), 100);
}

#[test]
fn every_host_with_instances_is_queried_and_no_other() {
    let mut bench = Bench::with_hosts();
    assert_eq!(bench.audit(), NOTHING);
    bench.post(1, 2);
    assert_eq!(bench.audit(), ["10.0.0.2 QRY_INST"]);
    bench.patch(2, 1, "enabled");
    let mut words = bench.audit();
    words.sort();
    assert_eq!(words, ["10.0.0.1 QRY_INST", "10.0.0.2 QRY_INST"]);
    bench.delete(1);
    assert_eq!(bench.audit(), ["10.0.0.1 QRY_INST"]);
}

#[test]
fn a_host_is_reminded_of_its_reporting_for_six_audits_after_it_was_told() {
    let mut bench = Bench::with_hosts();
    for _ in 0..6 {
        bench.audit_with_reminders();
    }
    assert_eq!(bench.audit_with_reminders(), NOTHING, "what was told at the start is over");
    bench.put_host(1, false);
    for _ in 0..6 {
        assert_eq!(bench.audit_with_reminders(), ["10.0.0.1 MOD_HOST disabled"]);
    }
    assert_eq!(bench.audit_with_reminders(), NOTHING);
}

#[test]
fn before_the_vim_has_listed_a_host_nothing_that_its_server_has_is_deleted() {
    let mut bench = Bench::new();
    bench.add_host(1);
    bench.patch(1, 1, "enabled");
    bench.server(1, ServerEvent::Instance(instance_id(7), info()));
    assert_eq!(bench.words(), NOTHING, "we may be the ones who know too little");
    bench.vim_lists(1, &[]);
    bench.server(1, ServerEvent::Instance(instance_id(7), info()));
    assert_eq!(bench.words(), ["10.0.0.1 DEL_INST i7"]);
}

#[test]
fn a_host_is_queried_whether_or_not_faults_are_reported() {
    let mut bench = Bench::with_hosts();
    bench.patch(1, 1, "disabled");
    bench.put_host(1, false);
    assert_eq!(bench.audit(), ["10.0.0.1 QRY_INST"]);
}

#[test]
fn the_vim_is_asked_of_every_host_for_what_it_has_not_said_yet_then_the_server_is_queried() {
    let mut bench = Bench::new();
    bench.add_host(1);
    bench.patch(1, 1, "enabled");
    let (state, instances) = ("ask state of compute-1", "ask instances of compute-1");
    assert_eq!(bench.audit(), [state, instances, "10.0.0.1 QRY_INST"]);
    assert_eq!(bench.audit(), [state, instances, "10.0.0.1 QRY_INST"], "until it answers");
    bench.vim_lists(1, &[]);
    assert_eq!(bench.audit(), [state, "10.0.0.1 QRY_INST"]);
    bench.vim_says_state(1, "disabled");
    assert_eq!(bench.audit(), ["10.0.0.1 QRY_INST"]);
}

#[test]
fn a_round_comes_to_every_host_once_however_many_there_are() {
    for hosts in [1, 2, 99, 100, 101, 199, 250] {
        let mut bench = Bench::new();
        for host in 1..=hosts {
            bench.add_host(host);
            bench.vim_says_state(host, "enabled");
            bench.vim_lists(host, &[(host.into(), "enabled")]);
        }
        for _ in 0..3 {
            let mut words = bench.audit();
            words.sort();
            let mut expected: Vec<_> =
                (1..=hosts).map(|host| format!("10.0.0.{host} QRY_INST")).collect();
            expected.sort();
            assert_eq!(words, expected);
        }
    }
}

#[test]
fn a_round_is_spread_evenly_over_its_steps() {
    let mut bench = Bench::new();
    for host in 1..=250 {
        bench.add_host(host);
        bench.vim_says_state(host, "enabled");
        bench.vim_lists(host, &[(host.into(), "enabled")]);
    }
    for step in 0..AUDIT_STEPS {
        bench.inventory.handle_audit_step();
        bench.drain();
        let words = bench.words();
        let queries = words.iter().filter(|word| word.ends_with("QRY_INST")).count();
        assert!((2..=3).contains(&queries), "{words:?} at step {step}");
    }
}

#[test]
fn a_host_that_is_gone_is_not_audited_and_the_others_still_are() {
    for gone in 1..=5 {
        let mut bench = Bench::new();
        for host in 1..=5 {
            bench.add_host(host);
            bench.vim_says_state(host, "enabled");
            bench.vim_lists(host, &[(host.into(), "enabled")]);
        }
        bench.del_host(gone);
        let mut words = bench.audit();
        words.sort();
        let expected: Vec<_> = (1..=5)
            .filter(|host| *host != gone)
            .map(|host| format!("10.0.0.{host} QRY_INST"))
            .collect();
        assert_eq!(words, expected);
    }
}

#[test]
fn an_answer_about_an_unknown_instance_is_answered_with_its_deletion() {
    let mut bench = Bench::running();
    bench.server(1, ServerEvent::Instance(instance_id(7), info()));
    assert_eq!(bench.words(), ["10.0.0.1 DEL_INST i7"]);
    let disowned = Note::Disowned { instance: instance_id(7), host: "compute-1".into() };
    assert_eq!(bench.notes(), [&disowned]);
    assert_eq!(bench.inventory.instance_count(), 1);
}

#[test]
fn an_answer_from_a_host_that_the_instance_is_not_on_is_answered_there_with_its_deletion() {
    let mut bench = Bench::running();
    let before = bench.inventory.snapshot();
    let info = InstanceInfo { heartbeating: false, reporting: false, ..info() };
    bench.server(2, ServerEvent::Instance(instance_id(1), info));
    assert_eq!(bench.words(), ["10.0.0.2 DEL_INST i1"]);
    assert_eq!(bench.inventory.snapshot(), before);
}

#[test]
fn a_heartbeat_that_differs_is_taken_over_and_told_to_the_vim() {
    let mut bench = Bench::running();
    for heartbeating in [false, true] {
        let told = InstanceInfo { heartbeating, ..info() };
        bench.server(1, ServerEvent::Instance(instance_id(1), told));
        let word = if heartbeating { "enabled" } else { "disabled" };
        let expected = format!("i1 on compute-1: reporting enabled, heartbeat {word}, 121 s");
        assert_eq!(bench.words(), [expected]);
        let (instance, host, by) = (instance_id(1), "compute-1".into(), Found::Audit);
        assert_eq!(bench.notes(), [&Note::Heartbeating { instance, host, heartbeating, by }]);
        bench.server(1, ServerEvent::Instance(instance_id(1), told));
        assert!(bench.outputs.is_empty(), "nothing has changed since");
    }
}

#[test]
fn a_heartbeat_and_a_reporting_that_both_differ_are_both_seen_to() {
    let mut bench = Bench::running();
    let told = InstanceInfo { heartbeating: false, reporting: false, ..info() };
    bench.server(1, ServerEvent::Instance(instance_id(1), told));
    assert_eq!(
        bench.words(),
        [
            "10.0.0.1 MOD_INST i1 enabled",
            "i1 on compute-1: reporting enabled, heartbeat disabled, 121 s"
        ]
    );
}

#[test]
fn an_audit_that_finds_a_dead_guest_tells_its_state_and_raises_no_alarm() {
    let mut bench = Bench::running();
    let told = InstanceInfo { heartbeating: false, ..info() };
    bench.server(1, ServerEvent::Instance(instance_id(1), told));
    assert!(bench.notes().iter().all(|note| !matches!(note, Note::Alarm { .. })));
}

#[test]
fn what_is_first_heard_of_an_instance_that_the_vim_listed_is_told_even_if_it_is_dead() {
    let mut bench = Bench::new();
    bench.add_host(1);
    bench.vim_says_state(1, "enabled");
    bench.vim_lists(1, &[(1, "enabled")]);
    bench.words();
    let dead = InstanceInfo { heartbeating: false, ..info() };
    bench.server(1, ServerEvent::Instance(instance_id(1), dead));
    assert_eq!(bench.words(), ["i1 on compute-1: reporting enabled, heartbeat disabled, 121 s"]);
    bench.server(1, ServerEvent::Instance(instance_id(1), dead));
    assert_eq!(bench.words(), NOTHING);
}

#[test]
fn a_lonely_host_is_audited_at_once() {
    let mut bench = Bench::new();
    bench.add_host(1);
    bench.vim_says_state(1, "enabled");
    bench.vim_lists(1, &[(1, "enabled")]);
    bench.words();
    bench.inventory.handle_audit_step();
    bench.drain();
    assert!(bench.words().contains(&"10.0.0.1 QRY_INST".to_owned()));
}
