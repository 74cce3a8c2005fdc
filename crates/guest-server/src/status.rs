//! The status, as the control socket gives it: one JSON document.

use std::net::SocketAddr;

use heartbeat_proto::InstanceId;
use serde::Serialize;

use crate::config::Config;
use crate::instances::Instances;
use crate::metrics::Metrics;

/// Everything an operator can ask.
#[derive(Serialize)]
pub(crate) struct Status<'a> {
    daemon: &'static str,
    version: &'static str,
    pid: u32,
    hostname: &'a str,
    address: Option<SocketAddr>,
    /// Where events go.
    controller: Option<SocketAddr>,
    /// Whether the controller has sent a command.
    commanded: bool,
    /// Whether faults of this host are reported.
    host_reporting: bool,
    channel_dir: &'a std::path::Path,
    failure_threshold: u32,
    pulse_period_ms: u128,
    instances: Vec<Instance>,
    metrics: &'a Metrics,
}

#[derive(Serialize)]
struct Instance {
    uuid: InstanceId,
    name: String,
    state: &'static str,
    heartbeating: bool,
    reporting: bool,
    provisioned: bool,
    misses: u32,
    repair_action: &'static str,
}

/// The controller's side of the status.
pub(crate) struct Controlled {
    pub(crate) address: Option<SocketAddr>,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) commanded: bool,
}

impl<'a> Status<'a> {
    pub(crate) fn of(
        config: &'a Config,
        controlled: &Controlled,
        instances: &Instances,
        metrics: &'a Metrics,
    ) -> Self {
        let mut shown: Vec<Instance> = instances
            .known()
            .map(|(uuid, provisioned, known)| Instance {
                uuid,
                name: known.name,
                state: known.state.as_str(),
                heartbeating: known.info.heartbeating,
                reporting: known.info.reporting,
                provisioned,
                misses: known.misses,
                repair_action: known.info.repair_action.as_str(),
            })
            .collect();
        shown.sort_unstable_by_key(|instance| instance.uuid);
        let settings = config.reloadable.settings;
        Self {
            daemon: crate::NAME,
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            hostname: &config.hostname,
            address: controlled.address,
            controller: controlled.peer,
            commanded: controlled.commanded,
            host_reporting: instances.host_reporting(),
            channel_dir: &config.channel_dir,
            failure_threshold: settings.failure_threshold,
            pulse_period_ms: settings.pulse_floor.as_millis(),
            instances: shown,
            metrics,
        }
    }
}
