//! What has to hold: at every step, when all have had time to agree, and at the end.

use super::Site;
use crate::guest::Program;
use crate::plan::Millis;

/// States and reports of an instance that are kept at most: RUNNING or STOPPED, an answer, and 16 reports.
const EVENTS_OF_INSTANCE: usize = 18;

/// Orders that wait for a guest's task: 16, and then one of each of the five kinds that are states.
const MAX_ORDERS: usize = 21;

impl Site<'_> {
    /// guestServer holds no more than its bounds say.
    pub(super) fn check_server(&mut self, host: usize) {
        let Some(server) = &self.hosts[host].server else { return };
        let sizes = server.sizes(self.host_moment(host));
        let guests = self.guests.iter().filter(|guest| guest.host == host).count();
        let bounded = sizes.events <= guests * EVENTS_OF_INSTANCE + 1
            && sizes.sessions <= 2 * guests
            && sizes.orders <= MAX_ORDERS;
        if !bounded {
            self.ledger.accuse(|| format!("host {host} holds too much: {sizes:?}"));
        }
    }

    /// guestAgent holds no more than its bounds say.
    pub(super) fn check_agent(&mut self) {
        let Some(agent) = &self.controller.agent else { return };
        let sizes = agent.sizes(self.agent_time());
        let (hosts, guests) = (self.hosts.len(), self.guests.len());
        let actions = usize::try_from(self.ledger.tally.asked).unwrap_or_default() + 1;
        let bounded = sizes.events <= guests * EVENTS_OF_INSTANCE
            && sizes.held <= guests * EVENTS_OF_INSTANCE
            && sizes.questions <= 2 * hosts
            && sizes.commands <= 2 * hosts + guests + actions;
        if !bounded {
            self.ledger.accuse(|| format!("guestAgent holds too much: {sizes:?}"));
        }
    }

    fn host_moment(&self, host: usize) -> heartbeat_proto::MonotonicTime {
        super::moment(self.host_clock(host).saturating_sub(self.hosts[host].started))
    }

    /// A guest that is said to have failed has not answered in time.
    pub(super) fn check_guilty(&mut self, host: usize, guest: usize) {
        let Some(well) = self.well_for(host, guest) else { return };
        let (now, interval) = (self.now, self.guests[guest].interval);
        // Silent before, and found to be so a little later.
        if well > 3 * interval + 2_000 {
            self.ledger
                .accuse(|| format!("guest {guest} has answered for {well} ms and failed at {now}"));
        }
    }

    /// For how long a guest has answered everything, without the time in which nobody asked.
    fn well_for(&self, host: usize, guest: usize) -> Option<Millis> {
        let Self { now, guests, .. } = self;
        if guests[guest].program != Program::Up {
            return None;
        }
        let since = guests[guest].well_since;
        let overlap = |(from, until): &(Millis, Millis)| {
            (*until).min(*now).saturating_sub((*from).max(since))
        };
        let paused: Millis = self.hosts[host].pauses.iter().map(overlap).sum();
        Some(now.saturating_sub(since).saturating_sub(paused))
    }

    /// Every death that was to be noticed was.
    pub(super) fn check_watches(&mut self) {
        let missed = self.watches.iter().find(|watch| {
            self.ledger.losses_of(self.guests[watch.guest].instance) <= watch.losses_before
        });
        if let Some(watch) = missed {
            let (guest, at) = (watch.guest, watch.at);
            self.ledger.accuse(|| format!("the death of guest {guest} at {at} was not noticed"));
        }
    }

    /// Both sides agree on what is reported and who is heartbeating; and the VIM, once it was told.
    pub(super) fn check_agreement(&mut self, told: bool) {
        for place in 0..self.guests.len() {
            let guest = &self.guests[place];
            let (instance, host) = (guest.instance, guest.host);
            let wish = (self.vim.instances[place].reporting, self.vim.hosts[host].reporting);
            let agent = self.controller.agent.as_ref().and_then(|agent| agent.instance(instance));
            let server = self.hosts[host].server.as_ref();
            let server = server.and_then(|server| server.instance(instance));
            let server = server.map(|(info, host)| (info.reporting, host, info.heartbeating));
            let alive = guest.program == Program::Up;
            let expected = Some((wish.0, wish.1, alive));
            let vim = self.vim.instances[place].heartbeating;
            if agent != expected || server != expected || (told && vim != Some(alive)) {
                self.ledger.accuse(|| {
                    format!(
                        "guest {place}: reporting, that of its host, heartbeating: expected {expected:?}, \
                         guestServer {server:?}, guestAgent {agent:?}; the VIM knows {vim:?}"
                    )
                });
            }
        }
    }
}
