//! The orchestrator: what it believes, what it wants, and how it answers.

use guest_agent::simulation::{Reply, Request};
use heartbeat_proto::vim::EventKind;
use heartbeat_proto::{HostId, InstanceId};
use serde_json::json;

use crate::guest::Guest;
use crate::ledger::{Key, Ledger};
use crate::plan::{Millis, VimMode};

/// A host as the VIM has it.
pub(crate) struct Host {
    pub(crate) id: HostId,
    pub(crate) name: String,
    pub(crate) reporting: bool,
}

/// An instance as the VIM has it.
pub(crate) struct Instance {
    pub(crate) id: InstanceId,
    pub(crate) host: usize,
    pub(crate) reporting: bool,
    /// What it was last told of its heartbeat.
    pub(crate) heartbeating: Option<bool>,
}

/// A request that is under way.
struct Flight {
    /// Which one, and by which life of guestAgent's.
    number: u64,
    request: Request,
}

pub(crate) struct Vim {
    pub(crate) mode: VimMode,
    pub(crate) hosts: Vec<Host>,
    pub(crate) instances: Vec<Instance>,
    flights: Vec<Flight>,
    numbers: u64,
    /// When it has taken all that was sent to it: it is one thread, and takes one request after the other.
    busy_until: Millis,
}

impl Vim {
    pub(crate) fn new(hosts: usize, guests: &[Guest]) -> Self {
        let host = |number: usize| Host {
            id: HostId::from_u128(0xa000 + number as u128),
            name: format!("compute-{number}"),
            reporting: false,
        };
        let instance = |guest: &Guest| Instance {
            id: guest.instance,
            host: guest.host,
            reporting: false,
            heartbeating: None,
        };
        Self {
            mode: VimMode::Up,
            hosts: (0..hosts).map(host).collect(),
            instances: guests.iter().map(instance).collect(),
            flights: Vec::new(),
            numbers: 0,
            busy_until: 0,
        }
    }

    /// A request is sent. Gives its number, and when it is taken.
    pub(crate) fn send(&mut self, now: Millis, request: Request) -> (u64, Millis) {
        self.numbers += 1;
        self.flights.push(Flight { number: self.numbers, request });
        let delay = match self.mode {
            VimMode::Slow(delay) => delay,
            VimMode::Up | VimMode::Away | VimMode::Failing | VimMode::Silent => 1,
        };
        self.busy_until = self.busy_until.max(now + delay);
        (self.numbers, self.busy_until)
    }

    /// The events that are under way to it.
    pub(crate) fn in_flight(&self) -> impl Iterator<Item = Key> {
        self.flights.iter().filter_map(|flight| match &flight.request {
            Request::Event(event) => Key::told(event.instance, &event.kind),
            Request::State(_) | Request::Instances(_) => None,
        })
    }

    /// A request is taken: it is answered so.
    pub(crate) fn take(&mut self, number: u64, ledger: &mut Ledger) -> Option<Reply> {
        let place = self.flights.iter().position(|flight| flight.number == number)?;
        let Flight { request, .. } = self.flights.swap_remove(place);
        Some(match self.mode {
            VimMode::Away => Reply::Away,
            VimMode::Failing => Reply::Failed,
            VimMode::Up | VimMode::Slow(_) => Reply::Success(self.answer(&request, ledger)),
            VimMode::Silent => {
                if matches!(request, Request::Event(_)) {
                    self.answer(&request, ledger);
                }
                Reply::Silence
            }
        })
    }

    fn answer(&mut self, request: &Request, ledger: &mut Ledger) -> Vec<u8> {
        let answer = match request {
            Request::Event(event) => {
                if let EventKind::Service { heartbeating, .. } = event.kind {
                    let known = self.instances.iter_mut().find(|known| known.id == event.instance);
                    if let Some(known) = known {
                        known.heartbeating = Some(heartbeating);
                    }
                }
                if let Some(key) = Key::told(event.instance, &event.kind) {
                    ledger.handle_delivered(&key);
                }
                json!({})
            }
            Request::State(id) => {
                let host = self.hosts.iter().find(|host| host.id == *id);
                let reporting = host.is_some_and(|host| host.reporting);
                json!({ "uuid": id.to_string(), "state": word(reporting) })
            }
            Request::Instances(id) => {
                let here = |known: &&Instance| self.hosts[known.host].id == *id;
                let listed = self.instances.iter().filter(here).map(|known| {
                    json!({
                        "uuid": known.id.to_string(),
                        "hostname": self.hosts[known.host].name,
                        "services": [{ "service": "heartbeat", "state": word(known.reporting) }],
                    })
                });
                json!({ "instances": listed.collect::<Vec<_>>() })
            }
        };
        answer.to_string().into_bytes()
    }
}

const fn word(enabled: bool) -> &'static str {
    if enabled { "enabled" } else { "disabled" }
}
