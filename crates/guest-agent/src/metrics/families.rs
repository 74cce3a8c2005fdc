//! What is shown: every metric with its meaning and its labels, from which docs/metrics.md is made.

use daemon_kit::metrics::{Family, Kind};

/// A family, with or without labels.
macro_rules! family {
    ($static:ident, $kind:ident, $name:literal, $help:literal) => {
        family!($static, $kind, $name, $help, []);
    };
    ($static:ident, $kind:ident, $name:literal, $help:literal, $labels:expr) => {
        pub(super) static $static: Family = Family {
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
            "of guestServers `MONITOR_READY`, `QRY_INST`, `RUNNING`, `STOPPED`, `ILLHEALTH`, \
             `LOSS`, `VOTE_NOTIFY`, `ACK`, of the maintenance system `ADD_HOST`, `MOD_HOST`, \
             `DEL_HOST`; `none` if it cannot be read"
        ),
        (
            "fate",
            "`taken`, `unknown_sender` (a host that is not known), `foreign` (the instance is \
             not on that host), `malformed`, `unsigned`, `bad_seal` (forged, altered, late, or \
             without the seal that is required), `double` (came before), `old_news` (a newer event \
             had overtaken it), `too_early` (the VIM may still name its instance)"
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
            "`MOD_HOST`, `ADD_INST`, `MOD_INST`, `DEL_INST`, `QRY_INST`, `VOTE_INST`, \
             `NOTIFY_INST`, `ACK`; `LOOPBACK` is never sent"
        ),
        ("fate", "`sent`; `again`, because it was not acknowledged; `unsent`: no route, no room")
    ]
);
family!(
    UNACKNOWLEDGED,
    Gauge,
    "unacknowledged_commands",
    "Commands that guestServers which acknowledge have not acknowledged"
);
family!(
    SILENT,
    Gauge,
    "silent_servers",
    "guestServers that have acknowledged nothing for 10 s, although commands wait for that"
);
family!(
    HELD,
    Gauge,
    "held_events",
    "Alarms and votes that guestServers keep until the VIM has them"
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
            "`add_host`, `switch_host`, `get_host`, `delete_host`, `add_instance`, \
             `switch_instance`, `get_instance`, `delete_instance`, `vote`, `notify`, `other`"
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
        "`evicted` while idle to make room, `idle` for too long, `late` with a header or in \
         taking an answer, `broken`: no HTTP, too long a header, or ended in a request"
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
    &UNACKNOWLEDGED,
    &SILENT,
    &HELD,
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
