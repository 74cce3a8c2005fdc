//! What goes over the channel between a guest and its host.

use heartbeat_proto::guest::{
    Frame, GuestMessage, HostMessage, LineFramer, MAX_LINE, MAX_LOG_MSG, MAX_NAME, Malformed,
    MalformedKind, VERSION,
};

use crate::bytes::pieces;

#[derive(Debug, PartialEq, Eq)]
enum Owned {
    Line(Vec<u8>, bool),
    TooLong,
}

fn frames(pieces: &[&[u8]]) -> (Vec<Owned>, u64, usize) {
    let mut framer = LineFramer::default();
    let mut found = Vec::new();
    for piece in pieces {
        framer.push(piece, |frame| {
            found.push(match frame {
                Frame::Line { bytes, leading } => {
                    assert!(bytes.len() <= MAX_LINE);
                    assert!(!bytes.contains(&b'\n'));
                    assert!(!bytes.trim_ascii().is_empty());
                    Owned::Line(bytes.to_vec(), leading)
                }
                Frame::TooLong => Owned::TooLong,
            });
        });
        assert!(framer.held() <= MAX_LINE);
    }
    (found, framer.take_thrown_away(), framer.held())
}

/// Where a stream is cut makes no difference, every line is there once and in order, what is held is
/// bounded, and every byte is accounted for.
pub fn line_framer(data: &[u8]) {
    let (stream, pieces) = pieces(data);
    let whole = frames(&[stream]);
    assert_eq!(whole, frames(&pieces));

    let (found, thrown_away, held) = whole;
    let mut expected = Vec::new();
    let mut too_long = 0;
    let mut lines = stream.split(|byte| *byte == b'\n').enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        let ended = lines.peek().is_some();
        if line.len() > MAX_LINE {
            too_long += line.len() as u64;
            expected.push(Owned::TooLong);
        } else if ended && !line.iter().all(u8::is_ascii_whitespace) {
            expected.push(Owned::Line(line.to_vec(), index == 0));
        } else if !ended {
            assert_eq!(held, line.len());
        }
    }
    assert_eq!(found, expected);
    assert_eq!(thrown_away, too_long);
}

/// What is refused is refused with a short text, which is what a `nack` carries.
fn refused(malformed: &Malformed) {
    let text = malformed.to_string();
    assert!(text.len() <= MAX_LOG_MSG, "{text}");
    match malformed.kind {
        MalformedKind::NotAnObject | MalformedKind::BadVersion(_) => {
            assert_eq!((malformed.sequence, malformed.invocation_id), (None, None));
        }
        MalformedKind::Key(_) => {}
        MalformedKind::UnsupportedType(_) => assert!(malformed.sequence.is_some()),
    }
}

/// The line in what an encoder wrote: exactly one, and no longer than a line may be.
fn line(encoded: &[u8]) -> &[u8] {
    let line = encoded.strip_prefix(b"\n").and_then(|line| line.strip_suffix(b"\n"));
    let line = line.unwrap_or_default();
    assert!(!line.is_empty() && !line.contains(&b'\n'), "not one line");
    assert!(line.len() <= MAX_LINE, "{} bytes", line.len());
    line
}

/// A line from a guest is refused, or is a message with bounded texts that says the same when it is
/// written and read again.
pub fn guest_message(data: &[u8]) {
    let received = match GuestMessage::decode(data) {
        Ok(received) => received,
        Err(malformed) => return refused(&malformed),
    };
    assert!(received.version >= VERSION);
    match &received.message {
        GuestMessage::Init(init) => assert!(init.name.len() <= MAX_NAME),
        GuestMessage::ChallengeResponse(response) => {
            assert!(response.log_msg.len() <= MAX_LOG_MSG);
        }
        GuestMessage::ActionResponse(response) => {
            assert!(response.log_msg.len() <= MAX_LOG_MSG);
            assert!(response.event_type.as_str().len() <= 64);
        }
        GuestMessage::Exit { log_msg } => assert!(log_msg.len() <= MAX_LOG_MSG),
    }
    let mut encoded = Vec::new();
    received.message.encode(received.sequence, &mut encoded);
    let again = GuestMessage::decode(line(&encoded));
    assert_eq!(again, Ok(heartbeat_proto::guest::Received { version: VERSION, ..received }));
}

/// The same for a line from a host.
pub fn host_message(data: &[u8]) {
    let received = match HostMessage::decode(data) {
        Ok(received) => received,
        Err(malformed) => return refused(&malformed),
    };
    assert!(received.version >= VERSION);
    check_host_message(received.sequence, &received.message);
}

/// What a host says can be written, and read by its guest as what was meant.
pub(crate) fn check_host_message(sequence: u64, message: &HostMessage) {
    match message {
        HostMessage::InitAck { .. } | HostMessage::Challenge { .. } => {}
        HostMessage::ActionNotify { event_type, .. } => assert!(event_type.as_str().len() <= 64),
        HostMessage::Nack { log_msg, .. } => assert!(log_msg.len() <= MAX_LOG_MSG),
    }
    let mut encoded = Vec::new();
    message.encode(sequence, &mut encoded);
    let again = HostMessage::decode(line(&encoded)).map(|again| (again.sequence, again.message));
    assert_eq!(again, Ok((sequence, message.clone())));
}

/// What a guest says can be written, and read by its host as what was meant.
pub(crate) fn check_guest_message(sequence: u64, message: &GuestMessage) {
    let mut encoded = Vec::new();
    message.encode(sequence, &mut encoded);
    let again = GuestMessage::decode(line(&encoded)).map(|again| (again.sequence, again.message));
    assert_eq!(again, Ok((sequence, message.clone())));
}
