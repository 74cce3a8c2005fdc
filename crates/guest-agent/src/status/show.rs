//! The status as an operator reads it.

use std::collections::HashMap;
use std::fmt::Write as _;

use daemon_kit::Escaped;
use daemon_kit::query::{Column, Line, View, ago, table};
use serde::Deserialize as _;

use super::{Delivery, Detail, Happening, HostStatus, InstanceStatus, Past, Status};

/// How the documents are shown.
pub(crate) const VIEW: View = View {
    status: |document| Status::deserialize(document).map(|status| whole(&status)),
    instance: |document| Detail::deserialize(document).map(|detail| one(&detail)),
};

const HOSTS: [Column; 7] = [
    ("HOST", 20),
    ("ADDRESS", 26),
    ("REPORT", 6),
    ("VIM", 7),
    ("HEARD", 6),
    ("INSTANCES", 9),
    ("HEARTBEATING", 12),
];

const INSTANCES: [Column; 6] =
    [("UUID", 36), ("HOST", 20), ("STATE", 12), ("SINCE", 6), ("REPORT", 6), ("ACTION", 7)];

fn whole(status: &Status) -> String {
    let heartbeating = status.instances.iter().filter(|i| i.heartbeating).count();
    let muted = status.instances.iter().filter(|i| i.past.muted.is_some()).count();
    let outbox = &status.outbox;
    let mut text = format!(
        "{} {} on {}, pid {}, up {}\n",
        status.daemon,
        status.version,
        Escaped(&status.hostname),
        status.pid,
        ago(Some(status.up_secs))
    );
    let vim = match (&outbox.last_failure, status.vim_heard_secs) {
        (Some(why), _) => format!("away: {}", Escaped(why)),
        (None, Some(_)) => format!("heard {} ago", ago(status.vim_heard_secs)),
        (None, None) => "not heard yet".to_owned(),
    };
    let _ = writeln!(text, "VIM {}: {vim}", status.vim);
    let _ = match outbox.oldest_secs {
        None => writeln!(text, "outbox empty, {} questions open", outbox.questions),
        Some(_) => writeln!(
            text,
            "outbox {} events, the oldest waits for {}, {} questions open",
            outbox.events,
            ago(outbox.oldest_secs),
            outbox.questions
        ),
    };
    let maintenance = match status.maintenance_heard_secs {
        Some(_) => format!("heard {} ago", ago(status.maintenance_heard_secs)),
        None => "not heard yet".to_owned(),
    };
    let _ = writeln!(text, "maintenance system: {maintenance}");
    let _ = writeln!(
        text,
        "{} hosts, {} instances, {heartbeating} heartbeating, {muted} muted\n",
        status.hosts.len(),
        status.instances.len()
    );
    let hosts: Vec<Line> = status.hosts.iter().map(host_line).collect();
    text.push_str(&table(&HOSTS, &hosts));
    let host_reporting: HashMap<&str, bool> =
        status.hosts.iter().map(|host| (&*host.hostname, host.reporting)).collect();
    let instances = status.instances.iter().map(|instance| {
        let host = host_reporting.get(&*instance.hostname).copied().unwrap_or_default();
        instance_line(instance, host)
    });
    text.push('\n');
    text.push_str(&table(&INSTANCES, &instances.collect::<Vec<_>>()));
    text
}

fn host_line(host: &HostStatus) -> Line {
    let cells = vec![
        host.hostname.to_string(),
        host.ip.to_string(),
        on_off(host.reporting).to_owned(),
        if host.known_to_vim { "known" } else { "waiting" }.to_owned(),
        ago(host.heard_secs),
        host.instances.to_string(),
        host.heartbeating.to_string(),
    ];
    let Delivery { unacknowledged, silent_secs, .. } = host.delivery;
    let silent = silent_secs.filter(|silent| *silent >= 1.0).map(|silent| {
        let silent = ago(Some(silent));
        format!("acknowledges nothing for {silent}: {unacknowledged} commands are sent again")
    });
    Line { cells, remark: silent }
}

fn instance_line(instance: &InstanceStatus, host_reporting: bool) -> Line {
    let report = match &instance.past.muted {
        Some(_) => "muted",
        None => on_off(instance.reporting && host_reporting),
    };
    let cells = vec![
        instance.uuid.to_string(),
        instance.hostname.to_string(),
        state(instance).to_owned(),
        ago(instance.past.since_secs),
        report.to_owned(),
        instance.repair_action.clone(),
    ];
    let remarks: Vec<String> =
        [fault(&instance.past), muted(&instance.past)].into_iter().flatten().collect();
    Line { cells, remark: (!remarks.is_empty()).then(|| remarks.join("; ")) }
}

const fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

const fn state(instance: &InstanceStatus) -> &'static str {
    if instance.heartbeating { "heartbeating" } else { "silent" }
}

fn fault(past: &Past) -> Option<String> {
    let Happening { secs_ago, what, .. } = past.last_fault.as_ref()?;
    Some(format!("{} ago {what}", ago(Some(*secs_ago))))
}

fn muted(past: &Past) -> Option<String> {
    let mute = past.muted.as_ref()?;
    Some(format!("muted for {} more: {}", ago(Some(mute.ends_in_secs)), mute.reason))
}

fn one(detail: &Detail) -> String {
    let Detail { instance, host_reporting, transitions } = detail;
    let since = ago(instance.past.since_secs);
    let (own, host) = (on_off(instance.reporting), on_off(*host_reporting));
    let mut text = String::new();
    for (key, value) in [
        ("uuid", instance.uuid.to_string()),
        ("host", instance.hostname.to_string()),
        ("state", format!("{}, for {since}", state(instance))),
        ("reporting", format!("{own}; of the host: {host}")),
        ("repair action", instance.repair_action.clone()),
        ("last action", instance.last_action.clone().unwrap_or_else(|| "none".to_owned())),
        ("last fault", fault(&instance.past).unwrap_or_else(|| "none".to_owned())),
        ("muted", muted(&instance.past).unwrap_or_else(|| "no".to_owned())),
    ] {
        let _ = writeln!(text, "{key:<14}{}", Escaped(&value));
    }
    let _ = writeln!(text, "\nthe last {} changes, the newest first", transitions.len());
    for Happening { time, secs_ago, what } in transitions.iter().rev() {
        let _ = writeln!(text, "{time}  {:>6} ago  {}", ago(Some(*secs_ago)), Escaped(what));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn instance() -> Value {
        json!({
            "uuid": "8d80875b-6cb8-4f2b-8d3c-5ab1e9d8f0c1", "hostname": "compute-0", "reporting": true,
            "heartbeating": false, "repair_action": "reboot", "last_action": "pause", "since_secs": 192.0,
            "last_fault": { "time": "2026-11-25T15:41:43.120Z", "secs_ago": 192.0,
                "what": "failed: the VIM is told" },
            "muted": { "ends_in_secs": 1200.0, "reason": "kernel update" },
        })
    }

    #[test]
    fn the_whole_status_is_two_tables_of_at_most_100_columns() {
        let document = json!({
            "daemon": "guestAgent", "version": "0.1.0", "pid": 7, "up_secs": 93_784.0,
            "hostname": "controller-0", "address": "0.0.0.0:2401", "http": "127.0.0.1:2410",
            "maintenance": "0.0.0.0:2108", "maintenance_heard_secs": 60.0,
            "vim": "http://127.0.0.1:30002", "vim_heard_secs": 5.0,
            "outbox": { "events": 3, "oldest_secs": 20.5, "questions": 1,
                "last_failure": "cannot connect: refused" },
            "hosts": [{ "uuid": "00000000-0000-0000-0000-000000000001", "hostname": "compute-0",
                "ip": "fd00:1234:5678:9abc:def0:1234:5678:9abc", "reporting": true,
                "known_to_vim": true, "heard_secs": 1.2, "instances": 1, "heartbeating": 0,
                "acknowledges": true, "unacknowledged": 4, "silent_secs": 12.0 }],
            "instances": [instance()], "metrics": {}, "http_requests": {},
        });
        let text = (VIEW.status)(&document).unwrap();
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        for wanted in [
            "guestAgent 0.1.0 on controller-0, pid 7, up 1d02h\n",
            "VIM http://127.0.0.1:30002: away: cannot connect: refused\n",
            "outbox 3 events, the oldest waits for 20s, 1 questions open\n",
            "maintenance system: heard 1m00s ago\n",
            "1 hosts, 1 instances, 0 heartbeating, 1 muted\n",
            "compute-0 fd00:1234:5678:9abc:def0:… on     known 1.2s  1         0\n",
            "    acknowledges nothing for 12s: 4 commands are sent again\n",
            "8d80875b-6cb8-4f2b-8d3c-5ab1e9d8f0c1 compute-0 silent 3m12s muted  reboot\n",
            "    3m12s ago failed: the VIM is told; muted for 20m00s more: kernel update\n",
        ] {
            assert!(text.contains(wanted), "{text}\nlacks {wanted}");
        }
    }

    #[test]
    fn one_instance_is_shown_with_its_changes() {
        let mut document = instance();
        document["host_reporting"] = false.into();
        document["transitions"] = json!([{ "time": "2026-11-25T15:41:43.120Z", "secs_ago": 192.0, "what": "instance added" }]);
        let text = (VIEW.instance)(&document).unwrap();
        for wanted in [
            "state         silent, for 3m12s\n",
            "reporting     on; of the host: off\n",
            "last action   pause\n",
            "the last 1 changes, the newest first\n2026-11-25T15:41:43.120Z   3m12s ago  instance added\n",
        ] {
            assert!(text.contains(wanted), "{text}\nlacks {wanted}");
        }
    }
}
