//! What an operator asks a running daemon on the command line, and instances that are muted.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use end_to_end::agent::{Site, is_alarm};
use end_to_end::host::{Host, beats};
use end_to_end::{SOON, agent, host, id};
use heartbeat_proto::InstanceId;
use heartbeat_proto::control::ServerEvent;
use lab::daemon;
use lab::guest::Behaviour;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::time::timeout;

const INTERVAL: Duration = Duration::from_millis(500);

fn normal() -> Behaviour {
    Behaviour::normal().every(INTERVAL)
}

/// The arguments of a question to the daemon with this run directory.
fn args<'a>(run_dir: &'a Path, question: &[&'a str]) -> Result<Vec<&'a str>> {
    let run_dir = run_dir.to_str().context("an odd path")?;
    Ok(question.iter().copied().chain(["--run-dir", run_dir]).collect())
}

/// What a run printed, its exit code being this one.
fn printed(output: &Output, code: i32) -> Result<String> {
    ensure!(output.status.code() == Some(code), "{output:?}");
    let text = if code == 0 { &output.stdout } else { &output.stderr };
    Ok(String::from_utf8(text.clone())?)
}

async fn ask_server(host: &Host, question: &[&str], code: i32) -> Result<String> {
    printed(&host::run(&args(&host.daemon.run_dir(), question)?).await?, code)
}

async fn ask_agent(site: &Site, question: &[&str], code: i32) -> Result<String> {
    printed(&agent::run(&args(&site.agent.run_dir(), question)?).await?, code)
}

/// The words of the table's line that is about this instance.
fn row(text: &str, instance: InstanceId) -> Result<Vec<&str>> {
    let uuid = instance.to_string();
    let line = text.lines().find(|line| line.contains(&uuid));
    Ok(line.with_context(|| format!("no line of {uuid}: {text}"))?.split_whitespace().collect())
}

#[tokio::test]
async fn guest_server_shows_its_instances_in_a_table_that_fits() -> Result<()> {
    let host = Host::start().await?;
    let guest = host.running(id(1), normal().named("vm\u{1b}[2J one"), true).await?;
    let _silent = host.guest(id(2), Behaviour::silent())?;
    beats(&guest, 2).await?;
    host.instance("it is connected", id(2), |one| one["state"] == "waiting_init").await?;
    let text = ask_server(&host, &["status"], 0).await?;
    ensure!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    ensure!(!text.contains('\u{1b}') && text.contains("vm\\x1b[2J one"), "{text}");
    ensure!(text.contains("2 instances, 1 heartbeating, 0 muted"), "{text}");
    let row_1 = row(&text, id(1))?;
    ensure!(row_1.contains(&"heartbeating") && row_1.ends_with(&["0", "on"]), "{text}");
    let row_2 = row(&text, id(2))?;
    ensure!(row_2[0] == "-" && row_2[2] == "waiting_init" && row_2[4..] == ["-", "-", "0", "off"]);

    let document: Value =
        serde_json::from_str(&ask_server(&host, &["status", "--json"], 0).await?)?;
    ensure!(document["instances"][0]["round_trip_secs"].as_f64() > Some(0.0), "{document}");
    ensure!(document["instances"][0]["last_answer_secs"].as_f64() < Some(60.0), "{document}");
    ensure!(document["up_secs"].as_f64() > Some(0.0), "{document}");
    Ok(())
}

#[tokio::test]
async fn one_instance_is_shown_with_what_happened_to_it() -> Result<()> {
    let host = Host::start().await?;
    let guest = host.running(id(1), normal(), true).await?;
    guest.freeze().await?;
    host.event("LOSS", id(1)).await?;
    let uuid = id(1).to_string();
    let text = ask_server(&host, &["status", &uuid], 0).await?;
    ensure!(text.contains("state         waiting_init, for "), "{text}");
    ensure!(text.contains("ago: 2 challenges in a row not answered\n"), "{text}");
    // The newest first.
    let mut rest = &*text;
    for wanted in
        ["heartbeat lost", "first answer", "guest asks to be watched", "channel connected"]
    {
        let at = rest.find(wanted).with_context(|| format!("no {wanted} in {rest}"))?;
        rest = &rest[at..];
    }
    let text = ask_server(&host, &["status", &uuid, "--json"], 0).await?;
    let document: Value = serde_json::from_str(&text)?;
    ensure!(document["last_fault"]["kind"] == "lost", "{document}");
    let unknown = ask_server(&host, &["status", &id(9).to_string()], 1).await?;
    ensure!(unknown.contains("no instance") && unknown.contains(&id(9).to_string()), "{unknown}");
    Ok(())
}

#[tokio::test]
async fn no_more_than_the_last_32_changes_are_kept() -> Result<()> {
    let host = Host::start().await?;
    let guest = host.running(id(1), normal(), true).await?;
    for _ in 0..20 {
        host.controller.mod_instance(id(1), false)?;
        host.event("STOPPED", id(1)).await?;
        host.controller.mod_instance(id(1), true)?;
        guest.restart().await?;
        host.event("RUNNING", id(1)).await?;
    }
    let uuid = id(1).to_string();
    let text = ask_server(&host, &["status", &uuid, "--json"], 0).await?;
    let document: Value = serde_json::from_str(&text)?;
    let changes = document["transitions"].as_array().context("none")?;
    ensure!(changes.len() == 32, "{}", changes.len());
    let last = changes.last().context("none")?;
    ensure!(last["condition"] == "heartbeating" && last["cause"] == "first answer", "{last}");
    Ok(())
}

#[tokio::test]
async fn a_daemon_that_does_not_run_and_one_that_is_stuck_are_told_apart() -> Result<()> {
    let nowhere = tempfile::tempdir()?;
    for run in ["guestServer", "guestAgent"] {
        let question = args(nowhere.path(), &["status"])?;
        let output = match run {
            "guestServer" => host::run(&question).await?,
            _ => agent::run(&question).await?,
        };
        let text = printed(&output, 3)?;
        ensure!(text.starts_with(&format!("{run}: not running")), "{text}");
    }
    let mut host = Host::start().await?;
    host.freeze().await?;
    let text = ask_server(&host, &["status"], 4).await?;
    ensure!(text.contains("no answer in time"), "{text}");
    host.thaw()?;
    ask_server(&host, &["status"], 0).await?;
    // Its socket stays behind.
    host.daemon.kill().await?;
    let text = ask_server(&host, &["status"], 3).await?;
    ensure!(text.contains("not running"), "{text}");
    Ok(())
}

#[tokio::test]
async fn watching_goes_on_while_the_daemon_is_away() -> Result<()> {
    let mut host = Host::start().await?;
    let run_dir = host.daemon.run_dir();
    let mut watch = tokio::process::Command::new(daemon::binary("guestServer")?)
        .args(args(&run_dir, &["status", "--watch=200ms", "--json"])?)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(watch.stdout.take().context("no output")?).lines();
    let mut next = async |wanted: &str| loop {
        let line = timeout(SOON, lines.next_line()).await??.context("it ends")?;
        let document: Value = serde_json::from_str(&line)?;
        if document.get(wanted).is_some() {
            return anyhow::Ok(document);
        }
    };
    next("instances").await?;
    next("instances").await?;
    host.daemon.kill().await?;
    let away = next("error").await?;
    ensure!(away["error"].as_str().is_some_and(|why| why.contains("not running")), "{away}");
    watch.kill().await?;
    Ok(())
}

#[tokio::test]
async fn no_fault_of_a_muted_instance_is_reported_and_other_events_are() -> Result<()> {
    let host = Host::start().await?;
    let guest = host.running(id(1), normal(), true).await?;
    let witness = host.running(id(2), normal(), true).await?;
    let uuid = id(1).to_string();
    let reason = "kernel\u{1b} update";
    ask_server(&host, &["mute", &uuid, "1h", "--reason", reason], 0).await?;
    let said = |line: &str| line.contains("muted: no fault") && line.contains("kernel\\x1b update");
    let line = host.daemon.wait_log("the mute", SOON, said).await?;
    ensure!(line.text.contains(&uuid) && line.text.contains("name="), "{line:?}");
    let text = ask_server(&host, &["status"], 0).await?;
    ensure!(row(&text, id(1))?.ends_with(&["muted"]), "{text}");
    ensure!(text.contains("muted for 59m") && text.contains("kernel\\x1b update"), "{text}");

    guest.freeze().await?;
    witness.freeze().await?;
    host.event("LOSS", id(2)).await?;
    host.counted("faults_muted", 1).await?;
    host.has_told(id(1), &["RUNNING", "STOPPED"]).await?;
    host.daemon
        .wait_log("it is said", SOON, |line| line.contains("not reported, for it is"))
        .await?;

    ask_server(&host, &["unmute", &uuid], 0).await?;
    let again = ask_server(&host, &["unmute", &uuid], 1).await?;
    ensure!(again.contains("is not muted"), "{again}");
    guest.thaw().await?;
    guest.restart().await?;
    host.event("RUNNING", id(1)).await?;
    guest.freeze().await?;
    host.event("LOSS", id(1)).await?;
    Ok(())
}

#[tokio::test]
async fn a_mute_ends_by_itself_and_with_the_daemon() -> Result<()> {
    let host = Host::start().await?;
    let _guest = host.running(id(1), normal(), true).await?;
    let uuid = id(1).to_string();
    ask_server(&host, &["mute", &uuid, "1s", "--reason", "a moment"], 0).await?;
    let over = |line: &str| line.contains("no longer muted") && line.contains("time is over");
    host.daemon.wait_log("its end", SOON, over).await?;
    host.instance("it is not muted", id(1), |one| one["muted"].is_null()).await?;
    for (bad, wanted) in [
        (&["mute", &id(9).to_string(), "1h", "--reason", "x"][..], "no instance"),
        (&["mute", &uuid, "1h"], "--reason"),
        (&["mute", &uuid, "31days", "--reason", "x"], "from 1s to 30days"),
        (&["mute", "vm-one", "1h", "--reason", "x"], "canonical uuid"),
    ] {
        let code = if wanted == "no instance" { 1 } else { 2 };
        let text = ask_server(&host, bad, code).await?;
        ensure!(text.contains(wanted), "{text}");
    }
    Ok(())
}

#[tokio::test]
async fn guest_agent_shows_hosts_instances_and_its_neighbours() -> Result<()> {
    let site = Site::start().await?;
    let place = site.host(1, true).await?;
    let server = site.server(&place).await?;
    site.commander.switch_instance(id(1), &place.name, true).await?;
    server.set_heartbeating(id(1), true).await?;
    site.instance("it is heartbeating", id(1), |one| one["heartbeating"] == true).await?;
    site.all_told().await?;
    let text = ask_agent(&site, &["status"], 0).await?;
    ensure!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    ensure!(text.contains("1 hosts, 1 instances, 1 heartbeating, 0 muted"), "{text}");
    ensure!(text.contains("outbox empty, 0 questions open\nmaintenance system: heard "), "{text}");
    ensure!(text.contains(&format!("VIM {}: heard ", site.vim.url())), "{text}");
    let host = text.lines().find(|line| line.starts_with(&*place.name)).context("no host")?;
    ensure!(host.contains(" on ") && host.contains(" known "), "{text}");
    let line = row(&text, id(1))?;
    ensure!(line[1] == place.name && line[2] == "heartbeating" && line[4] == "on", "{text}");

    server.send(&ServerEvent::Loss(id(1))).await?;
    site.instance("it failed", id(1), |one| !one["last_fault"].is_null()).await?;
    let text = ask_agent(&site, &["status", &id(1).to_string()], 0).await?;
    for wanted in ["failed: the VIM is told", "heartbeating\n", "instance added\n"] {
        ensure!(text.contains(wanted), "{text}\nlacks {wanted}");
    }
    Ok(())
}

#[tokio::test]
async fn the_vim_is_not_told_of_a_muted_instance_s_failure() -> Result<()> {
    let site = Site::start().await?;
    let place = site.host(1, true).await?;
    let server = site.server(&place).await?;
    for number in [1, 2] {
        site.commander.switch_instance(id(number), &place.name, true).await?;
        server.set_heartbeating(id(number), true).await?;
        site.instance("it runs", id(number), |one| one["heartbeating"] == true).await?;
    }
    let uuid = id(1).to_string();
    ask_agent(&site, &["mute", &uuid, "1h", "--reason", "kernel update"], 0).await?;
    for number in [1, 2] {
        server.send(&ServerEvent::Loss(id(number))).await?;
    }
    site.told("the other's alarm", id(2), |request| is_alarm(request, "failed")).await?;
    let text = ask_agent(&site, &["status"], 0).await?;
    ensure!(row(&text, id(1))?.contains(&"muted"), "{text}");
    ensure!(text.contains("failed: the VIM is not told, for it is muted; muted for 59m"), "{text}");
    site.all_told().await?;
    let alarms = site.told_of(id(1));
    ensure!(!alarms.iter().any(|request| is_alarm(request, "failed")), "{alarms:?}");

    ask_agent(&site, &["unmute", &uuid], 0).await?;
    server.send(&ServerEvent::Loss(id(1))).await?;
    site.told("its alarm", id(1), |request| is_alarm(request, "failed")).await?;
    let unknown = ask_agent(&site, &["mute", &id(9).to_string(), "1h", "--reason", "x"], 1).await?;
    ensure!(unknown.contains("no instance"), "{unknown}");
    Ok(())
}

#[tokio::test]
async fn a_restart_ends_every_mute() -> Result<()> {
    let site = Site::start().await?;
    let place = site.host(1, true).await?;
    site.commander.switch_instance(id(1), &place.name, true).await?;
    let uuid = id(1).to_string();
    ask_agent(&site, &["mute", &uuid, "1h", "--reason", "kernel update"], 0).await?;
    site.instance("it is muted", id(1), |one| !one["muted"].is_null()).await?;
    let site = site.restart_agent(async || Ok(())).await?;
    let place = site.host(1, true).await?;
    site.commander.switch_instance(id(1), &place.name, true).await?;
    site.instance("it is not muted", id(1), |one| one["muted"].is_null()).await?;
    Ok(())
}
