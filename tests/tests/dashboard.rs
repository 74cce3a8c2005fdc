//! What packaging/monitoring speaks of is there: every metric in docs/metrics.md, which is made from the code, and every
//! alert in docs/operating.md.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

fn read(path: &str) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// The names of all samples, by docs/metrics.md.
fn samples() -> Result<BTreeSet<String>> {
    let page = read("docs/metrics.md")?;
    let mut samples = BTreeSet::new();
    for row in page.lines().filter(|line| line.starts_with("| `")) {
        let mut cells = row.split(" | ");
        let name = cells.next().and_then(|cell| cell.strip_prefix("| `")).context("no name")?;
        let name = name.trim_end_matches('`');
        if cells.next() == Some("histogram") {
            samples.extend(["_bucket", "_sum", "_count"].map(|ending| format!("{name}{ending}")));
        } else {
            samples.insert(name.to_owned());
        }
    }
    ensure!(samples.len() > 60, "{samples:?}");
    Ok(samples)
}

/// The words of an expression that are names of our metrics, or look like them.
fn metrics(expression: &str) -> BTreeSet<String> {
    expression
        .split(|char: char| !(char.is_ascii_alphanumeric() || char == '_'))
        .filter(|word| {
            ["guest_server_", "guest_agent_", "process_"].iter().any(|p| word.starts_with(p))
        })
        .map(str::to_owned)
        .collect()
}

/// Every text under this key, however deep.
fn texts<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(object) => {
            found.extend(object.get(key).and_then(Value::as_str));
            object.values().for_each(|value| texts(value, key, found));
        }
        Value::Array(list) => list.iter().for_each(|value| texts(value, key, found)),
        _ => {}
    }
}

#[test]
fn the_dashboard_shows_metrics_that_exist() -> Result<()> {
    let samples = samples()?;
    let dashboard: Value =
        serde_json::from_str(&read("packaging/monitoring/guest-heartbeat.dashboard.json")?)?;
    let mut expressions = Vec::new();
    texts(&dashboard, "expr", &mut expressions);
    let panels = expressions.len();
    ensure!(panels > 25, "{panels} expressions");
    texts(&dashboard, "definition", &mut expressions);
    for expression in expressions {
        let named = metrics(expression);
        ensure!(!named.is_empty(), "no metric in {expression}");
        for name in named {
            ensure!(samples.contains(&name), "{name} in {expression} does not exist");
        }
    }
    let list = dashboard["panels"].as_array().context("no panels")?;
    let ids: BTreeSet<_> = list.iter().filter_map(|panel| panel["id"].as_u64()).collect();
    ensure!(ids.len() == list.len(), "panels share an id");
    Ok(())
}

#[test]
fn the_rules_speak_of_metrics_that_exist_and_every_alert_is_explained() -> Result<()> {
    let samples = samples()?;
    let (rules, manual) =
        (read("packaging/monitoring/guest-heartbeat.rules.yml")?, read("docs/operating.md")?);
    let named = metrics(&rules);
    ensure!(named.len() > 20, "{named:?}");
    for name in named {
        ensure!(samples.contains(&name), "{name} does not exist");
    }
    let alerts: Vec<_> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    ensure!(alerts.len() > 20, "{alerts:?}");
    for key in ["summary: ", "description: ", "runbook: docs/operating.md#alerts", "severity: "] {
        let count = rules.lines().filter(|line| line.trim().starts_with(key)).count();
        ensure!(count == alerts.len(), "{count} of {key} for {} alerts", alerts.len());
    }
    ensure!(manual.contains("\n## Alerts\n"), "docs/operating.md has no section of alerts");
    for alert in alerts {
        ensure!(manual.contains(&format!("| `{alert}` |")), "{alert} is not in docs/operating.md");
    }
    Ok(())
}
