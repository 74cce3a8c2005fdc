//! Who may command, by address: the controller's name and those of `[security] controllers`.
//!
//! Names are looked up aside, for a name service may be slow: at the start until a command comes, and when somebody commands who
//! may not, for an address may have moved.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{debug, warn};

/// How often names are looked up at most because somebody commands who may not.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What the names say.
struct Found {
    controller: Option<IpAddr>,
    all: HashSet<IpAddr>,
}

/// The addresses that commands are taken from.
pub(super) struct Commanders {
    controller: String,
    others: Vec<String>,
    ipv4: bool,
    addresses: HashSet<IpAddr>,
    found: mpsc::Receiver<Found>,
    finder: mpsc::Sender<Found>,
    looked_at: Option<Instant>,
}

impl Commanders {
    pub(super) fn new(controller: String, others: Vec<String>, ipv4: bool) -> Self {
        let (finder, found) = mpsc::channel(1);
        let written = others.iter().chain([&controller]).filter_map(|name| address(name));
        let addresses = written.collect();
        Self { controller, others, ipv4, addresses, found, finder, looked_at: None }
    }

    /// Whether commands from this address are taken.
    pub(super) fn may_command(&self, ip: IpAddr) -> bool {
        self.addresses.contains(&ip.to_canonical())
    }

    /// Waits until names were looked up; gives the controller's address, if it has one. May be dropped while it waits.
    pub(super) async fn next(&mut self) -> Option<IpAddr> {
        match self.found.recv().await {
            Some(Found { controller, all }) => {
                let written = self.others.iter().chain([&self.controller]);
                self.addresses = written.filter_map(|name| address(name)).chain(all).collect();
                controller
            }
            // The other end is in our own hand.
            None => std::future::pending().await,
        }
    }

    /// Looks up the names. Where the controller's is an address already, gives that.
    pub(super) fn look_up(&mut self) -> Option<IpAddr> {
        self.looked_at = Some(Instant::now());
        let is_name = |name: &&String| address(name).is_none();
        let others: Vec<String> = self.others.iter().filter(is_name).cloned().collect();
        let written = address(&self.controller);
        let controller = written.is_none().then(|| self.controller.clone());
        if others.is_empty() && controller.is_none() {
            return written;
        }
        let (finder, ipv4) = (self.finder.clone(), self.ipv4);
        tokio::spawn(async move {
            let mut all = HashSet::new();
            let mut first = None;
            if let Some(name) = controller {
                match look_up(&name).await {
                    Ok(found) => {
                        first = found.iter().find(|ip| ip.is_ipv4() == ipv4).copied();
                        if first.is_none() {
                            warn!(controller = name, "the controller has no address of our family");
                        }
                        all.extend(found);
                    }
                    Err(error) => {
                        warn!(controller = name, %error, "the controller's name has no address");
                    }
                }
            }
            for name in others {
                match look_up(&name).await {
                    Ok(found) => all.extend(found),
                    Err(error) => debug!(controller = name, %error, "no address"),
                }
            }
            let _ = finder.send(Found { controller: first, all }).await;
        });
        written
    }

    /// Somebody commands who may not: maybe an address has moved.
    pub(super) fn look_again(&mut self) {
        if self.looked_at.is_none_or(|at| at.elapsed() >= LOOK_AGAIN) {
            self.look_up();
        }
    }
}

fn address(name: &str) -> Option<IpAddr> {
    name.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

async fn look_up(name: &str) -> std::io::Result<Vec<IpAddr>> {
    let found = tokio::net::lookup_host((name, 0)).await?;
    Ok(found.map(|address| address.ip().to_canonical()).collect())
}
