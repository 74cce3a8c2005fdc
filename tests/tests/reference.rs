//! What the status says is in docs/reference.md: every field and counter of the running daemons has its row, and no row is
//! about a counter that there is not.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use end_to_end::agent::Site;
use end_to_end::host::{Host, beats};
use end_to_end::id;
use heartbeat_proto::control::ServerEvent;
use lab::guest::Behaviour;
use serde_json::Value;

/// The reference's part about guestServer, and that about guestAgent.
fn reference() -> Result<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference.md");
    let text = std::fs::read_to_string(path)?;
    let (server, agent) =
        text.split_once("\n## guestAgent\n").context("no part of guestAgent's")?;
    let (_, server) = server.split_once("\n## The status\n").context("no part of the status")?;
    Ok((server.to_owned(), agent.to_owned()))
}

/// What stands in backquotes.
fn quoted(text: &str) -> BTreeSet<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The names in the first column of the table with this head.
fn table<'a>(text: &'a str, head: &str) -> Result<BTreeSet<&'a str>> {
    let (_, rows) = text.split_once(head).with_context(|| format!("no table {head}"))?;
    let rows = rows.trim_start().lines().take_while(|line| line.starts_with('|'));
    Ok(rows.filter_map(|row| row.split(" | ").next()).flat_map(quoted).collect())
}

fn keys(value: &Value) -> Result<BTreeSet<&str>> {
    let keys = value.as_object().with_context(|| format!("no object: {value}"))?.keys();
    Ok(keys.map(String::as_str).collect())
}

/// That each key of the object is one of these names.
fn all_told(value: &Value, told: &BTreeSet<&str>) -> Result<()> {
    let missing: Vec<_> = keys(value)?.into_iter().filter(|key| !told.contains(key)).collect();
    ensure!(missing.is_empty(), "docs/reference.md does not tell of {missing:?}");
    Ok(())
}

/// That the names of the object's keys and those in the table are the same.
fn the_same(value: &Value, told: &BTreeSet<&str>) -> Result<()> {
    let there = keys(value)?;
    let differing: Vec<_> = there.symmetric_difference(told).collect();
    ensure!(differing.is_empty(), "in docs/reference.md or in the status alone: {differing:?}");
    Ok(())
}

#[tokio::test]
async fn every_field_and_counter_of_guest_server_is_in_the_reference() -> Result<()> {
    let (text, _) = reference()?;
    let host = Host::start().await?;
    let behaviour = Behaviour::normal().every(Duration::from_millis(500));
    let guest = host.running(id(1), behaviour, true).await?;
    beats(&guest, 2).await?;
    let status = host.daemon.status().await?;
    let told = quoted(&text);
    all_told(&status, &told)?;
    all_told(&status["instances"][0], &told)?;
    the_same(&status["metrics"], &table(&text, "| counter | counts |")?)
}

#[tokio::test]
async fn every_field_and_counter_of_guest_agent_is_in_the_reference() -> Result<()> {
    let (_, text) = reference()?;
    let site = Site::start().await?;
    let place = site.host(1, true).await?;
    let server = site.server(&place).await?;
    site.commander.switch_instance(id(1), &place.name, true).await?;
    server.set_heartbeating(id(1), true).await?;
    server.send(&ServerEvent::Loss(id(1))).await?;
    site.instance("it failed", id(1), |one| !one["last_fault"].is_null()).await?;
    let status = site.all_told().await?;
    let told = quoted(&text);
    let common = ["daemon", "version", "pid", "hostname"];
    let told: BTreeSet<&str> = told.into_iter().chain(common).collect();
    all_told(&status, &told)?;
    for part in [&status["outbox"], &status["hosts"][0], &status["instances"][0]] {
        all_told(part, &told)?;
    }
    all_told(&status["instances"][0]["last_fault"], &told)?;
    the_same(&status["metrics"], &table(&text, "| counter in `metrics` | counts |")?)?;
    the_same(&status["http_requests"], &table(&text, "| counter in `http_requests` | counts |")?)
}
