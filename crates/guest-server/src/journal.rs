//! Says in the log what sessions saw, and counts it.
//!
//! A change of state is one line. Whatever a guest can cause is held to a rate, all guests taken
//! together, and the next line says how many were left out.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use daemon_kit::{RateLimit, limited};
use heartbeat_proto::control::ServerEvent;
use heartbeat_proto::session::{ConcludedBy, Note};
use heartbeat_proto::{HostId, InstanceId};
use tracing::debug;

use crate::metrics::Metrics;

/// The rates of the log lines, by what they are about.
#[derive(Debug)]
struct Limits {
    /// Changes of a guest's state.
    changes: RateLimit,
    /// Guests that fail.
    losses: RateLimit,
    /// What operators mute.
    mutes: RateLimit,
    /// Votes and notifications.
    votes: RateLimit,
    /// What guests get wrong.
    complaints: RateLimit,
    /// Guests that send too much: what makes them so noisy must not drown this.
    floods: RateLimit,
    /// Datagrams that are wrong.
    datagrams: RateLimit,
    /// Who commands, and what of the host.
    host: RateLimit,
    /// Events that could not be sent.
    unsent: RateLimit,
    /// Time that this process lost.
    lost_time: RateLimit,
    /// Channels that cannot be connected.
    connections: RateLimit,
}

/// Writes the log and counts.
#[derive(Debug)]
pub(crate) struct Journal {
    pub(crate) metrics: Metrics,
    limits: Mutex<Limits>,
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            metrics: Metrics::default(),
            limits: Mutex::new(Limits {
                changes: RateLimit::new(1000, Duration::from_millis(50)),
                losses: RateLimit::new(2000, Duration::from_millis(20)),
                mutes: RateLimit::new(100, Duration::from_secs(1)),
                votes: RateLimit::new(200, Duration::from_millis(100)),
                complaints: RateLimit::new(20, Duration::from_secs(1)),
                floods: RateLimit::new(20, Duration::from_secs(1)),
                datagrams: RateLimit::new(20, Duration::from_secs(1)),
                host: RateLimit::new(20, Duration::from_secs(1)),
                unsent: RateLimit::new(20, Duration::from_secs(1)),
                lost_time: RateLimit::new(5, Duration::from_secs(2)),
                connections: RateLimit::new(200, Duration::from_millis(200)),
            }),
        }
    }
}

/// One line, if its rate allows.
macro_rules! line {
    ($journal:expr, $limit:ident, $level:ident, $($rest:tt)+) => {
        limited!($journal.allow(|limits| &mut limits.$limit), $level, $($rest)+)
    };
}

impl Journal {
    fn allow(&self, limit: impl FnOnce(&mut Limits) -> &mut RateLimit) -> Option<u64> {
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        limit(&mut limits).allow(Instant::now())
    }

    /// A channel was connected.
    pub(crate) fn connected(&self, instance: InstanceId, name: &str) {
        self.metrics.connections.increment();
        line!(self, changes, info, %instance, name, "channel connected");
    }

    /// A channel was closed.
    pub(crate) fn closed(&self, instance: InstanceId, name: &str, why: &str) {
        line!(self, changes, info, %instance, name, why, "channel closed");
    }

    /// An attempt to connect failed; `news` if that has not been told since it was connected.
    pub(crate) fn unreachable(&self, instance: InstanceId, name: &str, why: &str, news: bool) {
        self.metrics.connection_failures.increment();
        if news {
            line!(
                self, connections, warn, %instance, name, why,
                "cannot connect to the channel, trying again"
            );
        } else {
            debug!(%instance, name, why, "still cannot connect to the channel");
        }
    }

    /// There is no channel of this instance.
    pub(crate) fn no_channel(&self, instance: InstanceId, name: &str, why: &str) {
        self.metrics.channels_missing.increment();
        debug!(%instance, name, why, "no channel");
    }

    /// An instance is watched from now on. What its guest calls itself, it has not said yet.
    pub(crate) fn added(&self, instance: InstanceId, provisioned: bool) {
        line!(self, changes, info, %instance, provisioned, "instance added");
    }

    /// An instance is no longer watched.
    pub(crate) fn forgotten(&self, instance: InstanceId, name: &str) {
        line!(self, changes, info, %instance, name, "instance forgotten");
    }

    /// Reading from a guest was put off.
    pub(crate) fn put_off(&self, instance: InstanceId, name: &str) {
        self.metrics.reads_put_off.increment();
        line!(self, floods, warn, %instance, name, "guest sends too much: reading more slowly");
    }

    /// Somebody else commands from now on.
    pub(crate) fn commanded(&self, address: std::net::IpAddr) {
        line!(self, host, info, %address, "commanded by this controller from now on");
    }

    /// The controller switched the reporting of the whole host.
    pub(crate) fn host_reporting(&self, host: HostId, reporting: bool) {
        line!(self, host, info, host_uuid = %host, reporting, "fault reporting of this host changed");
    }

    /// A datagram was thrown away.
    pub(crate) fn bad_datagram(&self, from: std::net::SocketAddr, why: &str) {
        line!(self, datagrams, warn, %from, why, "datagram thrown away");
    }

    /// An event could not be sent; a guest's state reaches the controller with its next query.
    pub(crate) fn unsent(&self, event: &ServerEvent, name: Option<&str>, why: &str) {
        self.metrics.datagrams.unsent(event.name());
        let (instance, event) = (event.instance().map(tracing::field::display), event.name());
        line!(self, unsent, warn, instance, name, event, why, "event not sent to the controller");
    }

    /// A report was given up: nobody acknowledged it in time, or there were too many.
    pub(crate) fn given_up(&self, event: &ServerEvent, name: Option<&str>) {
        self.metrics.datagrams.given_up.increment();
        let (instance, event) = (event.instance().map(tracing::field::display), event.name());
        line!(
            self,
            unsent,
            error,
            instance,
            name,
            event,
            "report given up: no controller acknowledged it"
        );
    }

    /// A command was thrown away. The guest's name is known if the instance is.
    pub(crate) fn bad_command(
        &self,
        instance: InstanceId,
        name: Option<&str>,
        command: &str,
        why: &str,
    ) {
        line!(self, datagrams, warn, %instance, name, command, why, "command thrown away");
    }

    /// An operator muted an instance.
    pub(crate) fn muted(&self, instance: InstanceId, name: &str, time: Duration, reason: &str) {
        let secs = time.as_secs();
        line!(self, mutes, warn, %instance, name, secs, reason, "muted: no fault is reported");
    }

    /// A mute is over.
    pub(crate) fn unmuted(&self, instance: InstanceId, name: &str, why: &str) {
        line!(self, mutes, info, %instance, name, why, "no longer muted");
    }

    /// A fault is not reported, for its instance is muted.
    pub(crate) fn withheld(&self, instance: InstanceId, name: &str, fault: &str, reason: &str) {
        self.metrics.faults_muted.increment();
        line!(self, losses, warn, %instance, name, fault, reason, "not reported, for it is muted");
    }

    /// What a session saw.
    pub(crate) fn note(&self, instance: InstanceId, name: &str, note: &Note) {
        let metrics = &self.metrics;
        match note {
            Note::Init { name, interval, corrective_action } => {
                metrics.inits.increment();
                line!(
                    self, changes, info, %instance, name = &**name,
                    interval_ms = interval.as_millis(), action = %corrective_action,
                    "guest asks to be watched"
                );
            }
            Note::Clamped(value) => {
                metrics.values_clamped.increment();
                line!(
                    self, complaints, warn, %instance, name, key = value.key, asked = value.asked,
                    used = value.used, "guest asks for a value out of bounds"
                );
            }
            Note::InitRefused => {
                metrics.inits_refused.increment();
                line!(self, complaints, warn, %instance, name, "guest sends init too often: ignored");
            }
            Note::Answered { round_trip, first } => {
                metrics.heartbeats.increment();
                metrics.round_trips.observe(*round_trip);
                if *first {
                    let round_trip_us = round_trip.as_micros();
                    line!(self, changes, info, %instance, name, round_trip_us, "heartbeating");
                }
            }
            Note::Unhealthy { action, log_msg } => {
                metrics.unhealthy_responses.increment();
                line!(
                    self, complaints, warn, %instance, name, %action, reason = &**log_msg,
                    "guest says that it is not well"
                );
            }
            Note::WrongNumber => {
                metrics.wrong_numbers.increment();
                line!(self, complaints, warn, %instance, name, "answer with a wrong number: ignored");
            }
            Note::LateResponse => {
                metrics.late_responses.increment();
                debug!(%instance, name, "answer when none was awaited: ignored");
            }
            Note::Missed { misses, threshold } => {
                metrics.misses.increment();
                line!(self, losses, warn, %instance, name, misses, threshold, "heartbeat missed");
            }
            Note::Failed { heartbeating, unanswered } => {
                metrics.losses.increment();
                line!(
                    self, losses, warn, %instance, name, heartbeating, unanswered, "heartbeat lost"
                );
            }
            Note::Silent => line!(
                self, losses, info, %instance, name,
                "no answer; not reported, for reporting is disabled"
            ),
            Note::LostTime { late } => {
                metrics.late_timers.increment();
                line!(
                    self, lost_time, warn, %instance, name, late_ms = late.as_millis(),
                    "this process was not scheduled in time: not held against the guest"
                );
            }
            Note::Exit { log_msg } => {
                line!(self, changes, info, %instance, name, reason = &**log_msg, "guest leaves");
            }
            Note::Malformed(kind) => {
                metrics.malformed_messages.increment();
                line!(self, complaints, warn, %instance, name, why = %kind, "malformed message");
            }
            Note::TooLong => {
                metrics.long_messages.increment();
                line!(self, complaints, warn, %instance, name, "message too long: thrown away");
            }
            Note::Fragment => {
                metrics.fragments.increment();
                debug!(%instance, name, "rest of a line from before the connection: ignored");
            }
            Note::Asked { event, notification, timeout, known } => {
                metrics.votes_asked.increment();
                let timeout_ms = timeout.as_millis();
                if *known {
                    line!(
                        self, votes, info, %instance, name, %event, %notification, timeout_ms,
                        "guest asked"
                    );
                } else {
                    line!(
                        self, votes, warn, %instance, name, %event, %notification, timeout_ms,
                        "guest asked of an action that we do not know"
                    );
                }
            }
            Note::Concluded { event, notification, vote, by } => {
                let counter = match by {
                    ConcludedBy::Answer => &metrics.votes.answered,
                    ConcludedBy::Timeout => &metrics.votes.timed_out,
                    ConcludedBy::Replaced => &metrics.votes.replaced,
                    ConcludedBy::NotConnected => &metrics.votes.not_connected,
                    ConcludedBy::Gone => &metrics.votes.gone,
                };
                counter.increment();
                line!(
                    self, votes, info, %instance, name, %event, %notification, %vote,
                    by = by_text(*by), "vote is over"
                );
            }
            Note::UnexpectedVote => {
                metrics.votes_unexpected.increment();
                line!(self, complaints, warn, %instance, name, "answer to a vote that is not open");
            }
            Note::WrongInvocation { received, expected } => {
                metrics.votes_unexpected.increment();
                line!(
                    self, complaints, warn, %instance, name, received, expected,
                    "answer of another session: thrown away"
                );
            }
            Note::AwaitingInit => {
                line!(self, changes, info, %instance, name, "guest is expected to start over");
            }
            Note::Idle => {
                line!(self, changes, info, %instance, name, "no heartbeat: connecting anew");
            }
            Note::Reporting(enabled) => {
                line!(self, changes, info, %instance, name, enabled, "fault reporting changed");
            }
        }
    }
}

const fn by_text(by: ConcludedBy) -> &'static str {
    match by {
        ConcludedBy::Answer => "answer",
        ConcludedBy::Timeout => "time-out",
        ConcludedBy::Replaced => "replaced by a newer one",
        ConcludedBy::NotConnected => "channel not connected",
        ConcludedBy::Gone => "instance gone",
    }
}
