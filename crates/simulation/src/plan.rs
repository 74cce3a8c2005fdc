//! What goes wrong in a seed's life, and what the VIM commands: a list, so that a failing one can be shrunk.

use heartbeat_proto::guest::NotificationType;

use crate::dice::Dice;

/// Milliseconds of virtual time.
pub(crate) type Millis = u64;

/// Until the first fault, everything starts up.
const START: Millis = 8_000;

/// What may happen to datagrams between a host and the controller, in thousandths of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Weather {
    /// Lost.
    pub lost: u64,
    /// Doubled.
    pub doubled: u64,
    /// Cut off somewhere.
    pub cut: u64,
    /// Late by up to so many milliseconds, so that they overtake each other.
    pub late_ms: u64,
}

/// How the VIM behaves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum VimMode {
    /// As it should.
    #[default]
    Up,
    /// Nobody listens.
    Away,
    /// It answers 500.
    Failing,
    /// It closes the connection without a byte after it has taken an event, and answers no question.
    Silent,
    /// It takes so many milliseconds for everything.
    Slow(u64),
}

/// Something that happens. What lasts is over after [`Event::lasts`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// The network between a host and the controller is like this.
    Weather(usize, Weather),
    /// The VIM behaves like this.
    Vim(VimMode),
    /// A guestServer is killed, and started again when it is over.
    KillServer(usize),
    /// guestAgent is killed, and another is started when it is over.
    KillAgent,
    /// A guestServer is stopped by a signal.
    StopServer(usize),
    /// guestAgent is stopped by a signal.
    StopAgent,
    /// A host with its guests stands still, and so does its clock.
    SuspendHost(usize),
    /// A host with its guests gets no processor, while its clock goes on.
    StarveHost(usize),
    /// The clock of the wall at a host, or at the controller, is wrong by so many seconds.
    WallJump(Option<usize>, i64),
    /// A guest falls silent for ever.
    Die(usize),
    /// It does nothing.
    Freeze(usize),
    /// Its program ends, and another one starts when it is over.
    Restart(usize),
    /// It says what nobody wants to hear.
    Flood(usize),
    /// Its QEMU is another one, with another channel.
    Replace(usize),
    /// The file of its channel is modified.
    Modify(usize),
    /// The VIM asks for a vote, or notifies.
    Act(usize, &'static str, NotificationType),
    /// The VIM switches the reporting of an instance off, and on again when it is over.
    SwitchInstance(usize),
    /// The same with a host.
    SwitchHost(usize),
}

/// Something that happens at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Milliseconds since the start.
    pub at: Millis,
    /// For how many milliseconds.
    pub lasts: Millis,
    /// What.
    pub what: What,
}

/// Everything that a seed says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// Hosts.
    pub hosts: usize,
    /// Guests, dealt out to the hosts in turn.
    pub guests: usize,
    /// Whether datagrams are sealed.
    pub sealed: bool,
    /// What happens, in the order of time.
    pub events: Vec<Event>,
}

impl Plan {
    /// What this seed says.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed, 1);
        let hosts = 1 + dice.place(2);
        let guests = hosts + dice.place(3);
        let sealed = dice.per_mille(300);
        // Most are short, so that there can be many; in some all comes at once, and some are long.
        let (time, count) = match dice.below(40) {
            0 => (dice.between(120_000, 240_000), dice.between(20, 60)),
            1..=6 => (dice.between(20_000, 60_000), dice.between(16, 40)),
            _ => (dice.between(20_000, 60_000), dice.between(4, 16)),
        };
        let end = START + time;
        let mut events: Vec<Event> = (0..count)
            .map(|_| {
                let at = dice.between(START, end);
                let (what, lasts) = what(&mut dice, hosts, guests);
                Event { at, lasts, what }
            })
            .collect();
        events.sort_by_key(|event| event.at);
        Self { seed, hosts, guests, sealed, events }
    }

    /// When the last of it is over.
    #[must_use]
    pub fn end(&self) -> Millis {
        let ends = self.events.iter().map(|event| event.at + event.lasts);
        ends.max().unwrap_or_default().max(START)
    }

    /// The same without one of its events.
    #[must_use]
    pub fn without(&self, place: usize) -> Self {
        let mut fewer = self.clone();
        fewer.events.remove(place);
        fewer
    }
}

fn what(dice: &mut Dice, hosts: usize, guests: usize) -> (What, Millis) {
    let (host, guest) = (dice.place(hosts), dice.place(guests));
    let short = dice.between(50, 4_000);
    let long = dice.between(500, 15_000);
    match dice.below(26) {
        0..=2 => {
            let heavy = dice.per_mille(250);
            let lost = if heavy { 1000 } else { dice.between(0, 500) };
            let (doubled, cut) = (dice.between(0, 300), dice.between(0, 100));
            let late_ms = if dice.per_mille(500) { dice.between(1, 3_000) } else { 1 };
            (What::Weather(host, Weather { lost, doubled, cut, late_ms }), long)
        }
        3..=5 => {
            let mode = match dice.below(4) {
                0 => VimMode::Away,
                1 => VimMode::Failing,
                2 => VimMode::Silent,
                _ => VimMode::Slow(dice.between(100, 10_000)),
            };
            (What::Vim(mode), long)
        }
        6 | 7 => (What::KillServer(host), short),
        8 | 9 => (What::KillAgent, short),
        10 => match dice.below(4) {
            0 => (What::StopServer(host), long),
            1 => (What::StopAgent, long),
            2 => (What::SuspendHost(host), long),
            _ => (What::StarveHost(host), long),
        },
        11 => {
            let seconds = i64::try_from(dice.between(1, 7_200)).unwrap_or_default();
            let by = if dice.per_mille(500) { seconds } else { -seconds };
            let who = dice.per_mille(500).then_some(host);
            (What::WallJump(who, by), long)
        }
        12..=15 => (What::Die(guest), 0),
        16 => (What::Freeze(guest), long),
        17 => (What::Restart(guest), short),
        18 => (What::Flood(guest), 0),
        19 => (What::Replace(guest), short),
        20 => (What::Modify(guest), 0),
        21..=23 => {
            let asked = [
                ("stop", NotificationType::Revocable),
                ("pause", NotificationType::Revocable),
                ("resize_begin", NotificationType::Revocable),
                ("resize_begin", NotificationType::Irrevocable),
                ("resize_end", NotificationType::Irrevocable),
                ("stop", NotificationType::Irrevocable),
            ];
            let (action, notification) = asked[dice.place(asked.len())];
            (What::Act(guest, action, notification), 0)
        }
        24 => (What::SwitchInstance(guest), long),
        _ => (What::SwitchHost(host), long),
    }
}
