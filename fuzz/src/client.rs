//! The guest's side of a heartbeat under random operations, the host's bytes among them.

use std::time::Duration;

use heartbeat_proto::MonotonicTime;
use heartbeat_proto::client::{
    Action, ActionId, Client, Health, MAX_LIMIT, Output, Settings, State, Verdict,
};
use heartbeat_proto::guest::{
    CorrectiveAction, EventType, GuestMessage, HostMessage, NotificationType, VoteResult,
};

use crate::bytes::Bytes;
use crate::lines::check_guest_message;

/// The most that a line, or one input of another kind, may lead to.
const MOST_OUTPUTS: usize = 6;

/// The most operations of one run.
const MOST_STEPS: usize = 400;

struct Driver {
    client: Client,
    now: MonotonicTime,
    random: u32,
    sequence: u64,
    open: bool,
    left: bool,
    /// The numbers of the `init`s, the newest last.
    inits: Vec<u64>,
    /// The action that is to be decided, and one that no longer is.
    action: Option<Action>,
    former: Option<ActionId>,
    /// Challenges that were sent, for as many answers.
    challenges: u64,
}

/// Whatever happens, in whatever order: nothing is said while the port is closed or after `exit`, there
/// is one action to decide at most and each is new, answers are of one of the last two sessions, there
/// are no more of them than challenges, what is said can be read by the host, and no timer fires
/// without having something to do.
pub fn client(data: &[u8]) {
    let mut bytes = Bytes(data);
    let mut driver = Driver {
        client: Client::new(Settings::default()),
        now: MonotonicTime::after_start(Duration::from_secs(5000)),
        random: 1000,
        sequence: 0,
        open: false,
        left: false,
        inits: Vec::new(),
        action: None,
        former: None,
        challenges: 0,
    };
    for _ in 0..MOST_STEPS {
        if bytes.is_empty() {
            break;
        }
        driver.step(&mut bytes);
    }
    driver.wait(Duration::from_secs(2 * 86_400));
}

impl Driver {
    fn step(&mut self, bytes: &mut Bytes<'_>) {
        let now = self.now;
        match bytes.u8() % 13 {
            0 => self.wait(bytes.time()),
            1 => {
                self.now = now + bytes.time();
                self.timeout();
            }
            2 => {
                self.open |= !self.left;
                self.client.handle_opened(now);
            }
            3 => {
                self.client.handle_closed();
                self.check(1);
                self.open = false;
                self.inits.clear();
            }
            4 => {
                let action = self.action.take().map(|action| action.id);
                self.former = action.or(self.former);
                if let Some(id) = action {
                    self.client.handle_verdict(id, verdict(bytes));
                }
            }
            5 => {
                if let Some(id) = self.former {
                    self.client.handle_verdict(id, verdict(bytes));
                    assert_eq!(self.client.poll_output(), None, "nobody waits for it");
                }
            }
            6 => {
                let log_msg = String::from_utf8_lossy(bytes.some()).as_ref().into();
                let corrective_action = bytes.one_of(CorrectiveAction::ALL);
                self.client.handle_health(match bytes.flag() {
                    true => Health::Healthy,
                    false => Health::Unhealthy { corrective_action, log_msg },
                });
            }
            7 => self.client.handle_settings(now, settings(bytes)),
            8 => {
                // Rarely: nothing comes after it.
                if bytes.u8() == 1 {
                    self.client.handle_exit("bye");
                    self.check(1);
                    (self.open, self.left) = (false, true);
                }
            }
            9 => self.say(&HostMessage::InitAck { invocation_id: self.id(bytes.u8()) }),
            10 => self.say(&HostMessage::Challenge { heartbeat_challenge: bytes.u32() }),
            11 => {
                let invocation_id = self.id(bytes.u8());
                let known = EventType::ALL.get(usize::from(bytes.u8() % 16));
                let event_type = known.cloned().unwrap_or_else(|| EventType::from("defragment"));
                let notification_type = bytes.one_of(NotificationType::ALL);
                let timeout_ms = bytes.mostly_small();
                self.say(&HostMessage::ActionNotify {
                    invocation_id,
                    event_type,
                    notification_type,
                    timeout_ms,
                });
            }
            _ => self.hear(bytes.some()),
        }
        self.check(1);
    }

    fn id(&self, which: u8) -> u64 {
        let place = usize::from(which % 4);
        self.inits.iter().rev().nth(place).copied().unwrap_or(u64::from(which) << 56)
    }

    fn say(&mut self, message: &HostMessage) {
        self.sequence = self.sequence.wrapping_add(1);
        let mut line = Vec::new();
        message.encode(self.sequence, &mut line);
        self.hear(&line);
    }

    fn hear(&mut self, piece: &[u8]) {
        let lines = piece.iter().filter(|byte| **byte == b'\n').count() + 1;
        self.challenges += lines as u64;
        self.client.handle_bytes(self.now, piece);
        self.check(lines);
    }

    fn timeout(&mut self) {
        self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.client.handle_timeout(self.now, self.random);
        self.check(1);
        let due = self.client.poll_timeout();
        let busy = due.is_some_and(|due| due <= self.now);
        assert!(!busy, "a busy loop: {due:?}");
    }

    /// Time passes, and the client is called when it wants to be; but not for ever.
    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..50 {
            let due = self.client.poll_timeout();
            let Some(due) = due.filter(|due| *due <= end) else { break };
            self.now = self.now.max(due);
            self.timeout();
        }
        self.now = end;
    }

    fn check(&mut self, lines: usize) {
        let mut count = 0;
        while let Some(output) = self.client.poll_output() {
            count += 1;
            match output {
                Output::Send { sequence, message } => {
                    assert!(self.open, "said to nobody: {message:?}");
                    check_guest_message(sequence, &message);
                    self.check_message(&message);
                }
                Output::Decide(action) => {
                    assert!(self.action.is_none(), "two are open");
                    assert!(self.former.is_none_or(|former| former < action.id), "not a new one");
                    assert!(action.limit <= MAX_LIMIT);
                    self.action = Some(action);
                }
                Output::Withdraw(id) => {
                    let action = self.action.take().map(|action| action.id);
                    assert_eq!(action, Some(id), "not the one that is open");
                    self.former = action;
                }
                Output::Note(note) => drop(format!("{note:?}")),
            }
        }
        assert!(count <= lines * MOST_OUTPUTS, "{count} outputs of {lines} lines");
        let open = match self.client.state() {
            State::Disabled | State::Left => false,
            State::Enabling { .. } | State::Enabled { .. } => true,
        };
        assert_eq!(self.client.poll_timeout().is_some(), open || self.action.is_some());
    }

    fn check_message(&mut self, message: &GuestMessage) {
        match message {
            GuestMessage::Init(init) => {
                assert!((1..1 << 31).contains(&init.invocation_id));
                self.inits.push(init.invocation_id);
            }
            GuestMessage::ChallengeResponse(response) => {
                assert!(u32::try_from(response.heartbeat_response).is_ok());
                assert!(self.challenges > 0, "nobody asked");
                self.challenges -= 1;
            }
            GuestMessage::ActionResponse(response) => {
                let mut newest = self.inits.iter().rev().take(2);
                assert!(newest.any(|init| *init == response.invocation_id), "{response:?}");
            }
            GuestMessage::Exit { .. } => {}
        }
    }
}

fn verdict(bytes: &mut Bytes<'_>) -> Verdict {
    let vote_result = bytes.one_of(VoteResult::ALL);
    Verdict { vote_result, log_msg: String::from_utf8_lossy(bytes.some()).as_ref().into() }
}

fn settings(bytes: &mut Bytes<'_>) -> Settings {
    Settings {
        name: String::from_utf8_lossy(bytes.some()).as_ref().into(),
        heartbeat_interval_ms: bytes.mostly_small(),
        vote_secs: bytes.mostly_small(),
        init_retry: Duration::from_millis(bytes.mostly_small().max(1)),
        corrective_action: bytes.one_of(CorrectiveAction::ALL),
        ..Settings::default()
    }
}
