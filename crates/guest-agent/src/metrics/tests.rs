use std::path::Path;

use daemon_kit::metrics::{Exposition, Rows, Source as _, page};
use heartbeat_proto::control::{Host, MaintenanceCommand};
use heartbeat_proto::vim::command::Service;
use heartbeat_proto::{HostId, InstanceId};

use super::families::FAMILIES;
use super::*;
use crate::http::Counts;
use crate::inventory::{Command, Inventory};

const STATE: EventKind =
    EventKind::Service { reporting: true, heartbeating: true, restart_secs: 1 };

#[test]
fn every_counter_is_shown_under_its_name() {
    let metrics = Metrics::default();
    metrics.corrections.add(2);
    metrics.datagrams.server_sent(Some("LOSS"), Fate::Foreign);
    metrics.datagrams.server_sent(None, Fate::Malformed);
    metrics.datagrams.maintenance_sent(Some("ADD_HOST"), Fate::Taken);
    metrics.datagrams.maintenance_sent(None, Fate::Malformed);
    metrics.datagrams.sent("ADD_INST", false);
    metrics.datagrams.sent("ADD_INST", true);
    metrics.events.delivered(&STATE, Duration::from_secs(1));
    metrics.events.refused(&STATE);
    let shown = serde_json::to_value(&metrics).unwrap();
    for (name, value) in [
        ("corrections", 2),
        ("disowned", 0),
        ("datagrams_received", 2),
        ("datagrams_malformed", 2),
        ("datagrams_unsigned", 0),
        ("datagrams_unknown_sender", 0),
        ("foreign_events", 1),
        ("maintenance_commands", 1),
        ("datagrams_sent", 1),
        ("datagrams_unsent", 0),
        ("events_delivered", 1),
        ("events_retried", 0),
        ("events_refused", 1),
        ("events_dropped", 0),
    ] {
        assert_eq!(shown[name], value, "{name}");
    }
    assert_eq!(shown["event_waits"]["count"], 1);
}

/// A host with one instance.
fn inventory() -> Inventory {
    let mut inventory = Inventory::default();
    let (uuid, hostname) = (HostId::from_u128(1), "compute-\"0\"");
    inventory.handle_maintenance(&MaintenanceCommand::AddHost(Host {
        hostname: hostname.into(),
        uuid,
        ip: "192.0.2.1".into(),
        personality: "worker".into(),
    }));
    let instance = InstanceId::from_u128(7);
    let services = vec![Service::Name("heartbeat".into())];
    let command = Command::AddInstance { instance, hostname: hostname.into(), services };
    let now = heartbeat_proto::MonotonicTime::START;
    inventory.handle_command(now, command).unwrap();
    inventory
}

fn text(metrics: &Metrics) -> String {
    let (inventory, http) = (inventory(), Counts::default());
    let oldest = Some(Duration::from_millis(1500));
    let outbox = Outbox { events: 3, oldest, questions: 2, vim_up: false };
    let observed = Observed {
        delivery: Delivered { unacknowledged: 2, silent: 1, held: 3 },
        metrics,
        http: &http,
        inventory: &inventory,
        muted: 2,
        outbox,
        per_instance: true,
    };
    let mut out = Exposition::default();
    observed.render(&mut out);
    let mut rows = Rows::default();
    for id in observed.instances() {
        observed.render_instance(&id, &mut rows);
    }
    out.rows(&rows);
    out.finish()
}

#[test]
fn what_is_shown_is_what_is_listed_each_with_its_counts() {
    let metrics = Metrics::default();
    metrics.events.dropped(&STATE);
    metrics.datagrams.server_sent(Some("RUNNING"), Heard::UnknownSender.into());
    metrics.question_times.observe(Duration::from_millis(3));
    let text = text(&metrics);
    let shown: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let mut names: Vec<_> = shown.iter().map(|line| line.split(' ').next().unwrap()).collect();
    let mut listed: Vec<_> = FAMILIES.iter().map(|family| family.name).collect();
    names.sort_unstable();
    listed.sort_unstable();
    assert_eq!(names, listed);
    let uuid = InstanceId::from_u128(7);
    for wanted in [
        r#"guest_agent_hosts{reporting="disabled"} 1"#,
        r#"guest_agent_hosts{reporting="enabled"} 0"#,
        "guest_agent_hosts_awaiting_vim 1",
        r#"guest_agent_instances{reporting="disabled",heartbeating="disabled"} 1"#,
        r#"guest_agent_instances{reporting="enabled",heartbeating="enabled"} 0"#,
        "guest_agent_vim_up 0",
        "guest_agent_outbox_events 3",
        "guest_agent_outbox_oldest_age_seconds 1.5",
        "guest_agent_outbox_capacity_events 100000",
        r#"guest_agent_vim_events_total{kind="service",fate="dropped"} 1"#,
        r#"guest_agent_vim_request_seconds_bucket{kind="question",le="0.005"} 1"#,
        r#"guest_agent_datagrams_received_total{sender="guest_server",command="RUNNING",fate="unknown_sender"} 1"#,
        r#"guest_agent_datagrams_received_total{sender="maintenance",command="none",fate="malformed"} 0"#,
        r#"guest_agent_http_requests_total{route="vote",status="200"} 0"#,
        &format!(r#"guest_agent_instance_heartbeating{{uuid="{uuid}",host="compute-\"0\""}} 0"#),
    ] {
        assert!(text.lines().any(|line| line == wanted), "no {wanted} in\n{text}");
    }
}

/// The reference is made from the code: `UPDATE_DOCS=1` writes it.
#[test]
fn the_reference_is_that_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let wanted = page::with_section(&page, "guestAgent", &page::table(FAMILIES)).unwrap();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, wanted).unwrap();
    } else {
        assert!(page == wanted, "docs/metrics.md is out of date: run the tests with UPDATE_DOCS=1");
    }
}
