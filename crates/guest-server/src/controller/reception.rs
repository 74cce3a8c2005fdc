//! What comes in from the network: whether it may, whether it is new, and what it says.

use std::net::{IpAddr, SocketAddr};

use heartbeat_proto::MonotonicTime;
use heartbeat_proto::control::{
    Ack, AgentCommand, Datagram, DatagramError, Guard, Numbering, PayloadError, SealError,
    Signature,
};
use heartbeat_proto::delivery::{self, Receipt, Verdict};

/// What is wrong with a datagram.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Rejected {
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Datagram(#[from] DatagramError),
    #[error("not signed by guestAgent")]
    Unsigned,
    #[error(
        "from an address that may not command: expected one of --controller or of [security] controllers"
    )]
    Stranger,
    #[error(transparent)]
    Payload(#[from] PayloadError),
}

impl Rejected {
    /// What it would have commanded, as far as that could be read.
    pub(crate) const fn command(&self) -> Option<&'static str> {
        match self {
            Self::Seal(_) | Self::Datagram(_) | Self::Unsigned | Self::Stranger => None,
            Self::Payload(error) => error.command(),
        }
    }
}

/// What a datagram says.
pub(crate) enum Outcome {
    /// Something to be done.
    Command(AgentCommand),
    /// That something of ours has arrived.
    Acknowledged,
    /// What was said before.
    Double,
    /// What a newer command has made meaningless, or a controller said that is gone.
    OldNews(&'static str),
}

/// A datagram that came in: what it says, or what is wrong with it.
pub(crate) struct Incoming {
    pub(crate) outcome: Result<Outcome, Rejected>,
    /// Who commands from now on, if that has changed.
    pub(crate) new_commander: Option<IpAddr>,
}

/// What is to be done about a datagram besides what it says.
pub(super) struct Taken {
    pub(super) incoming: Incoming,
    /// It acknowledges this of ours.
    pub(super) acknowledges: Option<Ack>,
    /// Its sender commands, and this is how it numbers.
    pub(super) heard: Option<Numbering>,
    /// It is to be acknowledged so.
    pub(super) ack: Option<Ack>,
}

/// Who may speak, and what was heard before.
pub(super) struct Reception {
    guard: Guard,
    /// Our name as a recipient.
    hostname: String,
    heard: delivery::Incoming<SocketAddr>,
}

impl Reception {
    pub(super) fn new(guard: Guard, hostname: String) -> Self {
        Self { guard, hostname, heard: delivery::Incoming::default() }
    }

    pub(super) const fn guard(&self) -> &Guard {
        &self.guard
    }

    pub(super) fn set_guard(&mut self, guard: Guard) {
        self.guard = guard;
    }

    /// Takes in a datagram, at this time and this one of the wall. `may_command` says whether one without a seal may come from
    /// an address.
    pub(super) fn take(
        &mut self,
        now: MonotonicTime,
        micros: u64,
        bytes: &[u8],
        from: SocketAddr,
        may_command: impl Fn(IpAddr) -> bool,
    ) -> Taken {
        let mut taken = Taken {
            incoming: Incoming { outcome: Ok(Outcome::Double), new_commander: None },
            acknowledges: None,
            heard: None,
            ack: None,
        };
        let outcome = self.look_at(now, micros, bytes, from, may_command, &mut taken);
        taken.incoming.outcome = outcome;
        taken
    }

    fn look_at(
        &mut self,
        now: MonotonicTime,
        micros: u64,
        bytes: &[u8],
        from: SocketAddr,
        may_command: impl Fn(IpAddr) -> bool,
        taken: &mut Taken,
    ) -> Result<Outcome, Rejected> {
        let sealed = self.guard.check(bytes, micros, &self.hostname)?;
        let datagram = Datagram::decode(bytes)?;
        match datagram.signature {
            Signature::GuestMessage => {}
            Signature::MaintenanceCommand | Signature::None => return Err(Rejected::Unsigned),
        }
        if !sealed && !may_command(from.ip()) {
            return Err(Rejected::Stranger);
        }
        if let Some(ack) = Ack::of(&datagram) {
            taken.acknowledges = Some(ack);
            return Ok(Outcome::Acknowledged);
        }
        let numbering = datagram.numbering;
        let done =
            |receipt: Receipt<_>| Ack { epoch: receipt.epoch, number: receipt.number, held: false };
        match self.heard.examine(now, from, numbering) {
            // What is sealed is of ours, and numbered: else anybody could repeat it.
            Verdict::Unnumbered if sealed => Err(SealError::Unnumbered.into()),
            Verdict::Unnumbered => {
                let command = AgentCommand::decode(&datagram)?;
                taken.heard = Some(numbering);
                Ok(Outcome::Command(command))
            }
            Verdict::Former => Ok(Outcome::OldNews("a controller that is gone")),
            Verdict::Double { receipt, .. } => {
                taken.ack = Some(done(receipt));
                Ok(Outcome::Double)
            }
            Verdict::Fresh(receipt) => {
                let command = AgentCommand::decode(&datagram)?;
                taken.heard = Some(numbering);
                taken.ack = Some(done(receipt));
                let old = self.heard.is_old_news(&receipt, &command);
                self.heard.handle_done(now, receipt, &command);
                Ok(if old { Outcome::OldNews(command.name()) } else { Outcome::Command(command) })
            }
        }
    }
}
