//! The size that has to be carried: 1,000 hosts with 100 instances each. Counts, not times.

use std::net::{Ipv4Addr, SocketAddr};

use heartbeat_proto::control::{
    AgentCommand, Host as Told, Hosted, MaintenanceCommand, ServerEvent,
};
use heartbeat_proto::vim::EventKind;
use heartbeat_proto::{HostId, InstanceId, MonotonicTime};

use super::harness::info;
use crate::inventory::{AUDIT_STEPS, Inventory, Output, Question, Topic};

const HOSTS: u16 = 1000;
const EACH: u16 = 100;
const ALL: usize = HOSTS as usize * EACH as usize;

fn instance(host: u16, number: u16) -> InstanceId {
    InstanceId::from_u128(u128::from(host) * 1000 + u128::from(number))
}

fn hostname(host: u16) -> String {
    format!("compute-{host}")
}

fn address(host: u16) -> Ipv4Addr {
    let [high, low] = host.to_be_bytes();
    Ipv4Addr::new(10, 0, high, low)
}

/// How often each kind of output came.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    mod_host: usize,
    add_inst: usize,
    mod_inst: usize,
    del_inst: usize,
    query: usize,
    service: usize,
    ask: usize,
    deleted: usize,
    other: usize,
}

fn drain(inventory: &mut Inventory, counts: &mut Counts) -> Vec<Question> {
    let mut questions = Vec::new();
    while let Some(output) = inventory.poll_output() {
        let count = match output {
            Output::Note(_) => continue,
            Output::Command(_, AgentCommand::ModHost { .. }) => &mut counts.mod_host,
            Output::Command(_, AgentCommand::AddInstance { .. }) => &mut counts.add_inst,
            Output::Command(_, AgentCommand::ModInstance { .. }) => &mut counts.mod_inst,
            Output::Command(_, AgentCommand::DelInstance { .. }) => &mut counts.del_inst,
            Output::Command(_, AgentCommand::Query) => &mut counts.query,
            Output::Event(event) if matches!(event.kind, EventKind::Service { .. }) => {
                &mut counts.service
            }
            Output::Ask(question) => {
                questions.push(question);
                &mut counts.ask
            }
            Output::Deleted(_) => &mut counts.deleted,
            _ => &mut counts.other,
        };
        *count += 1;
    }
    questions
}

/// Every host is added, its state is enabled, and it has its instances, all enabled.
fn build(inventory: &mut Inventory, counts: &mut Counts) {
    for host in 1..=HOSTS {
        inventory.handle_maintenance(&MaintenanceCommand::AddHost(Told {
            hostname: hostname(host).into(),
            uuid: HostId::from_u128(host.into()),
            ip: address(host).to_string().into(),
            personality: "worker".into(),
        }));
        for question in drain(inventory, counts) {
            match question.topic {
                Topic::State => {
                    let state = serde_json::from_value(serde_json::json!({"state": "enabled"}));
                    inventory.handle_host_state(&question, &state.unwrap());
                }
                Topic::Instances => {
                    let services =
                        serde_json::json!([{"service": "heartbeat", "state": "enabled"}]);
                    let listed: Vec<_> = (0..EACH)
                        .map(|number| {
                            serde_json::json!({
                                "uuid": instance(host, number),
                                "hostname": hostname(host),
                                "services": services,
                            })
                        })
                        .collect();
                    let list = serde_json::json!({ "instances": listed });
                    inventory.handle_instances(&question, &serde_json::from_value(list).unwrap());
                }
            }
            drain(inventory, counts);
        }
    }
}

/// Every guestServer answers its query: every instance is heartbeating.
fn answer_queries(inventory: &mut Inventory, counts: &mut Counts) {
    for host in 1..=HOSTS {
        let from = SocketAddr::new(address(host).into(), 2411);
        for number in 0..EACH {
            let event = ServerEvent::Instance(instance(host, number), info());
            inventory.handle_event(
                MonotonicTime::START,
                from,
                &Hosted { hostname: hostname(host).into(), event },
            );
        }
        drain(inventory, counts);
    }
}

#[test]
fn a_thousand_hosts_with_a_hundred_instances_each_are_built_and_audited() {
    let mut inventory = Inventory::default();
    let mut counts = Counts::default();
    let hosts = usize::from(HOSTS);
    build(&mut inventory, &mut counts);
    let built = Counts { ask: 2 * hosts, mod_host: hosts, add_inst: ALL, ..Counts::default() };
    assert_eq!(counts, built);
    assert_eq!((inventory.host_count(), inventory.instance_count()), (hosts, ALL));
    inventory.assert_consistent();

    // The first round finds every guest alive, the second nothing new.
    for found in [ALL, 0] {
        let mut counts = Counts::default();
        for step in 1..=AUDIT_STEPS as usize {
            inventory.handle_audit_step();
            drain(&mut inventory, &mut counts);
            assert_eq!(counts.query, step * hosts / AUDIT_STEPS as usize);
        }
        answer_queries(&mut inventory, &mut counts);
        let expected =
            Counts { query: hosts, service: found, mod_host: hosts, ..Counts::default() };
        assert_eq!(counts, expected, "with a reminder for each host");
    }

    let mut counts = Counts::default();
    for host in 1..=HOSTS {
        let (hostname, uuid) = (hostname(host).into(), HostId::from_u128(host.into()));
        inventory.handle_maintenance(&MaintenanceCommand::DelHost { hostname, uuid });
        drain(&mut inventory, &mut counts);
    }
    assert_eq!(counts, Counts { del_inst: ALL, deleted: ALL, ..Counts::default() });
    assert_eq!((inventory.host_count(), inventory.instance_count()), (0, 0));
    inventory.assert_consistent();
}
