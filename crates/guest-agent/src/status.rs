//! The status, as the control socket gives it: one JSON document.

use std::net::SocketAddr;

use heartbeat_proto::{HostId, InstanceId};
use serde::Serialize;

use crate::http::Counts;
use crate::metrics::Metrics;

/// Everything an operator can ask.
#[derive(Serialize)]
pub(crate) struct Status<'a> {
    pub(crate) daemon: &'static str,
    pub(crate) version: &'static str,
    pub(crate) pid: u32,
    pub(crate) hostname: &'a str,
    /// Where guestServers speak to.
    pub(crate) address: Option<SocketAddr>,
    /// Where the VIM's commands arrive.
    pub(crate) http: SocketAddr,
    /// Where the maintenance system speaks to.
    pub(crate) maintenance: Option<SocketAddr>,
    pub(crate) vim: String,
    pub(crate) outbox: Waiting<'a>,
    pub(crate) hosts: Vec<HostStatus>,
    pub(crate) instances: Vec<InstanceStatus>,
    pub(crate) metrics: &'a Metrics,
    #[serde(rename = "http_requests")]
    pub(crate) http_counts: &'a Counts,
}

/// What waits for the VIM.
#[derive(Serialize)]
pub(crate) struct Waiting<'a> {
    /// Events that the VIM does not have yet.
    pub(crate) events: usize,
    /// Seconds since the oldest of them came.
    pub(crate) oldest_secs: Option<f64>,
    /// Questions that it has not answered yet.
    pub(crate) questions: usize,
    /// Why the last attempt failed; none since one succeeded.
    pub(crate) last_failure: Option<&'a str>,
}

/// One host.
#[derive(Serialize)]
pub(crate) struct HostStatus {
    pub(crate) uuid: HostId,
    pub(crate) hostname: Box<str>,
    pub(crate) ip: std::net::IpAddr,
    pub(crate) reporting: bool,
    /// Whether the VIM has said its state and its instances.
    pub(crate) known_to_vim: bool,
    pub(crate) instances: usize,
}

/// One instance.
#[derive(Serialize)]
pub(crate) struct InstanceStatus {
    pub(crate) uuid: InstanceId,
    pub(crate) hostname: Box<str>,
    pub(crate) reporting: bool,
    pub(crate) heartbeating: bool,
    pub(crate) repair_action: &'static str,
    pub(crate) last_action: Option<String>,
}
