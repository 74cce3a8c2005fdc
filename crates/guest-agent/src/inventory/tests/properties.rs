//! Random inputs in a random order, and what must hold whatever happens; see `properties/driver.rs`
//! and `properties/rules.rs` for that.

mod driver;
mod rules;

use heartbeat_proto::control::{InstanceInfo, ServerEvent, VoteNotify};
use heartbeat_proto::guest::{CorrectiveAction, NotificationType, VoteResult};
use heartbeat_proto::vim::command::Service;
use proptest::prelude::*;
use proptest::sample::Index;

use super::harness::{host_id, info, instance_id, name};
use crate::inventory::Command;
use driver::Driver;

/// Hosts, names and addresses are 1 to 4, mostly each host with its own.
const HOSTS: std::ops::RangeInclusive<u8> = 1..=4;
const INSTANCES: std::ops::RangeInclusive<u32> = 1..=5;

#[derive(Debug, Clone)]
enum Step {
    /// `ADD_HOST` or `MOD_HOST`: identifier, name, address.
    Host(u8, u8, String),
    /// `DEL_HOST`: identifier, name.
    HostGone(u8, u8),
    Command(Command),
    /// From this address and with this name.
    Event(u8, String, ServerEvent),
    Audit,
    AuditRound,
    /// The VIM answers one of the questions so far: state, and the host that it names, if any.
    State(Index, bool, Option<u8>),
    /// The same with instances: identifier, host unless it is the right one, reporting if any.
    List(Index, Vec<(u32, Option<u8>, Option<bool>)>),
    RequestHosts,
    /// Milliseconds.
    Wait(u64),
}

fn host() -> impl Strategy<Value = u8> + Clone {
    HOSTS
}

fn hostname() -> impl Strategy<Value = Box<str>> {
    prop_oneof![12 => host().prop_map(|host| name(host).into()), 1 => Just("stranger".into())]
}

fn notification() -> impl Strategy<Value = NotificationType> {
    prop::sample::select(NotificationType::ALL)
}

fn services() -> impl Strategy<Value = Vec<Service>> {
    let service = prop_oneof![15 => Just("heartbeat"), 1 => Just("other")];
    let state = prop_oneof![
        10 => Just(Some("enabled")),
        5 => Just(Some("disabled")),
        1 => Just(Some("on")),
        1 => Just(None),
    ];
    let one = (service, state).prop_map(|(service, state)| Service::Object {
        service: service.into(),
        state: state.map(Into::into),
    });
    prop_oneof![
        15 => one.prop_map(|service| vec![service]),
        2 => Just(vec![Service::Name("heartbeat".into())]),
        1 => Just(vec![]),
    ]
}

fn command() -> impl Strategy<Value = Command> {
    let instance = || INSTANCES.prop_map(instance_id);
    let action = prop_oneof![
        prop::sample::select(vec!["stop", "resume", "pause", "defragment", ""])
            .prop_map(Into::into)
    ];
    prop_oneof![
        1 => host().prop_map(|host| Command::AddHost(host_id(host))),
        6 => (hostname(), any::<bool>())
            .prop_map(|(hostname, reporting)| Command::SwitchHost { hostname, reporting }),
        1 => host().prop_map(|host| Command::GetHost(host_id(host))),
        1 => host().prop_map(|host| Command::DeleteHost(host_id(host))),
        8 => (instance(), hostname(), services()).prop_map(|(instance, hostname, services)| {
            Command::AddInstance { instance, hostname, services }
        }),
        12 => (instance(), hostname(), services()).prop_map(|(instance, hostname, services)| {
            Command::SwitchInstance { instance, hostname, services }
        }),
        1 => instance().prop_map(Command::GetInstance),
        5 => instance().prop_map(Command::DeleteInstance),
        5 => (instance(), action, notification()).prop_map(|(instance, action, notification)| {
            Command::Act { instance, action, notification }
        }),
    ]
}

fn event() -> impl Strategy<Value = ServerEvent> {
    let id = INSTANCES.prop_map(instance_id);
    let action = prop::sample::select(CorrectiveAction::ALL);
    let info = (any::<bool>(), any::<bool>(), action, 0..9u64).prop_map(
        |(reporting, heartbeating, repair_action, restart_secs)| InstanceInfo {
            reporting,
            heartbeating,
            repair_action,
            restart_secs,
            ..info()
        },
    );
    let vote = (notification(), prop::sample::select(VoteResult::ALL));
    (id, info, vote, 0..20u8).prop_map(|(id, info, (notification_type, vote), kind)| match kind {
        0 => ServerEvent::MonitorReady,
        1..=4 => ServerEvent::Instance(id, info),
        5..=9 => ServerEvent::Running(id, info),
        10..=11 => ServerEvent::Stopped(id, info),
        12..=14 => ServerEvent::IllHealth(id, info),
        15..=17 => ServerEvent::Loss(id),
        _ => {
            let (event_type, reason) = ("stop".into(), "why".into());
            ServerEvent::VoteNotify(id, VoteNotify { notification_type, event_type, vote, reason })
        }
    })
}

fn step() -> impl Strategy<Value = Step> {
    let address = prop_oneof![
        15 => host().prop_map(|host| super::harness::ip(host).to_string()),
        1 => prop::sample::select(vec!["", "nowhere", "0.0.0.0", "224.0.0.1"])
            .prop_map(Into::into),
    ];
    // Mostly a host is who it says it is.
    let told = (host(), prop::option::weighted(0.15, host()), address.clone());
    let own = host().prop_map(|host| (host, host, super::harness::ip(host).to_string()));
    let from = prop_oneof![
        6 => host().prop_map(|host| (host, name(host))),
        1 => (host(), hostname()).prop_map(|(host, name)| (host, name.into())),
    ];
    let listed = (
        INSTANCES,
        prop::option::weighted(0.05, host()),
        prop::option::weighted(0.9, any::<bool>()),
    );
    prop_oneof![
        8 => own.prop_map(|(host, name, ip)| Step::Host(host, name, ip)),
        4 => told.prop_map(|(host, name, ip)| Step::Host(host, name.unwrap_or(host), ip)),
        1 => (host(), prop::option::weighted(0.15, host()))
            .prop_map(|(host, name)| Step::HostGone(host, name.unwrap_or(host))),
        40 => command().prop_map(Step::Command),
        40 => (from, event()).prop_map(|((ip, name), event)| Step::Event(ip, name, event)),
        4 => Just(Step::Audit),
        4 => Just(Step::AuditRound),
        6 => (any::<Index>(), any::<bool>(), prop::option::weighted(0.2, host()))
            .prop_map(|(pick, state, names)| Step::State(pick, state, names)),
        8 => (any::<Index>(), prop::collection::vec(listed, 0..4))
            .prop_map(|(pick, listed)| Step::List(pick, listed)),
        1 => Just(Step::RequestHosts),
        4 => (0..1500u64).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn whatever_happens_the_inventory_is_of_one_piece_and_says_what_it_knows(
        steps in prop::collection::vec(step(), 1..120)
    ) {
        let mut driver = Driver::new();
        for step in &steps {
            driver.take(step);
        }
    }
}
