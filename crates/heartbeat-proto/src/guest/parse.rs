//! Reads a line: one pass over the JSON, then the keys in the order in which they are required.
//!
//! The order matters because a refusal names the first key that is wrong, and because a line whose
//! `sequence` could not be read does not move the sequence.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::VERSION;
use super::message::{
    ActionResponse, ChallengeResponse, CorrectiveAction, GuestMessage, Health, HostMessage, Init,
    NotificationType, VoteResult,
};
use super::text::{Text, cut};

/// A message and the sequence number that came with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received<M> {
    /// The sender's `version`, at least [`VERSION`].
    pub version: u64,
    /// The sender's `sequence`.
    pub sequence: u64,
    /// What it says.
    pub message: M,
}

/// Why a line is no message. Its text is that of the `nack`, except for [`Self::NotAnObject`],
/// which is not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MalformedKind {
    /// The line is no JSON object.
    #[error("not a JSON object")]
    NotAnObject,
    /// The sender speaks an older version.
    #[error("Bad version: {0}, expect version: {VERSION}")]
    BadVersion(u64),
    /// A key that is required is missing or of the wrong type.
    #[error("failed to parse {0}")]
    Key(&'static str),
    /// No message of this name exists in this direction.
    #[error("unsupported message type: {0}")]
    UnsupportedType(Text<64>),
}

/// A line that is no message, and as much of it as could be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct Malformed {
    /// What is wrong.
    pub kind: MalformedKind,
    /// The sender's `sequence`, if the line was good up to there.
    pub sequence: Option<u64>,
    /// The `invocation_id` of an `action_response` that was good up to there: an answer of another
    /// session is refused as that, whatever else is wrong with it.
    pub invocation_id: Option<u64>,
}

/// The value of one key.
#[derive(Debug, Clone, Default)]
enum Field<'a> {
    #[default]
    Missing,
    Number(u64),
    Text(Cow<'a, str>),
    /// `null`, a boolean, a negative or broken number, a list, an object.
    Other,
}

macro_rules! keys {
    ($($key:ident),+ $(,)?) => {
        /// Every key of the protocol and what a line holds for it. Other keys are ignored.
        #[derive(Default)]
        struct Fields<'a> { $($key: Field<'a>),+ }

        impl<'a> Fields<'a> {
            fn slot(&mut self, key: &str) -> Option<&mut Field<'a>> {
                match key { $(stringify!($key) => Some(&mut self.$key),)+ _ => None }
            }
        }
    };
}

keys! {
    version, revision, msg_type, sequence, invocation_id, name, heartbeat_interval_ms, vote_secs,
    shutdown_notice_secs, suspend_notice_secs, resume_notice_secs, restart_secs, corrective_action,
    heartbeat_challenge, heartbeat_response, heartbeat_health, event_type, notification_type,
    timeout_ms, vote_result, log_msg,
}

/// The text of a required key.
macro_rules! text {
    ($fields:ident . $key:ident) => {
        match &$fields.$key {
            Field::Text(text) => Ok(text.as_ref()),
            _ => Err(MalformedKind::Key(stringify!($key))),
        }
    };
}

/// The number of a required key; a string of digits will do.
macro_rules! number {
    ($fields:ident . $key:ident) => {
        match &$fields.$key {
            Field::Number(number) => Some(*number),
            Field::Text(text) => digits(text),
            Field::Missing | Field::Other => None,
        }
        .ok_or(MalformedKind::Key(stringify!($key)))
    };
}

fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Fields::default();
                while let Some(Key(key)) = map.next_key()? {
                    match fields.slot(&key) {
                        Some(field) => *field = map.next_value()?,
                        None => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(fields)
            }
        }

        deserializer.deserialize_map(Object)
    }
}

/// A key, borrowed from the line unless it is written with escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Field::deserialize(deserializer)? {
            Field::Text(text) => Ok(Self(text)),
            Field::Missing | Field::Number(_) | Field::Other => Ok(Self(Cow::Borrowed(""))),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Field<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Value;

        impl<'de> Visitor<'de> for Value {
            type Value = Field<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
                Ok(Field::Number(value))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
                Ok(Field::Other)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
                Ok(Field::Other)
            }

            fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
                Ok(Field::Other)
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Field::Other)
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Field::Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Field::Text(Cow::Owned(text.to_owned())))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Field::Other)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Field::Other)
            }
        }

        deserializer.deserialize_any(Value)
    }
}

/// Reads what every message begins with, then what `message` wants for the message's type.
fn receive<M>(
    line: &[u8],
    message: impl FnOnce(&str, &Fields<'_>) -> Result<M, MalformedKind>,
) -> Result<Received<M>, Malformed> {
    let malformed = |kind| Malformed { kind, sequence: None, invocation_id: None };
    let fields: Fields<'_> =
        serde_json::from_slice(line).map_err(|_| malformed(MalformedKind::NotAnObject))?;
    let version = number!(fields.version).map_err(malformed)?;
    if version < VERSION {
        return Err(malformed(MalformedKind::BadVersion(version)));
    }
    number!(fields.revision).map_err(malformed)?;
    let msg_type = text!(fields.msg_type).map_err(malformed)?;
    let sequence = number!(fields.sequence).map_err(malformed)?;
    match message(msg_type, &fields) {
        Ok(message) => Ok(Received { version, sequence, message }),
        Err(kind) => {
            let invocation_id = match msg_type {
                "action_response" => number!(fields.invocation_id).ok(),
                _ => None,
            };
            Err(Malformed { kind, sequence: Some(sequence), invocation_id })
        }
    }
}

fn corrective_action(fields: &Fields<'_>) -> Result<CorrectiveAction, MalformedKind> {
    let word = text!(fields.corrective_action)?;
    Ok(CorrectiveAction::from_word(word).unwrap_or(CorrectiveAction::Unknown))
}

fn notification_type(fields: &Fields<'_>) -> Result<NotificationType, MalformedKind> {
    NotificationType::from_word(text!(fields.notification_type)?)
        .ok_or(MalformedKind::Key("notification_type"))
}

fn unsupported(msg_type: &str) -> MalformedKind {
    MalformedKind::UnsupportedType(msg_type.into())
}

impl GuestMessage {
    /// Reads a line from the guest.
    ///
    /// # Errors
    /// What is wrong with the line, for the `nack` and the log.
    pub fn decode(line: &[u8]) -> Result<Received<Self>, Malformed> {
        receive(line, |msg_type, fields| match msg_type {
            "init" => Ok(Self::Init(Init {
                invocation_id: number!(fields.invocation_id)?,
                name: text!(fields.name)?.into(),
                heartbeat_interval_ms: number!(fields.heartbeat_interval_ms)?,
                vote_secs: number!(fields.vote_secs)?,
                shutdown_notice_secs: number!(fields.shutdown_notice_secs)?,
                suspend_notice_secs: number!(fields.suspend_notice_secs)?,
                resume_notice_secs: number!(fields.resume_notice_secs)?,
                restart_secs: number!(fields.restart_secs)?,
                corrective_action: corrective_action(fields)?,
            })),
            "challenge_response" => Ok(Self::ChallengeResponse(ChallengeResponse {
                heartbeat_response: number!(fields.heartbeat_response)?,
                heartbeat_health: Health::from_word(text!(fields.heartbeat_health)?)
                    .unwrap_or(Health::Unhealthy),
                corrective_action: corrective_action(fields)?,
                log_msg: text!(fields.log_msg)?.into(),
            })),
            "action_response" => Ok(Self::ActionResponse(ActionResponse {
                invocation_id: number!(fields.invocation_id)?,
                event_type: text!(fields.event_type)?.into(),
                notification_type: notification_type(fields)?,
                vote_result: VoteResult::from_word(text!(fields.vote_result)?)
                    .unwrap_or(VoteResult::Unknown),
                log_msg: text!(fields.log_msg)?.into(),
            })),
            // A guest that leaves has left, whatever it forgot to say.
            "exit" => Ok(Self::Exit { log_msg: text!(fields.log_msg).unwrap_or_default().into() }),
            other => Err(unsupported(other)),
        })
    }
}

impl HostMessage {
    /// Reads a line from the host.
    ///
    /// # Errors
    /// What is wrong with the line.
    pub fn decode(line: &[u8]) -> Result<Received<Self>, Malformed> {
        receive(line, |msg_type, fields| match msg_type {
            "init_ack" => Ok(Self::InitAck { invocation_id: number!(fields.invocation_id)? }),
            "challenge" => Ok(Self::Challenge {
                heartbeat_challenge: u32::try_from(number!(fields.heartbeat_challenge)?)
                    .map_err(|_| MalformedKind::Key("heartbeat_challenge"))?,
            }),
            "action_notify" => Ok(Self::ActionNotify {
                invocation_id: number!(fields.invocation_id)?,
                event_type: text!(fields.event_type)?.into(),
                notification_type: notification_type(fields)?,
                timeout_ms: number!(fields.timeout_ms)?,
            }),
            "nack" => Ok(Self::Nack {
                invocation_id: number!(fields.invocation_id)?,
                log_msg: cut(text!(fields.log_msg)?, super::MAX_LOG_MSG).into(),
            }),
            other => Err(unsupported(other)),
        })
    }
}
