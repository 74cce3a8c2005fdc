//! The hosts: their guestServers, and the guests beside them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use guest_server::simulation::Server;
use heartbeat_proto::session::Report;
use heartbeat_proto::{InstanceId, MonotonicTime};

use super::{AGENT, Happening, SERVER_PORT, Site, millis, moment};
use crate::dice::Dice;
use crate::guest::{Program, Qemus};
use crate::ledger::Key;
use crate::plan::Millis;

/// From one end of a channel to the other.
const CHANNEL_DELAY: Millis = 1;

pub(super) fn address(host: usize) -> SocketAddr {
    let last = u8::try_from(host).unwrap_or_default();
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)), SERVER_PORT)
}

impl Site<'_> {
    /// A host's clock.
    pub(super) fn host_clock(&self, host: usize) -> Millis {
        self.now - self.hosts[host].suspended
    }

    fn server_time(&self, host: usize) -> MonotonicTime {
        moment(self.host_clock(host) - self.hosts[host].started)
    }

    pub(super) fn guest_time(&self, guest: usize) -> MonotonicTime {
        moment(self.host_clock(self.guests[guest].host))
    }

    /// Until when a guestServer does not run, if so.
    pub(super) fn server_rests(&self, host: usize) -> Option<Millis> {
        let until = self.hosts[host].still_until.max(self.hosts[host].stopped_until);
        (until > self.now).then_some(until)
    }

    /// The same of a guest, for nothing runs on its host.
    fn guest_rests(&self, guest: usize) -> Option<Millis> {
        let until = self.hosts[self.guests[guest].host].still_until;
        (until > self.now).then_some(until)
    }

    pub(super) fn server_due(&self, host: usize) -> Option<Millis> {
        let Self { hosts, .. } = self;
        let due = millis(hosts[host].server.as_ref()?.poll_timeout()?);
        let due = due + hosts[host].started + hosts[host].suspended;
        Some(due.max(self.server_rests(host).unwrap_or_default()))
    }

    pub(super) fn guest_due(&self, guest: usize) -> Option<Millis> {
        let due = millis(self.guests[guest].poll_timeout()?);
        let due = due + self.hosts[self.guests[guest].host].suspended;
        Some(due.max(self.guest_rests(guest).unwrap_or_default()))
    }

    pub(super) fn start_server(&mut self, number: usize) {
        let clock = self.host_clock(number);
        let host = &mut self.hosts[number];
        if host.server.is_some() {
            return;
        }
        host.life += 1;
        host.started = clock;
        let purpose = 100 + 1000 * u64::from(host.life) + number as u64;
        let mut dice = Dice::new(self.plan.seed, purpose);
        let random = Box::new(move || dice.random());
        let name = &self.vim.hosts[number].name;
        self.connections += 1_000_000;
        let server = Server::new(name, AGENT, self.guard.clone(), random, self.connections);
        host.server = Some(server);
        let here = self.guests.iter().filter(|guest| guest.host == number);
        let listing: Vec<(InstanceId, u64)> =
            here.filter_map(|guest| Some((guest.instance, guest.inode?))).collect();
        self.with_server(number, |server, now, qemus| server.handle_listing(now, qemus, &listing));
    }

    /// Something is done with a guestServer that runs, and then what it wants.
    pub(super) fn with_server(
        &mut self,
        host: usize,
        act: impl FnOnce(&mut Server, MonotonicTime, &mut Qemus<'_>),
    ) {
        let now = self.server_time(host);
        let micros = self.micros(self.hosts[host].wall_micros);
        let (mut to_guests, mut to_host) = (Vec::new(), Vec::new());
        let Some(server) = &mut self.hosts[host].server else { return };
        let guests = &mut self.guests;
        let mut qemus = Qemus { host, guests, to_guests: &mut to_guests, to_host: &mut to_host };
        act(server, now, &mut qemus);
        let reports: Vec<_> = std::iter::from_fn(|| server.poll_report()).collect();
        let datagrams: Vec<_> = std::iter::from_fn(|| server.poll_datagram(now, micros)).collect();
        for (instance, report) in reports {
            self.reported(host, instance, &report);
        }
        for (_, bytes) in datagrams {
            self.fly(host, &bytes, Happening::ToAgent);
        }
        for (guest, connection, bytes) in to_guests {
            self.later(CHANNEL_DELAY, Happening::ToGuest(guest, connection, bytes));
        }
        for (guest, connection, bytes) in to_host {
            self.later(CHANNEL_DELAY, Happening::ToHost(guest, connection, bytes));
        }
        self.check_server(host);
    }

    /// A session has reported something.
    fn reported(&mut self, host: usize, instance: InstanceId, report: &Report) {
        if let Report::Running(_) = report {
            self.ledger.excuse_loss(instance);
        }
        let Some(key) = Key::reported(instance, report) else { return };
        let mut required = true;
        if let Key::Loss(_) = key
            && let Some(guest) = self.guests.iter().position(|guest| guest.instance == instance)
        {
            self.check_guilty(host, guest);
            required = self.vim.hosts[host].reporting && self.vim.instances[guest].reporting;
        }
        self.ledger.handle_reported(key, required);
    }

    pub(super) fn server_hears(&mut self, host: usize, bytes: Vec<u8>) {
        if self.hosts[host].still_until > self.now {
            // Its network card does not run either.
            return;
        }
        if let Some(until) = self.server_rests(host) {
            return self.put_off(until, Happening::ToServer(host, bytes));
        }
        let micros = self.micros(self.hosts[host].wall_micros);
        self.with_server(host, |server, now, qemus| {
            server.handle_datagram(now, qemus, micros, &bytes, AGENT, AGENT.ip());
        });
    }

    pub(super) fn host_reads(&mut self, guest: usize, connection: u64, bytes: Vec<u8>) {
        let host = self.guests[guest].host;
        if let Some(until) = self.server_rests(host) {
            return self.put_off(until, Happening::ToHost(guest, connection, bytes));
        }
        if self.guests[guest].connection == Some(connection) {
            self.with_server(host, |server, now, qemus| {
                server.handle_bytes(now, qemus, connection, &bytes);
            });
        }
    }

    pub(super) fn host_sees_end(&mut self, host: usize, connection: u64) {
        if let Some(until) = self.server_rests(host) {
            return self.put_off(until, Happening::Closed(host, connection));
        }
        self.with_server(host, |server, now, qemus| server.handle_closed(now, qemus, connection));
    }

    pub(super) fn guest_hears(&mut self, guest: usize, connection: u64, bytes: Vec<u8>) {
        if let Some(until) = self.guest_rests(guest) {
            return self.put_off(until, Happening::ToGuest(guest, connection, bytes));
        }
        if self.guests[guest].connection == Some(connection) {
            let now = self.guest_time(guest);
            self.guests[guest].handle_bytes(now, &bytes);
            self.settle_guest(guest);
        }
    }

    /// What a guest says is on its way.
    pub(super) fn settle_guest(&mut self, guest: usize) {
        let now = self.guest_time(guest);
        let bytes = self.guests[guest].poll_bytes(now);
        if !bytes.is_empty() {
            self.guest_says(guest, bytes);
        }
    }

    pub(super) fn guest_says(&mut self, guest: usize, bytes: Vec<u8>) {
        match self.guests[guest].connection {
            Some(connection) => {
                self.later(CHANNEL_DELAY, Happening::ToHost(guest, connection, bytes));
            }
            None => self.guests[guest].keep(&bytes),
        }
    }

    /// A guest's program goes on, or another one starts.
    pub(super) fn guest_back(&mut self, guest: usize) {
        if self.guests[guest].program == Program::Dead {
            return;
        }
        let now = self.guest_time(guest);
        self.guests[guest].handle_back(now);
        self.guests[guest].well_since = self.now;
        self.settle_guest(guest);
    }
}
