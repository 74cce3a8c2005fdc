//! The guestServers' side of it: what is heard, what is acknowledged when, what is sent again.

use std::io;
use std::net::{IpAddr, SocketAddr};

use daemon_kit::describe;
use heartbeat_proto::MonotonicTime;
use heartbeat_proto::control::{Ack, REVISION, ServerEvent};
use heartbeat_proto::delivery::Verdict;
use heartbeat_proto::vim::{EventKind, InstanceEvent};

use super::{Contents, Core, Letter};
use crate::courier::Receipt;
use crate::fleet::Said;
use crate::inventory::Heard;
use crate::metrics::{ACK, Fate};
use crate::vim::Pushed;

/// A numbered event that is being dealt with in this turn.
#[derive(Debug)]
pub(super) struct Open {
    receipt: Receipt,
    event: ServerEvent,
    state: OpenState,
}

/// What became of it so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OpenState {
    /// Nothing that has to be waited for.
    Done,
    /// The VIM has to be told; until it has been, its guestServer keeps it.
    Held,
    /// The VIM has to be told, and there is no room for that now.
    Refused,
}

impl Core {
    /// A datagram of a guestServer's came in, at this time and this one of the wall.
    pub(crate) fn handle_datagram(
        &mut self,
        now: MonotonicTime,
        micros: u64,
        bytes: &[u8],
        from: SocketAddr,
    ) {
        let Self { courier, inventory, journal, .. } = self;
        let datagrams = &journal.metrics.datagrams;
        let (hosted, numbering) = match self.desk.read(micros, bytes) {
            Ok(Said::Event(hosted, numbering)) => (hosted, numbering),
            Ok(Said::Ack(ack)) => {
                courier.handle_ack(now, ack);
                return datagrams.server_sent(Some(ACK), Fate::Taken);
            }
            Err(rejected) => {
                datagrams.server_sent(rejected.command(), rejected.fate());
                return journal.bad_datagram(from, &describe(&rejected));
            }
        };
        let event = &hosted.event;
        let receipt = match courier.examine(now, from, numbering) {
            Verdict::Unnumbered => None,
            Verdict::Former => return datagrams.server_sent(Some(event.name()), Fate::OldNews),
            Verdict::Double { receipt, held } => {
                let ack = Ack { epoch: receipt.epoch, number: receipt.number, held };
                self.acks.push((from, ack));
                return datagrams.server_sent(Some(event.name()), Fate::Double);
            }
            Verdict::Fresh(receipt) if courier.is_old_news(&receipt, event) => {
                let ack = courier.handle_taken(now, receipt, event, false);
                self.acks.push((from, ack));
                return datagrams.server_sent(Some(event.name()), Fate::OldNews);
            }
            Verdict::Fresh(receipt) => Some(receipt),
        };
        // A guestServer may speak before its host is known; what it is, is worth knowing by then.
        let sender = from.ip().to_canonical();
        let stranger = || courier.has_room().then_some(sender);
        // Whoever uses its name from elsewhere does not make a guestServer that acknowledges one that does not.
        let believed = |host: &IpAddr| {
            let acknowledges = courier.delivery(now, *host).0 == Some(true);
            numbering.revision >= REVISION || *host == sender || !acknowledges
        };
        let host = inventory.server_address(from, &hosted.hostname).or_else(stranger);
        if let Some(host) = host.filter(believed) {
            courier.handle_heard(now, host, numbering, &hosted.hostname, &mut self.random);
        }
        let heard = inventory.handle_event(now, from, &hosted);
        datagrams.server_sent(Some(event.name()), heard.into());
        // What we cannot judge yet is not acknowledged: it comes again, when we may know more.
        let judged = matches!(heard, Heard::Taken | Heard::Foreign);
        self.open = receipt.filter(|_| judged).map(|receipt| Open {
            receipt,
            event: hosted.event,
            state: OpenState::Done,
        });
    }

    /// The VIM has to know this. A failure or a vote stays with the guestServer that told of it until the VIM knows: should
    /// we end before that, whoever comes next gets it.
    pub(super) fn push_event(&mut self, now: MonotonicTime, event: InstanceEvent) {
        let told_once = match event.kind {
            EventKind::Alarm { .. } | EventKind::Action { .. } => true,
            EventKind::Service { .. } => false,
        };
        let open = self.open.as_mut().filter(|open| told_once && open.state == OpenState::Done);
        let Some(open) = open else {
            let pushed = self.dispatcher.push_event(now, event);
            self.note_pushed(pushed);
            return;
        };
        let pushed = self.dispatcher.push_held_event(now, event, open.receipt);
        open.state = match pushed {
            Pushed::Full(_) => OpenState::Refused,
            Pushed::Queued | Pushed::Replaced | Pushed::MadeRoom(_) => OpenState::Held,
        };
        self.note_pushed(pushed);
    }

    /// The event that this turn dealt with is acknowledged, and what the VIM has been told meanwhile.
    pub(super) fn close(&mut self, now: MonotonicTime) {
        if let Some(Open { receipt, event, state }) = self.open.take()
            && state != OpenState::Refused
        {
            let held = state == OpenState::Held;
            let ack = self.courier.handle_taken(now, receipt, &event, held);
            self.acks.push((receipt.peer, ack));
        }
        while let Some(receipt) = self.dispatcher.poll_released() {
            let ack = self.courier.handle_released(&receipt);
            self.acks.extend(ack.map(|ack| (receipt.peer, ack)));
        }
    }

    /// The next datagram to be sent, with its bytes in `bytes`; until there is none.
    pub(crate) fn poll_letter(
        &mut self,
        now: MonotonicTime,
        micros: u64,
        bytes: &mut Vec<u8>,
    ) -> Option<Letter> {
        if let Some((to, ack)) = self.acks.pop() {
            self.desk.write_ack(micros, ack, bytes);
            return Some(Letter { to, what: Contents::Ack });
        }
        let sending = self.courier.poll_sending(now)?;
        let to = self.desk.write(micros, &sending, bytes);
        let (command, again) = (sending.transmit.message, sending.transmit.again);
        Some(Letter { to, what: Contents::Command { command, again } })
    }

    /// What became of a datagram that was to be sent.
    pub(crate) fn handle_sent(&mut self, letter: &Letter, sent: io::Result<()>) {
        let datagrams = &self.journal.metrics.datagrams;
        match (&letter.what, sent) {
            (Contents::Ack, sent) => datagrams.acknowledged(sent.is_ok()),
            (Contents::Command { command, again }, Ok(())) => {
                datagrams.sent(command.name(), *again);
            }
            (Contents::Command { command, .. }, Err(error)) => {
                self.journal.unsent(letter.to, command, &error.to_string());
            }
        }
    }
}
