//! The way to the controller and back: one UDP socket.
//!
//! The main loop owns it. Receiving may be dropped while it waits and loses nothing; sending does
//! not wait for anybody but the kernel. What is sent again, and when, is decided in
//! [`Outgoing`]; what comes in is looked at in [`reception`].

mod commanders;
mod reception;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use daemon_kit::security::unix_micros;
use daemon_kit::udp::Sender;
use daemon_kit::unpredictable;
use heartbeat_proto::control::{
    Ack, Datagram, Guard, Length, MAX_LEN, ServerEvent, Signature, acknowledgement,
};
use heartbeat_proto::delivery::Outgoing;
use tokio::net::UdpSocket;
use tokio::time::Instant;
use tracing::debug;

use crate::clock::Clock;
use crate::instances::Instances;
use crate::journal::Journal;
use commanders::Commanders;
pub(crate) use reception::{Incoming, Outcome, Rejected};
use reception::{Reception, Taken};

/// The first wait for a command after MONITOR_READY; it doubles up to [`MAX_READY_PERIOD`].
const MIN_READY_PERIOD: Duration = Duration::from_secs(5);

/// The longest wait for a command before MONITOR_READY is sent again.
const MAX_READY_PERIOD: Duration = Duration::from_secs(60);

/// Bytes of the kernel's receive buffer that are asked for; the kernel may give less.
const RECEIVE_BUFFER: usize = 1024 * 1024;

/// Bytes of the kernel's send buffer that are asked for; the kernel may give less.
const SEND_BUFFER: usize = 1024 * 1024;

/// The pause after an error of the socket.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// Room for a datagram. More than the longest, so that one that is too long is not taken for one
/// that is not.
const ROOM: usize = 2 * MAX_LEN;

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

/// How the controller is reached and who it may be.
pub(crate) struct Settings {
    pub(crate) address: SocketAddr,
    pub(crate) hostname: String,
    /// The controller's name, for as long as it has not sent a command.
    pub(crate) name: String,
    pub(crate) agent_port: u16,
    /// Who may command besides it, unless commands have to be sealed.
    pub(crate) controllers: Vec<String>,
    pub(crate) guard: Guard,
}

/// The controller, as this host sees it.
pub(crate) struct Controller {
    socket: UdpSocket,
    clock: Clock,
    hostname: String,
    agent_port: u16,
    peer: Peer,
    ready_period: Duration,
    ready_at: Option<Instant>,
    commanders: Commanders,
    reception: Reception,
    outgoing: Outgoing<ServerEvent>,
    /// What came in and is to be acknowledged, at the next [`flush`](Self::flush).
    acks: Vec<(SocketAddr, Ack)>,
    room: Box<[u8; ROOM]>,
    bytes: Vec<u8>,
    sender: Sender,
}

/// What may happen at the controller's side. After each, [`Controller::flush`].
pub(crate) enum Occurred {
    /// A datagram came in.
    Received(Incoming),
    /// It is time to say MONITOR_READY.
    ReadyDue,
    /// Something may be sent.
    SendDue,
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

impl Controller {
    pub(crate) fn bind(settings: Settings, clock: Clock) -> io::Result<Self> {
        let Settings { address, hostname, name, agent_port, controllers, guard } = settings;
        let socket = daemon_kit::udp::bind(address, RECEIVE_BUFFER, SEND_BUFFER)?;
        let mut outgoing = Outgoing::new(unpredictable(), guard.seals());
        outgoing.handle_moved(false);
        Ok(Self {
            socket,
            clock,
            agent_port,
            peer: Peer::Unknown,
            ready_period: MIN_READY_PERIOD,
            ready_at: Some(Instant::now()),
            commanders: Commanders::new(name, controllers, address.is_ipv4()),
            reception: Reception::new(guard, hostname.clone()),
            hostname,
            outgoing,
            acks: Vec::new(),
            room: Box::new([0; ROOM]),
            bytes: Vec::with_capacity(MAX_LEN),
            sender: Sender::default(),
        })
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
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
    pub(crate) fn delivery(&self) -> Delivery {
        let now = self.clock.now();
        Delivery {
            acknowledges: self.outgoing.acknowledges(),
            pending: self.outgoing.pending(),
            reports: self.outgoing.reports(),
            oldest: self.outgoing.oldest(now),
            silence: self.outgoing.silence(now),
        }
    }

    /// Other keys, or another mode.
    pub(crate) fn set_guard(&mut self, guard: Guard) {
        self.outgoing.set_always_numbered(guard.seals());
        self.reception.set_guard(guard);
    }

    /// Waits for something to happen. May be dropped while it waits.
    pub(crate) async fn next(&mut self) -> Occurred {
        loop {
            let ready_at = self.ready_at;
            let send_at = self.outgoing.poll_timeout().map(|at| self.clock.instant(at));
            tokio::select! {
                // The rare ones first, so that many datagrams do not hold them up.
                biased;
                named = self.commanders.next() => {
                    if let Some(ip) = named && !self.is_commanded() {
                        let first = self.peer == Peer::Unknown;
                        self.set_peer(Peer::Named(SocketAddr::new(ip, self.agent_port)));
                        return if first { Occurred::ReadyDue } else { Occurred::SendDue };
                    }
                }
                () = until(ready_at) => return Occurred::ReadyDue,
                () = until(send_at) => return Occurred::SendDue,
                received = self.socket.recv_from(&mut *self.room) => match received {
                    Ok((len, from)) => return self.receive(len, from),
                    Err(error) => {
                        // The answer to something we sent: nobody listens there. Should it be
                        // something that stays, it shall not take all our time.
                        debug!(%error, "UDP error");
                        tokio::time::sleep(ERROR_PAUSE).await;
                    }
                },
            }
        }
    }

    fn receive(&mut self, len: usize, from: SocketAddr) -> Occurred {
        let now = self.clock.now();
        let allowed = |ip: IpAddr| self.commanders.may_command(ip);
        let taken = self.reception.take(now, &self.room[..len], from, allowed);
        let Taken { incoming, acknowledges, heard, ack } = taken;
        if let Some(ack) = acknowledges {
            self.outgoing.handle_ack(now, ack);
        }
        if let Some(ack) = ack {
            self.acks.push((from, ack));
        }
        let mut incoming = incoming;
        if let Some(numbering) = heard {
            incoming.new_commander = self.commanded(from);
            self.outgoing.handle_heard(now, numbering);
        }
        if matches!(incoming.outcome, Err(Rejected::Stranger)) {
            self.commanders.look_again();
        }
        Occurred::Received(incoming)
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

    fn set_peer(&mut self, peer: Peer) {
        let before = self.peer();
        self.peer = peer;
        if self.peer() != before {
            self.outgoing.handle_moved(true);
        }
    }

    /// Says MONITOR_READY, if the controller's address is known, and looks up its name anew: it may
    /// have moved. When a name gets its first address, this is due at once.
    pub(crate) async fn announce(&mut self, journal: &Journal, instances: &Instances) {
        if let Some(ip) = self.commanders.look_up() {
            self.set_peer(Peer::Named(SocketAddr::new(ip, self.agent_port)));
        }
        self.ready_at = Some(Instant::now() + self.ready_period);
        if self.peer().is_some() {
            self.ready_period = (self.ready_period * 2).min(MAX_READY_PERIOD);
            let ready = ServerEvent::MonitorReady;
            if let Err(why) = self.send(&ready, journal, instances).await {
                journal.unsent(&ready, None, &why);
            }
        }
    }

    /// Sends an event now and, if the controller acknowledges, until it does.
    ///
    /// # Errors
    /// It is not sent, and not kept.
    pub(crate) async fn send(
        &mut self,
        event: &ServerEvent,
        journal: &Journal,
        instances: &Instances,
    ) -> Result<(), String> {
        if !self.outgoing.push(self.clock.now(), event.clone()) {
            return Err("the controller's address is not known yet".into());
        }
        self.flush(journal, instances).await;
        Ok(())
    }

    /// Sends what is to be sent now; the instances' names are for the log.
    pub(crate) async fn flush(&mut self, journal: &Journal, instances: &Instances) {
        let name = |event: &ServerEvent| event.instance().and_then(|one| instances.name(one));
        for (to, ack) in std::mem::take(&mut self.acks) {
            acknowledgement(Signature::None, ack).encode(Length::Fitting, &mut self.bytes);
            let sent = self.send_bytes(to).await.is_ok();
            journal.metrics.datagrams.acknowledged(sent);
        }
        while let Some(to) = self.peer()
            && let Some(transmit) = self.outgoing.poll_transmit(self.clock.now())
        {
            let event = &transmit.message;
            event.with_datagram(&self.hostname, |plain| {
                Datagram { numbering: transmit.numbering, ..*plain }
                    .encode(Length::Full, &mut self.bytes);
            });
            match self.send_bytes(to).await {
                Ok(()) => journal.metrics.datagrams.sent(event.name(), transmit.again),
                Err(error) => {
                    journal.unsent(event, name(event).as_deref(), &format!("{to}: {error}"));
                }
            }
        }
        while let Some(event) = self.outgoing.poll_lost() {
            journal.given_up(&event, name(&event).as_deref());
        }
    }

    async fn send_bytes(&mut self, to: SocketAddr) -> io::Result<()> {
        self.reception.guard().seal(&mut self.bytes, unix_micros(), None);
        self.sender.send(&self.socket, &self.bytes, to).await
    }
}

/// Waits for a moment; for ever, if there is none.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
