//! Reads the datagrams of guestServers and writes those to them. Pure: bytes in, bytes out.

use std::net::{IpAddr, SocketAddr};

use heartbeat_proto::control::{
    Ack, Datagram, DatagramError, Guard, Hosted, Length, Numbering, PayloadError, REVISION,
    SealError, ServerEvent, Signature, acknowledgement,
};

use crate::courier::Sending;
use crate::metrics::Fate;

/// What is wrong with a datagram.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Rejected {
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Datagram(#[from] DatagramError),
    #[error("not signed as what comes here is")]
    Signature,
    #[error(transparent)]
    Payload(#[from] PayloadError),
}

impl Rejected {
    /// What it would have told or commanded, as far as that could be read.
    pub(crate) const fn command(&self) -> Option<&'static str> {
        match self {
            Self::Seal(_) | Self::Datagram(_) | Self::Signature => None,
            Self::Payload(error) => error.command(),
        }
    }

    /// As it is counted.
    pub(crate) const fn fate(&self) -> Fate {
        match self {
            Self::Seal(_) => Fate::BadSeal,
            Self::Signature => Fate::Unsigned,
            Self::Datagram(_) | Self::Payload(_) => Fate::Malformed,
        }
    }
}

/// What a datagram says.
pub(crate) enum Said<'a> {
    /// That something of ours has arrived.
    Ack(Ack),
    /// Something that happened at a host.
    Event(Hosted<'a>, Numbering),
}

/// What every datagram is written and read with.
pub(crate) struct Desk {
    /// The floating address as it is told in every command.
    source: String,
    server_port: u16,
    /// Our name as a recipient.
    hostname: String,
    guard: Guard,
}

impl Desk {
    /// `source` is told as the floating address until that is known.
    pub(crate) fn new(source: IpAddr, server_port: u16, hostname: String, guard: Guard) -> Self {
        Self { source: source.to_string(), server_port, hostname, guard }
    }

    /// The floating address is known: it is told from now on.
    pub(crate) fn set_source(&mut self, source: IpAddr) {
        self.source = source.to_string();
    }

    /// Other keys, or another mode.
    pub(crate) fn set_guard(&mut self, guard: Guard) {
        self.guard = guard;
    }

    /// What a datagram says that came in at this time of the wall.
    pub(crate) fn read<'a>(&self, micros: u64, bytes: &'a [u8]) -> Result<Said<'a>, Rejected> {
        let sealed = self.guard.check(bytes, micros, &self.hostname)?;
        let datagram = Datagram::decode(bytes)?;
        if datagram.signature == Signature::MaintenanceCommand {
            return Err(Rejected::Signature);
        }
        if let Some(ack) = Ack::of(&datagram) {
            return Ok(Said::Ack(ack));
        }
        let numbering = datagram.numbering;
        if sealed && (numbering.revision < REVISION || numbering.number == 0) {
            // What is sealed is of ours, and numbered: else anybody could repeat it.
            return Err(SealError::Unnumbered.into());
        }
        Ok(Said::Event(ServerEvent::decode(&datagram)?, numbering))
    }

    /// Writes a command. Gives where it goes.
    pub(crate) fn write(&self, micros: u64, sending: &Sending, bytes: &mut Vec<u8>) -> SocketAddr {
        let transmit = &sending.transmit;
        transmit.message.with_datagram(&self.source, |plain| {
            Datagram { numbering: transmit.numbering, ..*plain }.encode(Length::Fitting, bytes);
        });
        self.guard.seal(bytes, micros, sending.name.as_deref());
        SocketAddr::new(sending.to, self.server_port)
    }

    /// Writes an acknowledgement.
    pub(crate) fn write_ack(&self, micros: u64, ack: Ack, bytes: &mut Vec<u8>) {
        acknowledgement(Signature::GuestMessage, ack).encode(Length::Fitting, bytes);
        self.guard.seal(bytes, micros, None);
    }
}
