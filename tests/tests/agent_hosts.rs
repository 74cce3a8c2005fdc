//! Where hosts come from and where instances are: what the maintenance system tells, who may speak for an instance, how
//! it moves, and what the audit finds.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, UdpSocket};

use anyhow::{Result, ensure};
use end_to_end::agent::{Site, find, is_alarm, is_state};
use end_to_end::{SOON, golden, id};
use heartbeat_proto::InstanceId;
use heartbeat_proto::control::{AgentCommand, ServerEvent};
use lab::server::Server;
use lab::vim::{Mood, VimRequest};
use lab::wait::until_ok;
use serde_json::Value;

/// Waits for the command about an instance.
async fn commanded(server: &Server, command: AgentCommand) -> Result<()> {
    let what = format!("{command:?}");
    server.wait_for(&what, SOON, |arrived| *arrived == command).await.map(drop)
}

/// How many requests of this path the VIM got.
fn asked(requests: &[VimRequest], path: &str) -> usize {
    requests.iter().filter(|request| request.method == "GET" && request.path.contains(path)).count()
}

/// What guestAgent knows of its hosts.
fn hosts(status: &Value) -> Vec<(&str, &str)> {
    let all = status["hosts"].as_array().into_iter().flatten();
    all.map(|host| {
        (host["hostname"].as_str().unwrap_or_default(), host["ip"].as_str().unwrap_or_default())
    })
    .collect()
}

#[tokio::test]
async fn hosts_come_change_and_go_as_the_maintenance_system_says() -> Result<()> {
    let site = Site::start().await?;
    let first = site.host(1, true).await?;
    let bad = site.place(2);
    for ip in ["nowhere", "", "0.0.0.0", "224.0.0.1", "255.255.255.255", "127.0.0.1:5"] {
        site.mtc.add_host(bad.id, &bad.name, ip)?;
        let refused = |line: &str| line.contains("host refused") && line.contains(&bad.name);
        let line = site.agent.wait_log("the refusal", SOON, refused).await?.text;
        ensure!(line.contains("why=") && line.contains("ip"), "{line}");
    }
    site.mtc.send_raw(b"too short")?;
    let mut unsigned = golden::command_bytes(0x1111_0010, "{}");
    site.mtc.send_raw(&unsigned)?;
    unsigned[..17].copy_from_slice(b"cgts mtc cmd req:");
    site.mtc.send_raw(&unsigned)?;
    let status = site.counted("datagrams_malformed", 2).await?;
    ensure!(status["metrics"]["datagrams_unsigned"] == 1, "{status}");
    ensure!(hosts(&status) == [(first.name.as_str(), first.ip.to_string().as_str())], "{status}");
    // The rest goes on.
    site.mtc.del_host(bad.id, &bad.name)?;
    let third = site.host(3, true).await?;
    let server = site.server(&third).await?;
    for number in 1..=2 {
        site.commander.switch_instance(id(number), &third.name, true).await?;
    }

    // Another address: everything is told there, at once.
    let moved = site.ip(90);
    let other = Server::start("elsewhere", SocketAddr::new(moved, site.server_port), site.address);
    let other = other.await?;
    site.mtc.mod_host(third.id, &third.name, &moved.to_string())?;
    commanded(&other, AgentCommand::ModHost { host: third.id, reporting: true }).await?;
    let told = async || {
        ensure!(other.instances().len() == 2, "{:?}", other.instances());
        Ok(())
    };
    until_ok("every instance is told there", SOON, told).await?;
    ensure!(other.instances().values().all(|info| info.reporting));
    drop(server);
    // Gone: so are its instances, and the guestServer is told.
    site.mtc.del_host(third.id, &third.name)?;
    for number in 1..=2 {
        let deleted = |command: &AgentCommand| matches!(command, AgentCommand::DelInstance { .. });
        other.wait_for(&format!("DEL_INST {number}"), SOON, deleted).await?;
    }
    let status = site.status("it is gone", |status| hosts(status).len() == 1).await?;
    ensure!(status["instances"].as_array().is_some_and(Vec::is_empty), "{status}");
    let path = format!("/v1/hosts/{}", third.id);
    ensure!(site.commander.call("GET", &path, None).await?.status == 404);
    Ok(())
}

#[tokio::test]
async fn only_the_host_that_an_instance_is_on_speaks_for_it() -> Result<()> {
    let site = Site::start().await?;
    let (one, two) = (site.host(1, true).await?, site.host(2, true).await?);
    let (first, second) = (site.server(&one).await?, site.server(&two).await?);
    let instance = id(1);
    site.commander.switch_instance(instance, &one.name, true).await?;
    first.set_heartbeating(instance, true).await?;
    site.told("it runs", instance, |request| is_state(request, true)).await?;

    // A stranger.
    let stranger = UdpSocket::bind((site.ip(99), 0))?;
    let loss = |hostname: &str| {
        golden::event_bytes(
            0x0000_fead,
            &format!(r#"{{"hostname":"{hostname}","uuid":"{instance}"}}"#),
        )
    };
    for _ in 0..5 {
        stranger.send_to(&loss("nobody\n\u{1b}[31m")?, site.address).ok();
        stranger.send_to(&loss("nobody")?, site.address)?;
    }
    site.counted("datagrams_unknown_sender", 5).await?;
    // A known host by another address of its own, twice: accepted, logged once.
    for _ in 0..2 {
        stranger.send_to(&loss(&one.name)?, site.address)?;
        site.told("the alarm", instance, |request| is_alarm(request, "failed")).await?;
    }
    site.agent.wait_log("the line", SOON, |line| line.contains("from another address")).await?;
    let log = site.agent.stderr();
    ensure!(log.matches("a host that is not known").count() == 1, "{log}");
    ensure!(log.matches("from another address").count() == 1, "{log}");

    // Moved by POST, then back by PATCH: the former host's word counts no more.
    first.set_heartbeating(instance, true).await?;
    site.told("it runs", instance, |request| is_state(request, true)).await?;
    site.commander.add_instance(instance, &two.name).await?;
    commanded(&first, AgentCommand::DelInstance { instance }).await?;
    commanded(&second, AgentCommand::AddInstance { instance, reporting: true }).await?;
    commanded(&second, AgentCommand::Query).await?;
    second.set_heartbeating(instance, true).await?;
    site.told("it runs there", instance, |request| {
        is_state(request, true) && request.json()["hostname"] == *two.name
    })
    .await?;
    let before = site.told_of(instance).len();
    first.send(&ServerEvent::Loss(instance)).await?;
    site.counted("foreign_events", 1).await?;
    site.instance("it lives", instance, |one| one["heartbeating"] == true).await?;
    let answer = site.commander.switch_instance(instance, &one.name, false).await?;
    ensure!(answer["hostname"] == *one.name && answer["services"][0]["status"] == "disabled");
    commanded(&second, AgentCommand::DelInstance { instance }).await?;
    commanded(&first, AgentCommand::AddInstance { instance, reporting: false }).await?;
    second.send(&ServerEvent::Loss(instance)).await?;
    site.counted("foreign_events", 2).await?;
    // To a host that is not known: refused, and it stays where it is.
    let body = serde_json::json!({"uuid": instance.to_string(), "hostname": "none", "services": ["heartbeat"]});
    let path = format!("/v1/instances/{instance}");
    let refused = site.commander.call("POST", &path, Some(&body)).await?;
    ensure!(refused.status == 400 && refused.body["reason"] == "invalid data", "{refused:?}");
    site.all_told().await?;
    let status = site.agent.status().await?;
    ensure!(find(&status, instance).is_some_and(|found| found["hostname"] == *one.name));
    ensure!(site.told_of(instance).len() == before, "the VIM was told by a former host");
    Ok(())
}

#[tokio::test]
async fn the_audit_finds_what_was_lost() -> Result<()> {
    let site = Site::start().await?;
    let (one, two) = (site.host(1, true).await?, site.host(2, true).await?);
    let (first, second) = (site.server(&one).await?, site.server(&two).await?);
    let [died, switched, unknown, foreign]: [InstanceId; 4] = [1, 2, 3, 4].map(id);
    for (instance, place) in [(died, &one), (switched, &one), (foreign, &two)] {
        site.commander.switch_instance(instance, &place.name, true).await?;
    }
    first.set_heartbeating(died, true).await?;
    site.told("it runs", died, |request| is_state(request, true)).await?;
    let added = AgentCommand::AddInstance { instance: switched, reporting: true };
    ensure!(first.commands().iter().any(|one| one.command == Ok(added.clone())));
    first.change(died, |info| info.heartbeating = false);
    first.change(switched, |info| info.reporting = false);
    first.change(unknown, |info| info.heartbeating = true);
    first.change(foreign, |info| info.heartbeating = true);
    site.told("the audit finds it dead", died, |request| is_state(request, false)).await?;
    let deleted = async || {
        let kept: Vec<_> = first.instances().into_keys().collect();
        ensure!(kept == [died, switched], "{kept:?}");
        ensure!(first.instances()[&switched].reporting, "not corrected");
        Ok(())
    };
    until_ok("the audit puts it right", SOON, deleted).await?;
    ensure!(second.instances().contains_key(&foreign));
    ensure!(site.told_of(unknown).is_empty() && site.told_of(foreign).is_empty());
    let status = site.counted("disowned", 2).await?;
    ensure!(find(&status, unknown).is_none(), "{status}");
    ensure!(find(&status, foreign).is_some_and(|one| one["heartbeating"] == false), "{status}");
    Ok(())
}

#[tokio::test]
async fn the_vim_is_asked_until_it_answers_what_was_asked() -> Result<()> {
    let site = Site::start().await?;
    let place = site.place(1);
    // Not what was asked for; then about another host; then not at all.
    site.vim.set_mood(Mood::Status(200));
    site.mtc.add_host(place.id, &place.name, &place.ip.to_string())?;
    site.counted("questions_failed", 2).await?;
    site.agent.wait_log("what it said", SOON, |line| line.contains("asked again")).await?;
    site.mtc.del_host(place.id, &place.name)?;
    site.vim.set_mood(Mood::Normal);
    site.vim.set_host(place.id, "another", true);
    site.vim.set_instance(place.id, id(1), true);
    site.mtc.add_host(place.id, &place.name, &place.ip.to_string())?;
    site.agent.wait_log("refused", SOON, |line| line.contains("answer of the VIM refused")).await?;
    site.status("both are refused", |status| {
        status["metrics"]["questions_failed"].as_u64() >= Some(4)
    })
    .await?;
    let status = site.agent.status().await?;
    ensure!(status["hosts"][0]["known_to_vim"] == false, "{status}");
    ensure!(find(&status, id(1)).is_none(), "{status}");
    let before = site.vim.requests();
    site.vim.set_host(place.id, &place.name, true);
    // The next audit brings it.
    site.known(&place, true).await?;
    site.instance("listed", id(1), |one| one["reporting"] == true).await?;
    let requests = site.vim.requests();
    let fresh = &requests[before.len()..];
    ensure!(asked(fresh, "/v1/hosts/") > 0 && asked(fresh, "?host_uuid=") > 0);
    // One that was listed is not removed for not being listed any more, and what was commanded stays.
    site.vim.remove_instance(place.id, id(1));
    site.commander.switch_instance(id(1), &place.name, false).await?;
    ensure!(site.commander.get_instance(id(1)).await?["services"][0]["state"] == "disabled");
    Ok(())
}

/// A VIM that says the same to everybody.
fn parrot(address: std::net::IpAddr, says: &'static [u8]) -> Result<SocketAddr> {
    let listener = TcpListener::bind((address, 0))?;
    let at = listener.local_addr()?;
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(says);
        }
    });
    Ok(at)
}

#[tokio::test]
async fn what_is_no_json_is_said_and_asked_again() -> Result<()> {
    let says = b"HTTP/1.0 200 OK\r\n\r\n<html>\x1b[31mnot \xff JSON</html>";
    let vim = format!("http://{}", parrot(std::net::Ipv4Addr::LOCALHOST.into(), says)?);
    let site = Site::start_with(&["--vim", &vim]).await?;
    let place = site.place(1);
    site.mtc.add_host(place.id, &place.name, &place.ip.to_string())?;
    site.counted("questions_failed", 4).await?;
    site.agent.wait_log("the line", SOON, |line| line.contains("the answer is not JSON")).await?;
    let log = site.agent.stderr();
    ensure!(log.contains("the answer is not JSON") && !log.contains('\u{1b}'), "{log}");
    // It works on: commands are obeyed.
    site.commander.switch_instance(id(1), &place.name, true).await?;
    Ok(())
}
