//! What is on its way to and from guestServers, and has not arrived or is not done.
//!
//! Pure: the time is passed in, and [`Fleet`](crate::fleet::Fleet) sends. A guestServer is known by its host's address as a
//! recipient, and by the address of its datagrams as a sender; its acknowledgements name an epoch that it alone was told.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use heartbeat_proto::MonotonicTime;
use heartbeat_proto::control::{Ack, AgentCommand, Numbering, ServerEvent};
use heartbeat_proto::delivery::{self, Incoming, Outgoing, Transmit, Verdict};

/// What to acknowledge, and to whom.
pub(crate) type Receipt = delivery::Receipt<SocketAddr>;

/// guestServers that are remembered at most, with what they have not acknowledged. The inventory has 10,000 hosts; the others
/// are former addresses of theirs.
const MAX_SERVERS: usize = 16_384;

#[derive(Debug)]
struct Server {
    outgoing: Outgoing<AgentCommand>,
    /// What it calls its host: what is sealed for it is for nobody else.
    name: Option<Box<str>>,
    due: Option<MonotonicTime>,
}

/// A command to be sent now.
#[derive(Debug)]
pub(crate) struct Sending {
    pub(crate) to: IpAddr,
    pub(crate) transmit: Transmit<AgentCommand>,
    /// The recipient's name, once it is known.
    pub(crate) name: Option<Box<str>>,
}

/// What is on its way.
///
/// What comes in: [`examine`](Self::examine), then what it says. What goes out: [`push`](Self::push). After either, and when
/// [`poll_timeout`](Self::poll_timeout) has come, send what [`poll_sending`](Self::poll_sending) gives until it gives nothing.
#[derive(Debug, Default)]
pub(crate) struct Courier {
    always_numbered: bool,
    incoming: Incoming<SocketAddr>,
    servers: HashMap<IpAddr, Server>,
    by_epoch: HashMap<u32, IpAddr>,
    /// Those that may have something to send now.
    ready: BTreeSet<IpAddr>,
    due: BTreeSet<(MonotonicTime, IpAddr)>,
}

impl Courier {
    /// Whether commands have numbers even for those who know none: they are sealed.
    pub(crate) fn set_always_numbered(&mut self, always: bool) {
        self.always_numbered = always;
        for server in self.servers.values_mut() {
            server.outgoing.set_always_numbered(always);
        }
    }

    /// A command for the guestServer at this address. `random` is called where it has not been written to before.
    pub(crate) fn push(
        &mut self,
        now: MonotonicTime,
        to: IpAddr,
        command: AgentCommand,
        random: impl FnMut() -> u32,
    ) {
        self.server(to, random).outgoing.push(now, command);
        self.ready.insert(to);
    }

    /// The next command to be sent.
    pub(crate) fn poll_sending(&mut self, now: MonotonicTime) -> Option<Sending> {
        while let Some((_, to)) = self.due.first().copied().filter(|(due, _)| *due <= now) {
            self.due.pop_first();
            if let Some(server) = self.servers.get_mut(&to) {
                server.due = None;
            }
            self.ready.insert(to);
        }
        while let Some(to) = self.ready.first().copied() {
            let server = self.servers.get_mut(&to)?;
            if let Some(transmit) = server.outgoing.poll_transmit(now) {
                // Another one once its numbers are used up.
                self.by_epoch.insert(server.outgoing.epoch(), to);
                return Some(Sending { to, transmit, name: server.name.clone() });
            }
            // No command is a report: there is nothing to be told of what was given up.
            self.ready.remove(&to);
            let due = server.outgoing.poll_timeout();
            if let Some(before) = std::mem::replace(&mut server.due, due) {
                self.due.remove(&(before, to));
            }
            self.due.extend(due.map(|due| (due, to)));
        }
        None
    }

    /// When [`poll_sending`](Self::poll_sending) may have something although nothing has happened.
    pub(crate) fn poll_timeout(&self) -> Option<MonotonicTime> {
        self.due.first().map(|(due, _)| *due)
    }

    /// A guestServer acknowledges something of ours. Says whether that was news.
    pub(crate) fn handle_ack(&mut self, now: MonotonicTime, ack: Ack) -> bool {
        let Some(to) = self.by_epoch.get(&ack.epoch).copied() else { return false };
        self.ready.insert(to);
        self.servers.get_mut(&to).is_some_and(|server| server.outgoing.handle_ack(now, ack))
    }

    /// The guestServer of the host at this address has sent something with this numbering, and calls its host so.
    pub(crate) fn handle_heard(
        &mut self,
        now: MonotonicTime,
        host: IpAddr,
        numbering: Numbering,
        name: &str,
        random: impl FnMut() -> u32,
    ) {
        let server = self.server(host, random);
        if server.name.as_deref() != Some(name) {
            server.name = Some(name.into());
        }
        server.outgoing.handle_heard(now, numbering);
        self.ready.insert(host);
    }

    /// Whether there is room for those whose hosts are not known, too.
    pub(crate) fn has_room(&self) -> bool {
        self.servers.len() < MAX_SERVERS / 2
    }

    /// What a datagram is, by its numbers.
    pub(crate) fn examine(
        &self,
        now: MonotonicTime,
        from: SocketAddr,
        numbering: Numbering,
    ) -> Verdict<SocketAddr> {
        self.incoming.examine(now, from, numbering)
    }

    /// Whether a newer event has made this one meaningless.
    pub(crate) fn is_old_news(&self, receipt: &Receipt, event: &ServerEvent) -> bool {
        self.incoming.is_old_news(receipt, event)
    }

    /// An event was taken, and is done or, where it is held, will be when the VIM has it. Gives the acknowledgement.
    pub(crate) fn handle_taken(
        &mut self,
        now: MonotonicTime,
        receipt: Receipt,
        event: &ServerEvent,
        held: bool,
    ) -> Ack {
        if held {
            self.incoming.handle_held(now, receipt, event);
        } else {
            self.incoming.handle_done(now, receipt, event);
        }
        Ack { epoch: receipt.epoch, number: receipt.number, held }
    }

    /// What was held is done. Gives the acknowledgement, if somebody waits for it.
    pub(crate) fn handle_released(&mut self, receipt: &Receipt) -> Option<Ack> {
        let waits = self.incoming.handle_released(receipt);
        waits.then_some(Ack { epoch: receipt.epoch, number: receipt.number, held: false })
    }

    /// Whether the guestServer at this address acknowledges, how many commands it has not acknowledged, and for how long it
    /// has acknowledged nothing.
    pub(crate) fn delivery(
        &self,
        now: MonotonicTime,
        host: IpAddr,
    ) -> (Option<bool>, usize, Option<Duration>) {
        let Some(Server { outgoing, .. }) = self.servers.get(&host) else { return (None, 0, None) };
        (outgoing.acknowledges(), outgoing.pending(), outgoing.silence(now))
    }

    /// How many commands have not been acknowledged, and how many guestServers have acknowledged nothing for `long`.
    pub(crate) fn unacknowledged(&self, now: MonotonicTime, long: Duration) -> (usize, usize) {
        let all = self.servers.values().map(|server| &server.outgoing);
        let is_silent = |outgoing: &Outgoing<_>| outgoing.silence(now).is_some_and(|s| s >= long);
        all.fold((0, 0), |(pending, silent), outgoing| {
            (pending + outgoing.pending(), silent + usize::from(is_silent(outgoing)))
        })
    }

    /// How many events are held until the VIM has them.
    pub(crate) fn held(&self) -> usize {
        self.incoming.held()
    }

    fn server(&mut self, to: IpAddr, mut random: impl FnMut() -> u32) -> &mut Server {
        if self.servers.len() >= MAX_SERVERS && !self.servers.contains_key(&to) {
            self.forget_one();
        }
        self.servers.entry(to).or_insert_with(|| {
            let epoch = loop {
                let epoch = random().max(1);
                if !self.by_epoch.contains_key(&epoch) {
                    break epoch;
                }
            };
            self.by_epoch.insert(epoch, to);
            Server { outgoing: Outgoing::new(epoch, self.always_numbered), name: None, due: None }
        })
    }

    /// The one with the least that is on its way makes room.
    fn forget_one(&mut self) {
        let least = self.servers.iter().min_by_key(|(_, server)| server.outgoing.pending());
        let Some(to) = least.map(|(to, _)| *to) else { return };
        if let Some(server) = self.servers.remove(&to) {
            self.by_epoch.remove(&server.outgoing.epoch());
            if let Some(due) = server.due {
                self.due.remove(&(due, to));
            }
        }
        self.ready.remove(&to);
    }
}

#[cfg(test)]
mod tests;
