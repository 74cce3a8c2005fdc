//! What is measured, in which order.

use anyhow::Result;

use super::figure::Figure;
use super::{Setup, arrival, heartbeat, hostile, idle, silence};

/// One situation of the daemon and what is measured in it.
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
    ];

    pub(super) fn title(self) -> String {
        match self {
            Self::Heartbeats { guests } => format!("{guests} guests at 1 s, reporting enabled"),
            Self::Arrivals => "sockets created one after the other".into(),
            Self::Silence => "guests fall silent one by one, T = 1 s".into(),
            Self::SilenceTogether => "100 guests silent at once, T = 1 s".into(),
            Self::Idle => "idle, no guests".into(),
            Self::Hostile => "20 normal guests beside hostile ones".into(),
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
        }
    }
}
