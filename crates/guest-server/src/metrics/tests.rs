use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use daemon_kit::metrics::{Exposition, Family, Rows, Source as _, page};
use heartbeat_proto::InstanceId;
use heartbeat_proto::session::Settings;
use tokio::sync::mpsc;

use super::families::FAMILIES;
use super::*;
use crate::channel::{Common, Tasks};
use crate::clock::Clock;
use crate::controller::Delivery;
use crate::instances::Instances;
use crate::journal::Journal;

#[test]
fn every_counter_is_shown_under_its_name() {
    let metrics = Metrics::default();
    metrics.losses.increment();
    metrics.heartbeats.add(3);
    metrics.votes.replaced.increment();
    metrics.votes.gone.increment();
    metrics.datagrams.received(Some("VOTE_INST"), Fate::Refused);
    metrics.datagrams.received(None, Fate::Malformed);
    metrics.datagrams.actions_dropped.increment();
    metrics.datagrams.sent("LOSS", false);
    metrics.datagrams.sent("LOSS", true);
    metrics.datagrams.unsent("LOSS");
    metrics.datagrams.acknowledged(true);
    let shown = serde_json::to_value(&metrics).unwrap();
    for (name, value) in [
        ("losses", 1),
        ("heartbeats", 3),
        ("misses", 0),
        ("votes_answered", 0),
        ("votes_unanswered", 2),
        ("datagrams_received", 2),
        ("datagrams_malformed", 1),
        ("datagrams_unsigned", 0),
        ("commands_unknown_instance", 0),
        ("commands_refused", 2),
        ("datagrams_sent", 2),
        ("datagrams_sent_again", 1),
        ("datagrams_unsent", 1),
    ] {
        assert_eq!(shown[name], value, "{name}");
    }
}

fn instances(journal: Journal) -> Instances {
    let (updates, _) = mpsc::channel(1);
    let (clock, journal) = (Clock::start(), Arc::new(journal));
    let channel_dir = "/nonexistent".into();
    let common = Common { channel_dir, clock, journal: journal.clone(), updates };
    Instances::new(Box::new(Tasks(Arc::new(common))), journal, Settings::default())
}

/// The text with one instance, and with series of it.
fn text(metrics: &Metrics) -> String {
    let mut instances = instances(Journal::default());
    instances.provision(InstanceId::from_u128(7), true).unwrap();
    let delivery = Delivery {
        acknowledges: Some(true),
        pending: 3,
        reports: 1,
        oldest: None,
        silence: Some(Duration::from_secs(2)),
    };
    let observed = Observed {
        metrics,
        instances: &instances,
        muted: 2,
        commanded: true,
        delivery,
        per_instance: true,
    };
    let mut out = Exposition::default();
    observed.render(&mut out);
    let mut rows = Rows::default();
    for id in observed.instances() {
        observed.render_instance(&id, &mut rows);
    }
    observed.render_instance(&InstanceId::from_u128(8), &mut rows);
    out.rows(&rows);
    out.finish()
}

#[tokio::test]
async fn what_is_shown_is_what_is_listed_each_with_its_counts() {
    let metrics = Metrics::default();
    metrics.round_trips.observe(Duration::from_micros(130));
    metrics.datagrams.received(Some("QRY_INST"), Fate::Obeyed);
    metrics.bytes_too_long.add(5000);
    let text = text(&metrics);
    let shown: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let mut names: Vec<_> = shown.iter().map(|line| line.split(' ').next().unwrap()).collect();
    let mut listed: Vec<_> = FAMILIES.iter().map(|family| family.name).collect();
    names.sort_unstable();
    listed.sort_unstable();
    assert_eq!(names, listed);
    let uuid = InstanceId::from_u128(7);
    for wanted in [
        r#"guest_server_instances{state="disconnected"} 1"#,
        r#"guest_server_instances{state="waiting_response"} 0"#,
        "guest_server_reporting_instances 1",
        "guest_server_provisioned_instances 1",
        "guest_server_muted_instances 2",
        "guest_server_commanded 1",
        r#"guest_server_round_trip_seconds_bucket{le="0.0001"} 0"#,
        r#"guest_server_round_trip_seconds_bucket{le="0.00025"} 1"#,
        r#"guest_server_round_trip_seconds_bucket{le="10.0"} 1"#,
        "guest_server_round_trip_seconds_sum 0.00013",
        r#"guest_server_refused_bytes_total{reason="too_long"} 5000"#,
        r#"guest_server_datagrams_received_total{command="QRY_INST",fate="obeyed"} 1"#,
        r#"guest_server_datagrams_received_total{command="none",fate="unsigned"} 0"#,
        &format!(r#"guest_server_instance_state{{uuid="{uuid}",state="disconnected"}} 1"#),
        &format!(r#"guest_server_instance_reporting{{uuid="{uuid}"}} 1"#),
    ] {
        assert!(text.lines().any(|line| line == wanted), "no {wanted} in\n{text}");
    }
}

/// The reference is made from the code: `UPDATE_DOCS=1` writes it.
#[test]
fn the_reference_is_that_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let process = daemon_kit::metrics::process::FAMILIES;
    let sections: [(&str, &[&Family]); 2] = [("guestServer", FAMILIES), ("process", process)];
    let mut wanted = page.clone();
    for (name, families) in sections {
        wanted = page::with_section(&wanted, name, &page::table(families)).unwrap();
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, wanted).unwrap();
    } else {
        assert!(page == wanted, "docs/metrics.md is out of date: run the tests with UPDATE_DOCS=1");
    }
}
