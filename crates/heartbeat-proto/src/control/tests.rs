//! The byte table of docs/protocol.md, pinned by the datagrams of the C++ daemons.

use proptest::prelude::*;

use super::datagram::MAX_TEXT;
use super::*;
use crate::InstanceId;
use crate::guest::{CorrectiveAction, EventType, NotificationType, VoteResult};

const GOLDEN: &str = include_str!("../../testdata/datagrams.jsonl");

struct Golden {
    direction: String,
    name: String,
    bytes: Vec<u8>,
    text: String,
}

fn golden() -> Vec<Golden> {
    let entry = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| value[key].as_str().unwrap().to_owned();
        let hex = text("hex");
        let bytes = (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect::<Vec<_>>();
        assert_eq!(bytes.len(), usize::try_from(value["length"].as_u64().unwrap()).unwrap());
        Golden { direction: text("direction"), name: text("name"), bytes, text: text("text") }
    };
    GOLDEN.lines().map(entry).collect()
}

#[test]
fn the_names_are_those_of_the_commands() {
    let instance = InstanceId::from_u128(1);
    let command = AgentCommand::DelInstance { instance };
    assert!(AgentCommand::NAMES.contains(&command.name()));
    assert!(AgentCommand::NAMES.contains(&AgentCommand::Loopback.name()));
    assert!(ServerEvent::NAMES.contains(&ServerEvent::Loss(instance).name()));
    let text = r#"{"hostname":"h","uuid":"00000000-0000-0000-0000-000000000001"}"#;
    let datagram = Datagram::plain(Signature::MaintenanceCommand, code::DEL_HOST, text);
    let command = MaintenanceCommand::decode(&datagram).unwrap();
    assert_eq!(command.name(), MaintenanceCommand::NAMES[2]);
    let error = AgentCommand::decode(&Datagram { command: code::VOTE_INST, ..datagram });
    assert_eq!(error.unwrap_err().command(), Some("VOTE_INST"));
    let error = AgentCommand::decode(&Datagram { command: 7, ..datagram });
    assert_eq!(error.unwrap_err().command(), None);
}

#[test]
fn every_golden_datagram_is_read_and_written_back_to_the_same_bytes() {
    let mut seen = std::collections::BTreeMap::<String, u32>::new();
    for golden in golden() {
        let datagram = Datagram::decode(&golden.bytes).unwrap();
        assert_eq!(datagram.text, golden.text);
        let mut written = Vec::new();
        match golden.direction.as_str() {
            "agent to server" => {
                assert_eq!(datagram.signature, Signature::GuestMessage);
                let command = AgentCommand::decode(&datagram).unwrap();
                command.with_datagram("127.0.0.2", |d| d.encode(Length::Fitting, &mut written));
            }
            "server to agent" => {
                assert_eq!(datagram.signature, Signature::None);
                let Hosted { hostname, event } = ServerEvent::decode(&datagram).unwrap();
                assert_eq!(event.name(), golden.name);
                event.with_datagram(&hostname, |d| d.encode(Length::Full, &mut written));
            }
            "agent to mtcAgent" => {
                ready_for_maintenance().encode(Length::Fitting, &mut written);
            }
            "mtcAgent to agent" => {
                assert_eq!(datagram.signature, Signature::MaintenanceCommand);
                let MaintenanceCommand::AddHost(host) =
                    MaintenanceCommand::decode(&datagram).unwrap()
                else {
                    panic!("not ADD_HOST")
                };
                let text = serde_json::to_string(&host).unwrap();
                Datagram { text: &text, ..datagram }.encode(Length::Fitting, &mut written);
            }
            other => panic!("unknown direction {other}"),
        }
        assert_eq!(written, golden.bytes, "{} {}", golden.direction, golden.name);
        *seen.entry(golden.direction).or_default() += 1;
    }
    assert_eq!(seen.len(), 4);
    assert_eq!(seen.values().sum::<u32>(), 19, "{seen:?}");
}

fn id() -> InstanceId {
    "8d80875b-fa73-4ccb-bce3-1cd4df104400".parse().unwrap()
}

fn encoded(command: u32, text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    Datagram::plain(Signature::GuestMessage, command, text).encode(Length::Fitting, &mut bytes);
    bytes
}

#[test]
fn any_length_from_the_header_to_the_whole_is_read() {
    let bytes = encoded(code::LOOPBACK, "");
    assert_eq!(bytes.len(), HEADER_LEN);
    for len in HEADER_LEN..=MAX_LEN {
        let mut padded = bytes.clone();
        padded.resize(len, 0);
        assert_eq!(Datagram::decode(&padded).unwrap().command, code::LOOPBACK);
    }
    for len in [0, 1, HEADER_LEN - 1, MAX_LEN + 1, 2000] {
        let mut wrong = bytes.clone();
        wrong.resize(len, 0);
        assert_eq!(Datagram::decode(&wrong), Err(DatagramError::Length(len)));
    }
}

#[test]
fn a_text_may_fill_the_datagram_to_its_last_byte() {
    let mut bytes = encoded(code::QRY_INST, "");
    bytes.resize(MAX_LEN, b'x');
    assert_eq!(Datagram::decode(&bytes).unwrap().text.len(), MAX_LEN - HEADER_LEN);
}

#[test]
fn an_unknown_signature_and_a_text_that_is_no_text_are_refused() {
    let mut bytes = encoded(code::QRY_INST, "{}");
    bytes[0] = b'G';
    assert_eq!(Datagram::decode(&bytes), Err(DatagramError::Signature));
    let mut bytes = encoded(code::QRY_INST, "{}");
    bytes[101] = 0xff;
    assert_eq!(Datagram::decode(&bytes), Err(DatagramError::Text(101)));
}

#[test]
fn the_header_fields_that_mean_nothing_are_ignored() {
    let mut bytes = encoded(code::QRY_INST, r#"{"source":"127.0.0.2"}"#);
    for at in (64..72).chain(76..100) {
        bytes[at] = 0xa5;
    }
    let datagram = Datagram::decode(&bytes).unwrap();
    assert_eq!(AgentCommand::decode(&datagram).unwrap(), AgentCommand::Query);
}

fn refusal(command: u32, text: &str) -> String {
    let bytes = encoded(command, text);
    let error = AgentCommand::decode(&Datagram::decode(&bytes).unwrap()).unwrap_err();
    match std::error::Error::source(&error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[test]
fn a_command_that_is_wrong_is_refused_with_what_is_wrong() {
    let uuid = id();
    assert_eq!(refusal(0x1234, "{}"), "unknown command 0x00001234");
    assert!(refusal(code::QRY_INST, "").contains("QRY_INST"));
    let missing = format!(r#"{{"source":"x","uuid":"{uuid}","service":"heartbeat"}}"#);
    assert!(refusal(code::ADD_INST, &missing).contains("missing field `state`"));
    let source = format!(r#"{{"uuid":"{uuid}","service":"heartbeat","state":"enabled"}}"#);
    assert!(refusal(code::MOD_INST, &source).contains("missing field `source`"));
    let state = format!(r#"{{"source":"x","uuid":"{uuid}","service":"heartbeat","state":"on"}}"#);
    assert!(refusal(code::MOD_INST, &state).contains("unknown variant `on`"));
    let service = state.replace("heartbeat", "disk").replace("\"on\"", "\"enabled\"");
    assert_eq!(
        refusal(code::DEL_INST, &service),
        "bad DEL_INST text: service is \"disk\", expected heartbeat"
    );
    let bad_id = r#"{"source":"x","uuid":"../etc","event":"stop"}"#;
    assert!(refusal(code::VOTE_INST, bad_id).contains("not a canonical uuid"));
    let long = format!(r#"{{"source":"x","uuid":"{uuid}","event":"{}"}}"#, "e".repeat(65));
    assert!(refusal(code::NOTIFY_INST, &long).contains("expected 1 to 64 bytes"));
}

#[test]
fn an_action_with_an_unknown_name_passes_through() {
    let text = format!(r#"{{"source":"x","uuid":"{}","event":"bogus"}}"#, id());
    let bytes = encoded(code::NOTIFY_INST, &text);
    let command = AgentCommand::decode(&Datagram::decode(&bytes).unwrap()).unwrap();
    assert_eq!(
        command,
        AgentCommand::Notify { instance: id(), event: EventType::Other("bogus".into()) }
    );
    assert_eq!(command.text("x"), text);
}

#[test]
fn a_reason_that_does_not_fit_is_cut_and_the_json_stays_whole() {
    let vote = |reason: &str| {
        ServerEvent::VoteNotify(
            id(),
            VoteNotify {
                notification_type: NotificationType::Irrevocable,
                event_type: EventType::LiveMigrateBegin,
                vote: VoteResult::Reject,
                reason: reason.into(),
            },
        )
    };
    for reason in ["\u{1}".repeat(224), "é\"".repeat(74), "x".repeat(224)] {
        let hostname = "h".repeat(64);
        let text = vote(&reason).text(&hostname);
        assert!(text.len() <= MAX_TEXT, "{}", text.len());
        let mut bytes = Vec::new();
        vote(&reason).with_datagram(&hostname, |d| d.encode(Length::Full, &mut bytes));
        let datagram = Datagram::decode(&bytes).unwrap();
        let Hosted { event, .. } = ServerEvent::decode(&datagram).unwrap();
        let ServerEvent::VoteNotify(_, decoded) = event else { panic!("{event:?}") };
        assert!(reason.starts_with(&*decoded.reason), "a beginning of the reason");
        assert!(decoded.reason.len() > 90, "only as much as necessary is cut");
    }
}

#[test]
fn an_event_with_a_broken_text_is_refused() {
    let text = r#"{"hostname":"vm","uuid":"8d80875b-fa73-4ccb-bce3-1cd4df104400","reporting":
        "enabled","heartbeating":"enabled","repair-action":"reboot","restart-to":"x",
        "shutdown-to":"11","suspend-to":"12","resume-to":"13","vote-to":"10"}"#;
    for (command, text) in
        [(code::RUNNING, text), (code::LOSS, "{}"), (code::VOTE_NOTIFY, "{}"), (code::ADD_INST, "")]
    {
        let bytes = encoded(command, text);
        assert!(ServerEvent::decode(&Datagram::decode(&bytes).unwrap()).is_err());
    }
}

proptest! {
    #[test]
    fn no_datagram_can_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..1100), command in
        prop::sample::select(vec![code::MOD_HOST, code::ADD_INST, code::QRY_INST, code::VOTE_NOTIFY]))
    {
        let mut bytes = bytes;
        if bytes.len() > 80 {
            bytes[..18].fill(0);
            bytes[72..76].copy_from_slice(&command.to_le_bytes());
        }
        if let Ok(datagram) = Datagram::decode(&bytes) {
            let _ = AgentCommand::decode(&datagram);
            let _ = ServerEvent::decode(&datagram);
            let _ = MaintenanceCommand::decode(&datagram);
        }
    }

    #[test]
    fn every_instance_info_is_read_back(
        reporting: bool, heartbeating: bool, secs: u64,
        action in prop::sample::select(CorrectiveAction::ALL), hostname in "\\PC{1,20}",
    ) {
        let info = InstanceInfo {
            reporting, heartbeating, repair_action: action, restart_secs: secs, shutdown_secs: 1,
            suspend_secs: 2, resume_secs: 3, vote_secs: 4,
        };
        let event = ServerEvent::Running(id(), info);
        let mut bytes = Vec::new();
        event.with_datagram(&hostname, |d| d.encode(Length::Full, &mut bytes));
        let datagram = Datagram::decode(&bytes).unwrap();
        let decoded = ServerEvent::decode(&datagram).unwrap();
        prop_assert_eq!(decoded, Hosted { hostname: hostname.into(), event });
    }
}
