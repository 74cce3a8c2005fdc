//! A virtual machine: QEMU with its channel, and the guest's program in it, whose side of the heartbeat is the real one.

use std::time::Duration;

use guest_server::simulation::Channels;
use heartbeat_proto::client::{Client, Output, Settings, Verdict};
use heartbeat_proto::guest::VoteResult;
use heartbeat_proto::{InstanceId, MonotonicTime};

use crate::dice::Dice;
use crate::plan::Millis;

/// Bytes that a guest writes while nobody reads: as much as the port takes.
const MAX_WAITING: usize = 16 * 1024;

/// What the program is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Up,
    /// Neither reads nor writes; what is sent to it meanwhile waits.
    Frozen,
    /// Nobody has the port open; what is sent meanwhile waits.
    Gone,
    /// For ever.
    Dead,
}

pub(crate) struct Guest {
    pub(crate) instance: InstanceId,
    pub(crate) host: usize,
    pub(crate) interval: Millis,
    pub(crate) inode: Option<u64>,
    pub(crate) program: Program,
    /// Since when it has answered everything, if it does.
    pub(crate) well_since: Millis,
    pub(crate) connection: Option<u64>,
    client: Client,
    dice: Dice,
    /// What was sent to it and not read.
    unread: Vec<u8>,
    /// What it wrote and nobody read.
    unwritten: Vec<u8>,
    verdicts: Vec<(MonotonicTime, heartbeat_proto::client::ActionId, Verdict)>,
    answers: u32,
}

impl Guest {
    pub(crate) fn new(seed: u64, number: usize, host: usize) -> Self {
        let mut dice = Dice::new(seed, 1000 + number as u64);
        let interval = dice.between(800, 2_500);
        Self {
            instance: InstanceId::from_u128(0x1000 + number as u128),
            host,
            interval,
            inode: Some(1 + number as u64),
            program: Program::Up,
            well_since: 0,
            connection: None,
            client: client(interval),
            dice,
            unread: Vec::new(),
            unwritten: Vec::new(),
            verdicts: Vec::new(),
            answers: 0,
        }
    }

    pub(crate) fn handle_opened(&mut self, now: MonotonicTime) {
        self.client.handle_opened(now);
    }

    /// The program has just started, or goes on.
    pub(crate) fn handle_back(&mut self, now: MonotonicTime) {
        if self.program == Program::Gone {
            self.client = client(self.interval);
            self.client.handle_opened(now);
            self.verdicts.clear();
        }
        self.program = Program::Up;
        let unread = std::mem::take(&mut self.unread);
        self.client.handle_bytes(now, &unread);
    }

    /// Its QEMU is gone, and what was on its way with it.
    pub(crate) fn handle_replaced(&mut self) {
        self.connection = None;
        self.unread.clear();
        self.unwritten.clear();
    }

    pub(crate) fn handle_bytes(&mut self, now: MonotonicTime, bytes: &[u8]) {
        if self.program == Program::Up {
            self.client.handle_bytes(now, bytes);
        } else if self.unread.len() < MAX_WAITING {
            self.unread.extend_from_slice(bytes);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<MonotonicTime> {
        if self.program != Program::Up {
            return None;
        }
        let verdict = self.verdicts.iter().map(|(at, ..)| *at).min();
        self.client.poll_timeout().into_iter().chain(verdict).min()
    }

    pub(crate) fn handle_timeout(&mut self, now: MonotonicTime) {
        while let Some(place) = self.verdicts.iter().position(|(at, ..)| *at <= now) {
            let (_, id, verdict) = self.verdicts.swap_remove(place);
            self.client.handle_verdict(id, verdict);
        }
        if self.client.poll_timeout().is_some_and(|at| at <= now) {
            self.client.handle_timeout(now, self.dice.random());
        }
    }

    /// What it says now.
    pub(crate) fn poll_bytes(&mut self, now: MonotonicTime) -> Vec<u8> {
        let mut bytes = Vec::new();
        if self.program != Program::Up {
            return bytes;
        }
        while let Some(output) = self.client.poll_output() {
            match output {
                Output::Send { sequence, message } => message.encode(sequence, &mut bytes),
                Output::Decide(action) => {
                    if self.dice.per_mille(850) {
                        self.answers += 1;
                        let word = if self.dice.per_mille(300) {
                            VoteResult::Reject
                        } else {
                            action.notification_type.agreement()
                        };
                        let reason = format!("{}-{}", self.instance, self.answers);
                        let verdict =
                            Verdict { vote_result: word, log_msg: reason.as_str().into() };
                        let thinking = Duration::from_millis(self.dice.between(1, 3_000));
                        self.verdicts.push((now + thinking, action.id, verdict));
                    }
                }
                Output::Withdraw(_) | Output::Note(_) => {}
            }
        }
        bytes
    }

    /// What it says when it is out of its mind.
    pub(crate) fn flood(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..self.dice.between(5, 60) {
            match self.dice.below(3) {
                0 => bytes.extend_from_slice(b"\n{\"version\":3,\"revision\":1}\n"),
                1 => bytes.extend_from_slice(
                    b"\n{\"version\":3,\"revision\":1,\"msg_type\":\"challenge_response\",\"sequence\":9,\
                      \"heartbeat_response\":1,\"heartbeat_health\":\"healthy\",\"corrective_action\":\"none\",\"log_msg\":\"\"}\n",
                ),
                _ => bytes.extend(std::iter::repeat_n(b'x', self.dice.place(5000)).chain([b'\n'])),
            }
        }
        bytes
    }

    /// Keeps what it wrote while nobody is connected.
    pub(crate) fn keep(&mut self, bytes: &[u8]) {
        if self.unwritten.len() + bytes.len() <= MAX_WAITING {
            self.unwritten.extend_from_slice(bytes);
        }
    }
}

fn client(interval: Millis) -> Client {
    Client::new(Settings { heartbeat_interval_ms: interval, vote_secs: 4, ..Settings::default() })
}

/// The QEMUs of a host, as its guestServer sees them.
pub(crate) struct Qemus<'a> {
    pub(crate) host: usize,
    pub(crate) guests: &'a mut [Guest],
    /// What guestServer wrote: guest, connection, bytes.
    pub(crate) to_guests: &'a mut Vec<(usize, u64, Vec<u8>)>,
    /// What had waited for somebody to connect.
    pub(crate) to_host: &'a mut Vec<(usize, u64, Vec<u8>)>,
}

impl Channels for Qemus<'_> {
    fn connect(&mut self, instance: InstanceId, connection: u64) -> bool {
        let found = self.guests.iter_mut().enumerate().find(|(_, guest)| {
            guest.instance == instance && guest.host == self.host && guest.inode.is_some()
        });
        let Some((place, guest)) = found else { return false };
        guest.connection = Some(connection);
        let waited = std::mem::take(&mut guest.unwritten);
        if !waited.is_empty() {
            self.to_host.push((place, connection, waited));
        }
        true
    }

    fn close(&mut self, connection: u64) {
        for guest in self.guests.iter_mut() {
            guest.connection.take_if(|other| *other == connection);
        }
    }

    fn send(&mut self, connection: u64, bytes: &[u8]) {
        let place = self.guests.iter().position(|guest| guest.connection == Some(connection));
        if let Some(place) = place {
            self.to_guests.push((place, connection, bytes.to_vec()));
        }
    }
}
