//! What a lab guest does, well or badly.

use std::time::Duration;

use heartbeat_proto::client::Health;
use heartbeat_proto::guest::{CorrectiveAction, GuestMessage, MAX_CHALLENGE};

use super::profile::{Answering, Profile, Voting};

/// What one write of a flood holds, about.
pub(super) const FLOOD_BYTES: usize = 16 * 1024;

/// What a guest does. All parts can be combined, and changed while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behaviour {
    /// What its program says of itself, and how it answers. When `init` has something new to say, it says it at once.
    pub profile: Profile,
    /// Whether the program says anything.
    pub speaks: bool,
    /// Whether the program reads anything: what the host writes stays in the channel until that is full.
    pub reads: bool,
    /// What it writes besides, as fast as the host reads it.
    pub flood: Option<Flood>,
    /// How its messages are cut into writes.
    pub writing: Writing,
    /// When the program opens its end of the channel. Only matters at the start.
    pub opening: Opening,
    /// Whether the socket has the older name. Only matters at the start.
    pub older_name: bool,
    /// How many of the things it saw it remembers; of more, the oldest go. Without any, waiting is in vain.
    pub remembers: usize,
    /// Whether it remembers the time of each challenge, 16 bytes each.
    pub times_challenges: bool,
}

/// What a guest writes as fast as it can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flood {
    /// Answers to challenges that nobody made, well-formed: each is counted and ignored.
    Responses,
    /// `init` after `init`: each is acknowledged and challenged.
    Inits,
    /// Lines that are no JSON.
    Garbage,
    /// Objects of an unknown type: each is worth a `nack`.
    Unsupported,
    /// The shortest lines there are: as many as fit into a read.
    ShortLines,
    /// A line that never ends.
    EndlessLine,
}

/// How messages are cut into writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writing {
    /// What is to be said, in one write.
    Whole,
    /// Each byte in a write of its own, this long after the one before.
    Fragmented(Duration),
    /// Each message this many times, all in one write.
    Joined(usize),
}

/// When the program opens its end of the channel: before that, it says nothing, and what the host writes waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// At the start.
    AtOnce,
    /// This long after the start.
    After(Duration),
    /// When [`Guest::open`](super::Guest::open) says so.
    OnCommand,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            profile: Profile::default(),
            speaks: true,
            reads: true,
            flood: None,
            writing: Writing::Whole,
            opening: Opening::AtOnce,
            older_name: false,
            remembers: 1000,
            times_challenges: false,
        }
    }
}

impl Behaviour {
    /// Heartbeats as it should, once a second, and agrees to everything.
    #[must_use]
    pub fn normal() -> Self {
        Self::default()
    }

    /// As [`Behaviour::normal`], for thousands: it remembers nothing but its counters.
    #[must_use]
    pub fn forgetful() -> Self {
        Self { remembers: 0, ..Self::default() }
    }

    /// Takes the connection and whatever it is told, and never says anything.
    #[must_use]
    pub fn silent() -> Self {
        Self { speaks: false, ..Self::default() }
    }

    /// Says `init` until it is acknowledged, then nothing more.
    #[must_use]
    pub fn init_then_silent() -> Self {
        Self::answering(Answering::Never)
    }

    /// Answers challenges this much later.
    #[must_use]
    pub fn late(delay: Duration) -> Self {
        Self::answering(Answering::Late(delay))
    }

    /// Answers challenges with a wrong number.
    #[must_use]
    pub fn wrong_number() -> Self {
        Self::answering(Answering::WrongNumber)
    }

    /// Heartbeats, and says that it is not well.
    #[must_use]
    pub fn unhealthy(corrective_action: CorrectiveAction, text: &str) -> Self {
        let health = Health::Unhealthy { corrective_action, log_msg: text.into() };
        Self { profile: Profile { health, ..Profile::default() }, ..Self::default() }
    }

    /// Heartbeats, and floods the channel besides.
    #[must_use]
    pub fn flooding(flood: Flood) -> Self {
        Self { flood: Some(flood), ..Self::default() }
    }

    /// Heartbeats, each byte in a write of its own.
    #[must_use]
    pub fn fragmenting() -> Self {
        Self { writing: Writing::Fragmented(Duration::ZERO), ..Self::default() }
    }

    /// Heartbeats, and says everything this many times in one write.
    #[must_use]
    pub fn joining(times: usize) -> Self {
        Self { writing: Writing::Joined(times), ..Self::default() }
    }

    /// Says `init` again and again, and never reads an answer.
    #[must_use]
    pub fn stalled() -> Self {
        Self { reads: false, ..Self::default() }
    }

    /// Heartbeats, and votes like this.
    #[must_use]
    pub fn voting(voting: Voting) -> Self {
        Self { profile: Profile { voting, ..Profile::default() }, ..Self::default() }
    }

    /// The same with another interval between challenges.
    #[must_use]
    pub fn every(mut self, interval: Duration) -> Self {
        self.profile.settings.heartbeat_interval_ms =
            u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        self
    }

    /// The same with another name in `init`.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.profile.settings.name = name.into();
        self
    }

    fn answering(answering: Answering) -> Self {
        Self { profile: Profile { answering, ..Profile::default() }, ..Self::default() }
    }
}

impl Flood {
    /// Appends the next part of the flood; parts make whole lines, but for the line without an end.
    pub(super) fn pour(self, init: &GuestMessage, out: &mut Vec<u8>) {
        let end = out.len() + FLOOD_BYTES;
        while out.len() < end {
            match self {
                Self::Responses => {
                    // One more than any challenge has.
                    let number = u64::from(MAX_CHALLENGE) + 1;
                    out.extend_from_slice(
                        format!(
                            "\n{{\"version\":3,\"revision\":1,\"msg_type\":\"challenge_response\",\
                             \"sequence\":1,\"heartbeat_response\":{number},\
                             \"heartbeat_health\":\"healthy\",\"corrective_action\":\"none\",\
                             \"log_msg\":\"\"}}\n"
                        )
                        .as_bytes(),
                    );
                }
                Self::Inits => init.encode(1, out),
                Self::Garbage => out.extend_from_slice(b"\n\x00\xff{{ garbage \x1b[2J ]]\n"),
                Self::Unsupported => out.extend_from_slice(
                    b"\n{\"version\":3,\"revision\":1,\"msg_type\":\"whatever\",\"sequence\":1}\n",
                ),
                Self::ShortLines => out.extend_from_slice(b"x\n{}\n"),
                Self::EndlessLine => out.resize(end, b'x'),
            }
        }
    }
}
