//! The host's side of a heartbeat under random operations, the guest's bytes among them.

use std::time::Duration;

use heartbeat_proto::MonotonicTime;
use heartbeat_proto::guest::{
    ActionResponse, ChallengeResponse, CorrectiveAction, EventType, Frame, GuestMessage, Health,
    HostMessage, Init, LineFramer, MAX_CHALLENGE, MAX_NAME, NotificationType, VoteResult,
};
use heartbeat_proto::session::{
    ConnectError, MAX_INTERVAL, Output, Report, Reporting, Session, Settings, State,
};

use crate::bytes::Bytes;
use crate::lines::check_host_message;

/// The most that one input may lead to; a line is one.
const MOST_OUTPUTS: usize = 12;

/// The most operations of one run.
const MOST_STEPS: usize = 400;

struct Driver {
    session: Session,
    now: MonotonicTime,
    settings: Settings,
    reporting: Reporting,
    random: u32,
    framer: LineFramer,
    connecting: bool,
    connected: bool,
    forgotten: bool,
    deleted: bool,
    /// RUNNING was the last word, and not STOPPED.
    running: bool,
    /// An `init` was acknowledged that RUNNING has not followed yet.
    may_run: bool,
    /// The newest challenge, and the one before.
    challenge: Option<u32>,
    /// When each challenge since the last answer or `init` went out.
    unanswered: Vec<MonotonicTime>,
    /// The number of the last `init` that was acknowledged.
    invocation: u64,
    /// Votes and notifications that have no outcome yet.
    open: Vec<(EventType, NotificationType)>,
}

/// Whatever happens, in whatever order: nothing is sent without a connection or after the end, RUNNING
/// and STOPPED take turns, LOSS follows as many unanswered challenges as it has to, each vote has one
/// outcome, what is sent can be read by the guest, and no timer fires without having something to do.
pub fn session(data: &[u8]) {
    let mut bytes = Bytes(data);
    let mut driver = Driver::new(bytes.flag());
    for _ in 0..MOST_STEPS {
        if bytes.is_empty() || driver.forgotten {
            break;
        }
        driver.step(&mut bytes);
    }
    driver.end();
}

impl Driver {
    fn new(provisioned: bool) -> Self {
        let settings = Settings::default();
        let reporting = Reporting { host: true, instance: true };
        let mut driver = Self {
            session: Session::new(settings, reporting, provisioned),
            now: MonotonicTime::after_start(Duration::from_secs(5000)),
            settings,
            reporting,
            random: 1,
            framer: LineFramer::default(),
            connecting: false,
            connected: false,
            forgotten: false,
            deleted: false,
            running: false,
            may_run: false,
            challenge: None,
            unanswered: Vec::new(),
            invocation: 0,
            open: Vec::new(),
        };
        driver.check(1);
        driver
    }

    fn step(&mut self, bytes: &mut Bytes<'_>) {
        let now = self.now;
        match bytes.u8() % 18 {
            0 => self.wait(bytes.time()),
            1 => {
                self.now = now + bytes.time();
                self.timeout();
            }
            2 => {
                if std::mem::take(&mut self.connecting) {
                    self.connected = true;
                    self.framer = LineFramer::default();
                    self.session.handle_connected(now);
                }
            }
            3 => {
                let error = bytes.one_of(&[ConnectError::Unavailable, ConnectError::NotFound]);
                if std::mem::take(&mut self.connecting) {
                    self.session.handle_connect_failed(now, error);
                }
            }
            4 => {
                self.connected = false;
                self.session.handle_closed(now);
            }
            5 => self.session.handle_channel_seen(now),
            6 => self.session.handle_channel_changed(now),
            7 => self.session.handle_channel_gone(now),
            8 => self.session.handle_provisioned(),
            9 => {
                self.deleted = true;
                self.session.handle_deleted();
            }
            10 => {
                self.reporting = Reporting { host: bytes.flag(), instance: bytes.flag() };
                self.session.handle_reporting(now, self.reporting);
            }
            11 => {
                // As far as the configuration allows.
                let pulse_floor = Duration::from_millis(10 + u64::from(bytes.u16() % 59_991));
                let failure_threshold = u32::from(bytes.u8() % 8);
                self.settings = Settings { pulse_floor, failure_threshold };
                self.session.handle_settings(self.settings);
            }
            12 => {
                let event = event(bytes);
                let notification = bytes.one_of(NotificationType::ALL);
                self.open.push((event.clone(), notification));
                let random = &mut self.random;
                self.session.handle_action(now, &event, notification, &mut || draw(random));
            }
            13 => self.say(&init(bytes)),
            14 => {
                let response = bytes.one_of(&[self.challenge.map(u64::from), None]);
                let heartbeat_response = response.unwrap_or_else(|| bytes.mostly_small());
                self.say(&GuestMessage::ChallengeResponse(ChallengeResponse {
                    heartbeat_response,
                    heartbeat_health: bytes.one_of(Health::ALL),
                    corrective_action: bytes.one_of(CorrectiveAction::ALL),
                    log_msg: "so".into(),
                }));
            }
            15 => {
                let open = self.open.last().filter(|_| bytes.flag()).cloned();
                let (event_type, notification_type) =
                    open.unwrap_or_else(|| (event(bytes), bytes.one_of(NotificationType::ALL)));
                let other = bytes.u8();
                self.say(&GuestMessage::ActionResponse(ActionResponse {
                    invocation_id: if other == 7 { 7 } else { self.invocation },
                    event_type,
                    notification_type,
                    vote_result: bytes.one_of(VoteResult::ALL),
                    log_msg: "so".into(),
                }));
            }
            16 => self.say(&GuestMessage::Exit { log_msg: "bye".into() }),
            _ => self.hear(bytes.some()),
        }
        self.check(1);
    }

    fn say(&mut self, message: &GuestMessage) {
        let mut line = Vec::new();
        message.encode(u64::MAX, &mut line);
        self.hear(&line);
    }

    /// Bytes from the guest; each line of them is one input.
    fn hear(&mut self, piece: &[u8]) {
        if !self.connected {
            return;
        }
        let mut frames = Vec::new();
        self.framer.push(piece, |frame| {
            frames.push(match frame {
                Frame::Line { bytes, leading } => Some((bytes.to_vec(), leading)),
                Frame::TooLong => None,
            });
        });
        for frame in frames {
            let frame = match &frame {
                Some((bytes, leading)) => Frame::Line { bytes, leading: *leading },
                None => Frame::TooLong,
            };
            let said = match &frame {
                Frame::Line { bytes, .. } => GuestMessage::decode(bytes).ok(),
                Frame::TooLong => None,
            };
            if let Some(GuestMessage::ChallengeResponse(response)) =
                said.map(|received| received.message)
                && self.challenge.map(u64::from) == Some(response.heartbeat_response)
                && self.connected
            {
                self.unanswered.clear();
            }
            let random = &mut self.random;
            self.session.handle_frame(self.now, &frame, &mut || draw(random));
            self.check(1);
        }
    }

    fn timeout(&mut self) {
        let random = &mut self.random;
        self.session.handle_timeout(self.now, &mut || draw(random));
        self.check(1);
        let due = self.session.poll_timeout();
        let busy = due.is_some_and(|due| due <= self.now);
        assert!(self.forgotten || !busy, "a busy loop: {due:?}");
    }

    /// Time passes, and the session is called when it wants to be; but not for ever.
    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..50 {
            let due = self.session.poll_timeout();
            let Some(due) = due.filter(|due| *due <= end && !self.forgotten) else { break };
            self.now = self.now.max(due);
            self.timeout();
        }
        // Whoever is called late is called.
        self.now = end;
    }

    fn end(&mut self) {
        if !self.forgotten {
            self.now = self.now + Duration::from_secs(3 * 86_400);
            self.timeout();
        }
        assert!(self.deleted || self.open.is_empty(), "never told: {:?}", self.open);
    }

    fn check(&mut self, inputs: usize) {
        let mut count = 0;
        while let Some(output) = self.session.poll_output() {
            count += 1;
            assert!(!self.forgotten, "after the end: {output:?}");
            self.check_output(output);
        }
        assert!(count <= inputs * MOST_OUTPUTS, "{count} outputs");
        assert!(self.open.len() <= 1, "open: {:?}", self.open);
        assert!(self.session.name().len() <= MAX_NAME);
        assert!(self.session.misses() <= 8);
        if !self.forgotten {
            let state = self.session.state();
            let open = !matches!(state, State::Disconnected | State::Suspended);
            assert_eq!(open, self.connected, "{state:?}");
            assert_eq!(self.session.info().heartbeating, self.running);
        }
    }

    fn check_output(&mut self, output: Output) {
        match output {
            Output::Connect => {
                assert!(!self.connected, "connected already");
                self.connecting = true;
            }
            Output::Close => self.connected = false,
            Output::Send { sequence, message } => {
                assert!(self.connected, "sent into the void: {message:?}");
                check_host_message(sequence, &message);
                self.check_message(&message);
            }
            Output::Report(report) => self.check_report(report),
            Output::Note(note) => drop(format!("{note:?}")),
            Output::Forget => {
                assert!(self.deleted || (self.open.is_empty() && !self.running));
                assert!(!self.connected, "forgotten with an open channel");
                self.forgotten = true;
            }
        }
    }

    fn check_message(&mut self, message: &HostMessage) {
        match message {
            HostMessage::InitAck { invocation_id } => {
                self.invocation = *invocation_id;
                self.may_run = true;
                self.unanswered.clear();
            }
            HostMessage::Challenge { heartbeat_challenge: number } => {
                assert!(*number <= MAX_CHALLENGE);
                assert_ne!(self.challenge.replace(*number), Some(*number), "not fresh");
                self.unanswered.push(self.now);
            }
            HostMessage::ActionNotify { .. } | HostMessage::Nack { .. } => {}
        }
    }

    fn check_report(&mut self, report: Report) {
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
                let silent = self.unanswered.iter().filter(|sent| **sent < self.now).count();
                let threshold = self.settings.failure_threshold;
                assert!(silent as u64 > threshold.into(), "LOSS after {silent} misses");
            }
            Report::Vote(vote) => {
                assert!(!self.open.is_empty(), "nobody asked: {vote:?}");
                let (event, notification) = self.open.remove(0);
                assert_eq!((event, notification), (vote.event_type, vote.notification_type));
            }
        }
    }
}

fn draw(random: &mut u32) -> u32 {
    *random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    // Now and then the same again.
    *random >> (*random & 31)
}

fn event(bytes: &mut Bytes<'_>) -> EventType {
    let known = EventType::ALL.get(usize::from(bytes.u8() % 16));
    known.cloned().unwrap_or_else(|| EventType::from("defragment"))
}

fn init(bytes: &mut Bytes<'_>) -> GuestMessage {
    let longest = u64::try_from(MAX_INTERVAL.as_millis()).unwrap_or(u64::MAX);
    GuestMessage::Init(Init {
        invocation_id: bytes.u8().into(),
        name: "vm".into(),
        heartbeat_interval_ms: bytes.mostly_small().min(2 * longest),
        vote_secs: bytes.mostly_small(),
        shutdown_notice_secs: bytes.mostly_small(),
        suspend_notice_secs: bytes.mostly_small(),
        resume_notice_secs: bytes.mostly_small(),
        restart_secs: bytes.mostly_small(),
        corrective_action: bytes.one_of(CorrectiveAction::ALL),
    })
}
