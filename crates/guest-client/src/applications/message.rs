//! What applications and guestClient say to each other: one JSON object a line (docs/guest.md, "Applications").

use std::time::Duration;

use heartbeat_proto::client::Action;
use heartbeat_proto::guest::CorrectiveAction;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::ballot::Answer;
use crate::config;

/// The longest name of an application, in bytes.
const MAX_NAME: usize = 64;

/// Milliseconds between beats.
const MIN_INTERVAL: u64 = 100;
const MAX_INTERVAL: u64 = 3_600_000;

/// How an application takes part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Registration {
    pub(crate) name: String,
    /// Between beats; `None` if none are expected.
    pub(crate) interval: Option<Duration>,
    /// What is to be done when it is not well; `None`: what is configured.
    pub(crate) corrective_action: Option<CorrectiveAction>,
    /// Whether it wants to be asked about events.
    pub(crate) votes: bool,
}

/// What an application says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    Register(Registration),
    Beat,
    Unhealthy { reason: String },
    Vote { id: u64, answer: Answer },
    Deregister,
    Status,
}

/// As it stands on the line. A key that nobody knows is an error: it may be one that was misspelt.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
enum Line {
    Register {
        name: String,
        #[serde(default)]
        interval_ms: Option<u64>,
        #[serde(default)]
        corrective_action: Option<String>,
        #[serde(default)]
        votes: bool,
    },
    Beat {},
    Unhealthy {
        reason: String,
    },
    Vote {
        id: u64,
        result: String,
        #[serde(default)]
        reason: String,
    },
    Deregister {},
    Status {},
}

impl Said {
    /// Reads a line.
    ///
    /// # Errors
    ///
    /// Says what is wrong, and what would be right.
    pub(crate) fn parse(line: &[u8]) -> Result<Self, String> {
        let line: Line = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        Ok(match line {
            Line::Register { name, interval_ms, corrective_action, votes } => {
                Self::Register(Registration {
                    name: checked_name(name)?,
                    interval: interval_ms.map(checked_interval).transpose()?,
                    corrective_action: corrective_action.map(|word| action(&word)).transpose()?,
                    votes,
                })
            }
            Line::Beat {} => Self::Beat,
            Line::Unhealthy { reason } => Self::Unhealthy { reason },
            Line::Vote { id, result, reason } => {
                Self::Vote { id, answer: answer(&result, reason)? }
            }
            Line::Deregister {} => Self::Deregister,
            Line::Status {} => Self::Status,
        })
    }
}

fn checked_name(name: String) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(allowed) {
        return Err(format!("name: expected 1 to {MAX_NAME} letters, digits and _.-"));
    }
    Ok(name)
}

fn checked_interval(millis: u64) -> Result<Duration, String> {
    if !(MIN_INTERVAL..=MAX_INTERVAL).contains(&millis) {
        return Err(format!(
            "interval_ms: {millis}: expected {MIN_INTERVAL} to {MAX_INTERVAL}, or no such key"
        ));
    }
    Ok(Duration::from_millis(millis))
}

fn action(word: &str) -> Result<CorrectiveAction, String> {
    config::action(word).ok_or_else(|| {
        format!("corrective_action: {word:?}: expected log, reboot or stop, or no such key")
    })
}

fn answer(word: &str, reason: String) -> Result<Answer, String> {
    match word {
        "accept" | "complete" => Ok(Answer::Agrees),
        "reject" => Ok(Answer::Objects(reason)),
        "error" => Ok(Answer::Failed(reason)),
        _ => Err(format!("result: {word:?}: expected accept, reject, complete or error")),
    }
}

/// The answer to a registration.
pub(crate) fn registered(name: &str) -> Value {
    json!({ "type": "registered", "name": name })
}

/// The answer to a goodbye.
pub(crate) fn deregistered() -> Value {
    json!({ "type": "deregistered" })
}

/// The answer to what is wrong.
pub(crate) fn error(what: &str) -> Value {
    json!({ "type": "error", "error": what })
}

/// An event to vote on, or to prepare for.
pub(crate) fn event(id: u64, action: &Action) -> Value {
    json!({
        "type": "event",
        "id": id,
        "event_type": action.event_type.as_str(),
        "notification_type": action.notification_type.as_str(),
        "timeout_ms": u64::try_from(action.limit.as_millis()).unwrap_or(u64::MAX),
    })
}

/// Nobody waits for the answer any more.
pub(crate) fn withdrawn(id: u64) -> Value {
    json!({ "type": "withdrawn", "id": id })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Said, String> {
        Said::parse(line.as_bytes())
    }

    #[test]
    fn every_message_is_read() {
        let registration = Registration {
            name: "db".into(),
            interval: Some(Duration::from_millis(1000)),
            corrective_action: Some(CorrectiveAction::Log),
            votes: true,
        };
        for (line, said) in [
            (
                r#"{"type":"register","name":"db","interval_ms":1000,"corrective_action":"log","votes":true}"#,
                Said::Register(registration.clone()),
            ),
            (
                r#"{"type":"register","name":"db"}"#,
                Said::Register(Registration {
                    interval: None,
                    corrective_action: None,
                    votes: false,
                    ..registration
                }),
            ),
            (r#"{"type":"beat"}"#, Said::Beat),
            (
                r#"{"type":"unhealthy","reason":"no disk"}"#,
                Said::Unhealthy { reason: "no disk".into() },
            ),
            (
                r#"{"type":"vote","id":7,"result":"accept"}"#,
                Said::Vote { id: 7, answer: Answer::Agrees },
            ),
            (
                r#"{"type":"vote","id":7,"result":"complete"}"#,
                Said::Vote { id: 7, answer: Answer::Agrees },
            ),
            (
                r#"{"type":"vote","id":7,"result":"reject","reason":"busy"}"#,
                Said::Vote { id: 7, answer: Answer::Objects("busy".into()) },
            ),
            (
                r#"{"type":"vote","id":7,"result":"error","reason":"?"}"#,
                Said::Vote { id: 7, answer: Answer::Failed("?".into()) },
            ),
            (r#"{"type":"deregister"}"#, Said::Deregister),
            (r#"{"type":"status"}"#, Said::Status),
        ] {
            assert_eq!(parse(line), Ok(said), "{line}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_what_is_allowed() {
        for (line, wanted) in [
            ("beat", "expected value"),
            ("[]", "missing field `type`"),
            (r#"{"name":"db"}"#, "missing field `type`"),
            (r#"{"type":"hello"}"#, "expected one of `register`, `beat`"),
            (r#"{"type":"register"}"#, "missing field `name`"),
            (r#"{"type":"register","name":"a b"}"#, "name: expected 1 to 64 letters"),
            (r#"{"type":"register","name":"a","interval":5}"#, "unknown field `interval`"),
            (r#"{"type":"register","name":"a","interval_ms":99}"#, "expected 100 to 3600000"),
            (
                r#"{"type":"register","name":"a","corrective_action":"none"}"#,
                "expected log, reboot or stop",
            ),
            (r#"{"type":"unhealthy"}"#, "missing field `reason`"),
            (
                r#"{"type":"vote","id":1,"result":"yes"}"#,
                "expected accept, reject, complete or error",
            ),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(wanted), "{line}: {error}");
        }
    }
}
