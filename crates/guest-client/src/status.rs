//! The status, as an application or an operator gets it on the socket.

use heartbeat_proto::client::{Client, Health, State};
use serde_json::{Value, json};

use crate::applications::Applications;
use crate::device::Port;
use crate::journal::Metrics;
use crate::scripts::Scripts;

/// Everything that can be asked.
pub(crate) fn document(
    client: &Client,
    port: Option<&Port>,
    host: bool,
    scripts: &Scripts,
    applications: &Applications,
    metrics: &Metrics,
) -> Value {
    let settings = client.settings();
    let (health, action, reason) = match client.health() {
        Health::Healthy => ("healthy", None, None),
        Health::Unhealthy { corrective_action, log_msg } => {
            ("unhealthy", Some(corrective_action.as_str()), Some(&**log_msg))
        }
    };
    let heartbeating = match client.state() {
        State::Enabled { answered, .. } => answered > 0,
        State::Disabled | State::Enabling { .. } | State::Left => false,
    };
    let applications: Vec<Value> = applications
        .known()
        .map(|(name, trouble)| json!({ "name": name, "trouble": trouble }))
        .collect();
    let (script, impossible) = scripts.health();
    json!({
        "type": "status",
        "program": crate::NAME,
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "name": &*settings.name,
        "device": port.map(|port| port.path().display().to_string()),
        "host": host,
        "state": client.state().as_str(),
        "heartbeating": heartbeating,
        "interval_ms": settings.heartbeat_interval_ms,
        "health": health,
        "corrective_action": action,
        "reason": reason,
        "health_script": script.map(|script| script.display().to_string()),
        "health_script_error": impossible,
        "applications": applications,
        "metrics": metrics,
    })
}
