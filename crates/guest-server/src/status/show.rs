//! The status as an operator reads it.

use std::fmt::Write as _;
use std::time::Duration;

use daemon_kit::Escaped;
use daemon_kit::query::{Column, Line, View, ago, short, table};
use serde::Deserialize as _;

use super::{Delivery, Detail, Instance, Status};

/// How the documents are shown.
pub(crate) const VIEW: View = View {
    status: |document| Status::deserialize(document).map(|status| whole(&status)),
    instance: |document| Detail::deserialize(document).map(|detail| one(&detail)),
};

const COLUMNS: [Column; 8] = [
    ("NAME", 14),
    ("UUID", 36),
    ("STATE", 12),
    ("SINCE", 6),
    ("ANSWER", 6),
    ("TRIP", 6),
    ("MISSES", 6),
    ("REPORT", 6),
];

fn whole(status: &Status) -> String {
    let heartbeating = status.instances.iter().filter(|i| i.heartbeating).count();
    let muted = status.instances.iter().filter(|i| i.muted.is_some()).count();
    let mut text = format!(
        "{} {} on {}, pid {}, up {}\n",
        status.daemon,
        status.version,
        Escaped(&status.hostname),
        status.pid,
        ago(Some(status.up_secs))
    );
    let controller = match (status.controller, status.commanded) {
        (Some(address), true) => format!("commanded by {address}"),
        (Some(address), false) => format!("no command yet, reporting to {address}"),
        (None, _) => "the controller's address is not known yet".to_owned(),
    };
    let reporting = if status.host_reporting { "on" } else { "off" };
    let _ = writeln!(text, "{controller}; fault reporting of this host is {reporting}");
    if let Some(delivery) = undelivered(&status.delivery) {
        let _ = writeln!(text, "{delivery}");
    }
    let _ = writeln!(
        text,
        "{} instances, {heartbeating} heartbeating, {muted} muted\n",
        status.instances.len()
    );
    let host = status.host_reporting;
    let mut instances: Vec<&Instance> = status.instances.iter().collect();
    instances.sort_by(|a, b| (&a.name, a.uuid).cmp(&(&b.name, b.uuid)));
    let lines: Vec<Line> = instances.into_iter().map(|instance| line(instance, host)).collect();
    text.push_str(&table(&COLUMNS, &lines));
    text
}

/// What the controller has not acknowledged, where that is worth a line.
fn undelivered(delivery: &Delivery) -> Option<String> {
    const SHORT: f64 = 1.0;
    let Delivery { messages, reports, oldest_secs, silent_secs, .. } = delivery;
    if oldest_secs.is_none_or(|oldest| oldest < SHORT) {
        return None;
    }
    let silent = silent_secs.filter(|silent| *silent >= SHORT).map_or_else(String::new, |silent| {
        format!("; the controller is silent for {}", ago(Some(silent)))
    });
    Some(format!(
        "not acknowledged for up to {}: {messages} messages, {reports} reports{silent}",
        ago(*oldest_secs)
    ))
}

fn line(instance: &Instance, host_reporting: bool) -> Line {
    let name = if instance.name.is_empty() { "-" } else { &instance.name };
    let cells = vec![
        name.to_owned(),
        instance.uuid.to_string(),
        instance.condition.clone(),
        ago(Some(instance.since_secs)),
        ago(instance.last_answer_secs),
        ago(instance.round_trip_secs),
        instance.misses.to_string(),
        reporting(instance, host_reporting).to_owned(),
    ];
    let remarks: Vec<String> = [fault(instance), muted(instance)].into_iter().flatten().collect();
    Line { cells, remark: (!remarks.is_empty()).then(|| remarks.join("; ")) }
}

fn reporting(instance: &Instance, host_reporting: bool) -> &'static str {
    match (instance.muted.is_some(), instance.reporting && host_reporting) {
        (true, _) => "muted",
        (false, true) => "on",
        (false, false) => "off",
    }
}

fn fault(instance: &Instance) -> Option<String> {
    let fault = instance.last_fault.as_ref()?;
    Some(format!("{} {} ago: {}", fault.kind, ago(Some(fault.secs_ago)), fault.why))
}

fn muted(instance: &Instance) -> Option<String> {
    let mute = instance.muted.as_ref()?;
    Some(format!("muted for {} more: {}", ago(Some(mute.ends_in_secs)), mute.reason))
}

fn one(detail: &Detail) -> String {
    let Detail { instance, host_reporting, transitions } = detail;
    let own = if instance.reporting { "on" } else { "off" };
    let host = if *host_reporting { "on" } else { "off" };
    let round_trip = ago(instance.round_trip_secs);
    let answer = match instance.last_answer_secs {
        Some(_) => format!("{} ago, round trip {round_trip}", ago(instance.last_answer_secs)),
        None => "none yet".to_owned(),
    };
    let provisioned = if instance.provisioned { "yes" } else { "no: found by its channel alone" };
    let mut text = String::new();
    for (key, value) in [
        ("uuid", instance.uuid.to_string()),
        ("name", instance.name.clone()),
        ("state", format!("{}, for {}", instance.condition, ago(Some(instance.since_secs)))),
        ("session", instance.state.clone()),
        ("last answer", answer),
        ("misses", format!("{} in a row", instance.misses)),
        ("reporting", format!("{own}; of the host: {host}")),
        ("named", provisioned.to_owned()),
        ("repair action", instance.repair_action.clone()),
        ("last fault", fault(instance).unwrap_or_else(|| "none".to_owned())),
        ("muted", muted(instance).unwrap_or_else(|| "no".to_owned())),
    ] {
        let _ = writeln!(text, "{key:<14}{}", Escaped(&value));
    }
    let _ = writeln!(text, "\nthe last {} changes, the newest first", transitions.len());
    for changed in transitions.iter().rev() {
        let ago = Duration::try_from_secs_f64(changed.secs_ago).map(short).unwrap_or_default();
        let _ = writeln!(
            text,
            "{}  {ago:>6} ago  {:<12}  {}",
            changed.time, changed.condition, changed.cause
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn instance() -> Value {
        json!({
            "uuid": "8d80875b-6cb8-4f2b-8d3c-5ab1e9d8f0c1", "name": "vm-one", "state": "waiting_challenge",
            "condition": "heartbeating", "since_secs": 192.0, "heartbeating": true, "reporting": true,
            "provisioned": true, "misses": 0, "repair_action": "reboot", "last_answer_secs": 0.4,
            "round_trip_secs": 0.000_462,
            "last_fault": { "kind": "lost", "time": "2026-11-25T15:41:43.120Z", "secs_ago": 250.0,
                "why": "2 challenges in a row not answered" },
            "muted": { "ends_in_secs": 1200.0, "reason": "kernel update" },
        })
    }

    #[test]
    fn the_whole_status_is_a_table_of_at_most_100_columns() {
        let mut silent = instance();
        silent["name"] = "the name of this one is much too long for the table".into();
        silent["condition"] = "waiting_init".into();
        silent["last_fault"]["why"] = "w".repeat(224).into();
        silent["muted"] = Value::Null;
        let mut quiet = instance();
        quiet["name"] = "".into();
        quiet["last_answer_secs"] = Value::Null;
        quiet["last_fault"] = Value::Null;
        quiet["muted"] = Value::Null;
        quiet["reporting"] = false.into();
        let document = json!({
            "daemon": "guestServer", "version": "0.1.0", "pid": 7, "up_secs": 93_784.0,
            "hostname": "compute-0", "address": "0.0.0.0:2411", "controller": "192.168.204.2:2401",
            "commanded": true, "host_reporting": true, "channel_dir": "/channels",
            "failure_threshold": 1, "pulse_period_ms": 400, "instances": [instance(), silent, quiet],
            "metrics": {},
            "delivery": { "acknowledges": true, "messages": 12, "reports": 2, "oldest_secs": 3.0,
                "silent_secs": 2.0 },
        });
        let text = (VIEW.status)(&document).unwrap();
        let mut lines: Vec<&str> = text.lines().collect();
        assert!(lines.iter().all(|line| line.chars().count() <= 100), "{text}");
        assert_eq!(lines[0], "guestServer 0.1.0 on compute-0, pid 7, up 1d02h");
        assert_eq!(lines[1], "commanded by 192.168.204.2:2401; fault reporting of this host is on");
        assert_eq!(
            lines.remove(2),
            "not acknowledged for up to 3.0s: 12 messages, 2 reports; the controller is silent for 2.0s"
        );
        assert_eq!(lines[2], "3 instances, 3 heartbeating, 1 muted");
        assert_eq!(lines.len(), 10, "{text}");
        let words = |line: usize| lines[line].split_whitespace().collect::<Vec<_>>();
        let uuid = "8d80875b-6cb8-4f2b-8d3c-5ab1e9d8f0c1";
        assert_eq!(
            words(5),
            ["-", uuid, "heartbeating", "3m12s", "-", "462µs", "0", "off"],
            "without a name first, and nothing below it"
        );
        assert!(lines[6].starts_with("the name of t… 8d80875b"), "{text}");
        assert!(
            lines[7].starts_with("    lost 4m10s ago: wwww") && lines[7].ends_with('…'),
            "{text}"
        );
        assert_eq!(words(8)[7], "muted");
        assert!(lines[9].ends_with("; muted for 20m00s more: kernel update"), "{text}");
    }

    #[test]
    fn one_instance_is_shown_with_its_changes() {
        let mut document = instance();
        document["host_reporting"] = true.into();
        document["transitions"] = json!([
            { "time": "2026-11-25T15:41:43.120Z", "secs_ago": 250.0, "condition": "waiting_init", "cause": "heartbeat lost" },
            { "time": "2026-11-25T15:42:41.120Z", "secs_ago": 192.0, "condition": "heartbeating", "cause": "first answer" },
        ]);
        let text = (VIEW.instance)(&document).unwrap();
        for wanted in [
            "name          vm-one\n",
            "state         heartbeating, for 3m12s\n",
            "last answer   400ms ago, round trip 462µs\n",
            "last fault    lost 4m10s ago: 2 challenges in a row not answered\n",
            "muted         muted for 20m00s more: kernel update\n",
            "the last 2 changes, the newest first\n\
             2026-11-25T15:42:41.120Z   3m12s ago  heartbeating  first answer\n\
             2026-11-25T15:41:43.120Z   4m10s ago  waiting_init  heartbeat lost\n",
        ] {
            assert!(text.contains(wanted), "{text}\nlacks {wanted}");
        }
    }

    #[test]
    fn a_document_of_another_kind_is_refused() {
        assert!((VIEW.status)(&json!({ "daemon": "guestServer" })).is_err());
        assert!((VIEW.instance)(&json!([])).is_err());
    }
}
