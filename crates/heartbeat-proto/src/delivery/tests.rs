//! The rules of docs/protocol.md, "Acknowledged datagrams", row by row and by simulation.

mod incoming;
mod outgoing;
mod simulation;

use std::time::Duration;

use crate::control::{InstanceInfo, Numbering, REVISION, ServerEvent};
use crate::guest::CorrectiveAction;
use crate::{InstanceId, MonotonicTime};

fn at(millis: u64) -> MonotonicTime {
    MonotonicTime::after_start(Duration::from_millis(millis))
}

fn id(number: u128) -> InstanceId {
    InstanceId::from_u128(number)
}

fn info(heartbeating: bool) -> InstanceInfo {
    InstanceInfo {
        reporting: true,
        heartbeating,
        repair_action: CorrectiveAction::Log,
        restart_secs: 120,
        shutdown_secs: 10,
        suspend_secs: 10,
        resume_secs: 10,
        vote_secs: 10,
    }
}

fn running(number: u128) -> ServerEvent {
    ServerEvent::Running(id(number), info(true))
}

fn stopped(number: u128) -> ServerEvent {
    ServerEvent::Stopped(id(number), info(false))
}

fn loss(number: u128) -> ServerEvent {
    ServerEvent::Loss(id(number))
}

fn numbered(epoch: u32, number: u32) -> Numbering {
    Numbering { revision: REVISION, epoch, number }
}
