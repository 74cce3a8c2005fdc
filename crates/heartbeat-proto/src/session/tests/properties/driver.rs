//! A driver that believes nothing: it does what a session wants and checks that it makes sense.

use std::collections::VecDeque;
use std::time::Duration;

use super::super::harness::{Bench, DAY, ON, millis};
use super::Step;
use crate::MonotonicTime;
use crate::guest::{
    ChallengeResponse, CorrectiveAction, EventType, Frame, GuestMessage, Health, HostMessage,
    MAX_CHALLENGE, NotificationType,
};
use crate::session::{Output, Report, Reporting, Settings, State};

/// The most that one input may lead to.
const MOST_OUTPUTS: usize = 12;

/// A challenge that is out: its number, when it went out, and how long the guest has.
type Challenge = (u32, MonotonicTime, Duration);

pub(super) struct Driver {
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
    pub(super) losses: u32,
    /// The guest answers this much of an interval (in percent) after each challenge, or never.
    answers: Option<u32>,
    /// When it does so next, and what.
    answer: Option<(MonotonicTime, u32)>,
}

impl Driver {
    pub(super) fn new(provisioned: bool, answers: Option<u32>) -> Self {
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
        self.bench.say(&GuestMessage::ChallengeResponse(ChallengeResponse {
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
                if !self.bench.say(&GuestMessage::Init(init)).is_empty() {
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
                self.bench.say(&GuestMessage::ActionResponse(response));
            }
            Step::Exit => {
                self.bench.say(&GuestMessage::Exit { log_msg: "".into() });
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
                let suspended = self.bench.session.state() == State::Suspended;
                assert!(!suspended || event != EventType::Resume, "suspended for good");
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

    pub(super) fn run(&mut self, steps: Vec<Step>) {
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
