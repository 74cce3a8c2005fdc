//! The bytes of a request to the VIM.
//!
//! The same as the C++ daemon's, header by header, and made whole before anything is sent: the VIM
//! has one thread, and half a request holds up everybody that talks to it.

use std::fmt::Write as _;

use heartbeat_proto::vim::{AGENT_USER_AGENT, InstanceEvent, host_query_body};

use super::address::VimAddress;
use crate::inventory::{Question, Topic};

/// A whole request, head and body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request(Vec<u8>);

impl Request {
    /// Tells the VIM of an instance.
    pub(super) fn event(vim: &VimAddress, event: &InstanceEvent) -> Self {
        Self::new("PATCH", &event.path(), vim, Some(&event.body()))
    }

    /// Asks the VIM of a host.
    pub(super) fn question(vim: &VimAddress, question: &Question) -> Self {
        let host = question.host;
        match question.topic {
            Topic::State => {
                let body = host_query_body(&question.hostname, host);
                Self::new("GET", &format!("/nfvi-plugins/v1/hosts/{host}"), vim, Some(&body))
            }
            Topic::Instances => {
                let path = format!("/nfvi-plugins/v1/instances/?host_uuid={host}");
                Self::new("GET", &path, vim, None)
            }
        }
    }

    fn new(method: &str, path: &str, vim: &VimAddress, body: Option<&str>) -> Self {
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", vim.authority());
        if let Some(body) = body {
            // Writing to a String does not fail.
            let _ = write!(text, "Content-Length: {}\r\n", body.len());
        }
        let _ = write!(text, "User-Agent: {AGENT_USER_AGENT}\r\n");
        text.push_str("Content-Type: application/json\r\nConnection: close\r\n\r\n");
        text.push_str(body.unwrap_or_default());
        Self(text.into_bytes())
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use heartbeat_proto::guest::CorrectiveAction;
    use heartbeat_proto::vim::{AlarmState, EventKind, GuestResponse};
    use heartbeat_proto::{HostId, InstanceId};
    use serde_json::Value;

    use super::*;
    use crate::inventory::Revision;

    const GOLDEN: &str = include_str!("../../../heartbeat-proto/testdata/vim.jsonl");

    fn question(topic: Topic) -> Question {
        let host: HostId = "010e7741-1173-4a3b-88fa-c4e5905500ca".parse().unwrap();
        Question { host, hostname: "vm".into(), topic, asked_at: Revision::default() }
    }

    fn event(instance: &str, kind: EventKind) -> InstanceEvent {
        let instance: InstanceId = instance.parse().unwrap();
        InstanceEvent { instance, hostname: "vm".into(), kind }
    }

    fn service(reporting: bool, heartbeating: bool, restart_secs: u64) -> EventKind {
        EventKind::Service { reporting, heartbeating, restart_secs }
    }

    fn alarm(state: AlarmState) -> EventKind {
        EventKind::Alarm { state, repair_action: CorrectiveAction::Reboot }
    }

    fn action(event: &str, response: GuestResponse, reason: &str) -> EventKind {
        EventKind::Action { event: event.into(), response, reason: reason.into() }
    }

    /// Ours, in the order of the golden ones, but for the last two: those are votes that have no
    /// response at all (docs/protocol.md, "Differences").
    fn ours() -> Vec<Request> {
        const FIRST: &str = "8d80875b-fa73-4ccb-bce3-1cd4df104400";
        const SECOND: &str = "8d80875b-fa73-4ccb-bce3-1cd4df10aaaa";
        let events = [
            event(FIRST, service(true, true, 121)),
            event(FIRST, action("stop", GuestResponse::Allow, "")),
            event(FIRST, action("reboot", GuestResponse::Reject, "not now")),
            event(FIRST, action("pause", GuestResponse::Proceed, "")),
            event(FIRST, action("bogus", GuestResponse::Proceed, "")),
            event(FIRST, alarm(AlarmState::Unhealthy)),
            event(FIRST, service(true, false, 121)),
            event(FIRST, alarm(AlarmState::Failed)),
            event(FIRST, service(false, false, 121)),
            event(SECOND, service(false, true, 601)),
        ];
        let vim = VimAddress::default();
        let mut all = vec![
            Request::question(&vim, &question(Topic::State)),
            Request::question(&vim, &question(Topic::Instances)),
        ];
        all.extend(events.iter().map(|event| Request::event(&vim, event)));
        all
    }

    #[test]
    fn our_requests_are_the_golden_ones() {
        let golden: Vec<Value> =
            GOLDEN.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let ours = ours();
        assert_eq!(ours.len() + 2, golden.len());
        let mut to_the_byte = 0;
        for (ours, golden) in ours.iter().zip(&golden) {
            let text = str::from_utf8(ours.as_bytes()).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            let (golden_head, golden_body) =
                (golden["head"].as_str().unwrap(), golden["body"].as_str().unwrap());
            if body == golden_body {
                to_the_byte += 1;
            } else {
                // The C++ daemon puts blanks into some bodies.
                let json = |text| serde_json::from_str::<Value>(text).unwrap();
                assert_eq!(json(body), json(golden_body));
            }
            let length = |body: &str| format!("Content-Length: {}\r\n", body.len());
            assert_eq!(head, golden_head.replace(&length(golden_body), &length(body)));
        }
        assert_eq!(to_the_byte, 7, "states, alarms and the question for instances");
    }

    #[test]
    fn text_from_elsewhere_stays_in_the_body() {
        let vim: VimAddress = "http://[::1]:1".parse().unwrap();
        let hostile = Question { hostname: "a\r\n\r\nPATCH \"".into(), ..question(Topic::State) };
        let request = Request::question(&vim, &hostile);
        let text = str::from_utf8(request.as_bytes()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("\r\nHost: [::1]:1\r\n"));
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())));
        assert!(body.starts_with(r#"{"hostname":"a\r\n\r\nPATCH \"","#), "{body}");
    }
}
