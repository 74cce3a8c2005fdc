//! A model of a virtual machine: QEMU with its channel, and the guest's program in it.

use std::time::Duration;

use super::Event;
use crate::MonotonicTime;
use crate::dice::Dice;
use crate::guest::{ChallengeResponse, CorrectiveAction, GuestMessage, Health, HostMessage, Init};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    Up,
    /// Neither reads nor writes; what is sent to it meanwhile waits.
    Frozen,
    Gone,
}

pub(super) struct Guest {
    pub(super) interval: Duration,
    pub(super) program: Program,
    /// When it began to answer.
    pub(super) up_since: MonotonicTime,
    /// QEMU is there.
    pub(super) channel: bool,
    /// Counts its deaths: what it was about to do then does not happen.
    generation: u32,
    armed: u32,
    invocation_id: u64,
    sequence: u64,
    /// It takes at most this many thousandths of its interval to answer.
    slowness: u64,
    waiting: Vec<Event>,
}

type Later = Vec<(Duration, Event)>;

impl Guest {
    pub(super) fn new(dice: &mut Dice) -> Self {
        Self {
            interval: Duration::from_millis(400 + dice.below(1200)),
            program: Program::Gone,
            up_since: MonotonicTime::START,
            channel: true,
            generation: 0,
            armed: 0,
            invocation_id: 0,
            sequence: 0,
            slowness: [1, 100, 900][usize::try_from(dice.below(3)).unwrap()],
            waiting: Vec::new(),
        }
    }

    pub(super) fn is_up_since(&self, then: MonotonicTime) -> bool {
        self.program == Program::Up && self.up_since <= then
    }

    /// How long it waits for a challenge before it starts over.
    pub(super) fn watchdog(&self) -> Duration {
        (self.interval * 2).max(Duration::from_secs(1))
    }

    pub(super) fn happen(
        &mut self,
        now: MonotonicTime,
        event: Event,
        dice: &mut Dice,
        later: &mut Later,
    ) {
        match event {
            Event::Incident => {
                later.push((self.interval * 4 + dice.part(self.interval, 9000), Event::Incident));
                if self.program == Program::Up {
                    self.incident(dice, later);
                }
            }
            Event::Back { generation } => {
                if generation == self.generation {
                    self.back(now, dice, later);
                }
            }
            _ if self.program == Program::Frozen => self.waiting.push(event),
            _ if self.program == Program::Gone => {}
            Event::ToGuest(HostMessage::Challenge { heartbeat_challenge: number }) => {
                let thinking = dice.part(self.interval, self.slowness);
                later.push((thinking, Event::Reply { generation: self.generation, number }));
                self.arm(later);
            }
            Event::ToGuest(HostMessage::InitAck { .. }) => self.arm(later),
            Event::Reply { generation, number } => {
                if generation == self.generation {
                    self.answer(number.into(), later);
                }
            }
            Event::Watchdog { generation, armed } => {
                if (generation, armed) == (self.generation, self.armed) {
                    self.init(later);
                }
            }
            Event::ToGuest(HostMessage::ActionNotify { .. } | HostMessage::Nack { .. })
            | Event::ToHost(_)
            | Event::Stall => {}
        }
    }

    fn incident(&mut self, dice: &mut Dice, later: &mut Later) {
        match dice.below(8) {
            0 | 1 => self.die(dice, later),
            2 => {
                self.say(&GuestMessage::Exit { log_msg: "bye".into() }, later);
                self.die(dice, later);
            }
            3 | 4 => {
                self.program = Program::Frozen;
                self.come_back(dice, later);
            }
            5 => {
                self.die(dice, later);
                self.channel = false;
            }
            6 => self.flood(dice, later),
            _ => self.init(later),
        }
    }

    fn die(&mut self, dice: &mut Dice, later: &mut Later) {
        self.program = Program::Gone;
        self.generation += 1;
        self.come_back(dice, later);
    }

    fn come_back(&self, dice: &mut Dice, later: &mut Later) {
        let away = dice.part(self.interval, 8000) + Duration::from_millis(1);
        later.push((away, Event::Back { generation: self.generation }));
    }

    /// A frozen program first reads what has waited for it; another one starts.
    fn back(&mut self, now: MonotonicTime, dice: &mut Dice, later: &mut Later) {
        let before = std::mem::replace(&mut self.program, Program::Up);
        self.up_since = now;
        self.channel = true;
        let waiting = std::mem::take(&mut self.waiting);
        if before == Program::Frozen {
            for event in waiting {
                self.happen(now, event, dice, later);
            }
        } else {
            self.invocation_id = dice.roll();
            self.init(later);
        }
    }

    fn arm(&mut self, later: &mut Later) {
        self.armed += 1;
        let watchdog = Event::Watchdog { generation: self.generation, armed: self.armed };
        later.push((self.watchdog(), watchdog));
    }

    fn say(&mut self, message: &GuestMessage, later: &mut Later) {
        self.sequence += 1;
        let mut bytes = Vec::new();
        message.encode(self.sequence, &mut bytes);
        later.push((Duration::ZERO, Event::ToHost(bytes)));
    }

    fn init(&mut self, later: &mut Later) {
        let init = Init {
            invocation_id: self.invocation_id,
            name: "model".into(),
            heartbeat_interval_ms: u64::try_from(self.interval.as_millis()).unwrap(),
            vote_secs: 10,
            shutdown_notice_secs: 10,
            suspend_notice_secs: 10,
            resume_notice_secs: 10,
            restart_secs: 120,
            corrective_action: CorrectiveAction::Reboot,
        };
        self.say(&GuestMessage::Init(init), later);
        self.arm(later);
    }

    fn answer(&mut self, heartbeat_response: u64, later: &mut Later) {
        let response = ChallengeResponse {
            heartbeat_response,
            heartbeat_health: Health::Healthy,
            corrective_action: CorrectiveAction::None,
            log_msg: "".into(),
        };
        self.say(&GuestMessage::ChallengeResponse(response), later);
    }

    fn flood(&mut self, dice: &mut Dice, later: &mut Later) {
        for _ in 0..dice.below(60) {
            match dice.below(4) {
                0 => self.answer(dice.roll(), later),
                1 => self.init(later),
                2 => later.push((Duration::ZERO, Event::ToHost(b"\n{\"version\":3}\n".to_vec()))),
                _ => {
                    let length = usize::try_from(dice.below(5000)).unwrap();
                    later.push((Duration::ZERO, Event::ToHost(vec![b'x'; length])));
                    later.push((Duration::ZERO, Event::ToHost(b"\n".to_vec())));
                }
            }
        }
    }
}
