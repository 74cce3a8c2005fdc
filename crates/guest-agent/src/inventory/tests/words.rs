//! Every output in a few words, so that a test reads like what it expects.

use std::net::IpAddr;

use heartbeat_proto::InstanceId;
use heartbeat_proto::control::AgentCommand;
use heartbeat_proto::vim::EventKind;

use crate::inventory::{Output, Question, Topic};

fn switch(on: bool) -> &'static str {
    if on { "enabled" } else { "disabled" }
}

fn short(instance: &InstanceId) -> String {
    let text = instance.to_string();
    format!("i{}", u64::from_str_radix(&text[24..], 16).unwrap())
}

fn command_word(ip: IpAddr, command: &AgentCommand) -> String {
    match command {
        AgentCommand::ModHost { reporting, .. } => format!("{ip} MOD_HOST {}", switch(*reporting)),
        AgentCommand::AddInstance { instance, reporting } => {
            format!("{ip} ADD_INST {} {}", short(instance), switch(*reporting))
        }
        AgentCommand::ModInstance { instance, reporting } => {
            format!("{ip} MOD_INST {} {}", short(instance), switch(*reporting))
        }
        AgentCommand::DelInstance { instance } => format!("{ip} DEL_INST {}", short(instance)),
        AgentCommand::Query => format!("{ip} QRY_INST"),
        AgentCommand::Vote { instance, event } => {
            format!("{ip} VOTE_INST {} {event}", short(instance))
        }
        AgentCommand::Notify { instance, event } => {
            format!("{ip} NOTIFY_INST {} {event}", short(instance))
        }
        AgentCommand::Loopback => format!("{ip} LOOPBACK"),
    }
}

/// What the driver is to do, in a few words; notes are left out.
pub(super) fn word(output: &Output) -> Option<String> {
    Some(match output {
        // Told apart where it matters; it goes to the outbox alone.
        Output::Note(_) | Output::Moved(_) => return None,
        Output::Command(ip, command) => command_word(*ip, command),
        Output::Ask(Question { hostname, topic: Topic::State, .. }) => {
            format!("ask state of {hostname}")
        }
        Output::Ask(Question { hostname, topic: Topic::Instances, .. }) => {
            format!("ask instances of {hostname}")
        }
        Output::Deleted(instance) => format!("deleted {}", short(instance)),
        Output::ReadyForMaintenance => "MONITOR_READY".into(),
        Output::Event(event) => {
            let (instance, hostname) = (short(&event.instance), &event.hostname);
            match &event.kind {
                EventKind::Service { reporting, heartbeating, restart_secs } => format!(
                    "{instance} on {hostname}: reporting {}, heartbeat {}, {restart_secs} s",
                    switch(*reporting),
                    switch(*heartbeating),
                ),
                EventKind::Alarm { state, repair_action } => {
                    format!("{instance} on {hostname}: {state:?}, {repair_action}").to_lowercase()
                }
                EventKind::Action { event, response, reason } => {
                    format!("{instance}: {event}, {response:?}, {reason:?}")
                }
            }
        }
    })
}
