//! What is on its way to and from the controller: who is written to, what is sent when, what comes in.
//!
//! Pure: the time is passed in, bytes go in and come out. The main loop owns it; [`Controller`](super::Controller) has the
//! socket. What is sent again, and when, is decided in [`Outgoing`]; what comes in is looked at in [`Reception`].

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use heartbeat_proto::MonotonicTime;
use heartbeat_proto::control::{
    Ack, Datagram, Guard, Length, ServerEvent, Signature, acknowledgement,
};
use heartbeat_proto::delivery::Outgoing;

use super::reception::{Incoming, Reception, Taken};

/// The first wait for a command after MONITOR_READY; it doubles up to [`MAX_READY_PERIOD`].
const MIN_READY_PERIOD: Duration = Duration::from_secs(5);

/// The longest wait for a command before MONITOR_READY is sent again.
const MAX_READY_PERIOD: Duration = Duration::from_secs(60);

/// Who is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Peer {
    /// Nobody yet: the controller's name has no address so far.
    Unknown,
    /// What the controller's name says, until a command came.
    Named(SocketAddr),
    /// Where the last valid command came from.
    Commanded(SocketAddr),
}

/// What the controller has not acknowledged, for an operator.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delivery {
    /// Whether the controller acknowledges at all, once it has been heard.
    pub(crate) acknowledges: Option<bool>,
    pub(crate) pending: usize,
    pub(crate) reports: usize,
    /// How long the oldest of them has been kept.
    pub(crate) oldest: Option<Duration>,
    /// How long the controller has acknowledged nothing, although it should.
    pub(crate) silence: Option<Duration>,
}

/// A datagram to be sent now.
#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) to: SocketAddr,
    pub(crate) what: Contents,
}

/// What a datagram is.
#[derive(Debug)]
pub(crate) enum Contents {
    Ack,
    Event {
        event: ServerEvent,
        /// It was sent before.
        again: bool,
    },
}

/// The correspondence with the controller.
pub(crate) struct Desk {
    hostname: String,
    agent_port: u16,
    peer: Peer,
    ready_period: Duration,
    ready_at: Option<MonotonicTime>,
    reception: Reception,
    outgoing: Outgoing<ServerEvent>,
    /// What came in and is to be acknowledged.
    acks: Vec<(SocketAddr, Ack)>,
}

impl Desk {
    /// With nobody to write to yet. MONITOR_READY is due at once. The epoch is a random number.
    pub(crate) fn new(hostname: String, agent_port: u16, guard: Guard, epoch: u32) -> Self {
        let mut outgoing = Outgoing::new(epoch, guard.seals());
        outgoing.handle_moved(false);
        Self {
            agent_port,
            peer: Peer::Unknown,
            ready_period: MIN_READY_PERIOD,
            ready_at: Some(MonotonicTime::START),
            reception: Reception::new(guard, hostname.clone()),
            hostname,
            outgoing,
            acks: Vec::new(),
        }
    }

    /// Where events go now.
    pub(crate) const fn peer(&self) -> Option<SocketAddr> {
        match self.peer {
            Peer::Unknown => None,
            Peer::Named(address) | Peer::Commanded(address) => Some(address),
        }
    }

    /// Whether a command has come.
    pub(crate) const fn is_commanded(&self) -> bool {
        matches!(self.peer, Peer::Commanded(_))
    }

    /// What has not been acknowledged.
    pub(crate) fn delivery(&self, now: MonotonicTime) -> Delivery {
        Delivery {
            acknowledges: self.outgoing.acknowledges(),
            pending: self.outgoing.pending(),
            reports: self.outgoing.reports(),
            oldest: self.outgoing.oldest(now),
            silence: self.outgoing.silence(now),
        }
    }

    /// The reports that the controller has not acknowledged as done.
    #[cfg(feature = "simulation")]
    pub(crate) fn reports(&self) -> impl Iterator<Item = &ServerEvent> {
        self.outgoing.pending_reports()
    }

    /// Other keys, or another mode.
    pub(crate) fn set_guard(&mut self, guard: Guard) {
        self.outgoing.set_always_numbered(guard.seals());
        self.reception.set_guard(guard);
    }

    /// When MONITOR_READY is due, unless a command came.
    pub(crate) const fn ready_at(&self) -> Option<MonotonicTime> {
        self.ready_at
    }

    /// When something is to be sent although nothing has happened.
    pub(crate) fn poll_timeout(&self) -> Option<MonotonicTime> {
        self.outgoing.poll_timeout()
    }

    /// A datagram came in. `micros` is the time of the wall; `may_command` says whether one without a seal may come from an
    /// address.
    pub(crate) fn handle_datagram(
        &mut self,
        now: MonotonicTime,
        micros: u64,
        bytes: &[u8],
        from: SocketAddr,
        may_command: impl Fn(IpAddr) -> bool,
    ) -> Incoming {
        let taken = self.reception.take(now, micros, bytes, from, may_command);
        let Taken { mut incoming, acknowledges, heard, ack } = taken;
        if let Some(ack) = acknowledges {
            self.outgoing.handle_ack(now, ack);
        }
        self.acks.extend(ack.map(|ack| (from, ack)));
        if let Some(numbering) = heard {
            incoming.new_commander = self.commanded(from);
            self.outgoing.handle_heard(now, numbering);
        }
        incoming
    }

    /// A valid command came; says who commands from now on, if that has changed.
    fn commanded(&mut self, mut from: SocketAddr) -> Option<IpAddr> {
        // It listens on its own port, whichever it sent from.
        from.set_port(self.agent_port);
        self.ready_at = None;
        let before = self.peer;
        self.set_peer(Peer::Commanded(from));
        (before != self.peer).then(|| from.ip())
    }

    /// The controller's name has this address. It is written to, until a command has come; says whether MONITOR_READY is due,
    /// for nobody was written to before.
    pub(crate) fn handle_named(&mut self, ip: IpAddr) -> bool {
        let first = self.peer == Peer::Unknown;
        if !self.is_commanded() {
            self.set_peer(Peer::Named(SocketAddr::new(ip, self.agent_port)));
        }
        first
    }

    fn set_peer(&mut self, peer: Peer) {
        let before = self.peer();
        self.peer = peer;
        if self.peer() != before {
            self.outgoing.handle_moved(true);
        }
    }

    /// MONITOR_READY is due; it is said if there is somebody to say it to, and again after a while if no command comes.
    pub(crate) fn announce(&mut self, now: MonotonicTime) {
        self.ready_at = Some(now + self.ready_period);
        if self.peer().is_some() {
            self.ready_period = (self.ready_period * 2).min(MAX_READY_PERIOD);
            self.push(now, ServerEvent::MonitorReady);
        }
    }

    /// An event is to be sent and, if the controller acknowledges, again until it does. Says whether it is, or is kept.
    pub(crate) fn push(&mut self, now: MonotonicTime, event: ServerEvent) -> bool {
        self.outgoing.push(now, event)
    }

    /// The next datagram to be sent, with its bytes in `bytes`; until there is none.
    pub(crate) fn poll_letter(
        &mut self,
        now: MonotonicTime,
        micros: u64,
        bytes: &mut Vec<u8>,
    ) -> Option<Letter> {
        let letter = if let Some((to, ack)) = self.acks.pop() {
            acknowledgement(Signature::None, ack).encode(Length::Fitting, bytes);
            Letter { to, what: Contents::Ack }
        } else {
            let to = self.peer()?;
            let transmit = self.outgoing.poll_transmit(now)?;
            transmit.message.with_datagram(&self.hostname, |plain| {
                Datagram { numbering: transmit.numbering, ..*plain }.encode(Length::Full, bytes);
            });
            let (event, again) = (transmit.message, transmit.again);
            Letter { to, what: Contents::Event { event, again } }
        };
        self.reception.guard().seal(bytes, micros, None);
        Some(letter)
    }

    /// A report that had to be given up.
    pub(crate) fn poll_lost(&mut self) -> Option<ServerEvent> {
        self.outgoing.poll_lost()
    }
}
