//! Reads a body, and makes a command of it.

use heartbeat_proto::guest::NotificationType;
use heartbeat_proto::vim::command::{ActionBody, HostBody, InstanceBody, Reason};
use heartbeat_proto::{HostId, InstanceId};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Incoming};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Limits;
use super::answer::Failure;
use super::route::{Route, Target};
use crate::inventory::Command;

/// The most services that a command may list. There is one; a long list is a mistake, and would
/// take many times its bytes of memory.
const MAX_SERVICES: usize = 16;

/// Reads the whole body.
pub(super) async fn read_body(mut body: Incoming, limits: &Limits) -> Result<Vec<u8>, Failure> {
    if body.size_hint().lower() > limits.body as u64 {
        return Err(Failure::TooLong);
    }
    let read = async {
        let mut whole = Vec::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| Failure::Broken)?.into_data() else {
                continue; // Trailers say nothing here.
            };
            if whole.len() + data.len() > limits.body {
                return Err(Failure::TooLong);
            }
            // Copied: a small piece would keep its whole buffer alive.
            whole.extend_from_slice(&data);
        }
        Ok(whole)
    };
    tokio::time::timeout(limits.body_time, read).await.unwrap_or(Err(Failure::TooSlow))
}

/// Makes a command of a route, the identifier in its path, and its body.
pub(super) fn command(target: Target<'_>, body: &[u8]) -> Result<Command, Failure> {
    match target.route {
        Route::AddHost => {
            let host = host_id(target)?;
            if !body.is_empty() {
                let _: HostBody = object(target, body, &["hostname"])?;
            }
            Ok(Command::AddHost(host))
        }
        Route::SwitchHost(reporting) => {
            host_id(target)?;
            let HostBody { hostname, .. } = object(target, body, &["hostname"])?;
            Ok(Command::SwitchHost { hostname: hostname.into(), reporting })
        }
        // Which way?
        Route::SwitchHostBare => Err(Reason::InvalidData.into()),
        Route::GetHost => Ok(Command::GetHost(host_id(target)?)),
        Route::DeleteHost => Ok(Command::DeleteHost(host_id(target)?)),
        Route::AddInstance => {
            let (instance, hostname, services) = instance(target, body)?;
            Ok(Command::AddInstance { instance, hostname, services })
        }
        Route::SwitchInstance => {
            let (instance, hostname, services) = instance(target, body)?;
            Ok(Command::SwitchInstance { instance, hostname, services })
        }
        Route::GetInstance => Ok(Command::GetInstance(instance_id(target)?)),
        Route::DeleteInstance => Ok(Command::DeleteInstance(instance_id(target)?)),
        Route::Vote => act(target, body, NotificationType::Revocable),
        Route::Notify => act(target, body, NotificationType::Irrevocable),
    }
}

fn host_id(target: Target<'_>) -> Result<HostId, Reason> {
    target.id.parse().map_err(|_| Reason::InvalidData)
}

fn instance_id(target: Target<'_>) -> Result<InstanceId, Reason> {
    target.id.parse().map_err(|_| Reason::InvalidData)
}

type Instance = (InstanceId, Box<str>, Vec<heartbeat_proto::vim::command::Service>);

fn instance(target: Target<'_>, body: &[u8]) -> Result<Instance, Failure> {
    let id = instance_id(target)?;
    let InstanceBody { hostname, services, .. } = object(target, body, &["hostname", "services"])?;
    if services.len() > MAX_SERVICES {
        return Err(Reason::InvalidData.into());
    }
    Ok((id, hostname.into(), services))
}

fn act(
    target: Target<'_>,
    body: &[u8],
    notification: NotificationType,
) -> Result<Command, Failure> {
    let instance = instance_id(target)?;
    let ActionBody { action, .. } = object(target, body, &["hostname", "action"])?;
    Ok(Command::Act { instance, action: action.into(), notification })
}

/// Reads the JSON object that a body must be. Its `uuid` must be the path's.
fn object<T: DeserializeOwned>(
    target: Target<'_>,
    body: &[u8],
    keys: &[&str],
) -> Result<T, Failure> {
    if body.is_empty() {
        return Err(Failure::NoBody);
    }
    let value: Value = serde_json::from_slice(body).map_err(|_| Reason::Parse)?;
    // serde takes an array for a struct too, key by key; the wire does not.
    let Value::Object(members) = &value else { return Err(Reason::Parse.into()) };
    let Some(Value::String(uuid)) = members.get("uuid") else { return Err(Reason::Parse.into()) };
    if !keys.iter().all(|key| members.contains_key(*key)) {
        return Err(Reason::Parse.into());
    }
    if members.get("services").and_then(Value::as_array).is_some_and(|services| {
        services.iter().any(|service| !service.is_string() && !service.is_object())
    }) {
        return Err(Reason::Parse.into());
    }
    if uuid != target.id {
        return Err(Reason::InvalidData.into());
    }
    serde_json::from_value(value).map_err(|_| Reason::Parse.into())
}
