//! The bodies exchanged with the VIM.

use heartbeat_proto::guest::{CorrectiveAction, EventType};
use heartbeat_proto::vim::command::{ActionBody, HostBody, InstanceBody};
use heartbeat_proto::vim::{
    AlarmState, EventKind, GuestResponse, HostState, InstanceEvent, InstanceList, host_query_body,
};
use serde_json::Value;

/// Every body that the VIM sends is refused or read, whatever it is; nothing of it is longer than what
/// was sent; and what it names can be written into a body for the VIM that says the same.
pub fn vim_body(data: &[u8]) {
    if let Ok(body) = serde_json::from_slice::<HostBody>(data) {
        assert!(body.hostname.len() <= data.len());
        let query = parsed(&host_query_body(&body.hostname, body.uuid));
        assert_eq!(query.get("hostname").and_then(Value::as_str), Some(&*body.hostname));
        assert_eq!(uuid(&query), Some(body.uuid.to_string()));
    }
    if let Ok(body) = serde_json::from_slice::<InstanceBody>(data) {
        let names: usize = body.services.iter().map(|service| service.name().len()).sum();
        assert!(body.hostname.len() + names <= data.len());
        for kind in [
            EventKind::Service { reporting: true, heartbeating: true, restart_secs: u64::MAX },
            EventKind::Alarm { state: AlarmState::Failed, repair_action: CorrectiveAction::Reboot },
        ] {
            let hostname = body.hostname.as_str().into();
            let event = InstanceEvent { instance: body.uuid, hostname, kind };
            let sent = parsed(&event.body());
            assert_eq!(sent.get("hostname").and_then(Value::as_str), Some(&*body.hostname));
            assert_eq!(uuid(&sent), Some(body.uuid.to_string()));
            assert!(event.path().bytes().all(|byte| byte.is_ascii_graphic()));
        }
    }
    if let Ok(body) = serde_json::from_slice::<ActionBody>(data) {
        assert!(body.hostname.len() + body.action.len() <= data.len());
        let event = EventType::from(body.action.as_str());
        assert!(body.action.starts_with(event.as_str()) && event.as_str().len() <= 64);
        let reason = body.hostname.as_str().into();
        let kind =
            EventKind::Action { event: event.clone(), response: GuestResponse::Allow, reason };
        let sent = parsed(&InstanceEvent { instance: body.uuid, hostname: "".into(), kind }.body());
        let action = sent.get("event-data").and_then(|data| data.get("action"));
        assert_eq!(action.and_then(Value::as_str), Some(event.as_str()));
    }
    let _ = serde_json::from_slice::<HostState>(data);
    if let Ok(list) = serde_json::from_slice::<InstanceList>(data) {
        // The shortest that can be said of an instance has its 36 characters.
        assert!(list.instances.len() * 36 <= data.len());
        for instance in &list.instances {
            assert!(instance.hostname.len() <= data.len());
            let _ = instance.reporting();
        }
    }
}

fn parsed(body: &str) -> Value {
    let value = serde_json::from_str(body).unwrap_or_default();
    assert_ne!(value, Value::Null, "no JSON: {body}");
    value
}

fn uuid(body: &Value) -> Option<String> {
    body.get("uuid").and_then(Value::as_str).map(str::to_owned)
}
