//! Who is next.

use heartbeat_proto::HostId;
use heartbeat_proto::guest::CorrectiveAction;
use heartbeat_proto::vim::{AlarmState, EventKind, InstanceList};

use super::*;
use crate::inventory::{Revision, Topic};

const NOW: MonotonicTime = MonotonicTime::START;

fn at(secs: u64) -> MonotonicTime {
    NOW + Duration::from_secs(secs)
}

fn alarm(instance: u128) -> InstanceEvent {
    let (state, repair_action) = (AlarmState::Failed, CorrectiveAction::Reboot);
    let kind = EventKind::Alarm { state, repair_action };
    InstanceEvent { instance: InstanceId::from_u128(instance), hostname: "vm".into(), kind }
}

fn question(host: u128) -> Question {
    let (host, topic) = (HostId::from_u128(host), Topic::Instances);
    Question { host, hostname: "vm".into(), topic, asked_at: Revision::default() }
}

fn dispatcher(events: u128, questions: u128) -> Dispatcher {
    let mut dispatcher = Dispatcher::default();
    for instance in 1..=events {
        let _ = dispatcher.push_event(NOW, alarm(instance));
    }
    for host in 1..=questions {
        assert!(!dispatcher.push_question(question(host)));
    }
    dispatcher
}

fn failure() -> Failure {
    Failure::TimeOut(Duration::from_secs(20))
}

fn refusal() -> Refusal {
    Refusal { status: 404, text: "no".into() }
}

const DELIVERED: Done = Done::Event(EventOutcome::Delivered);

fn answered(host: u128) -> Done {
    let list = InstanceList { instances: Vec::new() };
    Done::Question(question(host), Ok(VimAnswer::Instances(list)))
}

fn away(host: u128) -> Done {
    Done::Question(question(host), Err(Unanswered::Away(failure())))
}

fn failed() -> Done {
    Done::Event(EventOutcome::Failed(failure()))
}

#[test]
fn events_and_questions_take_turns_one_at_a_time() {
    let mut dispatcher = dispatcher(2, 3);
    let mut order = String::new();
    while let Some(job) = dispatcher.poll_job(NOW) {
        assert_eq!(dispatcher.poll_job(NOW), None);
        assert_eq!(dispatcher.poll_timeout(), None);
        match job {
            Job::Event(_) => {
                order.push('e');
                let report = dispatcher.handle_done(at(2), DELIVERED);
                assert!(
                    matches!(report, Report::Delivered { waited, .. } if waited == at(2).since(NOW))
                );
            }
            Job::Question(question) => {
                order.push('q');
                let done = Done::Question(question, Err(Unanswered::Silent));
                assert!(matches!(dispatcher.handle_done(at(2), done), Report::Unanswered { .. }));
            }
        }
    }
    assert_eq!(order, "eqeqq");
    assert_eq!((dispatcher.event_count(), dispatcher.question_count()), (0, 0));
    assert_eq!(dispatcher.poll_timeout(), None);
}

#[test]
fn while_events_wait_for_the_vim_to_come_back_questions_wait_too() {
    let mut dispatcher = dispatcher(1, 2);
    assert_eq!(dispatcher.poll_job(NOW), Some(Job::Event(alarm(1))));
    let report = dispatcher.handle_done(NOW, failed());
    assert!(matches!(report, Report::Failed { pause, .. } if pause.as_secs() == 1));
    assert_eq!(dispatcher.poll_job(NOW), None);
    assert_eq!(dispatcher.poll_timeout(), Some(at(1)));
    assert_eq!(dispatcher.poll_job(at(1)), Some(Job::Question(question(1))), "its turn");
    assert!(matches!(dispatcher.handle_done(at(1), away(1)), Report::Unanswered { .. }));
    assert_eq!(dispatcher.poll_job(at(1)), Some(Job::Event(alarm(1))));
    dispatcher.handle_done(at(1), failed());
    assert_eq!((dispatcher.poll_job(at(2)), dispatcher.poll_timeout()), (None, Some(at(3))));

    // The event is gone, the VIM is still away.
    assert_eq!(dispatcher.handle_deleted(InstanceId::from_u128(1)), 1);
    assert_eq!((dispatcher.poll_job(at(2)), dispatcher.poll_timeout()), (None, Some(at(3))));
    assert_eq!(dispatcher.poll_job(at(3)), Some(Job::Question(question(2))));
    dispatcher.handle_done(at(3), answered(2));
    // It was seen to be there: the next pause is a short one.
    let _ = dispatcher.push_event(at(3), alarm(2));
    assert_eq!(dispatcher.poll_job(at(3)), Some(Job::Event(alarm(2))));
    assert!(
        matches!(dispatcher.handle_done(at(3), failed()), Report::Failed { pause, .. } if pause.as_secs() == 1)
    );
}

#[test]
fn an_event_does_not_wait_for_questions_that_found_the_vim_away() {
    let mut dispatcher = dispatcher(0, 2);
    assert_eq!(dispatcher.poll_job(NOW), Some(Job::Question(question(1))));
    dispatcher.handle_done(NOW, away(1));
    assert_eq!((dispatcher.poll_job(NOW), dispatcher.poll_timeout()), (None, Some(at(1))));
    let _ = dispatcher.push_event(NOW, alarm(1));
    assert_eq!(dispatcher.poll_job(NOW), Some(Job::Event(alarm(1))));
    dispatcher.handle_done(NOW, DELIVERED);
    assert_eq!(dispatcher.poll_job(NOW), Some(Job::Question(question(2))), "it is back");
}

#[test]
fn a_refused_event_is_dropped_and_told() {
    let mut dispatcher = dispatcher(2, 0);
    assert_eq!(dispatcher.oldest_event(at(5)), Some(Duration::from_secs(5)));
    dispatcher.poll_job(NOW);
    let done = Done::Event(EventOutcome::Refused(refusal()));
    match dispatcher.handle_done(NOW, done) {
        Report::Refused { event, refusal: said } => {
            assert_eq!((event, said), (alarm(1), refusal()));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(dispatcher.poll_job(NOW), Some(Job::Event(alarm(2))));
    dispatcher.handle_done(NOW, DELIVERED);
    assert!(matches!(dispatcher.handle_done(NOW, DELIVERED), Report::Nothing));
}
