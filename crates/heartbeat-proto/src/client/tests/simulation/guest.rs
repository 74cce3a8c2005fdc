//! The guest's program: a client, its port and its clock.

use super::channel::{Channel, To};
use crate::MonotonicTime;
use crate::client::{Action, Client, Health, Note, Output, Settings, State, Verdict};
use crate::dice::Dice;
use crate::guest::{CorrectiveAction, NotificationType, VoteResult};

/// The longest that the guest thinks about an action, once there is no trouble any more.
const QUICK: u64 = 3000;

pub(super) struct Guest {
    /// `None` while the program is not there.
    client: Option<Client>,
    /// When it starts, or opens its port again.
    starts: MonotonicTime,
    settings: Settings,
    /// The kernel tells whether a host is there, and the program looks.
    looks: bool,
    /// The client was told that the port is open.
    opened: bool,
    timer: Option<(MonotonicTime, MonotonicTime)>,
    /// When the guest has made up its mind, and what it says then.
    deciding: Option<(MonotonicTime, Action, Verdict)>,
    /// The last action that it made up its mind about.
    pub(super) decided: Option<(Action, Verdict)>,
    pub(super) asleep_until: MonotonicTime,
    calm: bool,
}

fn settings(dice: &mut Dice) -> Settings {
    Settings {
        name: "model".into(),
        heartbeat_interval_ms: 400 + dice.below(3601),
        init_retry: dice.millis(300, 2000),
        ..Settings::default()
    }
}

impl Guest {
    pub(super) fn new(dice: &mut Dice) -> Self {
        Self {
            client: None,
            starts: MonotonicTime::START + dice.millis(0, 3000),
            settings: settings(dice),
            looks: dice.one_in(2),
            opened: false,
            timer: None,
            deciding: None,
            decided: None,
            asleep_until: MonotonicTime::START,
            calm: false,
        }
    }

    pub(super) fn calm(&mut self, now: MonotonicTime) {
        self.asleep_until = self.asleep_until.min(now);
        self.starts = self.starts.min(now);
        self.calm = true;
    }

    pub(super) fn state(&self) -> Option<State> {
        self.client.as_ref().map(Client::state)
    }

    /// Whether the port is open and a host is there, as far as the program can know.
    fn is_open(&self, channel: &Channel) -> bool {
        self.starts <= channel.now && (channel.connected || !self.looks)
    }

    pub(super) fn wakes(&self, channel: &Channel) -> Option<MonotonicTime> {
        let starts = (self.starts > channel.now || self.client.is_none()).then_some(self.starts);
        let noticed = self.opened != self.is_open(channel);
        let arrival = channel.to_guest.arrival().filter(|_| self.opened);
        let fires = self.timer.map(|(_, fires)| fires);
        let decided = self.deciding.as_ref().map(|(at, ..)| *at);
        let next = [starts, noticed.then_some(channel.now), arrival, fires, decided];
        next.into_iter().flatten().min().map(|at| at.max(self.asleep_until))
    }

    /// What has arrived is handled before the clock is looked at.
    pub(super) fn turn(&mut self, channel: &mut Channel) {
        let now = channel.now;
        let open = self.is_open(channel);
        if self.starts <= now && self.client.is_none() {
            self.client = Some(Client::new(self.settings.clone()));
        }
        let Some(client) = &mut self.client else { return };
        if std::mem::replace(&mut self.opened, open) != open {
            if open {
                client.handle_opened(now);
            } else {
                client.handle_closed();
            }
        }
        if open {
            let bytes = channel.to_guest.read(now);
            client.handle_bytes(now, &bytes);
        }
        self.settle(channel);
        let Some(client) = &mut self.client else { return };
        if let Some((_, action, verdict)) = self.deciding.take_if(|(at, ..)| *at <= now) {
            client.handle_verdict(action.id, verdict.clone());
            self.decided = Some((action, verdict));
        }
        if self.timer.is_some_and(|(_, fires)| fires <= now) {
            client.handle_timeout(now, channel.dice.random());
            let due = client.poll_timeout();
            assert!(due.is_none_or(|due| due > now), "the guest's busy loop: {due:?}");
        }
        self.settle(channel);
    }

    /// The program ends, with a word or without, and starts again some time later.
    pub(super) fn die(&mut self, channel: &mut Channel) {
        channel.tally.guests_died += 1;
        if let Some(client) = self.client.as_mut().filter(|_| channel.dice.one_in(3)) {
            client.handle_exit("bye");
            self.settle(channel);
        }
        self.client = None;
        (self.timer, self.deciding, self.opened) = (None, None, false);
        self.starts = channel.now + channel.dice.millis(1, 5000);
        self.looks = channel.dice.one_in(2);
    }

    /// The program closes its port, and opens it again some time later.
    pub(super) fn shut(&mut self, channel: &mut Channel) {
        self.starts = self.starts.max(channel.now + channel.dice.millis(1, 3000));
    }

    /// Its settings and how it is.
    pub(super) fn change(&mut self, channel: &mut Channel) {
        self.settings = settings(&mut channel.dice);
        let health = if channel.dice.one_in(2) {
            Health::Healthy
        } else {
            let corrective_action = CorrectiveAction::Log;
            Health::Unhealthy { corrective_action, log_msg: "the disk is full".into() }
        };
        if let Some(client) = &mut self.client {
            client.handle_settings(channel.now, self.settings.clone());
            client.handle_health(health);
            self.settle(channel);
        }
    }

    fn decide(&mut self, channel: &mut Channel, action: Action) {
        let dice = &mut channel.dice;
        let vote_result = match action.notification_type {
            NotificationType::Revocable if dice.one_in(2) => VoteResult::Reject,
            NotificationType::Revocable => VoteResult::Accept,
            NotificationType::Irrevocable => VoteResult::Complete,
        };
        let log_msg = format!("because of {}", dice.random()).as_str().into();
        let thinks = dice.millis(0, if self.calm { QUICK } else { 12_000 });
        self.deciding = Some((channel.now + thinks, action, Verdict { vote_result, log_msg }));
    }

    fn settle(&mut self, channel: &mut Channel) {
        while let Some(output) = self.client.as_mut().and_then(Client::poll_output) {
            match output {
                Output::Send { sequence, message } => {
                    let mut bytes = Vec::new();
                    message.encode(sequence, &mut bytes);
                    channel.write(To::Host, bytes);
                }
                Output::Decide(action) => {
                    assert!(self.deciding.is_none(), "two are open");
                    self.decide(channel, action);
                }
                Output::Withdraw(id) => {
                    let open = self.deciding.take().map(|(_, action, _)| action.id);
                    assert_eq!(open, Some(id), "not the open one");
                    channel.tally.votes_withdrawn += 1;
                }
                Output::Note(Note::Answered { .. }) => channel.tally.answered += 1,
                Output::Note(Note::Silent { .. }) => channel.tally.silent += 1,
                Output::Note(Note::LostTime { .. }) => channel.tally.guest_lost_time += 1,
                Output::Note(Note::WrongAck) => channel.tally.wrong_acks += 1,
                Output::Note(_) => {}
            }
        }
        let due = self.client.as_ref().and_then(Client::poll_timeout);
        if self.timer.map(|(due, _)| due) != due {
            let late = channel.dice.lateness();
            self.timer = due.map(|due| (due, due + late));
        }
    }
}
