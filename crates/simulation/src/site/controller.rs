//! The controller: guestAgent, and what the VIM and the maintenance system have to do with it.

use guest_agent::simulation::{AUDIT_STEP, Agent, FIRST_AUDIT, READY_PERIOD, Reply};
use heartbeat_proto::MonotonicTime;
use heartbeat_proto::control::{Host as Told, MaintenanceCommand};

use super::hosts::address;
use super::{AGENT, Happening, SERVER_PORT, Site, millis, moment};
use crate::dice::Dice;
use crate::plan::Millis;

/// How often the VIM looks whether it has commanded everything that it wants.
const COMMAND_PERIOD: Millis = 1_000;

impl Site<'_> {
    pub(super) fn agent_time(&self) -> MonotonicTime {
        moment(self.now - self.controller.started)
    }

    fn agent_rests(&self) -> Option<Millis> {
        let until = self.controller.stopped_until;
        (until > self.now).then_some(until)
    }

    pub(super) fn agent_due(&self) -> Option<Millis> {
        let agent = self.controller.agent.as_ref()?;
        let timeout = agent.poll_timeout().map(|at| millis(at) + self.controller.started);
        let tick = match agent.knows_hosts() {
            true => self.controller.audit_at,
            false => self.controller.ready_at,
        };
        let due = timeout.map_or(tick, |at| at.min(tick));
        Some(due.max(self.controller.stopped_until))
    }

    pub(super) fn start_agent(&mut self) {
        if self.controller.agent.is_some() {
            return;
        }
        self.controller.life += 1;
        self.controller.started = self.now;
        self.controller.ready_at = self.now;
        self.controller.audit_at = self.now + millis(moment(0) + FIRST_AUDIT);
        let purpose = 50 + 1000 * u64::from(self.controller.life);
        let mut dice = Dice::new(self.plan.seed, purpose);
        let random = Box::new(move || dice.random());
        let agent = Agent::new(AGENT.ip(), SERVER_PORT, self.guard.clone(), random);
        self.controller.agent = Some(agent);
    }

    pub(super) fn agent_timeout(&mut self) {
        let step = millis(moment(0) + AUDIT_STEP);
        let ready = millis(moment(0) + READY_PERIOD);
        let now = self.now;
        let Some(knows) = self.controller.agent.as_ref().map(Agent::knows_hosts) else { return };
        if knows && self.controller.audit_at <= now {
            self.controller.audit_at = now + step;
            self.with_agent(Agent::handle_audit_step);
        } else if !knows && self.controller.ready_at <= now {
            self.controller.ready_at = now + ready;
            self.with_agent(Agent::handle_ready_due);
        } else {
            self.with_agent(|_, _| ());
        }
    }

    /// Something is done with guestAgent if it runs, and then what it wants.
    pub(super) fn with_agent<T>(
        &mut self,
        act: impl FnOnce(&mut Agent, MonotonicTime) -> T,
    ) -> Option<T> {
        let now = self.agent_time();
        let micros = self.micros(self.controller.wall_micros);
        let agent = self.controller.agent.as_mut()?;
        let done = act(agent, now);
        let hosts_wanted = agent.poll_hosts_wanted();
        let request = agent.poll_request(now);
        let datagrams: Vec<_> = std::iter::from_fn(|| agent.poll_datagram(now, micros)).collect();
        let life = self.controller.life;
        if hosts_wanted {
            self.later(5, Happening::HostsTold(life));
        }
        if let Some(request) = request {
            let (number, at) = self.vim.send(self.now, request);
            self.at(at, Happening::VimTakes(number, life));
        }
        for (to, bytes) in datagrams {
            let host = (0..self.hosts.len()).find(|host| address(*host) == to);
            if let Some(host) = host {
                self.fly(host, &bytes, Happening::ToServer);
            }
        }
        self.check_agent();
        Some(done)
    }

    pub(super) fn agent_hears(&mut self, host: usize, bytes: Vec<u8>) {
        if let Some(until) = self.agent_rests() {
            return self.put_off(until, Happening::ToAgent(host, bytes));
        }
        let micros = self.micros(self.controller.wall_micros);
        self.with_agent(|agent, now| agent.handle_datagram(now, micros, &bytes, address(host)));
    }

    pub(super) fn vim_takes(&mut self, number: u64, life: u32) {
        if let Some(reply) = self.vim.take(number, &mut self.ledger) {
            self.later(1, Happening::VimReplies(life, reply));
        }
    }

    pub(super) fn vim_replies(&mut self, life: u32, reply: Reply) {
        if life != self.controller.life {
            return;
        }
        if let Some(until) = self.agent_rests() {
            return self.put_off(until, Happening::VimReplies(life, reply));
        }
        self.with_agent(|agent, now| agent.handle_reply(now, reply));
    }

    pub(super) fn hosts_told(&mut self, life: u32) {
        if life != self.controller.life {
            return;
        }
        if let Some(until) = self.agent_rests() {
            return self.put_off(until, Happening::HostsTold(life));
        }
        for host in 0..self.hosts.len() {
            let (name, ip) = (self.vim.hosts[host].name.clone(), address(host).ip().to_string());
            let command = MaintenanceCommand::AddHost(Told {
                hostname: name.into(),
                uuid: self.vim.hosts[host].id,
                ip: ip.into(),
                personality: "worker".into(),
            });
            self.with_agent(|agent, now| agent.handle_maintenance(now, &command));
        }
    }

    /// The VIM commands what it wants and has not commanded yet. It does not count a command that was not answered 200.
    pub(super) fn command(&mut self) {
        self.later(COMMAND_PERIOD, Happening::Command);
        if self.agent_rests().is_some() {
            return;
        }
        for host in 0..self.hosts.len() {
            let wanted = self.wanted.0[host];
            if self.vim.hosts[host].reporting != wanted {
                let name = self.vim.hosts[host].name.clone();
                let done = self.with_agent(|agent, now| agent.switch_host(now, &name, wanted));
                if done == Some(true) {
                    self.vim.hosts[host].reporting = wanted;
                    self.switched(|guest| guest.host == host);
                }
            }
        }
        for place in 0..self.guests.len() {
            let (wanted, id) = (self.wanted.1[place], self.guests[place].instance);
            if self.vim.instances[place].reporting != wanted {
                let name = self.vim.hosts[self.guests[place].host].name.clone();
                let switched = self.with_agent(|agent, now| {
                    let done = agent.switch_instance(now, id, &name, wanted);
                    agent.instance(id).filter(|_| done)
                });
                if let Some((_, _, heartbeating)) = switched.flatten() {
                    self.vim.instances[place].reporting = wanted;
                    // The answer says so.
                    self.vim.instances[place].heartbeating = Some(heartbeating);
                    self.switched(|guest| guest.instance == id);
                }
            }
        }
    }
}
