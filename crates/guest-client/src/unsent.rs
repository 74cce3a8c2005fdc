//! Messages that the host has not taken yet.
//!
//! When the host does not read, the port takes nothing after a while. Nothing waits for it then: of the messages that
//! only count when they are new, the newest is kept, of the others a few.

use std::collections::VecDeque;
use std::io;

use heartbeat_proto::guest::GuestMessage;

/// Answers to votes and notifications that wait, at most; of more, the oldest goes.
const MAX_ANSWERS: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Init,
    ChallengeResponse,
    ActionResponse,
    Exit,
}

impl Kind {
    const fn of(message: &GuestMessage) -> Self {
        match message {
            GuestMessage::Init(_) => Self::Init,
            GuestMessage::ChallengeResponse(_) => Self::ChallengeResponse,
            GuestMessage::ActionResponse(_) => Self::ActionResponse,
            GuestMessage::Exit { .. } => Self::Exit,
        }
    }

    /// How many of this kind may wait.
    const fn room(self) -> usize {
        match self {
            Self::Init | Self::ChallengeResponse | Self::Exit => 1,
            Self::ActionResponse => MAX_ANSWERS,
        }
    }
}

/// The queue, at most one message of which is written in part.
#[derive(Debug, Default)]
pub(crate) struct Unsent {
    begun: Vec<u8>,
    waiting: VecDeque<(Kind, Vec<u8>)>,
}

impl Unsent {
    /// Keeps a message for [`flush`](Self::flush); says how many older ones went for it.
    pub(crate) fn push(&mut self, sequence: u64, message: &GuestMessage) -> u64 {
        let kind = Kind::of(message);
        let mut left_out = 0;
        while self.waiting.iter().filter(|(waiting, _)| *waiting == kind).count() >= kind.room() {
            let Some(oldest) = self.waiting.iter().position(|(waiting, _)| *waiting == kind) else {
                break;
            };
            self.waiting.remove(oldest);
            left_out += 1;
        }
        let mut bytes = Vec::new();
        message.encode(sequence, &mut bytes);
        self.waiting.push_back((kind, bytes));
        left_out
    }

    /// Writes as much as `write` takes now.
    pub(crate) fn flush(
        &mut self,
        mut write: impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> io::Result<()> {
        loop {
            if self.begun.is_empty() {
                match self.waiting.pop_front() {
                    Some((_, bytes)) => self.begun = bytes,
                    None => return Ok(()),
                }
            }
            match write(&self.begun) {
                Ok(0) => return Ok(()),
                Ok(written) => drop(self.begun.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether everything was handed over.
    pub(crate) fn is_empty(&self) -> bool {
        self.begun.is_empty() && self.waiting.is_empty()
    }

    /// Forgets everything: whoever comes next has nothing of it.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use heartbeat_proto::guest::{ActionResponse, EventType, NotificationType, VoteResult};

    use super::*;

    fn exit(reason: &str) -> GuestMessage {
        GuestMessage::Exit { log_msg: reason.into() }
    }

    fn answer(invocation_id: u64) -> GuestMessage {
        GuestMessage::ActionResponse(ActionResponse {
            invocation_id,
            event_type: EventType::Stop,
            notification_type: NotificationType::Revocable,
            vote_result: VoteResult::Accept,
            log_msg: "".into(),
        })
    }

    /// What arrives when the port takes `room` bytes, in messages and a rest.
    fn written(unsent: &mut Unsent, room: usize) -> Vec<u8> {
        let mut taken = Vec::new();
        unsent
            .flush(|bytes| {
                let length = bytes.len().min(room - taken.len());
                taken.extend_from_slice(&bytes[..length]);
                if length == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(length) }
            })
            .unwrap();
        taken
    }

    #[test]
    fn a_message_that_is_begun_is_finished_whatever_comes_after_it() {
        let mut unsent = Unsent::default();
        assert_eq!(unsent.push(1, &exit("one")), 0);
        let mut taken = written(&mut unsent, 10);
        assert_eq!(unsent.push(2, &exit("two")), 0, "the first one is begun");
        assert_eq!(unsent.push(3, &exit("three")), 1);
        taken.extend(written(&mut unsent, 10_000));
        let mut both = Vec::new();
        exit("one").encode(1, &mut both);
        exit("three").encode(3, &mut both);
        assert_eq!(String::from_utf8(taken), String::from_utf8(both));
        assert!(unsent.is_empty());
    }

    #[test]
    fn answers_are_kept_up_to_a_number() {
        let mut unsent = Unsent::default();
        let left_out: u64 = (1..=20).map(|n| unsent.push(n, &answer(n))).sum();
        assert_eq!(left_out, 12);
        let text = String::from_utf8(written(&mut unsent, 100_000)).unwrap();
        assert_eq!(text.matches("action_response").count(), MAX_ANSWERS);
        assert!(text.contains("\"invocation_id\":20,") && text.contains("\"invocation_id\":13,"));
    }

    #[test]
    fn an_error_of_the_port_is_passed_on() {
        let mut unsent = Unsent::default();
        unsent.push(1, &exit(""));
        let error = unsent.flush(|_| Err(io::ErrorKind::BrokenPipe.into())).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        unsent.clear();
        assert!(unsent.is_empty());
    }
}
