//! The acknowledgement of a numbered message.

use super::datagram::{Numbering, REVISION};
use super::{Datagram, Signature, code};

/// `ACK`: a numbered message has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// The epoch of who sent the message.
    pub epoch: u32,
    /// The message's number.
    pub number: u32,
    /// It has arrived, and is still to be done: its sender keeps it until another ACK says that it is done.
    pub held: bool,
}

impl Ack {
    /// The acknowledgement that this datagram is, if it is one.
    #[must_use]
    pub fn of(datagram: &Datagram<'_>) -> Option<Self> {
        let Numbering { revision, epoch, number } = datagram.numbering;
        (datagram.command == code::ACK && revision >= REVISION && number != 0).then_some(Self {
            epoch,
            number,
            held: datagram.parameter != 0,
        })
    }
}

/// The datagram of an acknowledgement, from who signs with `signature`.
#[must_use]
pub const fn acknowledgement(signature: Signature, ack: Ack) -> Datagram<'static> {
    let Ack { epoch, number, held } = ack;
    Datagram {
        numbering: Numbering { revision: REVISION, epoch, number },
        parameter: held as u32,
        ..Datagram::plain(signature, code::ACK, "{}")
    }
}
