//! What is measured, in which order.

use anyhow::Result;

use super::figure::Figure;
use super::{Setup, agent, arrival, client, heartbeat, hostile, idle, sealing, silence};

/// Whose figures these are: each daemon has a table and a file of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    Server,
    Agent,
    Client,
}

impl Subject {
    pub(super) const ALL: &[Self] = &[Self::Server, Self::Agent, Self::Client];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Server => "guestServer",
            Self::Agent => "guestAgent",
            Self::Client => "guestClient",
        }
    }

    /// The name of the file with its figures.
    pub(super) const fn file(self) -> &'static str {
        match self {
            Self::Server => "guest-server.json",
            Self::Agent => "guest-agent.json",
            Self::Client => "guest-client.json",
        }
    }
}

/// One situation of a daemon and what is measured in it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scenario {
    /// Started before so many sockets, heartbeating them all, stopped.
    Heartbeats { guests: u16 },
    /// Sockets that appear one after the other.
    Arrivals,
    /// Guests that fall silent one by one.
    Silence,
    /// Guests that fall silent all at once.
    SilenceTogether,
    /// No guests.
    Idle,
    /// Guests that want to do harm.
    Hostile,
    /// Datagrams with keys.
    Sealing,
    /// guestAgent with a fleet of a thousand hosts.
    Crowd,
    /// guestAgent while the VIM hangs.
    VimHangs,
    /// Guests that fall silent, with both daemons.
    SilenceToVim,
    /// guestClient in its machine.
    Client,
}

impl Scenario {
    pub(super) const ALL: &[Self] = &[
        Self::Heartbeats { guests: 1000 },
        Self::Heartbeats { guests: 100 },
        Self::Arrivals,
        Self::Silence,
        Self::SilenceTogether,
        Self::Idle,
        Self::Hostile,
        Self::Sealing,
        Self::Crowd,
        Self::SilenceToVim,
        Self::VimHangs,
        Self::Client,
    ];

    pub(super) const fn subject(self) -> Subject {
        match self {
            Self::Heartbeats { .. }
            | Self::Arrivals
            | Self::Silence
            | Self::SilenceTogether
            | Self::Idle
            | Self::Hostile
            | Self::Sealing => Subject::Server,
            Self::Crowd | Self::SilenceToVim | Self::VimHangs => Subject::Agent,
            Self::Client => Subject::Client,
        }
    }

    /// Whether it is measured in the first run only, for it takes long.
    pub(super) const fn once(self) -> bool {
        matches!(self, Self::VimHangs)
    }

    /// Whether `--only` with this text means this one.
    pub(super) fn matches(self, text: &str) -> bool {
        let whole = format!("{}: {}", self.subject().name(), self.title());
        whole.to_lowercase().contains(&text.to_lowercase())
    }

    pub(super) fn title(self) -> String {
        match self {
            Self::Heartbeats { guests } => format!("{guests} guests at 1 s, reporting enabled"),
            Self::Arrivals => "sockets created one after the other".into(),
            Self::Silence => "guests fall silent one by one, T = 1 s".into(),
            Self::SilenceTogether => "100 guests silent at once, T = 1 s".into(),
            Self::Idle => "idle, no guests".into(),
            Self::Hostile => "20 normal guests beside hostile ones".into(),
            Self::Sealing => "datagrams sealed with keys".into(),
            Self::Crowd => "1,000 hosts with 100 instances each".into(),
            Self::SilenceToVim => "guests fall silent, both daemons, T = 1 s".into(),
            Self::VimHangs => "the VIM hangs; 1,000 states, 100 alarms, 100 votes".into(),
            Self::Client => "answering one challenge a second".into(),
        }
    }

    /// Measures once.
    ///
    /// # Errors
    ///
    /// It cannot be measured: something that is not a matter of speed went wrong.
    pub(super) async fn measure(self, setup: &Setup) -> Result<Vec<Figure>> {
        match self {
            Self::Heartbeats { guests } => heartbeat::measure(setup, guests).await,
            Self::Arrivals => arrival::measure(setup).await,
            Self::Silence => silence::one_by_one(setup).await,
            Self::SilenceTogether => silence::together(setup).await,
            Self::Idle => idle::measure(setup).await,
            Self::Hostile => hostile::measure(setup).await,
            Self::Sealing => sealing::measure(setup),
            Self::Crowd => agent::crowd::measure(setup).await,
            Self::SilenceToVim => agent::silence::measure(setup).await,
            Self::VimHangs => agent::hang::measure(setup).await,
            Self::Client => client::measure(setup).await,
        }
    }
}
