//! Says in the log what the inventory saw, and counts it.
//!
//! A change is one line. What the network can cause is held to a rate, and the next line says how
//! many were left out.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use daemon_kit::{RateLimit, limited};
use heartbeat_proto::InstanceId;
use heartbeat_proto::control::AgentCommand;
use heartbeat_proto::vim::InstanceEvent;

use crate::inventory::{Found, Note, Question, Withheld};
use crate::metrics::Metrics;

/// How often an address that is no known host is mentioned.
const STRANGER_PERIOD: Duration = Duration::from_secs(60);

/// Addresses that are remembered for that; beyond them, a new one waits for the next period.
const MAX_STRANGERS: usize = 1024;

/// Writes the log and counts. The main loop owns it.
pub(crate) struct Journal {
    pub(crate) metrics: Metrics,
    changes: RateLimit,
    alarms: RateLimit,
    complaints: RateLimit,
    unsent: RateLimit,
    vim: RateLimit,
    mutes: RateLimit,
    strangers: HashMap<IpAddr, Instant>,
    strangers_left_out: u64,
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            metrics: Metrics::default(),
            changes: RateLimit::new(1000, Duration::from_millis(50)),
            alarms: RateLimit::new(2000, Duration::from_millis(20)),
            complaints: RateLimit::new(20, Duration::from_secs(1)),
            unsent: RateLimit::new(20, Duration::from_secs(1)),
            vim: RateLimit::new(100, Duration::from_millis(200)),
            mutes: RateLimit::new(100, Duration::from_secs(1)),
            strangers: HashMap::new(),
            strangers_left_out: 0,
        }
    }
}

impl Journal {
    /// A datagram was thrown away.
    pub(crate) fn bad_datagram(&mut self, from: SocketAddr, why: &str) {
        limited!(self.complaints.allow(Instant::now()), warn, %from, why, "datagram thrown away");
    }

    /// A command could not be sent; the next audit puts right what it was for.
    pub(crate) fn unsent(&mut self, to: SocketAddr, command: &AgentCommand, why: &str) {
        self.metrics.datagrams.unsent(command.name());
        let instance = command.instance().map(tracing::field::display);
        limited!(
            self.unsent.allow(Instant::now()), warn, %to, instance, command = command.name(), why,
            "command not sent to a guestServer"
        );
    }

    /// The VIM refused an event.
    pub(crate) fn refused(&mut self, event: &InstanceEvent, why: &str) {
        limited!(
            self.vim.allow(Instant::now()), warn, instance = %event.instance,
            host = &*event.hostname, why, "the VIM refused an event: dropped"
        );
    }

    /// An event was dropped, for too many wait for the VIM.
    pub(crate) fn dropped(&mut self, event: &InstanceEvent) {
        limited!(
            self.vim.allow(Instant::now()), warn, instance = %event.instance,
            host = &*event.hostname, "too many events wait for the VIM: one dropped"
        );
    }

    /// An instance has another host: what waited for the VIM of its former one is outdated.
    pub(crate) fn outdated(&mut self, instance: InstanceId, host: &str, dropped: usize) {
        limited!(
            self.changes.allow(Instant::now()), info, %instance, host, dropped,
            "events of a moved instance's former host dropped"
        );
    }

    /// The VIM did not answer a question.
    pub(crate) fn unanswered(&mut self, question: &Question, why: &str) {
        limited!(
            self.vim.allow(Instant::now()), warn, host = &*question.hostname,
            topic = ?question.topic, why, "the VIM did not answer a question: asked again"
        );
    }

    /// An operator muted an instance.
    pub(crate) fn muted(&mut self, instance: InstanceId, host: &str, time: Duration, reason: &str) {
        limited!(
            self.mutes.allow(Instant::now()), warn, %instance, host, secs = time.as_secs(), reason,
            "muted: no fault is reported"
        );
    }

    /// A mute is over. The instance may be gone, and then it is on no host.
    pub(crate) fn unmuted(&mut self, instance: InstanceId, host: Option<&str>, why: &str) {
        limited!(self.mutes.allow(Instant::now()), info, %instance, host, why, "no longer muted");
    }

    /// The VIM takes nothing any more; the next attempt is after `pause`.
    pub(crate) fn vim_away(&mut self, why: &str, pause: Duration, waiting: usize) {
        limited!(
            self.vim.allow(Instant::now()),
            warn,
            why,
            pause_ms = pause.as_millis(),
            waiting,
            "the VIM cannot be told: trying again"
        );
    }

    /// The VIM takes events again.
    pub(crate) fn vim_back(&mut self, waiting: usize) {
        limited!(self.vim.allow(Instant::now()), info, waiting, "the VIM can be told again");
    }

    fn stranger(&mut self, from: SocketAddr, host: &str) {
        let now = Instant::now();
        let ip = from.ip();
        let recently = |at: &Instant| now.duration_since(*at) < STRANGER_PERIOD;
        if self.strangers.get(&ip).is_some_and(recently) {
            self.strangers_left_out += 1;
            return;
        }
        if self.strangers.len() >= MAX_STRANGERS {
            self.strangers.retain(|_, at| recently(at));
            if self.strangers.len() >= MAX_STRANGERS {
                self.strangers_left_out += 1;
                return;
            }
        }
        self.strangers.insert(ip, now);
        let left_out = std::mem::take(&mut self.strangers_left_out);
        limited!(
            Some(left_out), warn, %from, host,
            "datagram from a host that is not known: thrown away"
        );
    }

    /// What the inventory saw.
    #[expect(clippy::too_many_lines, reason = "one arm a note, each a line of the log")]
    pub(crate) fn note(&mut self, note: &Note) {
        let now = Instant::now();
        match note {
            Note::HostAdded { name, ip } => {
                limited!(self.changes.allow(now), info, host = &**name, %ip, "host added");
            }
            Note::HostChanged { name, ip } => {
                limited!(self.changes.allow(now), info, host = &**name, %ip, "host changed");
            }
            Note::HostDeleted { name, instances } => {
                limited!(self.changes.allow(now), info, host = &**name, instances, "host deleted");
            }
            Note::HostRefused { name, why } => {
                limited!(self.complaints.allow(now), warn, host = &**name, why, "host refused");
            }
            Note::HostReporting { name, reporting } => limited!(
                self.changes.allow(now),
                info,
                host = &**name,
                reporting,
                "fault reporting of a host changed"
            ),
            Note::InstanceAdded { instance, host, reporting } => limited!(
                self.changes.allow(now), info, %instance, host = &**host, reporting,
                "instance added"
            ),
            Note::InstanceMoved { instance, from, to } => limited!(
                self.changes.allow(now), info, %instance, from = &**from, to = &**to,
                "instance moved"
            ),
            Note::InstanceDeleted { instance, host } => {
                limited!(self.changes.allow(now), info, %instance, host = &**host, "instance deleted");
            }
            Note::InstanceReporting { instance, host, reporting } => limited!(
                self.changes.allow(now), info, %instance, host = &**host, reporting,
                "fault reporting of an instance changed"
            ),
            Note::Heartbeating { instance, host, heartbeating, by } => {
                let by = match by {
                    Found::Told => "guestServer",
                    Found::Audit => "audit",
                };
                limited!(
                    self.changes.allow(now), info, %instance, host = &**host, heartbeating, by,
                    "heartbeat of an instance changed"
                );
            }
            Note::Alarm { instance, host, state } => {
                self.metrics.alarms.increment();
                limited!(
                    self.alarms.allow(now), warn, %instance, host = &**host, state,
                    "instance failed"
                );
            }
            Note::AlarmWithheld { instance, host, state, why } => {
                match why {
                    Withheld::Reporting => self.metrics.alarms_withheld.increment(),
                    Withheld::Muted => self.metrics.alarms_muted.increment(),
                    // It comes again.
                    Withheld::Unknown => {}
                }
                limited!(
                    self.alarms.allow(now), info, %instance, host = &**host, state, why = why.text(),
                    "instance failed; not told to the VIM"
                );
            }
            Note::Vote { instance, host, event, response } => {
                self.metrics.votes.increment();
                limited!(
                    self.changes.allow(now), info, %instance, host = &**host,
                    event = &**event, response,
                    "vote is over"
                );
            }
            Note::ServerReady { host } => {
                limited!(self.changes.allow(now), info, host = &**host, "guestServer is ready");
            }
            Note::Corrected { instance, host } => {
                self.metrics.corrections.increment();
                limited!(
                    self.complaints.allow(now), info, %instance, host = &**host,
                    "guestServer had another reporting state: corrected"
                );
            }
            Note::Disowned { instance, host } => {
                self.metrics.disowned.increment();
                limited!(
                    self.complaints.allow(now), info, %instance, host = &**host,
                    "guestServer has an instance that is not on its host: deleted there"
                );
            }
            Note::ForeignEvent { instance, host, event } => {
                limited!(
                    self.complaints.allow(now), info, %instance, host = &**host, event,
                    "event about an instance that is not on that host: ignored"
                );
            }
            Note::UnknownSender { from, hostname } => {
                self.stranger(*from, hostname);
            }
            Note::OtherAddress { from, host } => limited!(
                self.complaints.allow(now), warn, %from, host = &**host,
                "host sends from another address than the maintenance system gave"
            ),
            Note::AnswerRefused { host, why } => {
                self.metrics.questions_failed.increment();
                limited!(
                    self.complaints.allow(now),
                    warn,
                    host = &**host,
                    why,
                    "answer of the VIM refused"
                );
            }
        }
    }
}
