//! The task, alone and together with the queues.

use std::time::Duration;

use heartbeat_proto::guest::CorrectiveAction;
use heartbeat_proto::vim::{AlarmState, EventKind};
use heartbeat_proto::{HostId, InstanceId, MonotonicTime, Switch};

use super::super::dispatcher::{Dispatcher, Report};
use super::super::stand_in::{Behaviour, StandIn, answer};
use super::*;
use crate::inventory::Revision;

const HOST: &str = "010e7741-1173-4a3b-88fa-c4e5905500ca";

fn alarm(instance: u128) -> InstanceEvent {
    let kind =
        EventKind::Alarm { state: AlarmState::Failed, repair_action: CorrectiveAction::Reboot };
    InstanceEvent { instance: InstanceId::from_u128(instance), hostname: "vm".into(), kind }
}

fn question(topic: Topic) -> Question {
    let host: HostId = HOST.parse().unwrap();
    Question { host, hostname: "vm".into(), topic, asked_at: Revision::default() }
}

async fn tell(behaviour: Behaviour) -> EventOutcome {
    let vim = StandIn::start([behaviour]).await;
    let (jobs, mut done) = Transmitter::spawn(vim.address.clone());
    jobs.send(Job::Event(alarm(1))).await.unwrap();
    match done.recv().await.unwrap() {
        Done::Event(outcome) => outcome,
        other @ Done::Question(..) => panic!("{other:?}"),
    }
}

async fn ask(topic: Topic, answer: Behaviour) -> Result<VimAnswer, Unanswered> {
    let vim = StandIn::start([answer]).await;
    let (jobs, mut done) = Transmitter::spawn(vim.address.clone());
    jobs.send(Job::Question(question(topic))).await.unwrap();
    match done.recv().await.unwrap() {
        Done::Question(asked, answer) => {
            assert_eq!(asked, question(topic));
            answer
        }
        other @ Done::Event(_) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_event_is_delivered_refused_or_failed() {
    let big = [b"HTTP/1.0 200 OK\r\n\r\n", vec![b'x'; 1 << 20].as_slice()].concat();
    for taken in [
        answer(""),
        answer("HTTP/1.0 200 OK\r\n\r\n{\"admin_state\": \"enabled\"}"),
        answer("HTTP/1.1 204 No Content\r\n\r\n"),
        answer("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
        Behaviour::Answer(big),
    ] {
        let outcome = tell(taken.clone()).await;
        assert!(matches!(outcome, EventOutcome::Delivered), "{taken:?}: {outcome:?}");
    }
    let outcome = tell(answer("HTTP/1.0 404 Not Found\r\n\r\n")).await;
    assert!(matches!(outcome, EventOutcome::Refused(_)), "{outcome:?}");
    for failed in [answer("HTTP/1.0 500 Oh\r\n\r\n"), answer("HTTP"), Behaviour::Break(Vec::new())]
    {
        let outcome = tell(failed.clone()).await;
        assert!(matches!(outcome, EventOutcome::Failed(_)), "{failed:?}: {outcome:?}");
    }
}

#[tokio::test]
async fn answers_to_questions_are_read() {
    let text = format!("HTTP/1.0 200 OK\r\n\r\n{{\"uuid\": \"{HOST}\", \"state\": \"enabled\"}}");
    match ask(Topic::State, answer(&text)).await {
        Ok(VimAnswer::State(state)) => assert_eq!(state.state, Switch::Enabled),
        other => panic!("{other:?}"),
    }
    let text = "HTTP/1.0 200 OK\r\n\r\n{\"instances\": []}";
    match ask(Topic::Instances, answer(text)).await {
        Ok(VimAnswer::Instances(list)) => assert_eq!(list.instances, []),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_answer_may_be_long_but_not_endless() {
    let uuid = "8d80875b-fa73-4ccb-bce3-1cd4df104400";
    let listed = format!(
        r#"{{"uuid":"{uuid}","hostname":"vm","services":[{{"service":"heartbeat","state":"enabled"}}]}}"#
    );
    let list = vec![listed; 25_000].join(",");
    let text = format!("HTTP/1.0 200 OK\r\n\r\n{{\"instances\":[{list}]}}");
    match ask(Topic::Instances, answer(&text)).await {
        Ok(VimAnswer::Instances(list)) => assert_eq!(list.instances.len(), 25_000),
        other => panic!("{:?}", other.map(drop)),
    }
    let head = "HTTP/1.0 200 OK\r\n\r\n";
    let endless = Behaviour::Flood(format!("{head}{}", " ".repeat(1 << 20)).into_bytes());
    let text = ask(Topic::Instances, endless).await.unwrap_err().text();
    assert_eq!(text, "the body of the answer is longer than 4194304 bytes");
}

#[tokio::test]
async fn what_is_no_answer_says_what_is_wrong() {
    let ok = "HTTP/1.0 200 OK\r\n\r\n";
    for (topic, text, wrong) in [
        (Topic::State, "".to_owned(), "the VIM closed the connection without an answer"),
        (Topic::State, ok.to_owned(), "the answer is not JSON: EOF while parsing"),
        (Topic::State, format!("{ok}<html>"), "the answer is not JSON: expected value"),
        (Topic::State, format!("{ok}{{\"state\": \"ena"), "the answer is not JSON: EOF"),
        (
            Topic::State,
            format!("{ok}{{\"admin_state\": \"enabled\"}}"),
            "the answer is JSON, but not the state of a host: missing field `state`",
        ),
        (
            Topic::State,
            format!("{ok}{{\"state\": \"maybe\"}}"),
            "the answer is JSON, but not the state of a host: unknown variant `maybe`",
        ),
        (
            Topic::Instances,
            format!("{ok}[]"),
            "the answer is JSON, but not a list of instances: invalid length 0",
        ),
        (
            Topic::Instances,
            format!("{ok}{{\"instances\": [{{\"uuid\": \"x\", \"hostname\": \"vm\"}}]}}"),
            "the answer is JSON, but not a list of instances: not a canonical uuid",
        ),
        (Topic::State, "HTTP/1.0 404 No\r\n\r\nx".to_owned(), "the VIM refuses: 404 No: x"),
        (Topic::State, "HTTP/1.0 500 No\r\n\r\nx".to_owned(), "the VIM failed: 500 No: x"),
        (
            Topic::State,
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}".to_owned(),
            "the connection was closed within the answer",
        ),
        (Topic::State, "SSH-2.0\r\n".to_owned(), "the answer is not HTTP: invalid HTTP version"),
    ] {
        let said = ask(topic, answer(&text)).await.unwrap_err().text();
        assert!(said.starts_with(wrong), "{text:?}: {said}");
    }
    // The deepest JSON does not overflow the stack.
    let deep = format!("{ok}{}", "[".repeat(1_000_000));
    assert!(ask(Topic::Instances, answer(&deep)).await.is_err());
}

#[tokio::test]
async fn the_task_ends_with_its_queues() {
    let vim = StandIn::start([Behaviour::Hang]).await;
    let (jobs, done) = Transmitter::spawn(vim.address.clone());
    jobs.send(Job::Event(alarm(1))).await.unwrap();
    drop(done);
    // Not after 20 s.
    jobs.closed().await;

    let (jobs, mut done) = Transmitter::spawn(StandIn::nobody());
    drop(jobs);
    assert!(done.recv().await.is_none());
}

/// The main loop's part, with a clock that jumps to whatever is waited for.
struct Loop {
    dispatcher: Dispatcher,
    jobs: mpsc::Sender<Job>,
    done: mpsc::Receiver<Done>,
    now: MonotonicTime,
}

impl Loop {
    fn new(vim: &VimAddress) -> Self {
        let limit = Duration::from_secs(1);
        let limits = Limits { sent: limit, answered: limit };
        let transmitter =
            Transmitter { vim: vim.clone(), event_limits: limits, question_limits: limits };
        let (jobs, done) = transmitter.start();
        let (dispatcher, now) = (Dispatcher::default(), MonotonicTime::START);
        Self { dispatcher, jobs, done, now }
    }

    fn push(&mut self, instance: u128) {
        let _ = self.dispatcher.push_event(self.now, alarm(instance));
    }

    /// Until there is nothing more to do.
    async fn run(&mut self) -> Vec<Report> {
        let mut reports = Vec::new();
        loop {
            match (self.dispatcher.poll_job(self.now), self.dispatcher.poll_timeout()) {
                (Some(job), _) => {
                    self.jobs.try_send(job).unwrap();
                    let done = self.done.recv().await.unwrap();
                    reports.push(self.dispatcher.handle_done(self.now, done));
                }
                (None, Some(at)) => self.now = at,
                (None, None) => return reports,
            }
        }
    }
}

#[tokio::test]
async fn closed_without_a_byte_is_not_sent_again() {
    let mut vim = StandIn::start([answer(""), answer("")]).await;
    let mut main = Loop::new(&vim.address);
    main.push(1);
    main.push(2);
    let reports = main.run().await;
    assert!(matches!(reports[..], [Report::Delivered { .. }, Report::Delivered { .. }]));
    for instance in [1, 2] {
        let expected = Request::event(&vim.address, &alarm(instance));
        assert_eq!(vim.request().await, expected.as_bytes());
    }
    assert!(vim.is_unasked());
    assert_eq!(main.now, MonotonicTime::START, "nothing was waited for");
}

#[tokio::test]
async fn a_vim_that_fails_in_every_way_has_every_event_once_in_the_end() {
    let mut vim = StandIn::start([
        Behaviour::CloseUnread,
        Behaviour::Break(Vec::new()),
        answer("HTTP/1.0 503 Busy\r\n\r\n"),
        Behaviour::Hang,
        answer("HT"),
        answer("HTTP/1.0 200 OK\r\n\r\n{}"),
        answer("HTTP/1.0 404 Not Found\r\n\r\n"),
        answer(""),
    ])
    .await;
    let mut main = Loop::new(&vim.address);
    for instance in [1, 2, 3] {
        main.push(instance);
    }
    let mut reports = main.run().await;
    let pauses: Vec<u64> = reports
        .drain(..5)
        .map(|report| match report {
            Report::Failed { pause, .. } => pause.as_secs(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(pauses, [1, 2, 4, 8, 16]);
    match &reports[..] {
        [
            Report::Delivered { event: first, waited },
            Report::Refused { event: second, refusal },
            Report::Delivered { event: third, .. },
        ] => {
            // A VIM that is there and fails over an event has the others told first.
            assert_eq!([first, second, third], [&alarm(3), &alarm(1), &alarm(2)]);
            assert_eq!((waited.as_secs(), refusal.status), (31, 404));
        }
        other => panic!("{other:?}"),
    }
    for instance in [1, 1, 2, 2, 3, 1, 2] {
        let expected = Request::event(&vim.address, &alarm(instance));
        assert_eq!(vim.request().await, expected.as_bytes());
    }
    assert!(vim.is_unasked());
}

#[tokio::test]
async fn a_refused_connection_is_tried_again_until_somebody_listens() {
    let address = StandIn::nobody();
    let mut main = Loop::new(&address);
    main.push(1);
    for pause in [1, 2] {
        let job = main.dispatcher.poll_job(main.now).unwrap();
        main.jobs.try_send(job).unwrap();
        let done = main.done.recv().await.unwrap();
        match main.dispatcher.handle_done(main.now, done) {
            Report::Failed { failure: Failure::Connect(_), pause: now } => {
                assert_eq!(now.as_secs(), pause);
            }
            other => panic!("{other:?}"),
        }
        main.now = main.dispatcher.poll_timeout().unwrap();
    }
    assert_eq!(main.dispatcher.event_count(), 1);
    let vim = StandIn::start([answer("")]).await;
    let (jobs, done) = Transmitter::spawn(vim.address.clone());
    (main.jobs, main.done) = (jobs, done);
    let reports = main.run().await;
    assert!(matches!(reports[..], [Report::Delivered { .. }]), "{reports:?}");
}
