//! Whole lives on a virtual clock: guests that answer, die, freeze, flood, leave and come back, on
//! a host that is now and then not scheduled. The guests are in `simulation/guest.rs`; here is the
//! world around them, and what it holds the sessions to.

mod guest;

use std::collections::BTreeMap;
use std::time::Duration;

use super::harness::{OFF, ON};
use crate::MonotonicTime;
use crate::dice::{Dice, Seed};
use crate::guest::{Frame, HostMessage, LineFramer};
use crate::session::{Note, Output, Report, Reporting, Session, Settings, State};
use guest::{Guest, Program};

const SEEDS: u64 = 2000;
const LENGTH: Duration = Duration::from_secs(40);

#[derive(Debug, Clone)]
enum Event {
    /// Bytes of the guest's arrive at the host.
    ToHost(Vec<u8>),
    ToGuest(HostMessage),
    /// The guest has made up its answer to a challenge.
    Reply {
        generation: u32,
        number: u32,
    },
    /// No challenge came for too long.
    Watchdog {
        generation: u32,
        armed: u32,
    },
    /// Something happens to the guest.
    Incident,
    /// The guest is there again.
    Back {
        generation: u32,
    },
    /// The host's daemon, or the whole host, is not scheduled for a while.
    Stall,
}

/// One guest and the host's side of its channel.
struct Seat {
    session: Session,
    framer: LineFramer,
    guest: Guest,
    /// The session's deadline, and the later moment at which the host's clock gets round to it.
    timer: Option<(MonotonicTime, MonotonicTime)>,
    /// The newest challenge, until it is answered.
    newest: Option<(u32, MonotonicTime)>,
    /// The last right answer or `init`.
    sign_of_life: MonotonicTime,
    /// It said that it leaves, and nothing since.
    left: bool,
}

struct World {
    dice: Dice,
    now: MonotonicTime,
    settings: Settings,
    reporting: Reporting,
    events: BTreeMap<(MonotonicTime, u64), (usize, Event)>,
    count: u64,
    seats: Vec<Seat>,
    /// The times in which the host was not scheduled.
    stalls: Vec<(MonotonicTime, MonotonicTime)>,
    runs: u32,
    losses: u32,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let threshold = [1, 1, 1, 0, 2, 3][usize::try_from(dice.below(6)).unwrap()];
        let reporting = if dice.below(8) == 0 { OFF } else { ON };
        let settings = Settings { failure_threshold: threshold, ..Settings::default() };
        let mut world = Self {
            now: MonotonicTime::START,
            settings,
            reporting,
            events: BTreeMap::new(),
            count: 0,
            seats: Vec::new(),
            stalls: Vec::new(),
            runs: 0,
            losses: 0,
            dice,
        };
        for seat in 0..usize::try_from(1 + world.dice.below(2)).unwrap() {
            world.seats.push(Seat {
                session: Session::new(settings, reporting, true),
                framer: LineFramer::default(),
                guest: Guest::new(&mut world.dice),
                timer: None,
                newest: None,
                sign_of_life: world.now,
                left: false,
            });
            world.settle(seat);
            world.after(Duration::from_millis(1), seat, Event::Back { generation: 0 });
            world.after(Duration::from_secs(4), seat, Event::Incident);
        }
        world.after(Duration::from_secs(9), 0, Event::Stall);
        world
    }

    fn after(&mut self, wait: Duration, seat: usize, event: Event) {
        self.count += 1;
        self.events.insert((self.now + wait, self.count), (seat, event));
    }

    fn stalled_until(&self) -> MonotonicTime {
        self.stalls.last().map_or(MonotonicTime::START, |(_, end)| *end)
    }

    fn run(&mut self) {
        let end = MonotonicTime::after_start(LENGTH);
        while self.now < end {
            let timers =
                self.seats.iter().enumerate().filter_map(|(seat, s)| Some((s.timer?.1, seat)));
            let timer = timers.min().map(|(at, seat)| (at.max(self.stalled_until()), seat));
            let event = self.events.first_key_value().map(|(&(at, _), _)| at);
            // What has arrived is handled before the clock is looked at.
            if let Some((at, seat)) = timer.filter(|(at, _)| event.is_none_or(|event| *at < event))
            {
                self.now = self.now.max(at);
                let Self { seats, dice, now, .. } = self;
                let mut random = || dice.random();
                seats[seat].session.handle_timeout(*now, &mut random);
                self.settle(seat);
                self.check(seat);
            } else if let Some(((at, count), (seat, event))) = self.events.pop_first() {
                self.now = self.now.max(at);
                self.happen(seat, event, count);
                self.check(seat);
            }
        }
    }

    fn happen(&mut self, seat: usize, event: Event, count: u64) {
        let stalled = self.now < self.stalled_until();
        match event {
            // What the host would notice waits until it looks.
            Event::ToHost(_) | Event::Incident if stalled => {
                self.events.insert((self.stalled_until(), count), (seat, event));
            }
            Event::Back { .. } if stalled && !self.seats[seat].guest.channel => {
                self.events.insert((self.stalled_until(), count), (seat, event));
            }
            Event::ToHost(bytes) => self.heard(seat, &bytes),
            Event::Stall => {
                let intervals = self.seats.iter().map(|seat| seat.guest.interval);
                let interval = intervals.max().unwrap();
                let suspended = self.dice.below(2) == 0;
                let least = if suspended { interval * 3 } else { Duration::ZERO };
                let length = least + self.dice.part(interval, 4000);
                self.stalls.push((self.now, self.now + length));
                if suspended {
                    // The whole host, its guests with it, and for so long that the rule holds.
                    let events = std::mem::take(&mut self.events);
                    let put_off = |((at, count), event)| ((at + length, count), event);
                    self.events = events.into_iter().map(put_off).collect();
                }
                self.after(Duration::from_secs(13), seat, Event::Stall);
            }
            Event::ToGuest(_)
            | Event::Reply { .. }
            | Event::Watchdog { .. }
            | Event::Incident
            | Event::Back { .. } => {
                let now = self.now;
                let mut later = Vec::new();
                let Seat { guest, session, framer, .. } = &mut self.seats[seat];
                let was_there = guest.channel;
                guest.happen(now, event, &mut self.dice, &mut later);
                if was_there && !guest.channel {
                    *framer = LineFramer::default();
                    session.handle_closed(now);
                    session.handle_connect_failed(now, crate::session::ConnectError::Unavailable);
                } else if !was_there && guest.channel {
                    session.handle_channel_seen(now);
                }
                for (wait, event) in later {
                    self.after(wait, seat, event);
                }
                self.settle(seat);
            }
        }
    }

    /// Bytes of a guest's, in two pieces.
    fn heard(&mut self, seat: usize, bytes: &[u8]) {
        let Self { seats, dice, now, .. } = self;
        let Seat { session, framer, guest, newest, sign_of_life, .. } = &mut seats[seat];
        if !guest.channel {
            return;
        }
        let cut = usize::try_from(dice.below(1 + u64::try_from(bytes.len()).unwrap())).unwrap();
        for piece in [&bytes[..cut], &bytes[cut..]] {
            framer.push(piece, |frame| {
                if let (Some((number, _)), Frame::Line { bytes, .. }) = (*newest, &frame) {
                    let right = format!("\"heartbeat_response\":{number},");
                    if bytes.windows(right.len()).any(|part| part == right.as_bytes()) {
                        (*newest, *sign_of_life) = (None, *now);
                    }
                }
                let mut random = || dice.random();
                session.handle_frame(*now, &frame, &mut random);
            });
        }
        self.settle(seat);
    }

    /// Does what the session wants, and judges what it reports.
    fn settle(&mut self, at: usize) {
        let mut stopped = false;
        let mut excused = !self.reporting.enabled();
        while let Some(output) = self.seats[at].session.poll_output() {
            let seat = &mut self.seats[at];
            match output {
                Output::Connect if seat.guest.channel => seat.session.handle_connected(self.now),
                Output::Connect => {
                    let unavailable = crate::session::ConnectError::Unavailable;
                    seat.session.handle_connect_failed(self.now, unavailable);
                }
                Output::Send { message, .. } => {
                    match message {
                        HostMessage::InitAck { .. } => {
                            (seat.sign_of_life, seat.left) = (self.now, false);
                        }
                        HostMessage::Challenge { heartbeat_challenge } => {
                            seat.newest = Some((heartbeat_challenge, self.now));
                        }
                        HostMessage::ActionNotify { .. } | HostMessage::Nack { .. } => {}
                    }
                    let wire = self.dice.part(Duration::from_millis(2), 1000);
                    self.after(wire, at, Event::ToGuest(message));
                }
                Output::Report(Report::Running(_)) => self.runs += 1,
                Output::Report(Report::Stopped(_)) => stopped = true,
                Output::Report(Report::Loss) => {
                    self.lost(at);
                    stopped = false;
                }
                Output::Report(Report::IllHealth(_) | Report::Vote(_)) => panic!("{output:?}"),
                Output::Note(Note::Exit { .. }) => (seat.left, excused) = (true, true),
                Output::Close => excused = true,
                Output::Note(_) => {}
                Output::Forget => panic!("it is provisioned"),
            }
            excused |= !self.seats[at].guest.channel;
        }
        assert!(!stopped || excused, "STOPPED without LOSS");
        let due = self.seats[at].session.poll_timeout();
        if self.seats[at].timer.map(|(due, _)| due) != due {
            let late = self.dice.part(self.seats[at].guest.interval, 50);
            self.seats[at].timer = due.map(|due| (due, due + late));
        }
    }

    /// How long a guest may be silent before it has to have been reported as lost.
    fn patience(&self, seat: &Seat) -> Duration {
        let intervals = self.settings.failure_threshold + 2;
        let stalls = self.stalls.iter().filter(|(_, end)| *end >= seat.sign_of_life);
        let lost: Duration =
            stalls.map(|(start, end)| end.since(*start) + seat.guest.interval).sum();
        seat.guest.interval * intervals + seat.guest.interval / 20 * (intervals + 1) + lost
    }

    fn lost(&mut self, at: usize) {
        self.losses += 1;
        let seat = &self.seats[at];
        let silent = self.now.since(seat.sign_of_life);
        let (interval, threshold) = (seat.guest.interval, self.settings.failure_threshold);
        assert!(self.reporting.enabled(), "LOSS while reporting is disabled");
        assert!(!seat.left, "lost, but it had said that it leaves");
        assert!(silent + interval / 10 >= interval * (threshold + 1), "lost after {silent:?}");
        assert!(silent <= self.patience(seat), "lost as late as {silent:?}");
        let (_, sent) = seat.newest.expect("an unanswered challenge");
        assert!(!seat.guest.is_up_since(sent), "lost, but alive and answering");
    }

    fn check(&mut self, at: usize) {
        let seat = &self.seats[at];
        let (state, heartbeating) = (seat.session.state(), seat.session.info().heartbeating);
        let silent = self.now.since(seat.sign_of_life);
        if matches!(state, State::WaitingResponse | State::WaitingChallenge) {
            assert!(silent <= self.patience(seat), "silent for {silent:?} and not reported");
        }
        let stalled = self.stalls.iter().filter(|(_, end)| *end >= seat.guest.up_since);
        let stalled: Duration = stalled.map(|(start, end)| end.since(*start)).sum();
        let back = seat.guest.up_since + seat.guest.watchdog() * 3 + stalled;
        if seat.guest.program == Program::Up && self.now > back + seat.guest.interval * 2 {
            assert!(heartbeating, "back since {:?} and not heartbeating", seat.guest.up_since);
        }
    }
}

#[test]
fn every_death_is_reported_in_time_and_nobody_who_answers_is_lost() {
    let (mut runs, mut losses) = (0, 0);
    for seed in 0..SEEDS {
        let seed = Seed(seed);
        let mut world = World::new(seed.0);
        world.run();
        runs += world.runs;
        losses += world.losses;
    }
    let (runs, losses) = (u64::from(runs), u64::from(losses));
    assert!(runs > 5 * SEEDS && losses > SEEDS, "a dull world: {runs} runs, {losses} losses");
}
