//! Lines from the guest: what is refused and how, what is cut, and the numbers of ours.

use super::harness::{Bench, NOTHING, T, init};
use crate::guest::{
    Frame, GuestMessage, Init, LineFramer, MAX_LINE, MalformedKind, NotificationType,
};
use crate::session::Note;

const GOLDEN: &str = include_str!("../../../testdata/channel.jsonl");

/// A golden line of the guest's, without its newlines.
fn golden(with: &str) -> String {
    GOLDEN
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|entry| entry["from"] == "guest")
        .map(|entry| entry["text"].as_str().unwrap().trim_matches('\n').to_owned())
        .find(|text| text.contains(with))
        .unwrap()
}

const INIT: &str = "\"msg_type\":\"init\"";
const RESPONSE: &str = "\"msg_type\":\"challenge_response\"";
const ACTION: &str = "\"msg_type\":\"action_response\",\"sequence\":20";

/// The line with the value of `key` replaced by `value`.
fn with(line: &str, key: &str, value: serde_json::Value) -> String {
    let mut object: serde_json::Value = serde_json::from_str(line).unwrap();
    object[key] = value;
    object.to_string()
}

fn without(line: &str, key: &str) -> String {
    let mut object: serde_json::Value = serde_json::from_str(line).unwrap();
    object.as_object_mut().unwrap().remove(key).unwrap();
    object.to_string()
}

#[test]
fn a_key_that_is_missing_or_ill_typed_is_refused_by_its_name() {
    let required: [(&str, &[&str]); 3] = [
        (
            INIT,
            &[
                "version",
                "revision",
                "msg_type",
                "sequence",
                "invocation_id",
                "name",
                "heartbeat_interval_ms",
                "vote_secs",
                "shutdown_notice_secs",
                "suspend_notice_secs",
                "resume_notice_secs",
                "restart_secs",
                "corrective_action",
            ],
        ),
        (RESPONSE, &["heartbeat_response", "heartbeat_health", "corrective_action", "log_msg"]),
        (ACTION, &["invocation_id", "event_type", "notification_type", "vote_result", "log_msg"]),
    ];
    for (line, keys) in required {
        let line = golden(line);
        for key in keys {
            let broken =
                [without(&line, key), with(&line, key, [1].into()), with(&line, key, (-1).into())];
            for broken in broken {
                let mut bench = Bench::running();
                let state = bench.session.state();
                assert_eq!(bench.line(&broken), [format!("nack 42 failed to parse {key}")]);
                assert_eq!(bench.notes(), [&Note::Malformed(MalformedKind::Key(key))]);
                assert_eq!(bench.session.state(), state);
            }
        }
    }
}

#[test]
fn a_version_below_3_is_refused_and_one_above_is_accepted() {
    let mut bench = Bench::connected();
    for version in [0, 2] {
        let nack = format!("nack 0 Bad version: {version}, expect version: 3");
        assert_eq!(bench.line(&with(&golden(INIT), "version", version.into())), [nack]);
    }
    let accepted = bench.line(&with(&golden(INIT), "version", 4.into()));
    assert_eq!(accepted, ["init_ack 42", "challenge"]);
}

#[test]
fn a_message_of_an_unknown_type_is_refused_by_its_name() {
    let mut bench = Bench::running();
    assert_eq!(bench.line(&golden("whatever")), ["nack 42 unsupported message type: whatever"]);
    let ours =
        r#"{"version":3,"revision":1,"msg_type":"init_ack","sequence":2,"invocation_id":42}"#;
    assert_eq!(bench.line(ours), ["nack 42 unsupported message type: init_ack"]);
}

#[test]
fn unknown_keys_are_ignored_and_digits_in_a_string_are_a_number() {
    let mut line = with(&golden(INIT), "colour", "blue".into());
    for key in ["version", "sequence", "invocation_id", "heartbeat_interval_ms", "vote_secs"] {
        let digits = serde_json::from_str::<serde_json::Value>(&line).unwrap()[key].to_string();
        line = with(&line, key, digits.into());
    }
    let mut bench = Bench::connected();
    assert_eq!(bench.line(&line), ["init_ack 42", "challenge"]);
    assert_eq!((bench.sequences(), bench.session.info().vote_secs), (vec![2, 3], 10));
}

#[test]
fn a_nack_carries_the_id_of_the_newest_init_and_0_before_the_first() {
    let mut bench = Bench::connected();
    let broken = golden("whatever");
    assert_eq!(bench.line(&broken), ["nack 0 unsupported message type: whatever"]);
    let mismatch = "nack 0 Invocation id mismatch. Received: 42 expect: 0";
    assert_eq!(bench.line(&golden(ACTION)), [mismatch]);
    for invocation_id in [42, 43] {
        bench.say(&GuestMessage::Init(Init { invocation_id, ..init() }));
        let nack = format!("nack {invocation_id} unsupported message type: whatever");
        assert_eq!(bench.line(&broken), [nack]);
    }
}

#[test]
fn an_answer_of_another_session_is_refused_as_that_whatever_else_it_lacks() {
    let mut bench = Bench::inited();
    let line = golden("\"sequence\":9,\"invocation_id\":1}");
    let broken = with(&line, "msg_type", "action_response".into());
    assert_eq!(bench.line(&broken), ["nack 42 Invocation id mismatch. Received: 1 expect: 42"]);
    let own = with(&broken, "invocation_id", 42.into());
    assert_eq!(bench.line(&own), ["nack 42 failed to parse event_type"]);
}

#[test]
fn our_sequence_is_one_more_than_the_last_seen_or_sent() {
    let mut bench = Bench::connected();
    bench.guest_sequence = 99;
    bench.say(&GuestMessage::Init(init()));
    assert_eq!(bench.sequences(), [101, 102], "seen 100");
    bench.wait(T);
    assert_eq!(bench.sequences(), [103], "sent 102");
    bench.guest_sequence = 6;
    bench.answer();
    bench.wait(2 * T);
    assert_eq!(bench.sequences(), [8, 9], "seen 7, although it is less");
}

#[test]
fn a_line_that_failed_before_its_sequence_does_not_move_ours() {
    let line = with(&golden("whatever"), "sequence", 9000.into());
    let early = [
        without(&line, "version"),
        with(&line, "version", 2.into()),
        without(&line, "revision"),
        without(&line, "msg_type"),
        without(&line, "sequence"),
    ];
    for early in early {
        let mut bench = Bench::inited();
        assert_eq!(bench.line(&early).len(), 1);
        assert_eq!(bench.sequences(), [4], "{early}");
    }
    let late = [line, with(&with(&golden(ACTION), "sequence", 9000.into()), "log_msg", 5.into())];
    for late in late {
        let mut bench = Bench::inited();
        assert_eq!(bench.line(&late).len(), 1);
        assert_eq!(bench.sequences(), [9001], "{late}");
    }
}

#[test]
fn an_exit_without_a_log_msg_is_still_an_exit() {
    let mut bench = Bench::running();
    assert_eq!(bench.line(&without(&golden("\"bye\""), "log_msg")), ["STOPPED"]);
    assert_eq!(bench.notes(), [&Note::Exit { log_msg: "".into() }]);
}

#[test]
fn a_line_that_is_no_object_is_counted_and_thrown_away_without_a_nack() {
    for line in ["x", "{", "[]", "null", "7", "\"init\"", "{}}", "{\"version\":3,"] {
        let mut bench = Bench::running();
        assert_eq!(bench.line(line), NOTHING, "{line}");
        assert_eq!(bench.notes(), [&Note::Malformed(MalformedKind::NotAnObject)], "{line}");
    }
}

/// What a stream of bytes, from the beginning of a connection, leads to.
fn stream(bench: &mut Bench, bytes: &[u8]) -> Vec<String> {
    let mut words = Vec::new();
    let mut framer = LineFramer::default();
    framer.push(bytes, |frame| {
        words.extend(bench.input(|session, now, random| session.handle_frame(now, &frame, random)));
    });
    words
}

#[test]
fn a_fragment_at_the_beginning_of_a_connection_is_discarded_quietly() {
    let fragment = "ecs\":121,\"corrective_action\":\"reboot\"}\n";
    let mut bench = Bench::connected();
    assert_eq!(stream(&mut bench, fragment.as_bytes()), NOTHING);
    assert_eq!(bench.notes(), [&Note::Fragment]);
    let words = stream(&mut bench, format!("{fragment}\n{}\n", golden(INIT)).as_bytes());
    assert_eq!(words, ["init_ack 42", "challenge"]);
    assert_eq!(stream(&mut bench, format!("\n{fragment}").as_bytes()), NOTHING);
    assert_eq!(bench.notes(), [&Note::Malformed(MalformedKind::NotAnObject)], "not the first");
}

#[test]
fn a_whole_line_at_the_beginning_of_a_connection_counts() {
    let mut bench = Bench::connected();
    let words = stream(&mut bench, format!("{}\n", golden(INIT)).as_bytes());
    assert_eq!(words, ["init_ack 42", "challenge"]);
    let words = stream(&mut bench, format!("{}\n", golden("whatever")).as_bytes());
    assert_eq!(words, ["nack 42 unsupported message type: whatever"]);
}

#[test]
fn a_line_that_is_too_long_is_answered_with_one_nack() {
    let mut bench = Bench::inited();
    let long = format!("\n{}\n{}\n", "x".repeat(3 * MAX_LINE), golden("whatever"));
    let words = stream(&mut bench, long.as_bytes());
    assert_eq!(words, ["nack 42 message too long", "nack 42 unsupported message type: whatever"]);
    let frame = Frame::TooLong;
    bench.input(|session, now, random| session.handle_frame(now, &frame, random));
    assert_eq!(bench.notes(), [&Note::TooLong]);
}

#[test]
fn a_long_name_is_cut_at_a_character() {
    let mut bench = Bench::connected();
    bench.line(&with(&golden(INIT), "name", format!("{}é", "x".repeat(63)).into()));
    assert_eq!(bench.session.name(), "x".repeat(63));
}

#[test]
fn the_golden_dialogue_gets_the_golden_bytes() {
    let mut bench = Bench::connected();
    let bytes = |bench: &Bench| {
        let mut bytes = Vec::new();
        for output in &bench.outputs {
            if let crate::session::Output::Send { sequence, message } = output {
                message.encode(*sequence, &mut bytes);
            }
        }
        String::from_utf8(bytes).unwrap()
    };
    let host = |with: &str| -> String {
        GOLDEN
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .filter(|entry| entry["from"] == "host")
            .map(|entry| entry["text"].as_str().unwrap().to_owned())
            .find(|text| text.contains(with))
            .unwrap()
    };
    let line = golden(INIT);
    let frame = Frame::Line { bytes: line.as_bytes(), leading: false };
    bench.input(|session, now, _| session.handle_frame(now, &frame, &mut || 1_656_478_042));
    assert_eq!(bytes(&bench), host("init_ack") + &host("1656478042"));
    assert_eq!(bench.line(&golden("1656478042")), ["RUNNING"]);
    bench.line(&golden("1656478042").replace("\"sequence\":2", "\"sequence\":15"));
    bench.act("reboot", NotificationType::Revocable);
    assert_eq!(bytes(&bench), host("action_notify"));
    assert_eq!(bench.line(&golden("not now")), ["VOTE reboot revocable reject: not now"]);
    bench.say(&GuestMessage::Init(Init { invocation_id: 43, ..init() }));
    bench.line(&golden("whatever"));
    assert_eq!(bytes(&bench), host("whatever"));
    bench.line(&golden("\"action_response\",\"sequence\":9"));
    assert_eq!(bytes(&bench), host("mismatch"));
}
