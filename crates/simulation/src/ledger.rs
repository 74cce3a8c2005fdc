//! The books: what guestServers reported, what the VIM was told, and how often it may be and has to be.

use std::collections::BTreeMap;
use std::fmt;

use heartbeat_proto::InstanceId;
use heartbeat_proto::control::{Datagram, ServerEvent};
use heartbeat_proto::session::Report;
use heartbeat_proto::vim::{AlarmState, EventKind};

/// Something that the VIM has to be told once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    /// A guest fell silent.
    Loss(InstanceId),
    /// A vote or notification ended, for this reason: each answer of a guest's has one of its own.
    Vote(InstanceId, String),
}

impl Key {
    pub(crate) fn reported(instance: InstanceId, report: &Report) -> Option<Self> {
        match report {
            Report::Loss => Some(Self::Loss(instance)),
            Report::Vote(vote) => Some(Self::Vote(instance, vote.reason.to_string())),
            Report::Running(_) | Report::Stopped(_) | Report::IllHealth(_) => None,
        }
    }

    pub(crate) fn kept(event: &ServerEvent) -> Option<Self> {
        match event {
            ServerEvent::Loss(instance) => Some(Self::Loss(*instance)),
            ServerEvent::VoteNotify(instance, vote) => {
                Some(Self::Vote(*instance, vote.reason.to_string()))
            }
            ServerEvent::MonitorReady
            | ServerEvent::Instance(..)
            | ServerEvent::Running(..)
            | ServerEvent::Stopped(..)
            | ServerEvent::IllHealth(..) => None,
        }
    }

    /// What a datagram of a guestServer's reports.
    pub(crate) fn sent(bytes: &[u8]) -> Option<Self> {
        let hosted = ServerEvent::decode(&Datagram::decode(bytes).ok()?).ok()?;
        Self::kept(&hosted.event)
    }

    pub(crate) fn told(instance: InstanceId, kind: &EventKind) -> Option<Self> {
        match kind {
            EventKind::Alarm { state: AlarmState::Failed, .. } => Some(Self::Loss(instance)),
            EventKind::Action { reason, .. } => Some(Self::Vote(instance, reason.to_string())),
            EventKind::Alarm { state: AlarmState::Unhealthy, .. } | EventKind::Service { .. } => {
                None
            }
        }
    }
}

/// How often.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Count {
    reported: u32,
    delivered: u32,
    /// It may have been told once more, for guestAgent was killed at the wrong moment.
    allowed: u32,
    /// It has to be told so often.
    required: u32,
}

/// What was counted, to see that a simulation is not vacuous.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Seeds.
    pub seeds: u64,
    /// Guests that died for ever.
    pub deaths: u64,
    /// Of those, the ones that had to be noticed.
    pub watched: u64,
    /// LOSS that sessions reported.
    pub losses: u64,
    /// Alarms at the VIM.
    pub alarms: u64,
    /// Votes and notifications that were asked for and went out to a host.
    pub asked: u64,
    /// Outcomes at the VIM.
    pub votes: u64,
    /// guestServers killed.
    pub servers_killed: u64,
    /// guestAgents killed.
    pub agents_killed: u64,
    /// Times in which the VIM did not do as it should.
    pub outages: u64,
    /// Datagrams that were lost, cut off or doubled.
    pub datagrams_hurt: u64,
    /// What the VIM was told once more, for guestAgent was killed in between.
    pub doubled: u64,
    /// What the VIM need not be told any more, for it was lost with its guestServer, or the guest was back.
    pub excused: u64,
}

impl Tally {
    /// Adds another's counts.
    pub fn add(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.deaths += other.deaths;
        self.watched += other.watched;
        self.losses += other.losses;
        self.alarms += other.alarms;
        self.asked += other.asked;
        self.votes += other.votes;
        self.servers_killed += other.servers_killed;
        self.agents_killed += other.agents_killed;
        self.outages += other.outages;
        self.datagrams_hurt += other.datagrams_hurt;
        self.doubled += other.doubled;
        self.excused += other.excused;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seeds, deaths, watched, losses, alarms, asked, votes, .. } = self;
        let Self {
            servers_killed, agents_killed, outages, datagrams_hurt, doubled, excused, ..
        } = self;
        writeln!(f, "{seeds} seeds")?;
        writeln!(
            f,
            "{deaths} deaths of guests, {watched} of them before the eyes of a guestServer"
        )?;
        writeln!(f, "{losses} failures reported, {alarms} alarms at the VIM")?;
        writeln!(f, "{asked} votes and notifications asked for, {votes} outcomes at the VIM")?;
        writeln!(f, "{servers_killed} guestServers and {agents_killed} guestAgents killed")?;
        writeln!(
            f,
            "{outages} outages of the VIM, {datagrams_hurt} datagrams lost, doubled or cut"
        )?;
        write!(
            f,
            "{doubled} told once more, for guestAgent was killed in between; {excused} lost with their \
             guestServer, or outdated"
        )
    }
}

/// The books of one life.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    counts: BTreeMap<Key, Count>,
    pub(crate) tally: Tally,
    /// The first thing that was wrong.
    pub(crate) wrong: Option<String>,
}

impl Ledger {
    /// Something is as it must not be.
    pub(crate) fn accuse(&mut self, what: impl FnOnce() -> String) {
        if self.wrong.is_none() {
            self.wrong = Some(what());
        }
    }

    /// A session reported this; `required`: the VIM has to be told.
    pub(crate) fn handle_reported(&mut self, key: Key, required: bool) {
        self.tally.losses += u64::from(matches!(key, Key::Loss(_)));
        let count = self.counts.entry(key).or_default();
        count.reported += 1;
        count.required += u32::from(required);
    }

    pub(crate) fn handle_delivered(&mut self, key: &Key) {
        match key {
            Key::Loss(_) => self.tally.alarms += 1,
            Key::Vote(..) => self.tally.votes += 1,
        }
        let count = self.counts.entry(key.clone()).or_default();
        count.delivered += 1;
        self.tally.doubled += u64::from(count.delivered > count.reported);
        if count.delivered > count.reported + count.allowed {
            let count = *count;
            self.accuse(|| format!("the VIM was told {key:?} too often: {count:?}"));
        }
    }

    /// What was reported of this so far need not be told any more.
    pub(crate) fn excuse(&mut self, key: &Key) {
        if let Some(count) = self.counts.get_mut(key)
            && count.required > count.delivered
        {
            self.tally.excused += u64::from(count.required - count.delivered);
            count.required = count.delivered;
        }
    }

    /// The guest has been told of as failed often enough.
    pub(crate) fn excuse_loss(&mut self, instance: InstanceId) {
        self.excuse(&Key::Loss(instance));
    }

    /// guestAgent is killed while its guestServer keeps this, or a copy is on its way, and the VIM has it, or is about to.
    pub(crate) fn allow_again(&mut self, key: &Key, in_flight: bool) {
        if let Some(count) = self.counts.get_mut(key)
            && (count.delivered > 0 || in_flight)
        {
            count.allowed += 1;
        }
    }

    pub(crate) fn losses_of(&self, instance: InstanceId) -> u32 {
        self.counts.get(&Key::Loss(instance)).map_or(0, |count| count.reported)
    }

    /// Everything that has to be told has been.
    pub(crate) fn check_all_told(&mut self) {
        let missing = self.counts.iter().find(|(_, count)| count.delivered < count.required);
        if let Some((key, count)) = missing {
            let what = format!("the VIM was not told {key:?}: {count:?}");
            self.accuse(|| what);
        }
    }
}
