//! The status, as the control socket gives it: one JSON document. The same types read it again to show it.

mod show;

use std::net::{IpAddr, SocketAddr};

use daemon_kit::MuteStatus;
use heartbeat_proto::{HostId, InstanceId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

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
    /// Where guestServers speak to.
    pub(crate) address: Option<SocketAddr>,
    /// Where the VIM's commands arrive.
    pub(crate) http: SocketAddr,
    /// Where the maintenance system speaks to.
    pub(crate) maintenance: Option<SocketAddr>,
    /// Seconds since it last told of a host.
    pub(crate) maintenance_heard_secs: Option<f64>,
    pub(crate) vim: String,
    /// Seconds since it last took an event or answered a question.
    pub(crate) vim_heard_secs: Option<f64>,
    pub(crate) outbox: Waiting,
    /// What datagrams need to be taken, and the ids of the keys.
    #[serde(default)]
    pub(crate) security: String,
    /// Commands that guestServers have not acknowledged.
    #[serde(default)]
    pub(crate) unacknowledged: usize,
    /// Events that guestServers keep until the VIM has them.
    #[serde(default)]
    pub(crate) held: usize,
    pub(crate) hosts: Vec<HostStatus>,
    pub(crate) instances: Vec<InstanceStatus>,
    pub(crate) metrics: Value,
    #[serde(rename = "http_requests")]
    pub(crate) http_counts: Value,
}

/// What waits for the VIM.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Waiting {
    /// Events that the VIM does not have yet.
    pub(crate) events: usize,
    /// Seconds since the oldest of them came.
    pub(crate) oldest_secs: Option<f64>,
    /// Questions that it has not answered yet.
    pub(crate) questions: usize,
    /// Why the last attempt failed; none since one succeeded.
    pub(crate) last_failure: Option<String>,
}

/// One host.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HostStatus {
    pub(crate) uuid: HostId,
    pub(crate) hostname: Box<str>,
    pub(crate) ip: IpAddr,
    pub(crate) reporting: bool,
    /// Whether the VIM has said its state and its instances.
    pub(crate) known_to_vim: bool,
    /// Seconds since its guestServer last said something.
    pub(crate) heard_secs: Option<f64>,
    /// What is on its way to its guestServer, filled in by the main loop.
    #[serde(flatten)]
    pub(crate) delivery: Delivery,
    pub(crate) instances: usize,
    /// How many of them are heartbeating.
    pub(crate) heartbeating: usize,
}

/// What has not arrived at a guestServer, as far as is known.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Delivery {
    /// Whether it acknowledges; none while it has not been heard.
    pub(crate) acknowledges: Option<bool>,
    /// Commands that are sent again until it does.
    #[serde(default)]
    pub(crate) unacknowledged: usize,
    /// Seconds for which it has acknowledged nothing, although it should.
    pub(crate) silent_secs: Option<f64>,
}

/// One instance.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct InstanceStatus {
    pub(crate) uuid: InstanceId,
    pub(crate) hostname: Box<str>,
    pub(crate) reporting: bool,
    pub(crate) heartbeating: bool,
    pub(crate) repair_action: String,
    pub(crate) last_action: Option<String>,
    /// What else is known of it, filled in by the main loop.
    #[serde(flatten)]
    pub(crate) past: Past,
}

/// What happened to an instance.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Past {
    /// Seconds since it is heartbeating, or not.
    pub(crate) since_secs: Option<f64>,
    pub(crate) last_fault: Option<Happening>,
    pub(crate) muted: Option<MuteStatus>,
}

/// Something that happened to an instance.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Happening {
    pub(crate) time: String,
    pub(crate) secs_ago: f64,
    pub(crate) what: String,
}

/// One instance with what happened to it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Detail {
    #[serde(flatten)]
    pub(crate) instance: InstanceStatus,
    pub(crate) host_reporting: bool,
    /// The last 32 changes, the oldest first.
    pub(crate) transitions: Vec<Happening>,
}
