//! What a monitoring system is shown: the counters, and what the main loop knows.

use std::time::Duration;

use daemon_kit::metrics::{Exposition, Family, Kind, Rows, Source};
use heartbeat_proto::InstanceId;

use super::Metrics;
use crate::http::Counts;
use crate::inventory::Inventory;
use crate::vim::CAPACITY;

/// A family, with or without labels.
macro_rules! family {
    ($static:ident, $kind:ident, $name:literal, $help:literal) => {
        family!($static, $kind, $name, $help, []);
    };
    ($static:ident, $kind:ident, $name:literal, $help:literal, $labels:expr) => {
        static $static: Family = Family {
            name: concat!("guest_agent_", $name),
            kind: Kind::$kind,
            help: $help,
            labels: &$labels,
        };
    };
}

family!(BUILD, Info, "build", "Version of guestAgent", [("version", "of the program")]);
family!(
    HOSTS,
    Gauge,
    "hosts",
    "Hosts that the maintenance system named",
    [(
        "reporting",
        "`enabled`, `disabled`: whether faults of its instances are reported, by the host's switch"
    )]
);
family!(
    AWAITING,
    Gauge,
    "hosts_awaiting_vim",
    "Hosts of which the VIM has not said state and instances yet"
);
family!(
    INSTANCES,
    Gauge,
    "instances",
    "Instances on these hosts",
    [
        ("reporting", "`enabled`, `disabled`: whether its faults are reported, by its own switch"),
        ("heartbeating", "`enabled`, `disabled`")
    ]
);
family!(
    RECEIVED,
    Counter,
    "datagrams_received",
    "Datagrams that came in",
    [
        ("sender", "`guest_server`, `maintenance`"),
        (
            "command",
            "of guestServers `MONITOR_READY`, `QRY_INST`, `RUNNING`, `STOPPED`, `ILLHEALTH`, `LOSS`, `VOTE_NOTIFY`, of the maintenance system `ADD_HOST`, `MOD_HOST`, `DEL_HOST`; `none` if it cannot be read"
        ),
        (
            "fate",
            "`taken`, `unknown_sender` (a host that is not known), `foreign` (the instance is not on that host), `malformed`, `unsigned`"
        )
    ]
);
family!(
    SENT,
    Counter,
    "datagrams_sent",
    "Datagrams for guestServers",
    [
        (
            "command",
            "`MOD_HOST`, `ADD_INST`, `MOD_INST`, `DEL_INST`, `QRY_INST`, `VOTE_INST`, `NOTIFY_INST`; `LOOPBACK` is never sent"
        ),
        ("fate", "`sent`; `unsent`: no route, no room")
    ]
);
family!(
    MUTED,
    Gauge,
    "muted_instances",
    "Instances whose failures the VIM is not told of because an operator muted them"
);
family!(
    CORRECTIONS,
    Counter,
    "corrections",
    "Times that a guestServer had another mind about an instance's reporting"
);
family!(
    DISOWNED,
    Counter,
    "disowned_instances",
    "Instances that a guestServer had although they are not on its host"
);
family!(
    ALARMS,
    Counter,
    "alarms",
    "Failures of instances",
    [("fate", "`told` to the VIM; `withheld`, for their reporting is off; `muted` by an operator")]
);
family!(VOTES, Counter, "votes", "Votes and notifications that are over");
family!(
    HOSTS_ASKED,
    Counter,
    "hosts_asked",
    "Times that the maintenance system was asked for the hosts"
);
family!(VIM_UP, Gauge, "vim_up", "1 unless the last attempt to tell the VIM of an event failed");
family!(OUTBOX, Gauge, "outbox_events", "Events that the VIM does not have yet");
family!(OUTBOX_CAPACITY, Gauge, "outbox_capacity_events", "How many there may be");
family!(
    OUTBOX_AGE,
    Gauge,
    "outbox_oldest_age_seconds",
    "How long the oldest of them has waited; 0 without any"
);
family!(QUESTIONS_OPEN, Gauge, "vim_questions_open", "Questions that the VIM has not answered yet");
family!(
    EVENTS,
    Counter,
    "vim_events",
    "Events for the VIM that are done with",
    [
        ("kind", "`service` (a state), `alarm`, `action` (a vote)"),
        ("fate", "`delivered`; `refused` by the VIM with 4xx; `dropped`, for too many waited")
    ]
);
family!(
    RETRIED,
    Counter,
    "vim_events_retried",
    "Attempts to tell the VIM that failed and are repeated"
);
family!(
    OUTDATED,
    Counter,
    "vim_events_outdated",
    "Events that nobody wanted any more when their instance was deleted or moved"
);
family!(WAITED, Histogram, "vim_event_wait_seconds", "From an event to its delivery to the VIM");
family!(
    QUESTIONS,
    Counter,
    "vim_questions",
    "Questions to the VIM",
    [("fate", "`answered`; `failed`, and asked again by the next audit")]
);
family!(
    REQUESTS,
    Histogram,
    "vim_request_seconds",
    "How long requests to the VIM took, also those that failed",
    [("kind", "`event`, `question`")]
);
family!(
    HTTP,
    Counter,
    "http_requests",
    "Answered requests of the VIM",
    [
        (
            "route",
            "`add_host`, `switch_host`, `get_host`, `delete_host`, `add_instance`, `switch_instance`, `get_instance`, `delete_instance`, `vote`, `notify`, `other`"
        ),
        ("status", "200, 204, 400, 403, 404, 405, 408, 411, 413, 503")
    ]
);
family!(HTTP_CONNECTIONS, Counter, "http_connections", "HTTP connections accepted");
family!(
    HTTP_CLOSED,
    Counter,
    "http_connections_closed",
    "HTTP connections that were closed for a reason",
    [(
        "reason",
        "`evicted` while idle to make room, `idle` for too long, `late` with a header or in taking an answer, `broken`: no HTTP, too long a header, or ended in a request"
    )]
);
family!(
    HTTP_WAITED,
    Counter,
    "http_connections_waited",
    "HTTP connections that waited because there were too many"
);
family!(
    HTTP_FAILED,
    Counter,
    "http_accept_failures",
    "HTTP connections that could not be accepted"
);
family!(
    HTTP_UNANSWERED,
    Counter,
    "http_commands_unanswered",
    "Commands that were not carried out because the main loop was late (503)"
);
family!(
    ONE_HEARTBEATING,
    Gauge,
    "instance_heartbeating",
    "1 while the instance is heartbeating (`per_instance`)",
    [("uuid", "of the instance"), ("host", "its host's name")]
);
family!(
    ONE_REPORTING,
    Gauge,
    "instance_reporting",
    "1 while the instance's faults are reported, by its own switch (`per_instance`)",
    [("uuid", "of the instance"), ("host", "its host's name")]
);

/// Everything that is shown, but for the process.
#[cfg(test)]
pub(super) static FAMILIES: &[&Family] = &[
    &BUILD,
    &HOSTS,
    &AWAITING,
    &INSTANCES,
    &MUTED,
    &RECEIVED,
    &SENT,
    &CORRECTIONS,
    &DISOWNED,
    &ALARMS,
    &VOTES,
    &HOSTS_ASKED,
    &VIM_UP,
    &OUTBOX,
    &OUTBOX_CAPACITY,
    &OUTBOX_AGE,
    &EVENTS,
    &RETRIED,
    &OUTDATED,
    &WAITED,
    &QUESTIONS_OPEN,
    &QUESTIONS,
    &REQUESTS,
    &HTTP,
    &HTTP_CONNECTIONS,
    &HTTP_CLOSED,
    &HTTP_WAITED,
    &HTTP_FAILED,
    &HTTP_UNANSWERED,
    &ONE_HEARTBEATING,
    &ONE_REPORTING,
];

/// What is shown, lent by the main loop.
pub(crate) struct Observed<'a> {
    pub(crate) metrics: &'a Metrics,
    pub(crate) http: &'a Counts,
    pub(crate) inventory: &'a Inventory,
    /// How many instances are muted.
    pub(crate) muted: usize,
    pub(crate) outbox: Outbox,
    pub(crate) per_instance: bool,
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
