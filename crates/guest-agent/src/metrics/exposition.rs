//! What a monitoring system is shown: the counters, and what the main loop knows.

use std::time::Duration;

use daemon_kit::metrics::{Exposition, Rows, Source};
use heartbeat_proto::InstanceId;

use super::Metrics;
use super::families::{
    ALARMS, AWAITING, BUILD, CORRECTIONS, DISOWNED, EVENTS, HELD, HOSTS, HOSTS_ASKED, HTTP,
    HTTP_CLOSED, HTTP_CONNECTIONS, HTTP_FAILED, HTTP_UNANSWERED, HTTP_WAITED, INSTANCES, MUTED,
    ONE_HEARTBEATING, ONE_REPORTING, OUTBOX, OUTBOX_AGE, OUTBOX_CAPACITY, OUTDATED, QUESTIONS,
    QUESTIONS_OPEN, RECEIVED, REQUESTS, RETRIED, SENT, SILENT, UNACKNOWLEDGED, VIM_UP, VOTES,
    WAITED,
};
use crate::http::Counts;
use crate::inventory::Inventory;
use crate::vim::CAPACITY;

/// What is shown, lent by the main loop.
pub(crate) struct Observed<'a> {
    pub(crate) metrics: &'a Metrics,
    pub(crate) http: &'a Counts,
    pub(crate) inventory: &'a Inventory,
    /// How many instances are muted.
    pub(crate) muted: usize,
    pub(crate) outbox: Outbox,
    pub(crate) delivery: Delivered,
    pub(crate) per_instance: bool,
}

/// What is on its way to and from guestServers.
pub(crate) struct Delivered {
    /// Commands that they have not acknowledged.
    pub(crate) unacknowledged: usize,
    /// How many of them have acknowledged nothing for 10 s, although they should.
    pub(crate) silent: usize,
    /// Events that they keep until the VIM has them.
    pub(crate) held: usize,
}

/// What waits for the VIM.
pub(crate) struct Outbox {
    pub(crate) events: usize,
    pub(crate) oldest: Option<Duration>,
    pub(crate) questions: usize,
    pub(crate) vim_up: bool,
}

impl Source for Observed<'_> {
    type Id = InstanceId;

    fn render(&self, out: &mut Exposition) {
        out.family(&BUILD).put(&[env!("CARGO_PKG_VERSION")], true);
        render_inventory(self.inventory, out);
        out.one(&MUTED, u64::try_from(self.muted).unwrap_or(u64::MAX));
        render_datagrams(self.metrics, out);
        out.one(&UNACKNOWLEDGED, self.delivery.unacknowledged);
        out.one(&SILENT, self.delivery.silent);
        out.one(&HELD, self.delivery.held);
        let metrics = self.metrics;
        out.one(&CORRECTIONS, metrics.corrections.get());
        out.one(&DISOWNED, metrics.disowned.get());
        let mut alarms = out.family(&ALARMS);
        alarms.put(&["told"], metrics.alarms.get());
        alarms.put(&["withheld"], metrics.alarms_withheld.get());
        alarms.put(&["muted"], metrics.alarms_muted.get());
        out.one(&VOTES, metrics.votes.get());
        out.one(&HOSTS_ASKED, metrics.hosts_asked.get());
        render_vim(metrics, &self.outbox, out);
        render_http(self.http, out);
    }

    fn instances(&self) -> Vec<InstanceId> {
        if self.per_instance { self.inventory.ids().collect() } else { Vec::new() }
    }

    fn render_instance(&self, id: &InstanceId, rows: &mut Rows) {
        let Some(summary) = self.inventory.summary(*id) else { return };
        let labels = [&*id.to_string(), summary.host];
        rows.put(&ONE_HEARTBEATING, &labels, summary.heartbeating);
        rows.put(&ONE_REPORTING, &labels, summary.reporting);
    }
}

const SWITCHES: [(bool, &str); 2] = [(true, "enabled"), (false, "disabled")];

fn render_inventory(inventory: &Inventory, out: &mut Exposition) {
    let tally = inventory.tally();
    let mut hosts = out.family(&HOSTS);
    for (reporting, word) in SWITCHES {
        hosts.put(&[word], tally.hosts[usize::from(reporting)]);
    }
    out.one(&AWAITING, tally.awaiting_vim);
    let mut instances = out.family(&INSTANCES);
    for (reporting, reported) in SWITCHES {
        for (heartbeating, beats) in SWITCHES {
            let count = tally.instances[usize::from(reporting)][usize::from(heartbeating)];
            instances.put(&[reported, beats], count);
        }
    }
}

fn render_datagrams(metrics: &Metrics, out: &mut Exposition) {
    let datagrams = &metrics.datagrams;
    let mut received = out.family(&RECEIVED);
    let senders =
        [("guest_server", &datagrams.from_servers), ("maintenance", &datagrams.from_maintenance)];
    for (sender, table) in senders {
        for (command, fate, count) in table.iter() {
            received.put(&[sender, command, fate], count);
        }
    }
    let mut sent = out.family(&SENT);
    for (command, fate, count) in datagrams.sent.iter() {
        sent.put(&[command, fate], count);
    }
}

fn render_vim(metrics: &Metrics, outbox: &Outbox, out: &mut Exposition) {
    out.one(&VIM_UP, outbox.vim_up);
    out.one(&OUTBOX, outbox.events);
    out.one(&OUTBOX_CAPACITY, CAPACITY);
    out.one(&OUTBOX_AGE, outbox.oldest.unwrap_or_default().as_secs_f64());
    out.one(&QUESTIONS_OPEN, outbox.questions);
    let mut events = out.family(&EVENTS);
    for (kind, fate, count) in metrics.events.fates.iter() {
        events.put(&[kind, fate], count);
    }
    out.one(&RETRIED, metrics.events.retried.get());
    out.one(&OUTDATED, metrics.events.outdated.get());
    out.family(&WAITED).histogram(&[], &metrics.events.waits);
    let mut questions = out.family(&QUESTIONS);
    questions.put(&["answered"], metrics.questions_answered.get());
    questions.put(&["failed"], metrics.questions_failed.get());
    let mut requests = out.family(&REQUESTS);
    requests.histogram(&["event"], &metrics.event_times);
    requests.histogram(&["question"], &metrics.question_times);
}

fn render_http(counts: &Counts, out: &mut Exposition) {
    let mut requests = out.family(&HTTP);
    for (route, status, count) in counts.requests.iter() {
        requests.put(&[route, &status.to_string()], count);
    }
    out.one(&HTTP_CONNECTIONS, counts.connections.get());
    let mut closed = out.family(&HTTP_CLOSED);
    closed.put(&["evicted"], counts.connections_evicted.get());
    closed.put(&["idle"], counts.connections_idle.get());
    closed.put(&["late"], counts.connections_late.get());
    closed.put(&["broken"], counts.connections_broken.get());
    out.one(&HTTP_WAITED, counts.connections_waited.get());
    out.one(&HTTP_FAILED, counts.accept_failures.get());
    out.one(&HTTP_UNANSWERED, counts.commands_unanswered.get());
}
