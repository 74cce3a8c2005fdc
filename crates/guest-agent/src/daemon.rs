//! The main loop: the one place that decides, and waits for nobody.
//!
//! It owns the inventory, the outbox and the sockets. The VIM, slow or away, is talked to by a task
//! of its own, one request at a time; HTTP clients are served by tasks that put their commands into
//! a bounded queue and wait for its answer. All share one thread, so a loop that turns is a daemon
//! that works.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use daemon_kit::{ControlRequest, Failure, Happened, LogHandle, Service, describe};
use heartbeat_proto::MonotonicTime;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until};
use tracing::{debug, error, info, warn};

use crate::NAME;
use crate::cli::Cli;
use crate::config::{self, Config};
use crate::fleet::{self, Fleet, Rejected};
use crate::http;
use crate::inventory::{AUDIT_PERIOD, AUDIT_STEPS, FIRST_AUDIT, Inventory, Output};
use crate::journal::Journal;
use crate::maintenance::{self, Maintenance};
use crate::status::{Status, Waiting};
use crate::vim::{Courier, Outbox};

/// How often the maintenance system is asked for the hosts until it tells of the first one.
const READY_PERIOD: Duration = Duration::from_secs(30);

/// How often the floating address is looked for until it is found.
const FLOATING_PERIOD: Duration = Duration::from_secs(10);

/// The name that the floating address has, unless an option says the address.
const FLOATING_NAME: &str = "controller";

const STATUS: &str = "serving the VIM";

/// The running daemon.
pub(crate) struct Daemon {
    cli: Cli,
    config: Config,
    log: LogHandle,
    service: Service,
    start: Instant,
    inventory: Inventory,
    journal: Journal,
    fleet: Fleet,
    maintenance: Maintenance,
    http: SocketAddr,
    requests: mpsc::Receiver<http::Request>,
    counts: std::sync::Arc<http::Counts>,
    courier: Courier,
    audit: Interval,
    /// Asks for the hosts until the first one is told.
    ready: Interval,
    hosts_told: bool,
    floating: mpsc::Receiver<IpAddr>,
}
