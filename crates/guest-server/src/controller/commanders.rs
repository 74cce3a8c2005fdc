//! Who may command, by address: the controller's name and those of `[security] controllers`.
//!
//! Names are looked up aside, one time after the other, for a name service may be slow: at the start until a command comes, and
//! when somebody commands who may not, for an address may have moved. A name that cannot be looked up keeps the addresses that
//! it had.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use daemon_kit::{RateLimit, limited};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::debug;

/// How often names are looked up at most because somebody commands who may not.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What became of looking up each name.
type Found = Vec<(String, io::Result<Vec<IpAddr>>)>;

/// The addresses that commands are taken from.
pub(super) struct Commanders {
    controller: String,
    /// The controller's name and the others, where they are no addresses themselves.
    names: Vec<String>,
    ipv4: bool,
    /// By the name or the written address that they are from.
    addresses: HashMap<String, Vec<IpAddr>>,
    found: mpsc::Receiver<Found>,
    finder: mpsc::Sender<Found>,
    /// Whether names are being looked up.
    looking: bool,
    looked_at: Option<Instant>,
    /// For what goes wrong with that, which whoever commands without being allowed to can make us do every second.
    troubles: RateLimit,
}

impl Commanders {
    pub(super) fn new(controller: String, others: Vec<String>, ipv4: bool) -> Self {
        let (finder, found) = mpsc::channel(1);
        let (mut names, mut addresses) = (Vec::new(), HashMap::new());
        for name in others.into_iter().chain([controller.clone()]) {
            match address(&name) {
                Some(ip) => drop(addresses.insert(name, vec![ip])),
                None => names.push(name),
            }
        }
        Self {
            controller,
            names,
            ipv4,
            addresses,
            found,
            finder,
            looking: false,
            looked_at: None,
            troubles: RateLimit::new(20, Duration::from_secs(60)),
        }
    }

    /// Whether commands from this address are taken.
    pub(super) fn may_command(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.addresses.values().any(|addresses| addresses.contains(&ip))
    }

    /// Waits until names were looked up; gives the controller's address, if that was found. May be dropped while it waits.
    pub(super) async fn next(&mut self) -> Option<IpAddr> {
        match self.found.recv().await {
            Some(found) => self.handle_found(found),
            // The other end is in our own hand.
            None => std::future::pending().await,
        }
    }

    fn handle_found(&mut self, found: Found) -> Option<IpAddr> {
        self.looking = false;
        let mut controller = None;
        for (name, found) in found {
            let is_controller = name == self.controller;
            match found {
                Ok(found) => {
                    if is_controller {
                        controller = found.iter().find(|ip| ip.is_ipv4() == self.ipv4).copied();
                        if controller.is_none() {
                            self.complain(None);
                        }
                    }
                    self.addresses.insert(name, found);
                }
                Err(error) if is_controller => self.complain(Some(&error)),
                Err(error) => debug!(controller = name, %error, "no address"),
            }
        }
        controller
    }

    fn complain(&mut self, error: Option<&io::Error>) {
        let allowed = self.troubles.allow(std::time::Instant::now());
        let controller = &self.controller;
        match error {
            None => {
                limited!(allowed, warn, controller, "the controller has no address of our family");
            }
            Some(error) => {
                limited!(allowed, warn, controller, %error, "the controller's name has no address");
            }
        }
    }

    /// Looks up the names, unless that is going on. Where the controller's is an address already, gives that.
    pub(super) fn look_up(&mut self) -> Option<IpAddr> {
        if !self.looking && !self.names.is_empty() {
            self.looking = true;
            self.looked_at = Some(Instant::now());
            let (finder, names) = (self.finder.clone(), self.names.clone());
            tokio::spawn(async move {
                let mut found = Found::new();
                for name in names {
                    let addresses = look_up(&name).await;
                    found.push((name, addresses));
                }
                let _ = finder.send(found).await;
            });
        }
        address(&self.controller)
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

async fn look_up(name: &str) -> io::Result<Vec<IpAddr>> {
    let found = tokio::net::lookup_host((name, 0)).await?;
    Ok(found.map(|address| address.ip().to_canonical()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn commanders() -> Commanders {
        let others = ["controller-0", "10.0.0.9"].map(str::to_owned).to_vec();
        Commanders::new("controller".to_owned(), others, true)
    }

    fn no_address() -> io::Result<Vec<IpAddr>> {
        Err(io::Error::other("the name service is away"))
    }

    #[test]
    fn those_of_the_names_and_the_written_ones_may_and_nobody_else() {
        let mut commanders = commanders();
        assert!(commanders.may_command(ip(9)) && !commanders.may_command(ip(1)));
        let found = vec![
            ("controller".to_owned(), Ok(vec!["fd00::1".parse().unwrap(), ip(1)])),
            ("controller-0".to_owned(), Ok(vec![ip(2)])),
        ];
        assert_eq!(commanders.handle_found(found), Some(ip(1)), "the one of our family");
        assert!([1, 2, 9].into_iter().all(|last| commanders.may_command(ip(last))));
        assert!(commanders.may_command("::ffff:10.0.0.2".parse().unwrap()));
        assert!(!commanders.may_command(ip(3)));
    }

    #[test]
    fn a_name_that_moves_takes_its_place_along_and_one_that_cannot_be_looked_up_keeps_it() {
        let mut commanders = commanders();
        commanders.handle_found(vec![
            ("controller".to_owned(), Ok(vec![ip(1)])),
            ("controller-0".to_owned(), Ok(vec![ip(2)])),
        ]);
        let found = vec![
            ("controller".to_owned(), no_address()),
            ("controller-0".to_owned(), no_address()),
        ];
        assert_eq!(commanders.handle_found(found), None);
        assert!(commanders.may_command(ip(1)) && commanders.may_command(ip(2)));
        commanders.handle_found(vec![("controller-0".to_owned(), Ok(vec![ip(3)]))]);
        assert!(commanders.may_command(ip(3)) && !commanders.may_command(ip(2)));
    }

    #[tokio::test]
    async fn names_are_looked_up_one_time_after_the_other() {
        let mut commanders =
            Commanders::new("localhost".to_owned(), vec!["10.0.0.9".to_owned()], true);
        for _ in 0..100 {
            assert_eq!(commanders.look_up(), None);
        }
        assert_eq!(commanders.next().await, Some(IpAddr::from([127, 0, 0, 1])));
        assert!(commanders.found.try_recv().is_err(), "once");
        let mut written = Commanders::new("10.0.0.1".to_owned(), Vec::new(), true);
        assert_eq!(written.look_up(), Some(ip(1)));
        assert!(!written.looking, "there is nothing to look up");
    }
}
