//! What is shown: every metric with its meaning and its labels, from which docs/metrics.md is made.

use daemon_kit::metrics::{Family, Kind};

/// A family without labels.
macro_rules! family {
    ($static:ident, $kind:ident, $name:literal, $help:literal) => {
        family!($static, $kind, $name, $help, []);
    };
    ($static:ident, $kind:ident, $name:literal, $help:literal, $labels:expr) => {
        pub(super) static $static: Family = Family {
            name: concat!("guest_server_", $name),
            kind: Kind::$kind,
            help: $help,
            labels: &$labels,
        };
    };
}

family!(BUILD, Info, "build", "Version of guestServer", [("version", "of the program")]);
family!(
    INSTANCES,
    Gauge,
    "instances",
    "Instances of this host by the state of their heartbeat (see protocol.md)",
    [(
        "state",
        "`disconnected`, `suspended`, `waiting_init`, `paused`, `waiting_response`, \
         `waiting_challenge`"
    )]
);
family!(HEARTBEATING, Gauge, "heartbeating_instances", "Instances whose guests answer challenges");
family!(
    REPORTING,
    Gauge,
    "reporting_instances",
    "Instances whose faults are reported, by their own switch"
);
family!(PROVISIONED, Gauge, "provisioned_instances", "Instances that guestAgent named");
family!(
    MUTED,
    Gauge,
    "muted_instances",
    "Instances whose faults are not reported because an operator muted them"
);
family!(
    HOST_REPORTING,
    Gauge,
    "host_reporting",
    "1 while faults of this host are reported, by the host's switch"
);
family!(COMMANDED, Gauge, "commanded", "1 once a command of guestAgent has come");
family!(
    CONNECTS,
    Counter,
    "channel_connects",
    "Attempts to connect to channels",
    [("result", "`connected`; `failed` although there is a socket; `missing`: there is none")]
);
family!(CHALLENGES, Counter, "challenges", "Challenges put on the way to guests");
family!(
    LEFT_OUT,
    Counter,
    "messages_left_out",
    "Messages left out because the guest does not read what it was sent before",
    [("message", "`challenge`, `other`")]
);
family!(HEARTBEATS, Counter, "heartbeats", "Challenges answered in time with the right number");
family!(ROUND_TRIP, Histogram, "round_trip_seconds", "From a challenge to its answer");
family!(
    MISSES,
    Counter,
    "misses",
    "Challenges not answered in time, within the threshold, while faults are reported"
);
family!(
    LOSSES,
    Counter,
    "losses",
    "Guests that fell silent while faults are reported: each is a LOSS, but for muted instances"
);
family!(
    FAULTS_MUTED,
    Counter,
    "muted_faults",
    "LOSS and ILLHEALTH not reported because an operator muted the instance"
);
family!(UNHEALTHY, Counter, "unhealthy_responses", "Answers that say that the guest is not well");
family!(INITS, Counter, "inits", "`init` acknowledged");
family!(
    CLAMPED,
    Counter,
    "init_values_clamped",
    "Values of `init` that were out of bounds, and cut to them"
);
family!(
    REFUSED,
    Counter,
    "messages_refused",
    "Messages of guests that were thrown away",
    [(
        "reason",
        "`malformed`, `too_long`, `fragment` (the rest of a line from before the connection), \
         `init_too_often`, `wrong_number`, `not_awaited` (an answer when no challenge was out), \
         `vote_not_open` (or of another session)"
    )]
);
family!(
    REFUSED_BYTES,
    Counter,
    "refused_bytes",
    "Bytes of lines of guests that were thrown away unread",
    [("reason", "`malformed`, `too_long`, `fragment`")]
);
family!(RECEIVED_BYTES, Counter, "received_bytes", "Bytes read from guests");
family!(
    PUT_OFF,
    Counter,
    "reads_put_off",
    "Times that reading from a guest was put off because it sends too much"
);
family!(VOTES_ASKED, Counter, "votes_asked", "Votes and notifications put to guests");
family!(
    VOTES,
    Counter,
    "votes",
    "Votes and notifications that are over",
    [(
        "result",
        "`answered` by the guest; agreed without an answer: `timed_out`, `replaced` by a newer \
         one, `not_connected`, `gone` (the instance)"
    )]
);
family!(
    LATE,
    Counter,
    "late_timers",
    "Timers of our own that fired more than an interval late: this host is overloaded, or the \
     daemon was stopped"
);
family!(
    RECEIVED,
    Counter,
    "datagrams_received",
    "Datagrams that came in",
    [
        (
            "command",
            "`MOD_HOST`, `ADD_INST`, `MOD_INST`, `DEL_INST`, `QRY_INST`, `VOTE_INST`, \
             `NOTIFY_INST`, `LOOPBACK`; `ACK`; `none` if it cannot be read or is not looked at"
        ),
        (
            "fate",
            "`obeyed`, `unknown_instance`, `refused` (too many wait for the instance, or too \
             many instances without a channel), `malformed`, `unsigned` (not by guestAgent), \
             `bad_seal` (forged, altered, late, or without the seal that is required), `stranger` \
             (from an address that may not command), `double` (came before), `old_news` (a newer \
             command had overtaken it)"
        )
    ]
);
family!(
    SENT,
    Counter,
    "datagrams_sent",
    "Datagrams for guestAgent",
    [
        (
            "command",
            "`MONITOR_READY`, `QRY_INST`, `RUNNING`, `STOPPED`, `ILLHEALTH`, `LOSS`, \
             `VOTE_NOTIFY`, `ACK`"
        ),
        (
            "fate",
            "`sent`; `again`, because it was not acknowledged; `unsent`: no address yet, no route, \
             no room"
        )
    ]
);
family!(
    UNACKNOWLEDGED,
    Gauge,
    "unacknowledged_messages",
    "Messages for guestAgent that it has not acknowledged",
    [("kind", "`report`: LOSS, ILLHEALTH and VOTE_NOTIFY, kept for an hour; `state`: all others")]
);
family!(
    SILENCE,
    Gauge,
    "controller_silence_seconds",
    "For how long guestAgent has acknowledged nothing, although messages wait for that; 0 while it does"
);
family!(
    GIVEN_UP,
    Counter,
    "reports_given_up",
    "Reports that no guestAgent acknowledged within an hour, or that there was no room for"
);
family!(
    DROPPED,
    Counter,
    "actions_dropped",
    "Votes and notifications that were thrown away with their instance"
);
family!(
    PMON,
    Counter,
    "pmon_pulses",
    "Datagrams at the port for pmon's active monitoring (0 where that is off)",
    [(
        "result",
        "`answered`; `ignored`: no question of pmon's for this process; `failed`: not received, or \
         the answer not sent"
    )]
);
family!(
    ONE_STATE,
    Gauge,
    "instance_state",
    "Always 1: the state of an instance (`per_instance`)",
    [("uuid", "of the instance"), ("state", "as in `guest_server_instances`")]
);
family!(
    ONE_HEARTBEATING,
    Gauge,
    "instance_heartbeating",
    "1 while the instance's guest answers challenges (`per_instance`)",
    [("uuid", "of the instance")]
);
family!(
    ONE_REPORTING,
    Gauge,
    "instance_reporting",
    "1 while the instance's faults are reported, by its own switch (`per_instance`)",
    [("uuid", "of the instance")]
);
family!(
    ONE_MISSES,
    Gauge,
    "instance_misses",
    "Challenges that the instance's guest missed in a row (`per_instance`)",
    [("uuid", "of the instance")]
);

/// Everything that is shown, but for the process.
#[cfg(test)]
pub(super) static FAMILIES: &[&Family] = &[
    &BUILD,
    &INSTANCES,
    &HEARTBEATING,
    &REPORTING,
    &PROVISIONED,
    &MUTED,
    &HOST_REPORTING,
    &COMMANDED,
    &CONNECTS,
    &CHALLENGES,
    &LEFT_OUT,
    &HEARTBEATS,
    &ROUND_TRIP,
    &MISSES,
    &LOSSES,
    &FAULTS_MUTED,
    &UNHEALTHY,
    &INITS,
    &CLAMPED,
    &REFUSED,
    &REFUSED_BYTES,
    &RECEIVED_BYTES,
    &PUT_OFF,
    &VOTES_ASKED,
    &VOTES,
    &LATE,
    &RECEIVED,
    &SENT,
    &UNACKNOWLEDGED,
    &SILENCE,
    &GIVEN_UP,
    &DROPPED,
    &PMON,
    &ONE_STATE,
    &ONE_HEARTBEATING,
    &ONE_REPORTING,
    &ONE_MISSES,
];
