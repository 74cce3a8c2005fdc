//! Random inputs in a random order, and what must hold whatever happens.

use std::collections::VecDeque;
use std::time::Duration;

use proptest::prelude::*;

use super::harness::{Bench, DAY, ON, millis};
use crate::MonotonicTime;
use crate::guest::{
    ActionResponse, ChallengeResponse, CorrectiveAction, EventType, Frame, GuestMessage, Health,
    HostMessage, Init, MAX_CHALLENGE, NotificationType, VoteResult,
};
use crate::session::{ConnectError, Output, Report, Reporting, Settings};

/// The most that one input may lead to.
const MOST_OUTPUTS: usize = 12;

#[derive(Debug, Clone)]
enum Step {
    /// Time passes, and the session is called whenever it wants to be.
    Wait(u64),
    /// Time passes while nobody calls the session, which is then called once.
    Oversleep(u64),
    Init(Init),
    /// An answer to the newest challenge.
    Answer(Health, CorrectiveAction),
    WrongAnswer(u64),
    Vote(ActionResponse),
    Exit,
    Line(Vec<u8>, bool),
    TooLong,
    Action(EventType, NotificationType),
    Reporting(Reporting),
    Settings(Settings),
    Connected,
    ConnectFailed(ConnectError),
    Closed,
    ChannelSeen,
    ChannelChanged,
    ChannelGone,
    Provisioned,
    Deleted,
}

fn event() -> impl Strategy<Value = EventType> {
    prop_oneof![
        6 => prop::sample::select(EventType::ALL),
        3 => prop::sample::select(vec![EventType::Pause, EventType::Unpause]),
        3 => prop::sample::select(vec![EventType::Suspend, EventType::Resume]),
        1 => Just(EventType::from("defragment")),
    ]
}

fn one_of<T: Copy + std::fmt::Debug + 'static>(all: &'static [T]) -> impl Strategy<Value = T> {
    prop::sample::select(all)
}

fn init_step() -> impl Strategy<Value = Step> {
    let interval = prop_oneof![8 => 0..3000u64, 1 => any::<u64>()];
    let secs = prop_oneof![8 => 0..100u64, 1 => any::<u64>()];
    (40..44u64, interval, prop::array::uniform5(secs), one_of(CorrectiveAction::ALL)).prop_map(
        |(invocation_id, heartbeat_interval_ms, secs, corrective_action)| {
            let [vote, shutdown, suspend, resume, restart] = secs;
            Step::Init(Init {
                invocation_id,
                name: "".into(),
                heartbeat_interval_ms,
                vote_secs: vote,
                shutdown_notice_secs: shutdown,
                suspend_notice_secs: suspend,
                resume_notice_secs: resume,
                restart_secs: restart,
                corrective_action,
            })
        },
    )
}

fn vote_step() -> impl Strategy<Value = Step> {
    (40..44u64, event(), one_of(NotificationType::ALL), one_of(VoteResult::ALL)).prop_map(
        |(invocation_id, event_type, notification_type, vote_result)| {
            let log_msg = "".into();
            let answer = (invocation_id, event_type, notification_type, vote_result);
            let (invocation_id, event_type, notification_type, vote_result) = answer;
            Step::Vote(ActionResponse {
                invocation_id,
                event_type,
                notification_type,
                vote_result,
                log_msg,
            })
        },
    )
}

fn line_step() -> impl Strategy<Value = Step> {
    let bytes = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        Just(b"{}".to_vec()),
        Just(br#"{"version":2,"revision":1,"msg_type":"init","sequence":9}"#.to_vec()),
        Just(br#"{"version":3,"revision":1,"msg_type":"whatever","sequence":18446744073709551615}"#.to_vec()),
        Just(br#"{"version":3,"revision":1,"msg_type":"action_response","sequence":9,"invocation_id":1}"#.to_vec()),
    ];
    (bytes, any::<bool>()).prop_map(|(bytes, leading)| Step::Line(bytes, leading))
}

/// What may happen to a guest that does as it should, and to its host.
fn quiet_step() -> impl Strategy<Value = Step> {
    let settings = (400..1500u64, 0..3u32).prop_map(|(floor, failure_threshold)| {
        Step::Settings(Settings { pulse_floor: millis(floor), failure_threshold })
    });
    prop_oneof![
        20 => (0..5000u64).prop_map(Step::Wait),
        2 => (0..200_000u64).prop_map(Step::Wait),
        6 => init_step(),
        2 => any::<u64>().prop_map(Step::WrongAnswer),
        6 => vote_step(),
        2 => Just(Step::Exit),
        2 => line_step(),
        1 => Just(Step::TooLong),
        12 => (event(), one_of(NotificationType::ALL)).prop_map(|(e, n)| Step::Action(e, n)),
        4 => (any::<bool>(), any::<bool>())
            .prop_map(|(host, instance)| Step::Reporting(Reporting { host, instance })),
        4 => Just(Step::Reporting(ON)),
        2 => settings,
        12 => Just(Step::Connected),
        3 => Just(Step::ConnectFailed(ConnectError::Unavailable)),
        3 => Just(Step::Closed),
        2 => Just(Step::ChannelSeen),
        2 => Just(Step::ChannelChanged),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        60 => quiet_step(),
        15 => (one_of(Health::ALL), one_of(CorrectiveAction::ALL))
            .prop_map(|(health, action)| Step::Answer(health, action)),
        6 => (0..5000u64).prop_map(Step::Oversleep),
        1 => (0..2 * DAY).prop_map(Step::Oversleep),
        1 => Just(Step::ConnectFailed(ConnectError::NotFound)),
        1 => Just(Step::ChannelGone),
        1 => Just(Step::Provisioned),
        1 => Just(Step::Deleted),
    ]
}

/// A challenge that is out: its number, when it went out, and how long the guest has.
type Challenge = (u32, MonotonicTime, Duration);

/// A driver that believes nothing.
struct Driver {
    bench: Bench,
    settings: Settings,
    reporting: Reporting,
    /// A `Connect` is out, its outcome is not in.
    connecting: bool,
    connected: bool,
    forgotten: bool,
    deleted: bool,
    /// RUNNING was the last word, and not STOPPED.
    running: bool,
    /// An `init` was acknowledged that RUNNING has not followed yet.
    may_run: bool,
    interval: Duration,
    last_number: Option<u32>,
    /// Since the last answer or `init`.
    unanswered: Vec<Challenge>,
    asked: VecDeque<(EventType, NotificationType)>,
    losses: u32,
    /// The guest answers this much of an interval (in percent) after each challenge, or never.
    answers: Option<u32>,
    /// When it does so next, and what.
    answer: Option<(MonotonicTime, u32)>,
}

impl Driver {
    fn new(provisioned: bool, answers: Option<u32>) -> Self {
        let (settings, reporting) = (Settings::default(), ON);
        let mut driver = Self {
            bench: Bench::new(settings, reporting, provisioned),
            settings,
            reporting,
            connecting: false,
            connected: false,
            forgotten: false,
            deleted: false,
            running: false,
            may_run: false,
            interval: millis(1000),
            last_number: None,
            unanswered: Vec::new(),
            asked: VecDeque::new(),
            losses: 0,
            answers,
            answer: None,
        };
        driver.check();
        driver
    }

    fn timeout(&mut self) {
        self.bench.input(|session, now, random| session.handle_timeout(now, random));
        self.check();
        let due = self.bench.session.poll_timeout();
        assert!(
            self.forgotten || due.is_none_or(|due| due > self.bench.now),
            "a busy loop: {due:?}"
        );
    }

    fn wait(&mut self, millis: u64) {
        let end = self.bench.now + Duration::from_millis(millis);
        while !self.forgotten {
            let answer = self.answer.map(|(at, _)| at);
            let due = self.bench.session.poll_timeout();
            let Some(next) = answer.into_iter().chain(due).min().filter(|next| *next <= end) else {
                break;
            };
            self.bench.now = self.bench.now.max(next);
            if let Some((_, number)) = self.answer.take_if(|(at, _)| *at <= next) {
                self.answered(number, Health::Healthy, CorrectiveAction::None);
                self.check();
            } else {
                self.timeout();
            }
        }
        self.bench.now = self.bench.now.max(end);
    }

    fn answered(&mut self, number: u32, health: Health, action: CorrectiveAction) {
        if self.connected && self.unanswered.last().is_some_and(|newest| newest.0 == number) {
            self.unanswered.clear();
        }
        self.bench.say(GuestMessage::ChallengeResponse(ChallengeResponse {
            heartbeat_response: number.into(),
            heartbeat_health: health,
            corrective_action: action,
            log_msg: "".into(),
        }));
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Wait(millis) => return self.wait(millis),
            Step::Oversleep(after) => {
                self.bench.now = self.bench.now + millis(after);
                return self.timeout();
            }
            Step::Init(init) => {
                let asked = Duration::from_millis(init.heartbeat_interval_ms.min(3_600_000));
                if !self.bench.say(GuestMessage::Init(init)).is_empty() {
                    self.interval = asked;
                }
            }
            Step::Answer(health, action) => {
                if let Some(&(number, ..)) = self.unanswered.last() {
                    self.answered(number, health, action);
                }
            }
            Step::WrongAnswer(number) => {
                if self.last_number.is_none_or(|last| number != u64::from(last)) {
                    self.bench.answer_number(number);
                }
            }
            Step::Vote(response) => {
                self.bench.say(GuestMessage::ActionResponse(response));
            }
            Step::Exit => {
                self.bench.say(GuestMessage::Exit { log_msg: "".into() });
            }
            Step::Line(bytes, leading) => {
                let frame = Frame::Line { bytes: &bytes, leading };
                self.bench.input(|session, now, random| session.handle_frame(now, &frame, random));
            }
            Step::TooLong => {
                let frame = Frame::TooLong;
                self.bench.input(|session, now, random| session.handle_frame(now, &frame, random));
            }
            Step::Action(event, notification) => {
                self.asked.push_back((event.clone(), notification));
                self.bench.act(event.as_str(), notification);
            }
            Step::Reporting(reporting) => {
                self.reporting = reporting;
                self.bench.report(reporting);
            }
            Step::Settings(settings) => {
                self.settings = settings;
                self.bench.input(|session, _, _| session.handle_settings(settings));
            }
            Step::Connected => {
                if std::mem::take(&mut self.connecting) {
                    self.connected = true;
                    self.bench.connect();
                }
            }
            Step::ConnectFailed(error) => {
                if std::mem::take(&mut self.connecting) {
                    self.bench.connect_failed(error);
                }
            }
            Step::Closed => {
                self.connected = false;
                self.bench.close();
            }
            Step::ChannelSeen => {
                self.bench.input(|session, now, _| session.handle_channel_seen(now));
            }
            Step::ChannelChanged => {
                self.bench.input(|session, now, _| session.handle_channel_changed(now));
            }
            Step::ChannelGone => {
                self.bench.input(|session, now, _| session.handle_channel_gone(now));
            }
            Step::Provisioned => {
                self.bench.input(|session, _, _| session.handle_provisioned());
            }
            Step::Deleted => {
                self.deleted = true;
                self.bench.input(|session, _, _| session.handle_deleted());
            }
        }
        self.check();
    }

    /// What came out at the last input, against what went before.
    fn check(&mut self) {
        let outputs = std::mem::take(&mut self.bench.outputs);
        assert!(outputs.len() <= MOST_OUTPUTS, "{} outputs: {outputs:?}", outputs.len());
        for output in &outputs {
            assert!(!self.forgotten, "after the end: {output:?}");
            self.check_output(output);
        }
        assert!(self.asked.len() <= 1, "open: {:?}", self.asked);
    }

    fn check_output(&mut self, output: &Output) {
        match output {
            Output::Connect => {
                assert!(!self.connected, "connected already");
                self.connecting = true;
            }
            Output::Close => {
                self.connected = false;
                self.answer = None;
            }
            Output::Send { message, .. } => {
                assert!(self.connected, "sent into the void: {message:?}");
                self.check_message(message);
            }
            Output::Report(report) => self.check_report(report),
            Output::Note(_) => {}
            Output::Forget => {
                assert!(self.deleted || (self.asked.is_empty() && !self.running));
                self.forgotten = true;
                assert!(!self.connected, "forgotten with an open channel");
            }
        }
    }

    fn check_message(&mut self, message: &HostMessage) {
        match message {
            HostMessage::InitAck { .. } => {
                self.may_run = true;
                self.unanswered.clear();
            }
            HostMessage::Challenge { heartbeat_challenge: number } => {
                assert!(*number <= MAX_CHALLENGE);
                assert_ne!(self.last_number.replace(*number), Some(*number), "not fresh");
                let interval = self.interval.max(self.settings.pulse_floor);
                self.unanswered.push((*number, self.bench.now, interval));
                let after = self.answers.map(|percent| interval * percent / 100);
                self.answer = after.map(|after| (self.bench.now + after, *number));
            }
            HostMessage::ActionNotify { .. } | HostMessage::Nack { .. } => {}
        }
    }

    fn check_report(&mut self, report: &Report) {
        match report {
            Report::Running(info) => {
                assert!(std::mem::take(&mut self.may_run), "RUNNING without an init before");
                assert!(info.heartbeating);
                self.running = true;
            }
            Report::Stopped(info) => {
                assert!(std::mem::take(&mut self.running), "STOPPED without RUNNING before");
                assert!(!info.heartbeating);
            }
            Report::IllHealth(info) => assert!(info.heartbeating && self.running),
            Report::Loss => {
                assert!(self.reporting.enabled(), "LOSS while reporting is disabled");
                assert!(!self.running, "LOSS before STOPPED");
                let silent = self
                    .unanswered
                    .iter()
                    .filter(|(_, sent, interval)| self.bench.now >= *sent + *interval);
                let silent = u32::try_from(silent.count()).unwrap();
                assert!(silent > self.settings.failure_threshold, "LOSS after {silent} misses");
                self.losses += 1;
            }
            Report::Vote(vote) => {
                let oldest = self.asked.pop_front();
                assert_eq!(oldest, Some((vote.event_type.clone(), vote.notification_type)));
            }
        }
    }

    fn run(&mut self, steps: Vec<Step>) {
        for step in steps {
            self.step(step);
            if self.forgotten {
                break;
            }
        }
        if !self.forgotten {
            self.bench.now = self.bench.now + millis(2 * DAY);
            self.timeout();
        }
        assert!(self.deleted || self.asked.is_empty(), "never told: {:?}", self.asked);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn whatever_happens_what_comes_out_makes_sense(
        provisioned: bool,
        steps in prop::collection::vec(any_step(), 0..60),
    ) {
        Driver::new(provisioned, None).run(steps);
    }

    #[test]
    fn a_guest_that_answers_in_time_is_never_lost_whatever_else_happens(
        percent in 0..=100u32,
        steps in prop::collection::vec(quiet_step(), 0..60),
    ) {
        let mut driver = Driver::new(true, Some(percent));
        driver.run(steps);
        prop_assert_eq!(driver.losses, 0);
    }
}
