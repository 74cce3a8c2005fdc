//! The status, as the control socket gives it: one JSON document. The same types read it again to show it.

mod show;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use daemon_kit::query::clock_time;
use daemon_kit::{MuteStatus, Mutes};
use heartbeat_proto::{InstanceId, MonotonicTime};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::Config;
use crate::controller;
use crate::history::{Condition, Fault, FaultKind, Transition};
use crate::instances::Instances;
use crate::seat::Known;

pub(crate) use show::VIEW;

/// Everything an operator can ask.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) daemon: String,
    pub(crate) version: String,
    pub(crate) pid: u32,
    /// Seconds since the start.
    pub(crate) up_secs: f64,
    pub(crate) hostname: String,
    pub(crate) address: Option<SocketAddr>,
    /// Where events go.
    pub(crate) controller: Option<SocketAddr>,
    /// Whether the controller has sent a command.
    pub(crate) commanded: bool,
    #[serde(default)]
    pub(crate) delivery: Delivery,
    /// What commands need to be taken, and the ids of the keys.
    #[serde(default)]
    pub(crate) security: String,
    /// Whether faults of this host are reported.
    pub(crate) host_reporting: bool,
    pub(crate) channel_dir: PathBuf,
    pub(crate) failure_threshold: u32,
    pub(crate) pulse_period_ms: u64,
    pub(crate) instances: Vec<Instance>,
    pub(crate) metrics: Value,
}

/// What has not arrived at the controller, as far as is known.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Delivery {
    /// Whether the controller acknowledges; none while it has not been heard.
    pub(crate) acknowledges: Option<bool>,
    /// Messages that are sent again until it does.
    pub(crate) messages: usize,
    /// Those of them that are kept for an hour.
    pub(crate) reports: usize,
    /// Seconds since the oldest of them.
    pub(crate) oldest_secs: Option<f64>,
    /// Seconds for which a controller that acknowledges has acknowledged nothing.
    pub(crate) silent_secs: Option<f64>,
}

impl From<controller::Delivery> for Delivery {
    fn from(delivery: controller::Delivery) -> Self {
        Self {
            acknowledges: delivery.acknowledges,
            messages: delivery.pending,
            reports: delivery.reports,
            oldest_secs: delivery.oldest.map(|oldest| oldest.as_secs_f64()),
            silent_secs: delivery.silence.map(|silence| silence.as_secs_f64()),
        }
    }
}

/// What is known of one instance.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Instance {
    pub(crate) uuid: InstanceId,
    /// What the guest calls itself; empty before its first `init`.
    pub(crate) name: String,
    /// The state of its session, as docs/protocol.md names it.
    pub(crate) state: String,
    /// The same for people: it does not change with every challenge.
    pub(crate) condition: String,
    /// Seconds since the condition changed.
    pub(crate) since_secs: f64,
    pub(crate) heartbeating: bool,
    pub(crate) reporting: bool,
    pub(crate) provisioned: bool,
    pub(crate) misses: u32,
    pub(crate) repair_action: String,
    /// Seconds since the last right answer.
    pub(crate) last_answer_secs: Option<f64>,
    /// From that challenge to that answer.
    pub(crate) round_trip_secs: Option<f64>,
    pub(crate) last_fault: Option<LastFault>,
    pub(crate) muted: Option<MuteStatus>,
}

/// The last time that something was wrong with a guest.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LastFault {
    /// `lost`, `silent` (lost while its faults were not reported) or `unhealthy`.
    pub(crate) kind: String,
    pub(crate) time: String,
    pub(crate) secs_ago: f64,
    pub(crate) why: String,
}

/// One instance with what happened to it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Detail {
    #[serde(flatten)]
    pub(crate) instance: Instance,
    pub(crate) host_reporting: bool,
    /// The last 32 changes of condition, the oldest first.
    pub(crate) transitions: Vec<Changed>,
}

/// One change of condition.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Changed {
    pub(crate) time: String,
    pub(crate) secs_ago: f64,
    pub(crate) condition: String,
    pub(crate) cause: String,
}

/// The controller's side of the status.
pub(crate) struct Controlled {
    pub(crate) address: Option<SocketAddr>,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) commanded: bool,
    pub(crate) delivery: controller::Delivery,
}

/// What a status is made of.
pub(crate) struct Sources<'a> {
    pub(crate) now: MonotonicTime,
    pub(crate) config: &'a Config,
    pub(crate) instances: &'a Instances,
    pub(crate) mutes: &'a Mutes<InstanceId>,
}

impl Sources<'_> {
    /// The whole status.
    pub(crate) fn status(&self, controlled: &Controlled, metrics: Value) -> Status {
        let mut instances: Vec<Instance> = self
            .instances
            .all()
            .map(|(uuid, provisioned, known)| self.instance(uuid, provisioned, &known))
            .collect();
        instances.sort_unstable_by_key(|instance| instance.uuid);
        let settings = self.config.reloadable.settings;
        Status {
            daemon: crate::NAME.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            up_secs: self.now.since_start().as_secs_f64(),
            hostname: self.config.hostname.clone(),
            address: controlled.address,
            controller: controlled.peer,
            commanded: controlled.commanded,
            delivery: controlled.delivery.into(),
            security: self.config.guard.to_string(),
            host_reporting: self.instances.host_reporting(),
            channel_dir: self.config.channel_dir.clone(),
            failure_threshold: settings.failure_threshold,
            pulse_period_ms: u64::try_from(settings.pulse_floor.as_millis()).unwrap_or(u64::MAX),
            instances,
            metrics,
        }
    }

    /// One instance in detail, if it is known.
    pub(crate) fn detail(&self, uuid: InstanceId) -> Option<Detail> {
        let (provisioned, known) = self.instances.get(uuid)?;
        let changed = |transition: &Transition| {
            let ago = self.now.since(transition.at);
            Changed {
                time: clock_time(ago),
                secs_ago: ago.as_secs_f64(),
                condition: transition.condition.as_str().to_owned(),
                cause: transition.cause.as_str().to_owned(),
            }
        };
        Some(Detail {
            instance: self.instance(uuid, provisioned, &known),
            host_reporting: self.instances.host_reporting(),
            transitions: known.history.transitions.iter().map(changed).collect(),
        })
    }

    fn instance(&self, uuid: InstanceId, provisioned: bool, known: &Known) -> Instance {
        let Known { info, state, name, misses, history } = known;
        let ago = |at: MonotonicTime| self.now.since(at).as_secs_f64();
        Instance {
            uuid,
            name: name.clone(),
            state: state.as_str().to_owned(),
            condition: Condition::of(*state, info.heartbeating).as_str().to_owned(),
            since_secs: history.transitions.last().map_or(0.0, |last| ago(last.at)),
            heartbeating: info.heartbeating,
            reporting: info.reporting,
            provisioned,
            misses: *misses,
            repair_action: info.repair_action.as_str().to_owned(),
            last_answer_secs: history.answered.map(ago),
            round_trip_secs: history.answered.map(|_| history.round_trip.as_secs_f64()),
            last_fault: history.fault.as_ref().map(|fault| last_fault(self.now, fault)),
            muted: self.mutes.status(Instant::now(), uuid),
        }
    }
}

fn last_fault(now: MonotonicTime, fault: &Fault) -> LastFault {
    let ago: Duration = now.since(fault.at);
    let (kind, why) = match &fault.kind {
        FaultKind::Lost { unanswered } => {
            ("lost", format!("{unanswered} challenges in a row not answered"))
        }
        FaultKind::Silent => (
            "silent",
            "challenge not answered; not reported, for reporting was disabled".to_owned(),
        ),
        FaultKind::Unhealthy { action, reason } if reason.is_empty() => {
            ("unhealthy", format!("guest asks for {action}"))
        }
        FaultKind::Unhealthy { action, reason } => {
            ("unhealthy", format!("guest asks for {action}: {}", &**reason))
        }
    };
    LastFault { kind: kind.to_owned(), time: clock_time(ago), secs_ago: ago.as_secs_f64(), why }
}
