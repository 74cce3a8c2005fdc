//! Feeds an inventory one step after the other, keeps in mind what was commanded when, and looks
//! after each at what must hold.

use std::collections::HashMap;

use heartbeat_proto::control::MaintenanceCommand;
use heartbeat_proto::vim::InstanceList;
use heartbeat_proto::{HostId, InstanceId};

use super::Step;
use super::rules::{self, Change};
use crate::inventory::tests::check::Snapshot;
use crate::inventory::tests::harness::{Bench, NO_CONTENT, host_id, instance_id, ip, millis, name};
use crate::inventory::tests::words::word;
use crate::inventory::{Command, Output, Question, Topic};

/// How many of the newest questions may still be answered.
const OPEN_QUESTIONS: usize = 12;

pub(super) struct Driver {
    bench: Bench,
    step: u64,
    /// Questions to the VIM and the step in which each was asked.
    questions: Vec<(Question, u64)>,
    /// The step in which each was last commanded by a PUT, and when it was added.
    switched: HashMap<HostId, u64>,
    added: HashMap<HostId, u64>,
    /// The same by a POST or PATCH, and by a DELETE.
    commanded: HashMap<InstanceId, u64>,
    deleted: HashMap<InstanceId, u64>,
    asked_maintenance: Option<heartbeat_proto::MonotonicTime>,
}

impl Driver {
    pub(super) fn new() -> Self {
        Self {
            bench: Bench::new(),
            step: 0,
            questions: Vec::new(),
            switched: HashMap::new(),
            added: HashMap::new(),
            commanded: HashMap::new(),
            deleted: HashMap::new(),
            asked_maintenance: None,
        }
    }

    pub(super) fn take(&mut self, step: &Step) {
        self.step += 1;
        let before = self.bench.inventory.snapshot();
        match step {
            Step::Host(host, name_of, ip) => {
                self.bench.mod_host(*host, &name(*name_of), ip);
                self.changed(step, before);
            }
            Step::HostGone(host, name_of) => {
                let (hostname, uuid) = (name(*name_of).into(), host_id(*host));
                self.bench.maintenance(&MaintenanceCommand::DelHost { hostname, uuid });
                self.changed(step, before);
            }
            Step::Command(command) => self.command(step, command, before),
            Step::Event(from, hostname, event) => {
                self.bench.datagram(ip(*from), hostname, event.clone());
                self.changed(step, before);
            }
            Step::Audit => {
                self.bench.inventory.handle_audit_step();
                self.bench.drain();
                self.changed(step, before);
            }
            Step::AuditRound => self.audit_round(step, before),
            Step::State(pick, state, names) => self.state(step, before, (pick, *state, *names)),
            Step::List(pick, listed) => self.list(step, before, pick, listed),
            Step::RequestHosts => {
                self.bench.inventory.request_hosts(self.bench.now);
                self.bench.drain();
                self.changed(step, before);
            }
            Step::Wait(wait) => self.bench.now = self.bench.now + millis(*wait),
        }
    }

    /// What must hold after every step; then what the step has to be remembered for.
    fn changed(&mut self, step: &Step, before: Snapshot) -> Snapshot {
        let outputs = std::mem::take(&mut self.bench.outputs);
        let change = Change { step, before, after: self.bench.inventory.snapshot(), outputs };
        rules::assert_holds(&change);
        for output in &change.outputs {
            match output {
                Output::Ask(question) => self.questions.push((question.clone(), self.step)),
                Output::ReadyForMaintenance => {
                    let earlier = self.asked_maintenance.replace(self.bench.now);
                    let pause = earlier.map(|earlier| self.bench.now.since(earlier));
                    assert!(
                        pause.is_none_or(|pause| pause >= millis(1000)),
                        "asked after {pause:?}"
                    );
                }
                _ => {}
            }
        }
        let many = self.questions.len().saturating_sub(OPEN_QUESTIONS);
        self.questions.drain(..many);
        for host in change.after.hosts.keys() {
            if !change.before.hosts.contains_key(host) {
                self.added.insert(*host, self.step);
            }
        }
        self.commanded.retain(|instance, _| change.after.instances.contains_key(instance));
        change.after
    }

    fn command(&mut self, step: &Step, command: &Command, before: Snapshot) {
        let answer = self.bench.http(command.clone());
        let outputs = self.bench.outputs.clone();
        let known = before.clone();
        let after = self.changed(step, before);
        let carried_out = answer.starts_with('{') || answer == NO_CONTENT;
        if !carried_out || rules::only_asks(command) {
            assert_eq!(after, known, "{command:?} changed something: {answer}");
        }
        if !carried_out {
            let harmless =
                |output| matches!(output, &Output::ReadyForMaintenance | &Output::Note(_));
            assert!(outputs.iter().all(harmless), "{command:?}: {outputs:?}");
        }
        match command {
            Command::SwitchHost { hostname, .. } if carried_out => {
                let hosts = known.hosts.iter();
                let host = hosts.filter(|(_, host)| *host.name == **hostname).map(|(id, _)| *id);
                self.switched.extend(host.map(|host| (host, self.step)));
            }
            Command::AddInstance { instance, .. } | Command::SwitchInstance { instance, .. }
                if carried_out =>
            {
                self.commanded.insert(*instance, self.step);
            }
            // Refused or not: the VIM wants it gone.
            Command::DeleteInstance(instance) => {
                self.deleted.insert(*instance, self.step);
            }
            _ => {}
        }
    }

    /// Every host comes once: it is queried if it has instances, and the VIM is asked for what it
    /// has not said of it.
    fn audit_round(&mut self, step: &Step, before: Snapshot) {
        let mut outputs = Vec::new();
        for _ in 0..crate::inventory::AUDIT_STEPS {
            self.bench.inventory.handle_audit_step();
            self.bench.drain();
            outputs.append(&mut self.bench.outputs);
        }
        let mut words: Vec<_> = outputs.iter().filter_map(word).collect();
        words.retain(|word| !word.contains(" MOD_HOST "));
        words.sort();
        let mut expected = Vec::new();
        for host in before.hosts.values() {
            let (state, instances) = host.answered;
            expected.extend((!state).then(|| format!("ask state of {}", host.name)));
            expected.extend((!instances).then(|| format!("ask instances of {}", host.name)));
            expected.extend((host.instances > 0).then(|| format!("{} QRY_INST", host.ip)));
        }
        expected.sort();
        assert_eq!(words, expected);
        self.bench.outputs = outputs;
        self.changed(step, before);
    }

    fn pick(&self, pick: &proptest::sample::Index, topic: Topic) -> Option<(Question, u64)> {
        let open: Vec<_> =
            self.questions.iter().filter(|(question, _)| question.topic == topic).collect();
        if open.is_empty() { None } else { Some((*pick.get(&open)).clone()) }
    }

    fn state(
        &mut self,
        step: &Step,
        before: Snapshot,
        (pick, state, names): (&proptest::sample::Index, bool, Option<u8>),
    ) {
        let Some((question, asked)) = self.pick(pick, Topic::State) else { return };
        let mut answer = serde_json::json!({ "state": if state { "enabled" } else { "disabled" } });
        if let Some(named) = names {
            answer["hostname"] = name(named).into();
        }
        self.bench.vim_answers_state(&question, &answer);
        let known = before.clone();
        let after = self.changed(step, before);
        let id = question.host;
        let (Some(was), Some(is)) = (known.hosts.get(&id), after.hosts.get(&id)) else { return };
        let outdated = self.switched.get(&id).is_some_and(|switched| *switched > asked);
        let other = names.is_some_and(|named| name(named) != was.name);
        let current = asked >= self.added[&id] && !was.answered.0;
        if outdated || other {
            assert_eq!(is.reporting, was.reporting, "{id}: an answer that does not count");
        } else if current {
            assert_eq!(is.reporting, state, "{id}: an answer that counts");
            assert!(is.answered.0);
        }
    }

    fn list(
        &mut self,
        step: &Step,
        before: Snapshot,
        pick: &proptest::sample::Index,
        listed: &[(u32, Option<u8>, Option<bool>)],
    ) {
        let Some((question, asked)) = self.pick(pick, Topic::Instances) else { return };
        let id = question.host;
        let host_name = before.hosts.get(&id).map_or("gone".to_owned(), |host| host.name.clone());
        let answer = answer(&host_name, listed);
        self.bench.vim_answers_list(&question, &answer);
        let known = before.clone();
        let after = self.changed(step, before);
        let current =
            known.hosts.get(&id).is_some_and(|host| asked >= self.added[&id] && !host.answered.1);
        // Of an instance that is listed twice the last counts.
        let last: HashMap<_, _> = listed
            .iter()
            .filter(|(_, host, _)| host.is_none_or(|host| name(host) == host_name))
            .filter_map(|(instance, _, reporting)| Some((instance_id(*instance), (*reporting)?)))
            .collect();
        for (instance, reporting) in last {
            let newer = |at: Option<&u64>| at.is_some_and(|at| *at > asked);
            let deleted = newer(self.deleted.get(&instance));
            let was = known.instances.get(&instance);
            let is = after.instances.get(&instance);
            if newer(self.commanded.get(&instance)) {
                let hosts = (is.map(|is| is.host), was.map(|was| was.host));
                assert_eq!(hosts.0, hosts.1, "{instance}: an answer older than a command");
            } else if deleted {
                assert_eq!(is, was, "{instance}: an answer older than a deletion");
            } else if current {
                let is = is.map(|is| (is.host, is.reporting));
                assert_eq!(is, Some((id, reporting)), "{instance}: an answer that counts");
            }
        }
    }
}

fn answer(host_name: &str, listed: &[(u32, Option<u8>, Option<bool>)]) -> InstanceList {
    let instances: Vec<_> = listed
        .iter()
        .map(|(instance, host, reporting)| {
            let services: Vec<_> = reporting
                .map(|on| if on { "enabled" } else { "disabled" })
                .map(|state| serde_json::json!({"service": "heartbeat", "state": state}))
                .into_iter()
                .collect();
            serde_json::json!({
                "uuid": instance_id(*instance),
                "hostname": host.map_or(host_name.to_owned(), name),
                "services": services,
            })
        })
        .collect();
    serde_json::from_value(serde_json::json!({ "instances": instances })).unwrap()
}
