//! Whole lives on a virtual clock, real client against real session: a channel that loses, delays and cuts, programs
//! that stand still, die and start again on either side. The channel is in `simulation/channel.rs`, the two programs
//! in `host.rs` and `guest.rs`; here is what happens to them, and what they are held to once it is over.

mod channel;
mod guest;
mod host;

use std::time::Duration;

use crate::MonotonicTime;
use crate::client::State;
use crate::dice::Seed;
use crate::guest::{EventType, NotificationType};
use crate::session::ConcludedBy;
use channel::{Channel, Tally};
use guest::Guest;
use host::Host;

const SEEDS: u64 = 10_000;

/// This long, things go wrong.
const TROUBLE: Duration = Duration::from_secs(30);

/// So much later at most, all is well: a guest waits up to 8 s for a challenge before it starts over.
const RECOVERY: Duration = Duration::from_secs(10);

/// So much longer, it stays so.
const PEACE: Duration = Duration::from_secs(20);

/// Actions that may come at any time. Not those after which an `init` is expected a minute later or no challenges go
/// out: they end the heartbeat on purpose.
const ACTIONS: [(&str, NotificationType); 8] = [
    ("pause", NotificationType::Revocable),
    ("resize_begin", NotificationType::Revocable),
    ("resize_begin", NotificationType::Irrevocable),
    ("resize_end", NotificationType::Irrevocable),
    ("live_migrate_end", NotificationType::Irrevocable),
    ("unpause", NotificationType::Irrevocable),
    ("resume", NotificationType::Irrevocable),
    ("defragment", NotificationType::Revocable),
];

struct World {
    channel: Channel,
    host: Host,
    guest: Guest,
    next_trouble: MonotonicTime,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut channel = Channel::new(seed);
        let guest = Guest::new(&mut channel.dice);
        let host = Host::new(&mut channel);
        Self { channel, host, guest, next_trouble: MonotonicTime::START }
    }

    fn run(&mut self) {
        self.pass(TROUBLE, Self::trouble, |_| ());
        self.channel.calm();
        self.host.calm(self.channel.now);
        self.guest.calm(self.channel.now);
        self.pass(RECOVERY, |_| Duration::MAX, |_| ());
        let missed = self.channel.tally.missed;
        // Neither of these was asked before, so that no former answer is taken for theirs.
        self.act("stop", NotificationType::Revocable);
        self.pass(PEACE / 2, |_| Duration::MAX, Self::is_well);
        self.is_answered();
        self.act("stop", NotificationType::Irrevocable);
        self.pass(PEACE / 2, |_| Duration::MAX, Self::is_well);
        self.is_answered();
        assert_eq!(self.channel.tally.missed, missed, "missed in peace");
    }

    /// This much time passes; `trouble` makes some and says how long until there is more.
    fn pass(&mut self, length: Duration, trouble: fn(&mut Self) -> Duration, check: fn(&Self)) {
        let end = self.channel.now + length;
        loop {
            let host = self.host.wakes(&self.channel);
            let guest = self.guest.wakes(&self.channel);
            let trouble_at = Some(self.next_trouble);
            let next = [host, guest, trouble_at].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            let now = self.channel.now.max(next);
            self.channel.now = now;
            if self.next_trouble <= now {
                self.next_trouble = now + trouble(self);
            } else if host.is_some_and(|host| host <= now) {
                self.host.turn(&mut self.channel);
            } else {
                self.guest.turn(&mut self.channel);
            }
            check(self);
        }
        self.channel.now = end;
        check(self);
        self.next_trouble = end;
    }

    fn is_well(&self) {
        let state = self.guest.state();
        assert!(matches!(state, Some(State::Enabled { .. })), "the guest is {state:?}");
        let session = &self.host.session;
        assert!(session.info().heartbeating, "the host's session is {:?}", session.state());
    }

    fn act(&mut self, event: &str, notification: NotificationType) {
        self.channel.tally.asked += 1;
        self.host.act(&mut self.channel, &EventType::from(event), notification);
    }

    /// The last action had the guest's own answer.
    fn is_answered(&self) {
        let (vote, by) = self.host.concluded.as_ref().expect("it is over");
        assert_eq!(*by, ConcludedBy::Answer, "{vote:?}");
        let (action, verdict) = self.guest.decided.as_ref().expect("the guest was asked");
        let said = (&action.event_type, action.notification_type, verdict.vote_result);
        assert_eq!((&vote.event_type, vote.notification_type, vote.vote), said);
        assert_eq!(vote.reason, verdict.log_msg);
    }

    fn trouble(&mut self) -> Duration {
        let Self { channel, host, guest, .. } = self;
        let now = channel.now;
        let while_ms = |channel: &mut Channel, most| channel.dice.millis(1, most);
        match channel.dice.below(16) {
            0 | 1 => host.lose_connection(channel),
            2 => host.asleep_until = now + while_ms(channel, 9000),
            3 => guest.asleep_until = now + while_ms(channel, 15_000),
            // Most of the time for a moment that neither may notice.
            4 => {
                let most = if channel.dice.one_in(2) { 200 } else { 9000 };
                host.asleep_until = now + while_ms(channel, most);
                guest.asleep_until = host.asleep_until;
            }
            5 => host.deaf_until = now + while_ms(channel, 6000),
            6 | 7 => guest.die(channel),
            8 => host.restart(channel),
            9 => guest.shut(channel),
            10 => guest.change(channel),
            11 if channel.dice.one_in(2) => host.change(channel),
            11..=14 => {
                let at = usize::try_from(channel.dice.below(8)).unwrap();
                let (event, notification) = ACTIONS[at];
                self.act(event, notification);
            }
            _ => channel.weather(),
        }
        self.channel.dice.millis(50, 4000)
    }
}

#[test]
fn whatever_went_wrong_both_sides_find_each_other_again() {
    let mut all = Tally::default();
    for seed in 0..SEEDS {
        let seed = Seed(seed);
        let mut world = World::new(seed.0);
        world.run();
        all.add(&world.channel.tally);
    }
    println!("{SEEDS} worlds: {all:?}");
    all.assert_not_dull(SEEDS);
}
