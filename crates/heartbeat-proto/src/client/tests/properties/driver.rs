//! A driver that believes nothing: it does what a client wants and checks that it makes sense.

mod checks;

use std::collections::VecDeque;
use std::time::Duration;

use super::super::harness::settings;
use super::{Id, Said, Step};
use crate::MonotonicTime;
use crate::client::{Action, ActionId, Client, Health, Verdict};
use crate::guest::{
    EventType, Frame, HostMessage, LineFramer, MAX_LINE, NotificationType, VERSION, VoteResult,
};

/// What is known of the port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Port {
    Closed,
    Open,
    /// The client said `exit`, or would have.
    Left,
}

/// What has to come out, in this order, besides notes and `init`s.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Answer(u32),
    Decide(EventType, NotificationType, Duration),
    Withdraw,
    Response(VoteResult),
    Exit,
}

pub(super) struct Driver {
    client: Client,
    now: MonotonicTime,
    random: u32,
    /// For the last `init`.
    drawn: u32,
    sequence: u64,
    /// A second opinion on what the bytes say.
    framer: LineFramer,
    port: Port,
    /// The numbers of the `init`s since the port was opened.
    inits: Vec<u64>,
    acknowledged: bool,
    /// The host spoke of another one since: an `init` is to follow.
    doubted: bool,
    /// The one of them that the host last spoke of.
    session: Option<u64>,
    /// The last challenge that was due an answer, or the acknowledgement.
    heard: MonotonicTime,
    health: Health,
    /// The action that is open, and when its time is over.
    open: Option<(Action, MonotonicTime)>,
    /// One that is no longer open.
    former: Option<ActionId>,
    wanted: VecDeque<Wanted>,
}

impl Driver {
    pub(super) fn new() -> Self {
        Self {
            client: Client::new(settings()),
            now: MonotonicTime::after_start(Duration::from_secs(5000)),
            random: 1000,
            drawn: 0,
            sequence: 0,
            framer: LineFramer::default(),
            port: Port::Closed,
            inits: Vec::new(),
            acknowledged: false,
            doubted: false,
            session: None,
            heard: MonotonicTime::START,
            health: Health::Healthy,
            open: None,
            former: None,
            wanted: VecDeque::new(),
        }
    }

    pub(super) fn run(&mut self, steps: Vec<Step>) {
        for step in steps {
            self.step(step);
        }
        self.wait(2 * super::DAY / 1000);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Wait(millis) => self.wait(millis),
            Step::Oversleep(millis) => {
                self.now = self.now + Duration::from_millis(millis);
                self.timeout();
            }
            Step::Early => {
                if self.client.poll_timeout().is_none_or(|due| due > self.now) {
                    self.client.handle_timeout(self.now, self.random);
                    assert_eq!(self.client.poll_output(), None, "nothing is due");
                }
            }
            Step::Opened => {
                if self.port == Port::Closed {
                    self.port = Port::Open;
                }
                self.client.handle_opened(self.now);
                self.check(1);
            }
            Step::Closed => {
                if self.port == Port::Open {
                    self.port = Port::Closed;
                }
                self.framer = LineFramer::default();
                self.inits.clear();
                (self.acknowledged, self.doubted) = (false, false);
                self.withdrawn();
                self.client.handle_closed();
                self.check(1);
            }
            Step::Hear { said, cuts, lost } => self.hear(said, cuts, lost),
            Step::Verdict(result, of_the_open_one) => self.verdict(result, of_the_open_one),
            Step::Health(health) => {
                self.health = health.clone();
                self.client.handle_health(health);
                self.check(0);
            }
            Step::Settings(new) => {
                if self.client.settings().init(0) != new.init(0) {
                    (self.acknowledged, self.doubted) = (false, false);
                }
                self.client.handle_settings(self.now, new);
                self.check(0);
            }
            Step::Exit => {
                self.withdrawn();
                if std::mem::replace(&mut self.port, Port::Left) == Port::Open {
                    self.wanted.push_back(Wanted::Exit);
                }
                (self.acknowledged, self.doubted) = (false, false);
                self.client.handle_exit("bye");
                self.check(1);
            }
            Step::Random(random) => self.random = random,
        }
    }

    fn wait(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        while let Some(due) = self.client.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.timeout();
        }
        self.now = end;
    }

    fn timeout(&mut self) {
        self.random = self.random.wrapping_add(2);
        if self.open.as_ref().is_some_and(|(_, deadline)| *deadline <= self.now) {
            self.withdrawn();
            self.wanted.push_back(Wanted::Response(VoteResult::Timeout));
        }
        self.client.handle_timeout(self.now, self.random);
        self.check(1);
        let due = self.client.poll_timeout();
        assert!(due.is_none_or(|due| due > self.now), "a busy loop: {due:?}");
    }

    /// One that is open has to be withdrawn now.
    fn withdrawn(&mut self) {
        if self.open.is_some() && self.wanted.back() != Some(&Wanted::Withdraw) {
            self.wanted.push_back(Wanted::Withdraw);
        }
    }

    fn verdict(&mut self, vote_result: VoteResult, of_the_open_one: bool) {
        let open = self.open.as_ref().map(|(action, _)| action.id);
        let Some(id) = (if of_the_open_one { open } else { self.former }) else { return };
        if of_the_open_one {
            self.open = None;
            self.former = Some(id);
            self.wanted.push_back(Wanted::Response(vote_result));
        }
        self.client.handle_verdict(id, Verdict { vote_result, log_msg: "so".into() });
        self.check(1);
    }

    fn id(&self, id: Id) -> u64 {
        let before = |count| self.inits.iter().rev().nth(count).copied().unwrap_or(12_345);
        match id {
            Id::Newest => before(0),
            Id::Older => before(1),
            Id::Oldest => before(2),
            Id::Other(id) => id,
        }
    }

    fn hear(&mut self, said: Vec<Said>, mut cuts: Vec<usize>, lost: Option<(usize, usize)>) {
        let mut stream = Vec::new();
        for said in said {
            self.sequence += 1;
            let message = match said {
                Said::InitAck(id) => HostMessage::InitAck { invocation_id: self.id(id) },
                Said::Challenge(heartbeat_challenge) => {
                    HostMessage::Challenge { heartbeat_challenge }
                }
                Said::Action(id, event_type, notification_type, timeout_ms) => {
                    let invocation_id = self.id(id);
                    HostMessage::ActionNotify {
                        invocation_id,
                        event_type,
                        notification_type,
                        timeout_ms,
                    }
                }
                Said::Nack(id) => {
                    HostMessage::Nack { invocation_id: self.id(id), log_msg: "no".into() }
                }
                Said::Bytes(bytes) => {
                    stream.extend(bytes);
                    continue;
                }
            };
            message.encode(self.sequence, &mut stream);
        }
        if let Some((from, count)) = lost {
            stream.drain(from.min(stream.len())..(from + count).min(stream.len()));
        }
        cuts.sort_unstable();
        let mut from = 0;
        for cut in cuts.into_iter().map(|cut| cut.min(stream.len())).chain([stream.len()]) {
            self.piece(&stream[from..cut]);
            from = cut;
        }
    }

    fn piece(&mut self, piece: &[u8]) {
        let mut framer = std::mem::take(&mut self.framer);
        let mut lines = 0;
        framer.push(piece, |frame| {
            lines += 1;
            if let Frame::Line { bytes, .. } = frame
                && let Ok(received) = HostMessage::decode(bytes)
                && received.version == VERSION
                && self.port == Port::Open
            {
                self.want(received.message);
            }
        });
        self.framer = framer;
        self.client.handle_bytes(self.now, piece);
        assert!(self.client.framer.held() <= MAX_LINE);
        self.check(lines);
    }
}
