//! What the VIM answers when it is asked of a host, and what counts more than its answers.

use serde_json::json;

use super::harness::{
    Bench, NO_CONTENT, NOT_FOUND, NOTHING, PASS, host_id, instance_id, list, name,
};
use crate::inventory::{MAX_DELETED, Note, Output, Topic};

/// Host 1 is known, and the VIM has not answered yet.
fn asked() -> Bench {
    let mut bench = Bench::new();
    bench.add_host(1);
    bench
}

fn reporting(bench: &Bench, host: u8) -> bool {
    bench.inventory.snapshot().hosts[&host_id(host)].reporting
}

#[test]
fn of_a_new_host_the_vim_is_asked_the_state_and_the_instances() {
    let bench = asked();
    assert_eq!(bench.words(), ["ask state of compute-1", "ask instances of compute-1"]);
    assert!(bench.questions.iter().all(|question| question.host == host_id(1)));
}

#[test]
fn the_state_becomes_the_hosts_reporting_and_its_server_is_told() {
    for (state, expected) in [("enabled", true), ("disabled", false)] {
        let mut bench = asked();
        bench.vim_says_state(1, state);
        assert_eq!(bench.words(), [format!("10.0.0.1 MOD_HOST {state}")]);
        assert_eq!(reporting(&bench, 1), expected);
    }
}

#[test]
fn every_instance_listed_is_added_with_its_reporting() {
    let mut bench = asked();
    bench.vim_lists(1, &[(1, "enabled"), (2, "disabled")]);
    assert_eq!(bench.words(), ["10.0.0.1 ADD_INST i1 enabled", "10.0.0.1 ADD_INST i2 disabled"]);
}

#[test]
fn a_known_instance_that_is_listed_takes_that_reporting() {
    for (before, listed) in
        [("enabled", "disabled"), ("disabled", "enabled"), ("enabled", "enabled")]
    {
        let mut bench = asked();
        bench.patch(1, 1, before);
        bench.audit();
        bench.vim_lists(1, &[(1, listed)]);
        assert_eq!(bench.words(), [format!("10.0.0.1 MOD_INST i1 {listed}")]);
        let state = format!(r#""state":"{listed}""#);
        assert!(bench.get(1).contains(&state));
    }
}

#[test]
fn an_instance_listed_on_another_host_than_it_was_known_on_is_moved() {
    let mut bench = asked();
    bench.add_host(2);
    bench.vim_lists(1, &[(1, "disabled")]);
    bench.vim_lists(2, &[(1, "enabled")]);
    assert_eq!(bench.words(), ["10.0.0.1 DEL_INST i1", "10.0.0.2 ADD_INST i1 enabled"]);
}

#[test]
fn the_later_of_two_lists_counts_though_a_command_about_something_else_came_between() {
    let mut bench = asked();
    bench.add_host(2);
    bench.put_host(2, true);
    bench.vim_lists(1, &[(1, "disabled")]);
    bench.vim_lists(2, &[(1, "enabled")]);
    assert_eq!(bench.words(), ["10.0.0.1 DEL_INST i1", "10.0.0.2 ADD_INST i1 enabled"]);
}

#[test]
fn no_instance_is_removed_for_not_being_listed() {
    let mut bench = asked();
    bench.patch(1, 1, "enabled");
    bench.audit();
    bench.vim_lists(1, &[(2, "enabled")]);
    assert_eq!(bench.words(), ["10.0.0.1 ADD_INST i2 enabled"]);
    assert_eq!(bench.inventory.instance_count(), 2);
}

#[test]
fn an_instance_without_the_heartbeat_service_is_left_out() {
    let mut bench = asked();
    let question = bench.question(1, Topic::Instances);
    let answer = json!({"instances": [
        {"uuid": super::harness::instance_id(1), "hostname": name(1)},
        {"uuid": super::harness::instance_id(2), "hostname": name(1),
         "services": [{"service": "other", "state": "enabled"}]},
    ]});
    bench.vim_answers_list(&question, &serde_json::from_value(answer).unwrap());
    assert_eq!(bench.words(), NOTHING);
    assert_eq!(bench.inventory.instance_count(), 0);
}

#[test]
fn a_put_that_came_meanwhile_wins() {
    for (put, answer) in [(true, "disabled"), (false, "enabled")] {
        let mut bench = asked();
        bench.put_host(1, put);
        bench.vim_says_state(1, answer);
        assert_eq!(bench.words(), NOTHING);
        assert_eq!(reporting(&bench, 1), put);
        assert_eq!(bench.audit(), ["ask instances of compute-1"], "it has answered, though late");
    }
}

#[test]
fn a_put_for_another_host_does_not_outdate_the_answer() {
    let mut bench = asked();
    bench.add_host(2);
    bench.put_host(2, true);
    bench.vim_says_state(1, "enabled");
    assert_eq!(bench.words(), ["10.0.0.1 MOD_HOST enabled"]);
}

#[test]
fn the_vims_answer_counts_when_it_was_asked_after_the_put() {
    let mut bench = asked();
    bench.put_host(1, true);
    bench.audit();
    bench.vim_says_state(1, "disabled");
    assert_eq!(bench.words(), ["10.0.0.1 MOD_HOST disabled"]);
}

#[test]
fn a_patch_that_came_meanwhile_wins_for_a_new_instance_and_a_known_one() {
    for known in [false, true] {
        for (patch, answer) in [("enabled", "disabled"), ("disabled", "enabled")] {
            let mut bench = asked();
            if known {
                bench.post(1, 1);
                bench.audit();
            }
            bench.patch(1, 1, patch);
            let before = bench.inventory.snapshot().instances;
            bench.vim_lists(1, &[(1, answer), (2, answer)]);
            assert_eq!(bench.words(), [format!("10.0.0.1 ADD_INST i2 {answer}")]);
            let after = bench.inventory.snapshot().instances;
            assert_eq!(after.first_key_value(), before.first_key_value());
        }
    }
}

#[test]
fn a_move_that_came_meanwhile_wins() {
    let mut bench = asked();
    bench.add_host(2);
    bench.patch(1, 2, "enabled");
    bench.vim_lists(1, &[(1, "enabled")]);
    assert_eq!(bench.words(), NOTHING);
}

#[test]
fn a_post_that_came_meanwhile_wins_even_where_it_changed_nothing() {
    let mut bench = asked();
    bench.add_host(2);
    bench.vim_lists(1, &[(1, "enabled")]);
    assert_eq!(bench.post(1, 1), PASS);
    bench.vim_lists(2, &[(1, "enabled")]);
    assert_eq!(bench.words(), NOTHING);
    assert!(bench.get(1).contains("compute-1"));
}

#[test]
fn a_post_that_came_meanwhile_says_where_and_the_list_whether_it_is_reported() {
    let mut bench = asked();
    assert_eq!(bench.post(1, 1), PASS);
    bench.vim_lists(1, &[(1, "enabled")]);
    assert_eq!(bench.words(), ["10.0.0.1 MOD_INST i1 enabled"]);
    let mut bench = asked();
    bench.patch(1, 1, "disabled");
    bench.vim_lists(1, &[(1, "enabled")]);
    assert_eq!(bench.words(), NOTHING, "a PATCH says both");
}

#[test]
fn what_waits_of_the_former_host_is_outdated_by_a_move() {
    let mut bench = Bench::running();
    bench.patch(1, 2, "enabled");
    assert!(bench.outputs.contains(&Output::Moved(instance_id(1))));
    bench.patch(1, 2, "enabled");
    assert!(!bench.outputs.contains(&Output::Moved(instance_id(1))), "it is there already");
}

#[test]
fn an_instance_deleted_meanwhile_is_not_brought_back() {
    let mut bench = asked();
    bench.patch(1, 1, "enabled");
    bench.audit();
    assert_eq!(bench.delete(1), NO_CONTENT);
    bench.vim_lists(1, &[(1, "enabled")]);
    assert_eq!(bench.words(), NOTHING);
    assert_eq!(bench.get(1), NOT_FOUND);
}

#[test]
fn an_instance_deleted_meanwhile_is_not_added_though_it_was_unknown_then() {
    let mut bench = asked();
    assert_eq!(bench.delete(1), NOT_FOUND);
    bench.vim_lists(1, &[(1, "enabled")]);
    assert_eq!(bench.words(), NOTHING);
}

#[test]
fn a_deleted_instance_that_is_listed_when_asked_afterwards_is_added() {
    let mut bench = asked();
    bench.patch(1, 1, "enabled");
    bench.delete(1);
    bench.audit();
    bench.vim_lists(1, &[(1, "enabled")]);
    assert_eq!(bench.words(), ["10.0.0.1 ADD_INST i1 enabled"]);
}

#[test]
fn a_host_is_asked_of_once_it_has_answered_no_more_and_a_late_second_answer_is_ignored() {
    let mut bench = asked();
    let (state, instances) = (bench.question(1, Topic::State), bench.question(1, Topic::Instances));
    bench.vim_says_state(1, "enabled");
    bench.vim_lists(1, &[(1, "enabled")]);
    bench.delete(1);
    bench.vim_answers_state(&state, &json!({"state": "disabled"}));
    assert!(bench.outputs.is_empty());
    bench.vim_answers_list(&instances, &list(&[(1, 1, "enabled")]));
    assert!(bench.outputs.is_empty());
    assert_eq!(bench.audit(), NOTHING);
}

#[test]
fn an_answer_about_a_hosts_former_life_is_ignored_and_it_is_asked_again() {
    let mut bench = asked();
    let (state, instances) = (bench.question(1, Topic::State), bench.question(1, Topic::Instances));
    bench.patch(1, 1, "enabled");
    bench.put_host(1, false);
    bench.delete(1);
    bench.del_host(1);
    bench.vim_answers_list(&instances, &list(&[(1, 1, "enabled")]));
    bench.vim_answers_state(&state, &json!({"state": "enabled"}));
    assert!(bench.outputs.is_empty(), "a host that is gone");
    bench.add_host(1);
    bench.vim_answers_list(&instances, &list(&[(1, 1, "enabled")]));
    bench.vim_answers_state(&state, &json!({"state": "enabled"}));
    assert!(bench.outputs.is_empty());
    assert_eq!(bench.audit(), ["ask state of compute-1", "ask instances of compute-1"]);
    bench.vim_lists(1, &[(1, "enabled")]);
    assert_eq!(bench.words(), ["10.0.0.1 ADD_INST i1 enabled"]);
}

#[test]
fn a_state_that_names_another_host_is_refused_and_asked_for_again() {
    for answer in [
        json!({"state": "enabled", "uuid": host_id(2)}),
        json!({"state": "enabled", "hostname": "compute-2"}),
        json!({"state": "enabled", "uuid": host_id(1), "hostname": "compute-2"}),
    ] {
        let mut bench = asked();
        let question = bench.question(1, Topic::State);
        bench.vim_answers_state(&question, &answer);
        assert_eq!(bench.words(), NOTHING);
        assert!(matches!(bench.notes()[..], [Note::AnswerRefused { .. }]));
        assert!(!reporting(&bench, 1));
        assert_eq!(bench.audit().len(), 2);
        let named = json!({"state": "enabled", "uuid": host_id(1), "hostname": "compute-1"});
        bench.vim_answers_state(&question, &named);
        assert!(reporting(&bench, 1));
    }
}

#[test]
fn an_instance_listed_with_another_hosts_name_is_refused_and_the_list_asked_for_again() {
    let mut bench = asked();
    bench.add_host(2);
    bench.patch(3, 2, "enabled");
    let question = bench.question(1, Topic::Instances);
    bench.vim_answers_list(
        &question,
        &list(&[(3, 2, "disabled"), (1, 1, "enabled"), (4, 7, "enabled")]),
    );
    assert_eq!(bench.words(), ["10.0.0.1 ADD_INST i1 enabled"]);
    let refused = |note: &&&Note| matches!(note, Note::AnswerRefused { .. });
    assert_eq!(bench.notes().iter().filter(refused).count(), 1);
    assert!(bench.audit().contains(&"ask instances of compute-1".into()));
    assert!(bench.get(3).contains(
        r#""hostname":"compute-2","services":[{"service":"heartbeat","state":"enabled""#
    ));
}

#[test]
fn a_list_that_was_under_way_when_its_host_got_another_name_is_asked_for_again() {
    let mut bench = asked();
    let question = bench.question(1, Topic::Instances);
    bench.mod_host(1, "worker-1", "10.0.0.1");
    bench.vim_answers_list(&question, &list(&[(1, 1, "enabled")]));
    assert_eq!(bench.words(), NOTHING);
    assert_eq!(bench.audit(), ["ask state of worker-1", "ask instances of worker-1"]);
}

#[test]
fn deletions_are_remembered_only_while_a_host_is_not_listed_and_only_so_many() {
    let mut bench = asked();
    let stale = bench.question(1, Topic::Instances);
    let many = u32::try_from(MAX_DELETED).unwrap();
    for instance in 0..many + 2 {
        assert_eq!(bench.delete(instance), NOT_FOUND);
        assert!(bench.inventory.deleted.len() <= MAX_DELETED);
    }
    bench.vim_answers_list(&stale, &list(&[(0, 1, "enabled"), (many + 1, 1, "enabled")]));
    assert_eq!(bench.words(), NOTHING, "what was deleted is not known any more");
    bench.audit();
    bench.vim_lists(1, &[(0, "enabled")]);
    assert_eq!(bench.words(), ["10.0.0.1 ADD_INST i0 enabled"]);
    bench.delete(0);
    assert!(bench.inventory.deleted.is_empty());
}
