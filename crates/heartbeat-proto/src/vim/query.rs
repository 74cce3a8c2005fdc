//! What guestAgent asks the VIM, and what it answers.

use serde::{Deserialize, Serialize};

use super::HEARTBEAT;
use crate::{HostId, InstanceId, Switch};

/// The body of the question for a host's state. A `GET` with a body, as the C++ daemon sends it.
#[must_use]
pub fn host_query_body(hostname: &str, host: HostId) -> String {
    #[derive(Serialize)]
    struct Body<'a> {
        hostname: &'a str,
        uuid: HostId,
    }
    serde_json::to_string(&Body { hostname, uuid: host }).unwrap_or_default()
}

/// The answer to the question for a host's state.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct HostState {
    /// Whether faults of its instances are reported.
    pub state: Switch,
    /// Which host, if it says so.
    pub uuid: Option<HostId>,
    /// Which host, if it says so.
    pub hostname: Option<String>,
}

/// The answer to the question for a host's instances.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct InstanceList {
    /// The instances.
    pub instances: Vec<ListedInstance>,
}

/// One instance of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ListedInstance {
    /// Which.
    pub uuid: InstanceId,
    /// The name of the host that it is on.
    pub hostname: String,
    /// Its services.
    #[serde(default)]
    services: Vec<ListedService>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct ListedService {
    service: String,
    state: Switch,
}

impl ListedInstance {
    /// Whether its faults are reported; `None` if it has no heartbeat service.
    #[must_use]
    pub fn reporting(&self) -> Option<bool> {
        let heartbeat = self.services.iter().find(|service| service.service == HEARTBEAT)?;
        Some(heartbeat.state.into())
    }
}
