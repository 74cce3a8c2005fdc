//! The events of the plan: what they do when they begin, and when they are over.

use guest_server::simulation::Server;

use super::{Happening, Site, Watch};
use crate::guest::{Guest, Program};
use crate::ledger::Key;
use crate::plan::{Event, Millis, VimMode, Weather, What};

/// A guest that said nonsense may be held to a rate for so long.
const FLOODED: Millis = 1_500;

impl Site<'_> {
    pub(super) fn begin_event(&mut self, place: usize) {
        let Event { at, what, lasts } = self.plan.events[place];
        if let Some(until) = self.awaits(what) {
            return self.put_off(until, Happening::Begin(place));
        }
        let until = at + lasts;
        self.active.push(place);
        match what {
            What::Weather(..) | What::Vim(_) => self.follow(),
            What::KillServer(host) => self.kill_server(host),
            What::KillAgent => self.kill_agent(),
            What::StopServer(host) => {
                let stopped = &mut self.hosts[host];
                stopped.stopped_until = stopped.stopped_until.max(until);
                stopped.pauses.push((self.now, until));
            }
            What::StopAgent => {
                self.controller.stopped_until = self.controller.stopped_until.max(until);
            }
            What::SuspendHost(host) => {
                self.hosts[host].suspended += until.saturating_sub(self.now);
                self.stand_still(host, until);
            }
            What::StarveHost(host) => self.stand_still(host, until),
            What::WallJump(who, by) => self.jump(who, by * 1_000_000),
            What::Die(guest) => self.die(guest),
            What::Freeze(guest) => self.leave(guest, Program::Frozen),
            What::Restart(guest) => self.leave(guest, Program::Gone),
            What::Flood(guest) => {
                if self.is_up(guest) {
                    let bytes = self.guests[guest].flood();
                    self.guest_says(guest, bytes);
                    self.guests[guest].well_since = self.now + FLOODED;
                }
            }
            What::Replace(guest) => self.replace(guest),
            What::Modify(guest) => {
                self.forgive(|other, _| other == guest);
                let host = self.guests[guest].host;
                let (id, inode) = (self.guests[guest].instance, self.guests[guest].inode);
                self.with_server(host, |server, now, qemus| {
                    server.handle_sighting(now, qemus, id, inode, true);
                });
            }
            What::Act(guest, action, notification) => {
                let id = self.guests[guest].instance;
                if self.controller.stopped_until <= self.now {
                    let timeout =
                        self.with_agent(|agent, now| agent.act(now, id, action, notification));
                    let asked = timeout.flatten().is_some_and(|timeout| timeout > 0);
                    self.ledger.tally.asked += u64::from(asked);
                }
            }
            What::SwitchInstance(guest) => self.wanted.1[guest] = false,
            What::SwitchHost(host) => self.wanted.0[host] = false,
        }
    }

    /// Until when it cannot begin or be over, for its host stands still; or the guestServer that has to see it.
    fn awaits(&self, what: What) -> Option<Millis> {
        let host = match what {
            What::KillServer(host)
            | What::StopServer(host)
            | What::SuspendHost(host)
            | What::StarveHost(host) => host,
            What::Die(guest)
            | What::Freeze(guest)
            | What::Restart(guest)
            | What::Flood(guest)
            | What::Replace(guest) => self.guests[guest].host,
            What::Modify(guest) => return self.server_rests(self.guests[guest].host),
            What::Weather(..)
            | What::Vim(_)
            | What::KillAgent
            | What::StopAgent
            | What::WallJump(..)
            | What::Act(..)
            | What::SwitchInstance(_)
            | What::SwitchHost(_) => return None,
        };
        let until = self.hosts[host].still_until;
        (until > self.now).then_some(until)
    }

    pub(super) fn end_event(&mut self, place: usize) {
        if let Some(until) = self.awaits(self.plan.events[place].what) {
            return self.put_off(until, Happening::End(place));
        }
        self.active.retain(|other| *other != place);
        match self.plan.events[place].what {
            What::Weather(..) | What::Vim(_) => self.follow(),
            What::KillServer(host) => self.start_server(host),
            What::KillAgent => self.start_agent(),
            What::WallJump(who, by) => self.jump(who, -by * 1_000_000),
            What::Freeze(guest) | What::Restart(guest) => self.come_back(guest),
            What::Replace(guest) => self.replaced(guest, place),
            What::SwitchInstance(guest) => self.wanted.1[guest] = true,
            What::SwitchHost(host) => self.wanted.0[host] = true,
            What::StopServer(_)
            | What::StopAgent
            | What::SuspendHost(_)
            | What::StarveHost(_)
            | What::Die(_)
            | What::Flood(_)
            | What::Modify(_)
            | What::Act(..) => {}
        }
    }

    /// Network and VIM are as the last of the events says that are under way.
    fn follow(&mut self) {
        for host in &mut self.hosts {
            host.weather = Weather::default();
        }
        let before = std::mem::take(&mut self.vim.mode);
        for place in &self.active {
            match self.plan.events[*place].what {
                What::Weather(host, weather) => self.hosts[host].weather = weather,
                What::Vim(mode) => self.vim.mode = mode,
                _ => {}
            }
        }
        let outage = self.vim.mode != VimMode::Up && self.vim.mode != before;
        self.ledger.tally.outages += u64::from(outage);
    }

    fn kill_server(&mut self, host: usize) {
        let Some(server) = self.hosts[host].server.take() else { return };
        self.ledger.tally.servers_killed += 1;
        let stopped_until = std::mem::take(&mut self.hosts[host].stopped_until);
        self.queue.retain(|(at, _), happening| {
            *at != stopped_until || !matches!(happening, Happening::ToServer(to, _) if *to == host)
        });
        for key in server.unacknowledged().filter_map(Key::kept) {
            self.ledger.excuse(&key);
        }
        self.forgive(|_, guest| guest.host == host);
        for guest in self.guests.iter_mut().filter(|guest| guest.host == host) {
            guest.connection = None;
        }
    }

    fn kill_agent(&mut self) {
        if self.controller.agent.take().is_none() {
            return;
        }
        self.ledger.tally.agents_killed += 1;
        // What waited in its sockets is gone with it.
        let stopped_until = std::mem::take(&mut self.controller.stopped_until);
        self.queue.retain(|(at, _), happening| {
            *at != stopped_until || !matches!(happening, Happening::ToAgent(..))
        });
        let with_vim: Vec<Key> = self.vim.in_flight().collect();
        let servers = self.hosts.iter().filter_map(|host| host.server.as_ref());
        let mut again: Vec<Key> =
            servers.flat_map(Server::unacknowledged).filter_map(Key::kept).collect();
        // A copy that is late meets a guestAgent that has never seen the first one.
        for happening in self.queue.values() {
            if let Happening::ToAgent(_, bytes) = happening
                && let Some(key) = Key::sent(bytes)
                && !again.contains(&key)
            {
                again.push(key);
            }
        }
        for key in again {
            self.ledger.allow_again(&key, with_vim.contains(&key));
        }
    }

    fn stand_still(&mut self, host: usize, until: Millis) {
        let still = &mut self.hosts[host];
        still.still_until = still.still_until.max(until);
        still.pauses.push((self.now, until));
    }

    fn jump(&mut self, who: Option<usize>, by: i64) {
        match who {
            Some(host) => self.hosts[host].wall_micros += by,
            None => self.controller.wall_micros += by,
        }
    }

    /// A guest falls silent for ever. If everybody is there to see it, it has to be seen.
    fn die(&mut self, guest: usize) {
        let before = std::mem::replace(&mut self.guests[guest].program, Program::Dead);
        if before == Program::Dead {
            return;
        }
        self.ledger.tally.deaths += 1;
        let (host, instance) = (self.guests[guest].host, self.guests[guest].instance);
        let server = self.hosts[host].server.as_ref();
        let seen = server.and_then(|server| server.instance(instance));
        let wanted = self.vim.hosts[host].reporting && self.vim.instances[guest].reporting;
        let watched = seen.is_some_and(|(info, host)| host && info.reporting && info.heartbeating);
        if watched && wanted && before == Program::Up {
            self.ledger.tally.watched += 1;
            let losses_before = self.ledger.losses_of(instance);
            self.watches.push(Watch { guest, at: self.now, losses_before });
        }
    }

    fn leave(&mut self, guest: usize, program: Program) {
        let guest = &mut self.guests[guest];
        if guest.program == Program::Up {
            guest.program = program;
        }
    }

    fn come_back(&mut self, guest: usize) {
        if matches!(self.guests[guest].program, Program::Frozen | Program::Gone) {
            self.guest_back(guest);
        }
    }

    /// QEMU ends: its channel is closed, and its file is gone.
    fn replace(&mut self, guest: usize) {
        if self.guests[guest].inode.take().is_none() {
            return;
        }
        self.forgive(|other, _| other == guest);
        let host = self.guests[guest].host;
        let (id, connection) = (self.guests[guest].instance, self.guests[guest].connection);
        self.guests[guest].handle_replaced();
        if self.guests[guest].program != Program::Dead {
            self.guests[guest].program = Program::Gone;
        }
        if let Some(connection) = connection {
            self.later(1, Happening::Closed(host, connection));
        }
        if self.server_rests(host).is_none() {
            self.with_server(host, |server, now, qemus| {
                server.handle_sighting(now, qemus, id, None, false);
            });
        }
    }

    /// Another QEMU is there. A dead guest stays dead: it is the machine that does not come up.
    fn replaced(&mut self, guest: usize, place: usize) {
        let host = self.guests[guest].host;
        if let Some(until) = self.server_rests(host) {
            return self.put_off(until, Happening::End(place));
        }
        if self.guests[guest].inode.is_some() {
            return;
        }
        self.connections += 1;
        let (id, inode) = (self.guests[guest].instance, Some(self.connections));
        self.guests[guest].inode = inode;
        self.with_server(host, |server, now, qemus| {
            server.handle_sighting(now, qemus, id, inode, false);
        });
        self.guest_back(guest);
    }

    /// These deaths need not be noticed any more.
    pub(super) fn forgive(&mut self, which: impl Fn(usize, &Guest) -> bool) {
        let guests = &self.guests;
        self.watches.retain(|watch| !which(watch.guest, &guests[watch.guest]));
    }

    /// The VIM has switched the reporting of these.
    pub(super) fn switched(&mut self, which: impl Fn(&Guest) -> bool) {
        self.forgive(|_, guest| which(guest));
        for guest in self.guests.iter().filter(|guest| which(guest)) {
            self.ledger.excuse_loss(guest.instance);
        }
    }
}
