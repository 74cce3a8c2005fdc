//! What the guestServers tell.

use std::net::{IpAddr, SocketAddr};

use heartbeat_proto::control::{AgentCommand, Hosted, InstanceInfo, ServerEvent, VoteNotify};
use heartbeat_proto::vim::{AlarmState, EventKind, GuestResponse};
use heartbeat_proto::{HostId, InstanceId, MonotonicTime};

use super::output::{Found, Heard, Note, Withheld};
use super::{Inventory, Times};

impl Inventory {
    /// An event came in from this address. Says what became of it.
    pub(crate) fn handle_event(
        &mut self,
        now: MonotonicTime,
        from: SocketAddr,
        hosted: &Hosted<'_>,
    ) -> Heard {
        let Some(host) = self.sender(from, &hosted.hostname) else {
            let hostname = hosted.hostname.chars().take(64).collect();
            self.out.note(Note::UnknownSender { from, hostname });
            return Heard::UnknownSender;
        };
        if let Some(host) = self.hosts.get_mut(&host) {
            host.heard_at = Some(now);
        }
        let event = &hosted.event;
        let about = match event {
            ServerEvent::MonitorReady | ServerEvent::Instance(..) => None,
            ServerEvent::Running(instance, _)
            | ServerEvent::Stopped(instance, _)
            | ServerEvent::IllHealth(instance, _)
            | ServerEvent::Loss(instance)
            | ServerEvent::VoteNotify(instance, _) => Some(*instance),
        };
        if let Some(instance) = about
            && !self.is_here(host, instance, event.name())
        {
            let may_be_here = !self.instances.contains_key(&instance)
                && self.hosts.get(&host).is_some_and(|host| !host.instances_known);
            return if may_be_here { Heard::TooEarly } else { Heard::Foreign };
        }
        let failure = match event {
            ServerEvent::IllHealth(instance, _) => Some((*instance, "unhealthy")),
            ServerEvent::Loss(instance) => Some((*instance, "failed")),
            ServerEvent::MonitorReady
            | ServerEvent::Instance(..)
            | ServerEvent::Running(..)
            | ServerEvent::Stopped(..)
            | ServerEvent::VoteNotify(..) => None,
        };
        if let Some((instance, state)) = failure
            && self.hosts.get(&host).is_some_and(|host| !host.is_reporting_known())
        {
            let (host, why) = (self.host_name(host), Withheld::Unknown);
            self.out.note(Note::AlarmWithheld { instance, host, state, why });
            return Heard::TooEarly;
        }
        match event {
            ServerEvent::MonitorReady => {
                let name = self.host_name(host);
                self.out.note(Note::ServerReady { host: name });
                self.brief(host);
            }
            ServerEvent::Instance(instance, info) => self.audited(host, *instance, info),
            ServerEvent::Running(instance, info) => self.state(host, *instance, info, true),
            ServerEvent::Stopped(instance, info) => self.state(host, *instance, info, false),
            ServerEvent::IllHealth(instance, info) => {
                self.correct(host, *instance, info);
                self.alarm(*instance, AlarmState::Unhealthy, info.repair_action);
            }
            ServerEvent::Loss(instance) => self.loss(*instance),
            ServerEvent::VoteNotify(instance, vote) => self.voted(*instance, vote),
        }
        Heard::Taken
    }

    /// The address that the guestServer which sends is commanded at, if its host is known.
    pub(crate) fn server_address(&self, from: SocketAddr, hostname: &str) -> Option<IpAddr> {
        let by_address = || self.addresses.get(&from.ip().to_canonical()).copied();
        let host = self.named(hostname).or_else(by_address)?;
        self.hosts.get(&host).map(|host| host.ip)
    }

    /// Which host sends: the one it names, from whatever address, else the one with that address.
    fn sender(&mut self, from: SocketAddr, hostname: &str) -> Option<HostId> {
        let ip = from.ip().to_canonical();
        let Some(id) = self.named(hostname) else { return self.addresses.get(&ip).copied() };
        if let Some(host) = self.hosts.get_mut(&id)
            && host.ip != ip
            && host.other_address.replace(ip) != Some(ip)
        {
            let host = host.name.clone();
            self.out.note(Note::OtherAddress { from: ip, host });
        }
        Some(id)
    }

    /// Tells a guestServer that knows nothing yet everything it has to know.
    pub(super) fn brief(&mut self, id: HostId) {
        let Some(host) = self.hosts.get(&id) else { return };
        let instances: Vec<InstanceId> = host.instances.iter().copied().collect();
        self.command_host(id);
        for instance in instances {
            if let Some(known) = self.instances.get(&instance) {
                let reporting = known.reporting;
                self.command(id, AgentCommand::ModInstance { instance, reporting });
            }
        }
    }

    /// Whether the instance is on the host that tells of it. After a migration the former host may
    /// still tell; that must not reach the VIM.
    fn is_here(&mut self, host: HostId, instance: InstanceId, event: &'static str) -> bool {
        let here = self.instances.get(&instance).is_some_and(|known| known.host == host);
        if !here {
            let host = self.host_name(host);
            self.out.note(Note::ForeignEvent { instance, host, event });
        }
        here
    }

    fn state(&mut self, host: HostId, instance: InstanceId, info: &InstanceInfo, now: bool) {
        self.correct(host, instance, info);
        self.take_over(instance, info);
        if let Some(known) = self.instances.get_mut(&instance) {
            let before = std::mem::replace(&mut known.heartbeating, now);
            if std::mem::take(&mut known.unheard) || before != now {
                self.beats(instance, now, Found::Told);
            }
        }
        self.tell_state(instance);
    }

    /// Notes that an instance is heartbeating from now on, or no longer.
    fn beats(&mut self, instance: InstanceId, heartbeating: bool, by: Found) {
        let host = self.host_of(instance).unwrap_or_default();
        self.out.note(Note::Heartbeating { instance, host, heartbeating, by });
    }

    fn loss(&mut self, instance: InstanceId) {
        let Some(known) = self.instances.get_mut(&instance) else { return };
        let repair_action = known.repair_action;
        let unheard = std::mem::take(&mut known.unheard);
        if std::mem::replace(&mut known.heartbeating, false) || unheard {
            // Its STOPPED was lost on the way.
            self.beats(instance, false, Found::Told);
            self.tell_state(instance);
        }
        self.alarm(instance, AlarmState::Failed, repair_action);
    }

    fn voted(&mut self, instance: InstanceId, vote: &VoteNotify) {
        let response = GuestResponse::of(vote);
        let word = match response {
            GuestResponse::Reject => "reject",
            GuestResponse::Allow => "allow",
            GuestResponse::Proceed => "proceed",
        };
        let event = vote.event_type.as_str().into();
        let host = self.host_of(instance).unwrap_or_default();
        self.out.note(Note::Vote { instance, host, event, response: word });
        let event = vote.event_type.clone();
        self.tell(instance, EventKind::Action { event, response, reason: vote.reason.clone() });
    }

    /// The answer to a query.
    fn audited(&mut self, host: HostId, instance: InstanceId, info: &InstanceInfo) {
        let Some(known) = self.instances.get(&instance).filter(|known| known.host == host) else {
            self.disown(host, instance);
            return;
        };
        let news = known.unheard || known.heartbeating != info.heartbeating;
        self.correct(host, instance, info);
        self.take_over(instance, info);
        if news {
            if let Some(known) = self.instances.get_mut(&instance) {
                known.heartbeating = info.heartbeating;
                known.unheard = false;
            }
            self.beats(instance, info.heartbeating, Found::Audit);
            self.tell_state(instance);
        }
    }

    /// A guestServer has an instance that is not on its host. Before the VIM has listed the host's
    /// instances, that says nothing: after a restart we are the ones who know too little.
    fn disown(&mut self, host: HostId, instance: InstanceId) {
        let elsewhere = self.instances.contains_key(&instance);
        if elsewhere || self.hosts.get(&host).is_some_and(|host| host.instances_known) {
            let name = self.host_name(host);
            self.out.note(Note::Disowned { instance, host: name });
            self.command(host, AgentCommand::DelInstance { instance });
        }
    }

    /// A guestServer that has another mind about an instance's reporting is told ours.
    fn correct(&mut self, host: HostId, instance: InstanceId, info: &InstanceInfo) {
        let Some(known) = self.instances.get(&instance) else { return };
        if known.reporting != info.reporting {
            let reporting = known.reporting;
            let name = self.host_name(host);
            self.out.note(Note::Corrected { instance, host: name });
            self.command(host, AgentCommand::ModInstance { instance, reporting });
        }
    }

    /// Takes over what the guest asked for.
    fn take_over(&mut self, instance: InstanceId, info: &InstanceInfo) {
        if let Some(known) = self.instances.get_mut(&instance) {
            known.times = Times::from(info);
            known.repair_action = info.repair_action;
        }
    }
}
