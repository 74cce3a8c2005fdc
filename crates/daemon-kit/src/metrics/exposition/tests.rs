use std::time::Duration;

use super::*;

static SENT: Family = Family {
    name: "x_datagrams_sent",
    kind: Kind::Counter,
    help: "Datagrams",
    labels: &[("command", "any"), ("fate", "any")],
};

static AGE: Family =
    Family { name: "x_age_seconds", kind: Kind::Gauge, help: "Age of \"it\"", labels: &[] };

static TRIP: Family = Family {
    name: "x_trip_seconds",
    kind: Kind::Histogram,
    help: "Trips",
    labels: &[("of", "whom")],
};

static BUILD: Family =
    Family { name: "x_build", kind: Kind::Info, help: "Build", labels: &[("version", "any")] };

#[test]
fn every_kind_is_written_as_the_format_wants_it() {
    let mut out = Exposition::default();
    let mut sent = out.family(&SENT);
    sent.put(&["ADD", "sent"], 3_u64);
    sent.put(&["a\"b\\c\nd", "unsent"], 0_u64);
    out.one(&AGE, 0.5);
    let histogram = Histogram::new(&[100, 2_500_000]);
    histogram.observe(Duration::from_millis(1));
    histogram.observe(Duration::from_secs(3));
    out.family(&TRIP).histogram(&["me"], &histogram);
    out.family(&BUILD).put(&["1.0"], true);
    let wanted = r#"# TYPE x_datagrams_sent counter
# HELP x_datagrams_sent Datagrams.
x_datagrams_sent_total{command="ADD",fate="sent"} 3
x_datagrams_sent_total{command="a\"b\\c\nd",fate="unsent"} 0
# TYPE x_age_seconds gauge
# UNIT x_age_seconds seconds
# HELP x_age_seconds Age of \"it\".
x_age_seconds 0.5
# TYPE x_trip_seconds histogram
# UNIT x_trip_seconds seconds
# HELP x_trip_seconds Trips.
x_trip_seconds_bucket{of="me",le="0.0001"} 0
x_trip_seconds_bucket{of="me",le="2.5"} 1
x_trip_seconds_bucket{of="me",le="+Inf"} 2
x_trip_seconds_sum{of="me"} 3.001
x_trip_seconds_count{of="me"} 2
# TYPE x_build info
# HELP x_build Build.
x_build_info{version="1.0"} 1
# EOF
"#;
    assert_eq!(out.finish(), wanted);
}

#[test]
fn what_is_collected_beside_is_written_one_family_after_the_other() {
    let mut rows = Rows::default();
    for n in ["1", "2"] {
        rows.put(&BUILD, &[n], true);
        rows.put(&SENT, &[n, "sent"], 7_u64);
    }
    let mut out = Exposition::default();
    out.rows(&rows);
    let text = out.finish();
    let samples: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let wanted = [
        "x_build_info{version=\"1\"} 1",
        "x_build_info{version=\"2\"} 1",
        "x_datagrams_sent_total{command=\"1\",fate=\"sent\"} 7",
        "x_datagrams_sent_total{command=\"2\",fate=\"sent\"} 7",
    ];
    assert_eq!(samples, wanted);
}
