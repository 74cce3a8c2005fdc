//! The main loop's side of the guestServers: what is heard, what is acknowledged when, what is sent again.

use std::net::SocketAddr;

use daemon_kit::{describe, unpredictable};
use heartbeat_proto::MonotonicTime;
use heartbeat_proto::control::{Ack, ServerEvent};
use heartbeat_proto::delivery::Verdict;
use heartbeat_proto::vim::{EventKind, InstanceEvent};

use super::Daemon;
use crate::courier::{Courier, Receipt};
use crate::fleet::{Received, Said};
use crate::inventory::{Heard, Inventory};
use crate::journal::Journal;
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

/// What is to be done about a datagram besides what it says.
#[derive(Debug, Default)]
pub(super) struct Heeded {
    open: Option<Open>,
    ack: Option<(SocketAddr, Ack)>,
}

/// Takes in a datagram of a guestServer's.
pub(super) fn hear(
    now: MonotonicTime,
    received: &Received<'_>,
    courier: &mut Courier,
    inventory: &mut Inventory,
    journal: &mut Journal,
) -> Heeded {
    let from = received.from;
    let datagrams = &journal.metrics.datagrams;
    let (hosted, numbering) = match received.said() {
        Ok(Said::Event(hosted, numbering)) => (hosted, numbering),
        Ok(Said::Ack(ack)) => {
            courier.handle_ack(now, ack);
            datagrams.server_sent(Some(ACK), Fate::Taken);
            return Heeded::default();
        }
        Err(rejected) => {
            datagrams.server_sent(rejected.command(), rejected.fate());
            journal.bad_datagram(from, &describe(&rejected));
            return Heeded::default();
        }
    };
    let event = &hosted.event;
    let receipt = match courier.examine(now, from, numbering) {
        Verdict::Unnumbered => None,
        Verdict::Former => {
            datagrams.server_sent(Some(event.name()), Fate::OldNews);
            return Heeded::default();
        }
        Verdict::Double { receipt, held } => {
            datagrams.server_sent(Some(event.name()), Fate::Double);
            let ack = Ack { epoch: receipt.epoch, number: receipt.number, held };
            return Heeded { ack: Some((from, ack)), open: None };
        }
        Verdict::Fresh(receipt) if courier.is_old_news(&receipt, event) => {
            datagrams.server_sent(Some(event.name()), Fate::OldNews);
            let ack = courier.handle_taken(now, receipt, event, false);
            return Heeded { ack: Some((from, ack)), open: None };
        }
        Verdict::Fresh(receipt) => Some(receipt),
    };
    // A guestServer may speak before its host is known; what it is, is worth knowing by then.
    let stranger = || courier.has_room().then(|| from.ip().to_canonical());
    if let Some(host) = inventory.server_address(from, &hosted.hostname).or_else(stranger) {
        courier.handle_heard(now, host, numbering, &hosted.hostname, unpredictable);
    }
    let heard = inventory.handle_event(now, from, &hosted);
    datagrams.server_sent(Some(event.name()), heard.into());
    // What we cannot judge yet is not acknowledged: it comes again, when we may know more.
    let judged = matches!(heard, Heard::Taken | Heard::Foreign);
    let open = receipt.filter(|_| judged).map(|receipt| Open {
        receipt,
        event: hosted.event,
        state: OpenState::Done,
    });
    Heeded { open, ack: None }
}

impl Daemon {
    /// The rest of it, when the datagram is out of the way.
    pub(super) fn heed(&mut self, heeded: Heeded) {
        self.open = heeded.open;
        self.acks.extend(heeded.ack);
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

    /// Says what has been received and what is done, and sends what is to be sent.
    pub(super) async fn answer_servers(&mut self) {
        let now = self.now();
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
        for (to, ack) in std::mem::take(&mut self.acks) {
            self.fleet.acknowledge(to, ack, &self.journal).await;
        }
        while let Some(sending) = self.courier.poll_sending(now) {
            self.fleet.send(&sending, &mut self.journal).await;
        }
    }
}
