//! A whole site on one virtual clock: what is where, and whose turn it is.

mod checks;
mod controller;
mod faults;
mod hosts;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use guest_agent::simulation::{Agent, Reply};
use guest_server::simulation::Server;
use heartbeat_proto::MonotonicTime;
use heartbeat_proto::control::{Guard, Keyring, SecurityMode};
use heartbeat_proto::delivery::PRESENT_SILENCE;

use crate::dice::Dice;
use crate::guest::{Guest, Program};
use crate::ledger::{Ledger, Tally};
use crate::plan::{Event, Millis, Plan, Weather, What};
use crate::vim::Vim;

/// After the last fault, when all that ran on agrees: two audits and 10 s.
const AGREED: Millis = 30_000;

/// After the last fault, when everything has arrived: the longest pause of a VIM's that was away (30 s), what comes again
/// then (5 s), and two audits.
const ARRIVED: Millis = 60_000;

/// More happenings than any life has: it is not going on as it should.
const MAX_TURNS: u64 = 400_000;

const AGENT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 100)), 2401);
const SERVER_PORT: u16 = 2411;

/// Microseconds since 1970 when it starts.
const EPOCH_MICROS: i64 = 1_700_000_000_000_000;

/// What happens at its time.
enum Happening {
    /// An event of the plan begins, or is over.
    Begin(usize),
    End(usize),
    /// Datagrams arrive.
    ToServer(usize, Vec<u8>),
    ToAgent(usize, Vec<u8>),
    /// Bytes arrive over a connection of a guest's.
    ToGuest(usize, u64, Vec<u8>),
    ToHost(usize, u64, Vec<u8>),
    /// A connection to a guest's channel is at its end.
    Closed(usize, u64),
    /// A request arrives at the VIM; its answer at this life of guestAgent's.
    VimTakes(u64, u32),
    VimReplies(u32, Reply),
    /// The maintenance system tells of the hosts.
    HostsTold(u32),
    /// The VIM looks whether it has commanded everything that it wants.
    Command,
}

/// A host, without its guests.
struct Host {
    server: Option<Server>,
    life: u32,
    /// When guestServer started, by the host's clock.
    started: Millis,
    /// For how long the host's clock has stood still.
    suspended: Millis,
    /// Until when nothing runs on it.
    still_until: Millis,
    /// Until when its guestServer is stopped.
    stopped_until: Millis,
    /// When its guestServer did not run.
    pauses: Vec<(Millis, Millis)>,
    wall_micros: i64,
    weather: Weather,
}

/// The controller.
struct Controller {
    agent: Option<Agent>,
    life: u32,
    started: Millis,
    stopped_until: Millis,
    ready_at: Millis,
    audit_at: Millis,
    wall_micros: i64,
}

/// A death that a guestServer has to notice.
struct Watch {
    guest: usize,
    at: Millis,
    losses_before: u32,
}

/// The site.
pub(crate) struct Site<'a> {
    plan: &'a Plan,
    now: Millis,
    queue: BTreeMap<(Millis, u64), Happening>,
    happenings: u64,
    hosts: Vec<Host>,
    guests: Vec<Guest>,
    controller: Controller,
    vim: Vim,
    /// What the VIM wants the reporting of hosts and instances to be.
    wanted: (Vec<bool>, Vec<bool>),
    /// The events of the plan that are under way.
    active: Vec<usize>,
    watches: Vec<Watch>,
    ledger: Ledger,
    dice: Dice,
    guard: Guard,
    connections: u64,
}

impl<'a> Site<'a> {
    pub(crate) fn new(plan: &'a Plan) -> Self {
        let seed = plan.seed;
        let guests: Vec<_> =
            (0..plan.guests).map(|number| Guest::new(seed, number, number % plan.hosts)).collect();
        let guard = if plan.sealed {
            let keys = Keyring::generate([7; 32], [8; 32]);
            Guard::new(SecurityMode::Required, Some(keys))
        } else {
            Guard::default()
        };
        let host = || Host {
            server: None,
            life: 0,
            started: 0,
            suspended: 0,
            still_until: 0,
            stopped_until: 0,
            pauses: Vec::new(),
            wall_micros: 0,
            weather: Weather::default(),
        };
        let mut site = Self {
            plan,
            now: 0,
            queue: BTreeMap::new(),
            happenings: 0,
            hosts: (0..plan.hosts).map(|_| host()).collect(),
            controller: Controller {
                agent: None,
                life: 0,
                started: 0,
                stopped_until: 0,
                ready_at: 0,
                audit_at: 0,
                wall_micros: 0,
            },
            vim: Vim::new(plan.hosts, &guests),
            wanted: (vec![true; plan.hosts], vec![true; plan.guests]),
            guests,
            active: Vec::new(),
            watches: Vec::new(),
            ledger: Ledger::default(),
            dice: Dice::new(seed, 2),
            guard,
            connections: 0,
        };
        site.begin();
        site
    }

    fn begin(&mut self) {
        for (place, event) in self.plan.events.iter().enumerate() {
            self.happenings += 2;
            self.queue.insert((event.at, self.happenings), Happening::Begin(place));
            self.queue.insert((event.at + event.lasts, self.happenings + 1), Happening::End(place));
        }
        self.happenings += 1;
        for place in 0..self.guests.len() {
            let now = self.guest_time(place);
            self.guests[place].handle_opened(now);
            self.settle_guest(place);
        }
        for host in 0..self.hosts.len() {
            self.start_server(host);
        }
        self.start_agent();
        self.later(500, Happening::Command);
    }

    /// Lives to the end. Says what happened, or what was wrong.
    pub(crate) fn run(mut self) -> Result<Tally, String> {
        let end = self.plan.end() + self.deafness();
        let mut agreed = false;
        for _ in 0..MAX_TURNS {
            let next = self.next();
            if !agreed && next > end + AGREED {
                agreed = true;
                self.now = end + AGREED;
                self.check_agreement(false);
            }
            if let Some(wrong) = self.ledger.wrong.take() {
                return Err(format!("at {} ms: {wrong}", self.now));
            }
            if next > end + ARRIVED {
                self.now = end + ARRIVED;
                self.check_agreement(true);
                self.check_watches();
                self.ledger.check_all_told();
                let tally = self.ledger.tally;
                return match self.ledger.wrong.take() {
                    Some(wrong) => Err(format!("at the end: {wrong}")),
                    None => Ok(Tally { seeds: 1, ..tally }),
                };
            }
            self.now = next;
            self.turn();
        }
        Err(format!("at {} ms: too much happens", self.now))
    }

    /// A late datagram of a former guestServer's, whose life guestAgent has not heard of before, is taken for that of a newer
    /// one: nothing tells which of two lives is the newer one. Then the present one is not heeded for [`PRESENT_SILENCE`]. This is
    /// for how long that may be after the last fault.
    fn deafness(&self) -> Millis {
        let kills = |event: &&Event| matches!(event.what, What::KillServer(_) | What::KillAgent);
        let late = |event: &Event| matches!(event.what, What::Weather(_, w) if w.late_ms > 1);
        let events = &self.plan.events;
        if events.iter().any(late) && events.iter().filter(kills).count() > 1 {
            millis(moment(0) + PRESENT_SILENCE)
        } else {
            0
        }
    }

    /// When the next thing happens.
    fn next(&self) -> Millis {
        let queued = self.queue.first_key_value().map(|((at, _), _)| *at);
        let hosts = (0..self.hosts.len()).filter_map(|host| self.server_due(host));
        let guests = (0..self.guests.len()).filter_map(|guest| self.guest_due(guest));
        let all = queued.into_iter().chain(hosts).chain(guests).chain(self.agent_due());
        all.min().unwrap_or(Millis::MAX).max(self.now)
    }

    /// What happens now: what has arrived first, then timers.
    fn turn(&mut self) {
        if let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let happening = entry.remove();
            return self.happen(happening);
        }
        for host in 0..self.hosts.len() {
            if self.server_due(host).is_some_and(|at| at <= self.now) {
                self.with_server(host, |server, now, qemus| server.handle_timeout(now, qemus));
            }
        }
        for guest in 0..self.guests.len() {
            if self.guest_due(guest).is_some_and(|at| at <= self.now) {
                let now = self.guest_time(guest);
                self.guests[guest].handle_timeout(now);
                self.settle_guest(guest);
            }
        }
        if self.agent_due().is_some_and(|at| at <= self.now) {
            self.agent_timeout();
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Begin(place) => self.begin_event(place),
            Happening::End(place) => self.end_event(place),
            Happening::ToServer(host, bytes) => self.server_hears(host, bytes),
            Happening::ToAgent(host, bytes) => self.agent_hears(host, bytes),
            Happening::ToGuest(guest, connection, bytes) => {
                self.guest_hears(guest, connection, bytes);
            }
            Happening::ToHost(guest, connection, bytes) => {
                self.host_reads(guest, connection, bytes);
            }
            Happening::Closed(host, connection) => self.host_sees_end(host, connection),
            Happening::VimTakes(number, life) => self.vim_takes(number, life),
            Happening::VimReplies(life, reply) => self.vim_replies(life, reply),
            Happening::HostsTold(life) => self.hosts_told(life),
            Happening::Command => self.command(),
        }
    }

    fn later(&mut self, delay: Millis, happening: Happening) {
        self.at(self.now + delay, happening);
    }

    fn at(&mut self, at: Millis, happening: Happening) {
        self.happenings += 1;
        self.queue.insert((at, self.happenings), happening);
    }

    /// A datagram goes through the network between a host and the controller.
    fn fly(&mut self, host: usize, bytes: &[u8], to: impl Fn(usize, Vec<u8>) -> Happening) {
        let weather = self.hosts[host].weather;
        let copies = if self.dice.per_mille(weather.lost) {
            0
        } else {
            1 + u64::from(self.dice.per_mille(weather.doubled))
        };
        self.ledger.tally.datagrams_hurt += u64::from(copies != 1);
        for _ in 0..copies {
            let mut bytes = bytes.to_vec();
            if self.dice.per_mille(weather.cut) {
                let length = self.dice.place(bytes.len());
                bytes.truncate(length);
                self.ledger.tally.datagrams_hurt += 1;
            }
            let delay = 1 + self.dice.below(weather.late_ms.max(2));
            self.later(delay, to(host, bytes));
        }
    }

    fn micros(&self, wall: i64) -> u64 {
        let elapsed = i64::try_from(self.now * 1000).unwrap_or_default();
        u64::try_from(EPOCH_MICROS + elapsed + wall).unwrap_or_default()
    }

    /// Starts to keep something from a process until it runs again.
    fn put_off(&mut self, until: Millis, happening: Happening) {
        self.at(until.max(self.now + 1), happening);
    }

    fn is_up(&self, guest: usize) -> bool {
        self.guests[guest].program == Program::Up
    }
}

/// A moment on a clock that started so many milliseconds ago.
fn moment(millis: Millis) -> MonotonicTime {
    MonotonicTime::after_start(Duration::from_millis(millis))
}

/// The first millisecond that is not before this moment.
fn millis(moment: MonotonicTime) -> Millis {
    u64::try_from(moment.since_start().as_nanos().div_ceil(1_000_000)).unwrap_or(Millis::MAX / 4)
}
