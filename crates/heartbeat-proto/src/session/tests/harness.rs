//! One session with a clock that the test turns and a guest that says what the test wants, and
//! every output as a few words.

use std::time::Duration;

use crate::MonotonicTime;
use crate::control::InstanceInfo;
use crate::guest::{
    ActionResponse, ChallengeResponse, CorrectiveAction, EventType, Frame, GuestMessage, Health,
    HostMessage, Init, NotificationType, VoteResult,
};
use crate::session::{ConnectError, Note, Output, Random, Report, Reporting, Session, Settings};

pub(super) const NOTHING: [&str; 0] = [];
pub(super) const ON: Reporting = Reporting { host: true, instance: true };
pub(super) const OFF: Reporting = Reporting { host: false, instance: false };

/// The interval of [`init`], in milliseconds; also a second.
pub(super) const T: u64 = 1000;
pub(super) const DAY: u64 = 86_400 * T;

/// The values of the golden `init`: every time is another one.
pub(super) fn init() -> Init {
    Init {
        invocation_id: 42,
        name: "vm-one".into(),
        heartbeat_interval_ms: T,
        vote_secs: 10,
        shutdown_notice_secs: 11,
        suspend_notice_secs: 12,
        resume_notice_secs: 13,
        restart_secs: 121,
        corrective_action: CorrectiveAction::Reboot,
    }
}

pub(super) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What the driver is to do, in a few words; notes are left out.
pub(super) fn word(output: &Output) -> Option<String> {
    Some(match output {
        Output::Connect => "connect".into(),
        Output::Close => "close".into(),
        Output::Forget => "forget".into(),
        Output::Note(_) => return None,
        Output::Send { message, .. } => match message {
            HostMessage::InitAck { invocation_id } => format!("init_ack {invocation_id}"),
            HostMessage::Challenge { .. } => "challenge".into(),
            HostMessage::ActionNotify { event_type, notification_type, timeout_ms, .. } => {
                format!("action_notify {event_type} {notification_type} {timeout_ms}")
            }
            HostMessage::Nack { invocation_id, log_msg } => {
                format!("nack {invocation_id} {log_msg}")
            }
        },
        Output::Report(report) => match report {
            Report::Running(_) => "RUNNING".into(),
            Report::Stopped(_) => "STOPPED".into(),
            Report::IllHealth(info) => format!("ILLHEALTH {}", info.repair_action),
            Report::Loss => "LOSS".into(),
            Report::Vote(vote) => {
                let text =
                    format!("VOTE {} {} {}", vote.event_type, vote.notification_type, vote.vote);
                if vote.reason.is_empty() { text } else { format!("{text}: {}", vote.reason) }
            }
        },
    })
}

pub(super) struct Bench {
    pub(super) session: Session,
    pub(super) now: MonotonicTime,
    /// The number of the newest challenge.
    pub(super) challenge: u32,
    /// What came out at the last input.
    pub(super) outputs: Vec<Output>,
    /// The sequence number of the guest's last line.
    pub(super) guest_sequence: u64,
    dice: u32,
}

impl Bench {
    pub(super) fn new(settings: Settings, reporting: Reporting, provisioned: bool) -> Self {
        let mut bench = Self {
            session: Session::new(settings, reporting, provisioned),
            now: MonotonicTime::after_start(Duration::from_secs(5000)),
            challenge: 0,
            outputs: Vec::new(),
            guest_sequence: 0,
            dice: 0,
        };
        bench.drain();
        bench
    }

    /// Connected, and nothing heard of the guest.
    pub(super) fn connected() -> Self {
        Self::with(Settings::default(), ON)
    }

    pub(super) fn with(settings: Settings, reporting: Reporting) -> Self {
        let mut bench = Self::new(settings, reporting, false);
        bench.connect();
        bench
    }

    /// The guest has sent its `init`, and its first challenge is out.
    pub(super) fn inited() -> Self {
        let mut bench = Self::connected();
        bench.say(&GuestMessage::Init(init()));
        bench
    }

    /// The guest has just answered its first challenge.
    pub(super) fn running() -> Self {
        let mut bench = Self::inited();
        assert_eq!(bench.answer(), ["RUNNING"]);
        bench
    }

    fn drain(&mut self) -> Vec<String> {
        self.outputs.clear();
        while let Some(output) = self.session.poll_output() {
            if let Output::Send {
                message: HostMessage::Challenge { heartbeat_challenge }, ..
            } = output
            {
                self.challenge = heartbeat_challenge;
            }
            self.outputs.push(output);
        }
        self.outputs.iter().filter_map(word).collect()
    }

    /// Any one input.
    pub(super) fn input<T>(
        &mut self,
        input: impl FnOnce(&mut Session, MonotonicTime, &mut dyn Random) -> T,
    ) -> Vec<String> {
        let dice = &mut self.dice;
        input(&mut self.session, self.now, &mut || {
            *dice = dice.wrapping_add(0x0135_7911);
            *dice
        });
        self.drain()
    }

    pub(super) fn connect(&mut self) -> Vec<String> {
        self.input(|session, now, _| session.handle_connected(now))
    }

    pub(super) fn connect_failed(&mut self, error: ConnectError) -> Vec<String> {
        self.input(|session, now, _| session.handle_connect_failed(now, error))
    }

    pub(super) fn close(&mut self) -> Vec<String> {
        self.input(|session, now, _| session.handle_closed(now))
    }

    pub(super) fn report(&mut self, reporting: Reporting) -> Vec<String> {
        self.input(|session, now, _| session.handle_reporting(now, reporting))
    }

    pub(super) fn line(&mut self, line: &str) -> Vec<String> {
        let frame = Frame::Line { bytes: line.as_bytes(), leading: false };
        self.input(|session, now, random| session.handle_frame(now, &frame, random))
    }

    pub(super) fn say(&mut self, message: &GuestMessage) -> Vec<String> {
        self.guest_sequence += 1;
        let mut text = Vec::new();
        message.encode(self.guest_sequence, &mut text);
        self.line(String::from_utf8(text).unwrap().trim_matches('\n'))
    }

    /// A healthy answer to the newest challenge.
    pub(super) fn answer(&mut self) -> Vec<String> {
        self.answer_number(self.challenge.into())
    }

    pub(super) fn answer_number(&mut self, number: u64) -> Vec<String> {
        self.answer_health(number, Health::Healthy, CorrectiveAction::None)
    }

    pub(super) fn answer_health(
        &mut self,
        heartbeat_response: u64,
        heartbeat_health: Health,
        corrective_action: CorrectiveAction,
    ) -> Vec<String> {
        self.say(&GuestMessage::ChallengeResponse(ChallengeResponse {
            heartbeat_response,
            heartbeat_health,
            corrective_action,
            log_msg: "".into(),
        }))
    }

    pub(super) fn act(&mut self, event: &str, notification: NotificationType) -> Vec<String> {
        let event = EventType::from(event);
        self.input(|session, now, random| session.handle_action(now, &event, notification, random))
    }

    /// An answer of session 42 to an action.
    pub(super) fn vote(
        &mut self,
        event: &str,
        notification_type: NotificationType,
        vote_result: VoteResult,
    ) -> Vec<String> {
        self.say(&GuestMessage::ActionResponse(ActionResponse {
            invocation_id: 42,
            event_type: event.into(),
            notification_type,
            vote_result,
            log_msg: "".into(),
        }))
    }

    /// This much time passes, and the session is called whenever it wants to be.
    pub(super) fn wait(&mut self, millis: u64) -> Vec<String> {
        self.timeline(millis).into_iter().map(|(_, word)| word).collect()
    }

    /// As [`wait`](Self::wait), each output with the milliseconds until it came.
    pub(super) fn timeline(&mut self, millis: u64) -> Vec<(u64, String)> {
        self.live(millis, false)
    }

    /// As [`timeline`](Self::timeline), with a guest that answers every challenge at once.
    pub(super) fn alive(&mut self, millis: u64) -> Vec<(u64, String)> {
        self.live(millis, true)
    }

    fn live(&mut self, millis: u64, answering: bool) -> Vec<(u64, String)> {
        let start = self.now;
        let end = start + Duration::from_millis(millis);
        let mut seen = Vec::new();
        let mut outputs = Vec::new();
        while let Some(due) = self.session.poll_timeout().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            let after = u64::try_from(self.now.since(start).as_millis()).unwrap();
            let words = self.input(|session, now, random| session.handle_timeout(now, random));
            outputs.append(&mut self.outputs);
            let challenged = answering && words.iter().any(|word| word == "challenge");
            seen.extend(words.into_iter().map(|word| (after, word)));
            if challenged {
                seen.extend(self.answer().into_iter().map(|word| (after, word)));
                outputs.append(&mut self.outputs);
            }
        }
        self.now = end;
        self.outputs = outputs;
        seen
    }

    /// This much time passes while nobody calls the session; then it is called once.
    pub(super) fn wake(&mut self, after: Duration) -> Vec<String> {
        self.now = self.now + after;
        self.input(|session, now, random| session.handle_timeout(now, random))
    }

    /// The notes among the outputs of the last input or wait.
    pub(super) fn notes(&self) -> Vec<&Note> {
        self.outputs
            .iter()
            .filter_map(|output| match output {
                Output::Note(note) => Some(note),
                _ => None,
            })
            .collect()
    }

    /// The info in the reports of the last input or wait.
    pub(super) fn reported(&self) -> Vec<InstanceInfo> {
        self.outputs
            .iter()
            .filter_map(|output| match output {
                Output::Report(
                    Report::Running(info) | Report::Stopped(info) | Report::IllHealth(info),
                ) => Some(*info),
                _ => None,
            })
            .collect()
    }

    /// The sequence numbers of what was sent at the last input or wait.
    pub(super) fn sequences(&self) -> Vec<u64> {
        self.outputs
            .iter()
            .filter_map(|output| match output {
                Output::Send { sequence, .. } => Some(*sequence),
                _ => None,
            })
            .collect()
    }

    pub(super) fn heartbeating(&self) -> bool {
        self.session.info().heartbeating
    }
}

/// Pairs of milliseconds and words, to compare a timeline with.
pub(super) fn at<const N: usize>(expected: [(u64, &str); N]) -> Vec<(u64, String)> {
    expected.into_iter().map(|(after, word)| (after, word.to_owned())).collect()
}
