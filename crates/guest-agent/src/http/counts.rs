//! What is counted of HTTP.

use daemon_kit::metrics::Counter;
use hyper::StatusCode;
use serde::ser::{Serialize, SerializeMap as _, Serializer};

use super::route::Route;

/// The routes, as they are counted. What has no route is `other`.
const ROUTES: [&str; 11] = [
    "add_host",
    "switch_host",
    "get_host",
    "delete_host",
    "add_instance",
    "switch_instance",
    "get_instance",
    "delete_instance",
    "vote",
    "notify",
    "other",
];

/// The statuses that there are.
const STATUSES: [u16; 10] = [200, 204, 400, 403, 404, 405, 408, 411, 413, 503];

const fn row(route: Option<Route>) -> usize {
    match route {
        Some(Route::AddHost) => 0,
        Some(Route::SwitchHost(_) | Route::SwitchHostBare) => 1,
        Some(Route::GetHost) => 2,
        Some(Route::DeleteHost) => 3,
        Some(Route::AddInstance) => 4,
        Some(Route::SwitchInstance) => 5,
        Some(Route::GetInstance) => 6,
        Some(Route::DeleteInstance) => 7,
        Some(Route::Vote) => 8,
        Some(Route::Notify) => 9,
        None => 10,
    }
}

/// The answered requests, by route and status.
#[derive(Debug, Default)]
pub(crate) struct Requests([[Counter; STATUSES.len()]; ROUTES.len()]);

impl Requests {
    pub(super) fn count(&self, route: Option<Route>, status: StatusCode) {
        let column = STATUSES.iter().position(|known| *known == status.as_u16());
        if let Some(counter) = column.and_then(|column| self.0[row(route)].get(column)) {
            counter.increment();
        }
    }

    /// Every route and status with its count, also where it is 0.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, u16, u64)> + '_ {
        ROUTES.iter().zip(&self.0).flat_map(|(route, row)| {
            STATUSES.iter().zip(row).map(|(status, count)| (*route, *status, count.get()))
        })
    }
}

/// A map of routes to maps of statuses, without what is 0.
impl Serialize for Requests {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut routes = serializer.serialize_map(None)?;
        for (route, row) in ROUTES.iter().zip(&self.0) {
            let seen = STATUSES.iter().zip(row).filter(|(_, count)| count.get() > 0);
            let seen: std::collections::BTreeMap<_, _> = seen.collect();
            if !seen.is_empty() {
                routes.serialize_entry(route, &seen)?;
            }
        }
        routes.end()
    }
}

/// Everything counted of HTTP; each starts at zero with the daemon.
#[derive(Debug, Default, serde::Serialize)]
pub(crate) struct Counts {
    /// Requests that were answered.
    pub(crate) requests: Requests,
    /// Connections accepted.
    pub(crate) connections: Counter,
    /// Connections that waited because there were too many.
    pub(crate) connections_waited: Counter,
    /// Idle connections closed to make room for a new one.
    pub(crate) connections_evicted: Counter,
    /// Connections closed because they were idle for too long.
    pub(crate) connections_idle: Counter,
    /// Connections closed because a header came too slowly or an answer was not taken.
    pub(crate) connections_late: Counter,
    /// Connections that ended with what is no HTTP or too long a header (400, 431), or in
    /// the middle of a request.
    pub(crate) connections_broken: Counter,
    /// Connections that could not be accepted.
    pub(crate) accept_failures: Counter,
    /// Commands that were not carried out because the main loop was late (503).
    pub(crate) commands_unanswered: Counter,
}
