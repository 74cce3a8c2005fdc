//! One inventory with a clock that the test turns, neighbours that say what the test wants, and
//! every output as a few words (see `words.rs`).
//!
//! Host 1 is `compute-1` at 10.0.0.1 and so on; instance 1 is `i1`. Identifiers are these numbers.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use heartbeat_proto::control::{
    Host as Told, Hosted, InstanceInfo, MaintenanceCommand, ServerEvent,
};
use heartbeat_proto::guest::{CorrectiveAction, NotificationType};
use heartbeat_proto::vim::command::Service;
use heartbeat_proto::vim::{HostState, InstanceList};
use heartbeat_proto::{HostId, InstanceId, MonotonicTime};

use super::words::word;
use crate::inventory::{Command, Inventory, Note, Outcome, Output, Question, Topic};

pub(super) const NOTHING: [&str; 0] = [];
pub(super) const PASS: &str = r#"{"status":"pass"}"#;
pub(super) const NO_CONTENT: &str = "204";
pub(super) const NOT_FOUND: &str = "entity not found";
pub(super) const INVALID: &str = "invalid data";
pub(super) const BAD_STATE: &str = "bad state";

pub(super) fn host_id(host: u8) -> HostId {
    HostId::from_u128(host.into())
}

pub(super) fn instance_id(instance: u32) -> InstanceId {
    InstanceId::from_u128(instance.into())
}

pub(super) fn name(host: u8) -> String {
    format!("compute-{host}")
}

pub(super) fn ip(host: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, host).into()
}

pub(super) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The values of the golden messages: every time is another one.
pub(super) fn info() -> InstanceInfo {
    InstanceInfo {
        reporting: true,
        heartbeating: true,
        repair_action: CorrectiveAction::Reboot,
        restart_secs: 121,
        shutdown_secs: 11,
        suspend_secs: 12,
        resume_secs: 13,
        vote_secs: 10,
    }
}

/// `services` as a command names them: one object with this state.
pub(super) fn heartbeat(state: &str) -> Vec<Service> {
    vec![Service::Object { service: "heartbeat".into(), state: Some(state.into()) }]
}

/// An answer of the VIM's with these instances: identifier, host and state.
pub(super) fn list(instances: &[(u32, u8, &str)]) -> InstanceList {
    let instances: Vec<_> = instances
        .iter()
        .map(|(instance, host, state)| {
            serde_json::json!({
                "uuid": instance_id(*instance),
                "hostname": name(*host),
                "services": [{"service": "heartbeat", "state": state}],
            })
        })
        .collect();
    serde_json::from_value(serde_json::json!({ "instances": instances })).unwrap()
}

pub(super) struct Bench {
    pub(super) inventory: Inventory,
    pub(super) now: MonotonicTime,
    /// What came out at the last input.
    pub(super) outputs: Vec<Output>,
    /// Every question to the VIM so far.
    pub(super) questions: Vec<Question>,
}

impl Bench {
    /// Nothing is known.
    pub(super) fn new() -> Self {
        Self {
            inventory: Inventory::default(),
            now: MonotonicTime::after_start(Duration::from_secs(5000)),
            outputs: Vec::new(),
            questions: Vec::new(),
        }
    }

    /// Hosts 1 and 2 are known; the VIM reports their faults and has listed no instances.
    pub(super) fn with_hosts() -> Self {
        let mut bench = Self::new();
        for host in [1, 2] {
            bench.add_host(host);
            bench.vim_says_state(host, "enabled");
            bench.vim_lists(host, &[]);
        }
        bench
    }

    /// Instance 1 is on host 1 and heartbeating, and its faults are reported.
    pub(super) fn running() -> Self {
        let mut bench = Self::with_hosts();
        bench.patch(1, 1, "enabled");
        bench.server(1, ServerEvent::Running(instance_id(1), info()));
        bench
    }

    /// Takes what came out, and looks whether all is of one piece.
    pub(super) fn drain(&mut self) {
        self.outputs = std::iter::from_fn(|| self.inventory.poll_output()).collect();
        for output in &self.outputs {
            if let Output::Ask(question) = output {
                self.questions.push(question.clone());
            }
        }
        self.inventory.assert_consistent();
    }

    /// What came out at the last input, without the notes.
    pub(super) fn words(&self) -> Vec<String> {
        self.outputs.iter().filter_map(word).collect()
    }

    pub(super) fn notes(&self) -> Vec<&Note> {
        self.outputs
            .iter()
            .filter_map(|output| match output {
                Output::Note(note) => Some(note),
                _ => None,
            })
            .collect()
    }

    /// The answer to a command: its body, `204`, or why it is refused.
    pub(super) fn http(&mut self, command: Command) -> String {
        let answer = self.inventory.handle_command(self.now, command);
        self.drain();
        match answer {
            Ok(Outcome::Answer(answer)) => serde_json::to_string(&answer).unwrap(),
            Ok(Outcome::NoContent) => NO_CONTENT.into(),
            Err(refusal) => refusal.0.as_str().into(),
        }
    }

    pub(super) fn put_host(&mut self, host: u8, reporting: bool) -> String {
        self.http(Command::SwitchHost { hostname: name(host).into(), reporting })
    }

    pub(super) fn post(&mut self, instance: u32, host: u8) -> String {
        self.http(Command::AddInstance {
            instance: instance_id(instance),
            hostname: name(host).into(),
            services: vec![Service::Name("heartbeat".into())],
        })
    }

    pub(super) fn patch(&mut self, instance: u32, host: u8, state: &str) -> String {
        self.http(Command::SwitchInstance {
            instance: instance_id(instance),
            hostname: name(host).into(),
            services: heartbeat(state),
        })
    }

    pub(super) fn get(&mut self, instance: u32) -> String {
        self.http(Command::GetInstance(instance_id(instance)))
    }

    pub(super) fn delete(&mut self, instance: u32) -> String {
        self.http(Command::DeleteInstance(instance_id(instance)))
    }

    pub(super) fn act(
        &mut self,
        instance: u32,
        notification: NotificationType,
        action: &str,
    ) -> String {
        let instance = instance_id(instance);
        self.http(Command::Act { instance, action: action.into(), notification })
    }

    pub(super) fn maintenance(&mut self, command: &MaintenanceCommand<'_>) {
        self.inventory.handle_maintenance(command);
        self.drain();
    }

    /// `MOD_HOST`, or `ADD_HOST`, which is the same.
    pub(super) fn mod_host(&mut self, host: u8, name: &str, ip: &str) {
        let (hostname, ip, personality) = (name.into(), ip.into(), "worker".into());
        let told = Told { hostname, uuid: host_id(host), ip, personality };
        self.maintenance(&MaintenanceCommand::ModHost(told));
    }

    pub(super) fn add_host(&mut self, host: u8) {
        let (hostname, ip, personality) =
            (name(host).into(), ip(host).to_string().into(), "worker".into());
        let told = Told { hostname, uuid: host_id(host), ip, personality };
        self.maintenance(&MaintenanceCommand::AddHost(told));
    }

    pub(super) fn del_host(&mut self, host: u8) {
        let (hostname, uuid) = (name(host).into(), host_id(host));
        self.maintenance(&MaintenanceCommand::DelHost { hostname, uuid });
    }

    /// An event from a host's own address and with its name.
    pub(super) fn server(&mut self, host: u8, event: ServerEvent) {
        self.datagram(ip(host), &name(host), event);
    }

    pub(super) fn datagram(&mut self, from: IpAddr, hostname: &str, event: ServerEvent) {
        let hosted = Hosted { hostname: hostname.into(), event };
        self.inventory.handle_event(self.now, SocketAddr::new(from, 2411), &hosted);
        self.drain();
    }

    /// The newest question of this kind to the VIM.
    pub(super) fn question(&self, host: u8, topic: Topic) -> Question {
        let is_it =
            |question: &&Question| question.host == host_id(host) && question.topic == topic;
        self.questions.iter().rfind(is_it).unwrap().clone()
    }

    /// The VIM answers the newest question for a host's state.
    pub(super) fn vim_says_state(&mut self, host: u8, state: &str) {
        let question = self.question(host, Topic::State);
        self.vim_answers_state(&question, &serde_json::json!({ "state": state }));
    }

    pub(super) fn vim_answers_state(&mut self, question: &Question, answer: &serde_json::Value) {
        let answer: HostState = serde_json::from_value(answer.clone()).unwrap();
        self.inventory.handle_host_state(question, &answer);
        self.drain();
    }

    /// The VIM answers the newest question for a host's instances with these, which are on it.
    pub(super) fn vim_lists(&mut self, host: u8, instances: &[(u32, &str)]) {
        let question = self.question(host, Topic::Instances);
        let instances: Vec<_> =
            instances.iter().map(|(instance, state)| (*instance, host, *state)).collect();
        self.vim_answers_list(&question, &list(&instances));
    }

    pub(super) fn vim_answers_list(&mut self, question: &Question, answer: &InstanceList) {
        self.inventory.handle_instances(question, answer);
        self.drain();
    }

    /// A whole round of the audit, as words in the order in which they came, without the reminders
    /// of the hosts' reporting.
    pub(super) fn audit(&mut self) -> Vec<String> {
        let mut words = self.audit_with_reminders();
        words.retain(|word| !word.contains(" MOD_HOST "));
        words
    }

    pub(super) fn audit_with_reminders(&mut self) -> Vec<String> {
        let mut words = Vec::new();
        for _ in 0..crate::inventory::AUDIT_STEPS {
            self.inventory.handle_audit_step();
            self.drain();
            words.append(&mut self.words());
        }
        words
    }
}
