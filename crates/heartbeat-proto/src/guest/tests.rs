//! The lines of docs/protocol.md, and the golden ones seen on the wire of the C++ daemons.

use proptest::prelude::*;

use super::*;

const GOLDEN: &str = include_str!("../../testdata/channel.jsonl");

fn golden() -> impl Iterator<Item = (String, String)> {
    GOLDEN.lines().map(|line| {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        (entry["from"].as_str().unwrap().into(), entry["text"].as_str().unwrap().into())
    })
}

#[test]
fn every_golden_line_is_read_and_written_back_to_the_same_bytes() {
    let mut refused = Vec::new();
    for (from, text) in golden() {
        let mut written = Vec::new();
        let line = text.trim_matches('\n').as_bytes();
        match from.as_str() {
            "host" => {
                let read = HostMessage::decode(line).unwrap();
                read.message.encode(read.sequence, &mut written);
            }
            _ => match GuestMessage::decode(line) {
                Ok(read) => read.message.encode(read.sequence, &mut written),
                Err(malformed) => {
                    refused.push((
                        malformed.to_string(),
                        malformed.sequence,
                        malformed.invocation_id,
                    ));
                    continue;
                }
            },
        }
        assert_eq!(String::from_utf8(written).unwrap(), text);
    }
    assert_eq!(
        refused,
        [
            ("unsupported message type: whatever".into(), Some(9), None),
            ("failed to parse msg_type".into(), None, None),
            ("failed to parse event_type".into(), Some(9), Some(1)),
        ]
    );
}

/// A good `init` with the value of one key replaced; `None` leaves the key out.
fn init_with(key: &str, value: Option<serde_json::Value>) -> Vec<u8> {
    let mut object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(
        r#"{"version":3,"revision":1,"msg_type":"init","sequence":7,"invocation_id":42,
            "name":"vm","heartbeat_interval_ms":1000,"vote_secs":10,"shutdown_notice_secs":11,
            "suspend_notice_secs":12,"resume_notice_secs":13,"restart_secs":121,
            "corrective_action":"reboot"}"#,
    )
    .unwrap();
    match value {
        Some(value) => object.insert(key.into(), value),
        None => object.remove(key),
    };
    serde_json::to_vec(&object).unwrap()
}

fn refusal(line: &[u8]) -> String {
    GuestMessage::decode(line).unwrap_err().to_string()
}

#[test]
fn a_missing_or_ill_typed_key_is_named() {
    let numbers = [
        "version",
        "revision",
        "sequence",
        "invocation_id",
        "heartbeat_interval_ms",
        "vote_secs",
        "shutdown_notice_secs",
        "suspend_notice_secs",
        "resume_notice_secs",
        "restart_secs",
    ];
    for key in numbers {
        for value in [None, Some("-1".into()), Some(true.into()), Some((-1).into())] {
            assert_eq!(refusal(&init_with(key, value)), format!("failed to parse {key}"));
        }
    }
    for key in ["msg_type", "name", "corrective_action"] {
        for value in [None, Some(1.into()), Some(serde_json::Value::Null)] {
            assert_eq!(refusal(&init_with(key, value)), format!("failed to parse {key}"));
        }
    }
}

#[test]
fn a_string_of_digits_is_a_number() {
    let read =
        GuestMessage::decode(&init_with("invocation_id", Some("4294967296".into()))).unwrap();
    let GuestMessage::Init(init) = read.message else { panic!("{read:?}") };
    assert_eq!(init.invocation_id, 1 << 32);
    assert!(GuestMessage::decode(&init_with("version", Some("3".into()))).is_ok());
    assert_eq!(refusal(&init_with("sequence", Some("+7".into()))), "failed to parse sequence");
    assert_eq!(refusal(&init_with("sequence", Some("".into()))), "failed to parse sequence");
}

#[test]
fn an_older_version_is_refused_and_a_newer_one_is_not() {
    assert_eq!(refusal(&init_with("version", Some(2.into()))), "Bad version: 2, expect version: 3");
    assert!(GuestMessage::decode(&init_with("version", Some(4.into()))).is_ok());
}

#[test]
fn unknown_keys_are_ignored_and_of_doubles_the_last_counts() {
    let odd = serde_json::json!({"list": [1, {"deep": null}], "version": 1});
    assert!(GuestMessage::decode(&init_with("later", Some(odd))).is_ok());
    let doubled = br#"{"version":2,"version":3,"revision":1,"msg_type":"exit","sequence":1}"#;
    assert!(GuestMessage::decode(doubled).is_ok());
}

#[test]
fn what_is_no_object_is_told_apart_from_a_bad_message() {
    for line in ["", "x", "[]", "7", "\"init\"", "{", "{}}", "{\"version\":3", "{'version':3}"] {
        assert_eq!(
            GuestMessage::decode(line.as_bytes()).unwrap_err().kind,
            MalformedKind::NotAnObject,
            "{line}"
        );
    }
    let bad_utf8 = b"{\"version\":3,\"revision\":1,\"msg_type\":\"\xff\",\"sequence\":1}";
    assert_eq!(GuestMessage::decode(bad_utf8).unwrap_err().kind, MalformedKind::NotAnObject);
    let deep = ["{\"a\":", &"[".repeat(4000)].concat();
    assert_eq!(GuestMessage::decode(deep.as_bytes()).unwrap_err().kind, MalformedKind::NotAnObject);
    assert_eq!(refusal(b"{}"), "failed to parse version");
}

#[test]
fn an_exit_without_a_reason_is_an_exit() {
    let read =
        GuestMessage::decode(br#"{"version":3,"revision":1,"msg_type":"exit","sequence":37}"#)
            .unwrap();
    assert_eq!(read.message, GuestMessage::Exit { log_msg: "".into() });
}

#[test]
fn words_that_are_not_in_the_table_have_their_stand_ins() {
    let read =
        GuestMessage::decode(&init_with("corrective_action", Some("explode".into()))).unwrap();
    let GuestMessage::Init(init) = read.message else { panic!("{read:?}") };
    assert_eq!(init.corrective_action, CorrectiveAction::Unknown);

    let response = |health: &str| {
        let line = format!(
            r#"{{"version":3,"revision":1,"msg_type":"challenge_response","sequence":1,
            "heartbeat_response":5,"heartbeat_health":"{health}","corrective_action":"none",
            "log_msg":""}}"#
        );
        match GuestMessage::decode(line.as_bytes()).unwrap().message {
            GuestMessage::ChallengeResponse(response) => response.heartbeat_health,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(response("healthy"), Health::Healthy);
    assert_eq!(response("unhealthy"), Health::Unhealthy);
    assert_eq!(response("so-so"), Health::Unhealthy);
}

#[test]
fn texts_are_cut_to_their_bounds() {
    let read = GuestMessage::decode(&init_with("name", Some("n".repeat(100).into()))).unwrap();
    let GuestMessage::Init(init) = read.message else { panic!("{read:?}") };
    assert_eq!(init.name.len(), MAX_NAME);
    let line = format!(
        r#"{{"version":3,"revision":1,"msg_type":"exit","sequence":1,"log_msg":"{}"}}"#,
        "é".repeat(500)
    );
    let GuestMessage::Exit { log_msg } = GuestMessage::decode(line.as_bytes()).unwrap().message
    else {
        panic!("not an exit")
    };
    assert_eq!(log_msg.len(), MAX_LOG_MSG);
}

#[test]
fn text_from_a_guest_is_escaped_on_its_way_back() {
    let mut line = Vec::new();
    let log_msg = "say \"hi\"\n\u{1b}[2J\\".into();
    HostMessage::Nack { invocation_id: 0, log_msg }.encode(1, &mut line);
    assert_eq!(line.iter().filter(|&&byte| byte == b'\n').count(), 2, "only the framing newlines");
    assert!(!line.contains(&0x1b));
    let HostMessage::Nack { log_msg, .. } = HostMessage::decode(&line).unwrap().message else {
        panic!("not a nack")
    };
    assert_eq!(&*log_msg, "say \"hi\"\n\u{1b}[2J\\");
}

#[test]
fn the_largest_message_fits_its_bound() {
    let widest = "\u{1}".repeat(MAX_LOG_MSG);
    let mut line = Vec::new();
    HostMessage::Nack { invocation_id: u64::MAX, log_msg: widest.as_str().into() }
        .encode(u64::MAX, &mut line);
    assert!(line.len() <= MAX_LINE, "{} bytes", line.len());
}

proptest! {
    #[test]
    fn no_line_can_do_harm(line in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = GuestMessage::decode(&line);
        let _ = HostMessage::decode(&line);
    }

    #[test]
    fn what_is_written_is_read_back(
        sequence: u64, invocation_id: u64, interval: u64, name in "\\PC{0,20}", text in "\\PC{0,60}",
        action in prop::sample::select(CorrectiveAction::ALL),
        event in prop::sample::select(EventType::ALL),
        vote in prop::sample::select(VoteResult::ALL),
    ) {
        let messages = [
            GuestMessage::Init(Init {
                invocation_id, name: name.as_str().into(), heartbeat_interval_ms: interval,
                vote_secs: 1, shutdown_notice_secs: 2, suspend_notice_secs: 3,
                resume_notice_secs: 4, restart_secs: 5, corrective_action: action,
            }),
            GuestMessage::ChallengeResponse(ChallengeResponse {
                heartbeat_response: interval, heartbeat_health: Health::Unhealthy,
                corrective_action: action, log_msg: text.as_str().into(),
            }),
            GuestMessage::ActionResponse(ActionResponse {
                invocation_id, event_type: event, notification_type: NotificationType::Revocable,
                vote_result: vote, log_msg: text.as_str().into(),
            }),
            GuestMessage::Exit { log_msg: text.as_str().into() },
        ];
        for message in messages {
            let mut line = Vec::new();
            message.encode(sequence, &mut line);
            prop_assert_eq!(GuestMessage::decode(&line), Ok(Received { version: VERSION, sequence, message }));
        }
    }
}
