//! Writes messages as lines, key by key in the order of the protocol's table.

use std::fmt::{Arguments, Write as _};

use super::message::{GuestMessage, HostMessage};
use super::{REVISION, VERSION};

/// One object being written at the end of a buffer.
struct Object<'a>(&'a mut Vec<u8>);

impl<'a> Object<'a> {
    fn open(out: &'a mut Vec<u8>, msg_type: &str, sequence: u64) -> Self {
        out.extend_from_slice(b"\n{");
        let mut object = Self(out);
        object.raw(format_args!("\"version\":{VERSION},\"revision\":{REVISION}"));
        object.text("msg_type", msg_type).number("sequence", sequence);
        object
    }

    fn raw(&mut self, text: Arguments<'_>) {
        /// Formatted text goes straight into the bytes; neither end can fail.
        struct Bytes<'a>(&'a mut Vec<u8>);
        impl std::fmt::Write for Bytes<'_> {
            fn write_str(&mut self, text: &str) -> std::fmt::Result {
                self.0.extend_from_slice(text.as_bytes());
                Ok(())
            }
        }
        let _ = Bytes(self.0).write_fmt(text);
    }

    fn number(&mut self, key: &str, value: u64) -> &mut Self {
        self.raw(format_args!(",\"{key}\":{value}"));
        self
    }

    fn text(&mut self, key: &str, value: &str) -> &mut Self {
        self.raw(format_args!(",\"{key}\":"));
        // Writing a string into a vector cannot fail; an empty text keeps the object whole if it did.
        if serde_json::to_writer(&mut *self.0, value).is_err() {
            self.0.extend_from_slice(b"\"\"");
        }
        self
    }

    fn close(&mut self) {
        self.0.extend_from_slice(b"}\n");
    }
}

impl HostMessage {
    /// Appends the message to `out`, with the newlines around it.
    pub fn encode(&self, sequence: u64, out: &mut Vec<u8>) {
        match self {
            Self::InitAck { invocation_id } => {
                Object::open(out, "init_ack", sequence)
                    .number("invocation_id", *invocation_id)
                    .close();
            }
            Self::Challenge { heartbeat_challenge } => {
                Object::open(out, "challenge", sequence)
                    .number("heartbeat_challenge", u64::from(*heartbeat_challenge))
                    .close();
            }
            Self::ActionNotify { invocation_id, event_type, notification_type, timeout_ms } => {
                Object::open(out, "action_notify", sequence)
                    .number("invocation_id", *invocation_id)
                    .text("event_type", event_type.as_str())
                    .text("notification_type", notification_type.as_str())
                    .number("timeout_ms", *timeout_ms)
                    .close();
            }
            Self::Nack { invocation_id, log_msg } => {
                Object::open(out, "nack", sequence)
                    .number("invocation_id", *invocation_id)
                    .text("log_msg", log_msg)
                    .close();
            }
        }
    }
}

impl GuestMessage {
    /// Appends the message to `out`, with the newlines around it.
    pub fn encode(&self, sequence: u64, out: &mut Vec<u8>) {
        match self {
            Self::Init(init) => {
                Object::open(out, "init", sequence)
                    .number("invocation_id", init.invocation_id)
                    .text("name", &init.name)
                    .number("heartbeat_interval_ms", init.heartbeat_interval_ms)
                    .number("vote_secs", init.vote_secs)
                    .number("shutdown_notice_secs", init.shutdown_notice_secs)
                    .number("suspend_notice_secs", init.suspend_notice_secs)
                    .number("resume_notice_secs", init.resume_notice_secs)
                    .number("restart_secs", init.restart_secs)
                    .text("corrective_action", init.corrective_action.as_str())
                    .close();
            }
            Self::ChallengeResponse(response) => {
                Object::open(out, "challenge_response", sequence)
                    .number("heartbeat_response", response.heartbeat_response)
                    .text("heartbeat_health", response.heartbeat_health.as_str())
                    .text("corrective_action", response.corrective_action.as_str())
                    .text("log_msg", &response.log_msg)
                    .close();
            }
            Self::ActionResponse(response) => {
                Object::open(out, "action_response", sequence)
                    .number("invocation_id", response.invocation_id)
                    .text("event_type", response.event_type.as_str())
                    .text("notification_type", response.notification_type.as_str())
                    .text("vote_result", response.vote_result.as_str())
                    .text("log_msg", &response.log_msg)
                    .close();
            }
            Self::Exit { log_msg } => {
                Object::open(out, "exit", sequence).text("log_msg", log_msg).close();
            }
        }
    }
}
