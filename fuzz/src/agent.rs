//! What guestAgent reads over HTTP: the VIM's commands, and the VIM's answers.

use guest_agent::fuzzing::{answer, command, connection};
use serde_json::Value;

use crate::bytes::pieces;

/// The statuses of docs/api.md, and those of a request that is none.
const STATUSES: [u16; 11] = [200, 204, 400, 403, 404, 405, 408, 411, 413, 431, 503];

/// The most that a datagram has room for.
const MAX_TEXT: usize = 959;

/// Whatever a method, a path (the first line) and a body are, they are answered with a status of the
/// table and a JSON object, twice; what is sent on for it is JSON and fits into its datagram.
pub fn http_command(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (line, body) = data.split_at(end);
    let body = body.get(1..).unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let (method, path) = line.split_once(' ').unwrap_or(("GET", &line));
    for commanded in command(method, path, body) {
        assert!(STATUSES.contains(&commanded.status), "{}", commanded.status);
        check_body(commanded.status, &commanded.body);
        let refused = commanded.status >= 400;
        assert!(!refused || (commanded.datagrams.is_empty() && commanded.events.is_empty()));
        for text in &commanded.datagrams {
            assert!(text.len() <= MAX_TEXT, "{} bytes", text.len());
            assert!(serde_json::from_str::<Value>(text).is_ok(), "{text}");
        }
        for text in &commanded.events {
            assert!(serde_json::from_str::<Value>(text).is_ok(), "{text}");
        }
    }
}

fn check_body(status: u16, body: &[u8]) {
    match status {
        204 => assert!(body.is_empty()),
        // What hyper answers by itself has none.
        400 | 431 if body.is_empty() => {}
        _ => {
            let body: Value = serde_json::from_slice(body).unwrap_or_default();
            assert!(body.is_object(), "{status}: {body}");
            if status >= 400 {
                assert_eq!(body.get("status").and_then(Value::as_str), Some("fail"));
            }
        }
    }
}

/// Whatever a client says on a connection, in whatever pieces: it is answered with whole responses, of
/// which there are no fewer than commands carried out, and after it closes the connection ends.
pub fn http_connection(data: &[u8]) {
    let (_, pieces) = pieces(data);
    let (answers, commands) = connection(&pieces);
    let mut rest = answers.as_slice();
    let mut responses = 0;
    while !rest.is_empty() {
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(rest);
        assert!(matches!(parsed, Ok(httparse::Status::Complete(_))), "no response: {parsed:?}");
        let Ok(httparse::Status::Complete(head)) = parsed else { return };
        let status = response.code.unwrap_or_default();
        let length = response
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case("content-length"));
        let length = length.and_then(|header| std::str::from_utf8(header.value).ok()?.parse().ok());
        rest = &rest[head..];
        if status == 100 {
            continue;
        }
        responses += 1;
        assert!(STATUSES.contains(&status), "{status}");
        // The answer to a HEAD has the length of its body, but not its body; ours begin alike.
        if rest.starts_with(b"{") {
            let body = rest.get(..length.unwrap_or_default());
            assert!(body.is_some(), "{length:?} bytes are not there");
            let body = body.unwrap_or_default();
            check_body(status, body);
            rest = &rest[body.len()..];
        }
    }
    assert!(responses >= commands, "{commands} commands, {responses} responses");
}

/// The longest body that this target takes.
const MAX_BODY: usize = 1000;

/// Wherever an answer of the VIM's is cut, the same is understood of it; what is kept is bounded; and a
/// status is only known of an answer of which something came.
pub fn vim_answer(data: &[u8]) {
    let (whole, pieces) = pieces(data);
    let at_once = answer(&[whole], MAX_BODY);
    let in_pieces = answer(&pieces, MAX_BODY);
    for answered in [&at_once, &in_pieces] {
        assert!(answered.text.chars().count() <= 200);
        assert_eq!(answered.silent, whole.is_empty());
        if answered.complete.is_ok() {
            assert!(answered.body.len() <= MAX_BODY, "{} bytes", answered.body.len());
        }
        if answered.complete == Ok(true) {
            assert!(answered.status.is_some(), "complete without a status");
        }
        assert!(answered.status.is_none_or(|status| !(100..200).contains(&status)));
    }
    assert_eq!(at_once.status, in_pieces.status);
    // What is wrong with the rest of a line is only seen at its end, which may not come.
    assert_eq!(at_once.complete == Ok(true), in_pieces.complete == Ok(true));
    if at_once.complete.is_ok() && in_pieces.complete.is_ok() {
        assert_eq!(at_once, in_pieces);
    }
}
