//! What guestAgent sends, byte for byte as the C++ one: to guestServers, to the maintenance system, to the VIM.

use std::net::UdpSocket;
use std::time::Duration;

use anyhow::{Result, ensure};
use end_to_end::agent::{Place, Site, assert_golden, golden_ready, golden_request};
use end_to_end::{SOON, golden};
use heartbeat_proto::InstanceId;
use heartbeat_proto::control::AgentCommand;
use lab::server::Server;
use lab::wait::until_ok;
use serde_json::json;

/// The golden host.
fn golden_place(site: &Site) -> Result<Place> {
    let id = "010e7741-1173-4a3b-88fa-c4e5905500ca".parse()?;
    Ok(Place { id, name: golden::HOSTNAME.into(), ip: site.ip(10) })
}

/// The VIM and the maintenance system tell guestAgent of the golden host.
async fn introduce(site: &Site, place: &Place) -> Result<()> {
    site.vim.set_host(place.id, &place.name, true);
    site.mtc.add_host(place.id, &place.name, &place.ip.to_string())?;
    site.known(place, true).await
}

/// Waits for the command of this kind, which has to be the golden one of this name.
async fn expect(server: &Server, name: &str, kind: fn(&AgentCommand) -> bool) -> Result<()> {
    let arrived = server.wait_for(name, SOON, kind).await?;
    let wanted = golden::command(name)?;
    let text = String::from_utf8_lossy(&arrived.bytes[100..]).into_owned();
    ensure!(arrived.bytes == wanted.bytes, "{name}: {text} instead of {}", wanted.text);
    Ok(())
}

#[tokio::test]
async fn every_command_to_a_guest_server_is_the_golden_one() -> Result<()> {
    let site = Site::start().await?;
    let instance = golden::instance()?;
    let deleted: InstanceId = "8d80875b-fa73-4ccb-bce3-1cd4df104401".parse()?;
    let place = golden_place(&site)?;
    let at = (place.ip, site.server_port).into();
    let server = Server::start(&place.name, at, site.address).await?;
    introduce(&site, &place).await?;
    // Off until the VIM has answered.
    let mod_host =
        |command: &AgentCommand| matches!(command, AgentCommand::ModHost { reporting: true, .. });
    expect(&server, "MOD_HOST", mod_host).await?;
    let (vim, hostname) = (site.commander, golden::HOSTNAME);
    ensure!(vim.add_instance(instance, hostname).await? == json!({"status": "pass"}));
    let add = |command: &AgentCommand| matches!(command, AgentCommand::AddInstance { .. });
    expect(&server, "ADD_INST", add).await?;
    expect(&server, "QRY_INST", |command| *command == AgentCommand::Query).await?;
    vim.switch_instance(instance, hostname, false).await?;
    let modify = |command: &AgentCommand| matches!(command, AgentCommand::ModInstance { .. });
    expect(&server, "MOD_INST", modify).await?;
    vim.add_instance(deleted, hostname).await?;
    vim.delete_instance(deleted).await?;
    let delete = |command: &AgentCommand| matches!(command, AgentCommand::DelInstance { .. });
    expect(&server, "DEL_INST", delete).await?;

    // Not heartbeating: nobody is asked, and there is nothing to wait for.
    ensure!(vim.vote(instance, hostname, "stop").await?["timeout"] == "0");
    server.set_heartbeating(instance, true).await?;
    site.instance("it is heartbeating", instance, |one| one["heartbeating"] == true).await?;
    ensure!(vim.vote(instance, hostname, "stop").await?["timeout"] == "10");
    let vote = |command: &AgentCommand| matches!(command, AgentCommand::Vote { .. });
    expect(&server, "VOTE_INST", vote).await?;
    ensure!(vim.notify(instance, hostname, "pause").await?["timeout"] == "12");
    let notify = |command: &AgentCommand| matches!(command, AgentCommand::Notify { .. });
    expect(&server, "NOTIFY_INST", notify).await?;
    let votes = server.commands();
    let votes = votes.iter().filter(|one| one.command.as_ref().is_ok_and(vote)).count();
    ensure!(votes == 1, "{votes} votes were asked for");
    Ok(())
}

/// The life of one instance, told by a C++ guestServer's events.
#[tokio::test]
async fn every_request_to_the_vim_is_the_golden_one() -> Result<()> {
    let site = Site::start().await?;
    let instance = golden::instance()?;
    let place = golden_place(&site)?;
    introduce(&site, &place).await?;
    let url = site.vim.url();
    for (what, path) in [("state", "/v1/hosts/"), ("instances", "?host_uuid=")] {
        let asked = |request: &lab::vim::VimRequest| request.path.contains(path);
        let request = site.vim.wait_for(what, SOON, asked).await?;
        assert_golden(&request, &golden_request(&[path])?, &url)?;
    }
    let (vim, hostname) = (site.commander, golden::HOSTNAME);
    vim.add_instance(instance, hostname).await?;
    vim.switch_instance(instance, hostname, true).await?;

    // No guestServer that answers queries: nobody but this test says anything.
    let socket = UdpSocket::bind((place.ip, site.server_port))?;
    let raw = |bytes: &[u8]| socket.send_to(bytes, site.address).map(drop);
    let next = async |with: &[&str]| -> Result<()> {
        let request = site.told(&format!("{with:?}"), instance, |_| true).await?;
        assert_golden(&request, &golden_request(with)?, &url)
    };
    raw(&golden::event("RUNNING", "")?.bytes)?;
    next(&[golden::INSTANCE, "\"121\""]).await?;
    raw(&golden::event("VOTE_NOTIFY", "\"stop\", \"vote\": \"accept\"")?.bytes)?;
    next(&[golden::INSTANCE, "\"stop\"", "\"allow\""]).await?;
    let reject = golden::event("VOTE_NOTIFY", "\"reject\"")?;
    raw(&reject.bytes)?;
    next(&["\"reject\""]).await?;
    let pause = golden::event("VOTE_NOTIFY", "\"pause\"")?;
    raw(&pause.bytes)?;
    next(&["\"pause\"", "\"proceed\""]).await?;
    raw(&golden::event_bytes(0xfeed_feed, &pause.text.replace("pause", "bogus"))?)?;
    next(&["\"bogus\""]).await?;
    raw(&golden::event("ILLHEALTH", "")?.bytes)?;
    next(&["\"unhealthy\""]).await?;
    raw(&golden::event("STOPPED", "")?.bytes)?;
    next(&["\"state\":\"enabled\",\"status\":\"disabled\""]).await?;
    raw(&golden::event("LOSS", "")?.bytes)?;
    next(&["\"failed\""]).await?;
    // Its own record of the reporting counts, and the guestServer that has another one is corrected.
    vim.switch_instance(instance, hostname, false).await?;
    raw(&golden::event("STOPPED", "")?.bytes)?;
    next(&["\"state\":\"disabled\",\"status\":\"disabled\""]).await?;
    site.counted("corrections", 1).await?;

    let second: InstanceId = "8d80875b-fa73-4ccb-bce3-1cd4df10aaaa".parse()?;
    vim.add_instance(second, hostname).await?;
    let running = golden::event("RUNNING", "")?.text.replace(golden::INSTANCE, &second.to_string());
    let running = running.replace("\"121\"", "\"601\"");
    let running = running.replace("\"reporting\":\"enabled\"", "\"reporting\":\"disabled\"");
    raw(&golden::event_bytes(0x0110_fead, &running)?)?;
    let request = site.told("the second one", second, |_| true).await?;
    assert_golden(&request, &golden_request(&["\"601\""])?, &url)?;
    // An empty response in the C++ one; agreement in ours.
    raw(&golden::event("VOTE_NOTIFY", "\"unknown\"")?.bytes)?;
    let request = site.told("the odd vote", second, |_| true).await?;
    ensure!(request.json()["event-data"]["guest-response"] == "allow", "{request}");
    ensure!(vim.get_instance(second).await?["services"][0]["restart-timeout"] == "601");

    let status = site.all_told().await?;
    ensure!(status["metrics"]["events_delivered"] == 11, "{status}");
    ensure!(status["metrics"]["events_retried"] == 0, "{status}");
    ensure!(site.told_of(instance).len() + site.told_of(second).len() == 11);
    Ok(())
}

/// Asks for an unknown host until mtcAgent is asked once more.
async fn asked_again(site: &Site, path: &str) -> Result<()> {
    let before = site.mtc.asked().len();
    let look = async || {
        let reply = site.commander.call("GET", path, None).await?;
        ensure!(reply.status == 404 && reply.body["reason"] == "entity not found", "{reply:?}");
        ensure!(site.mtc.asked().len() > before, "not asked");
        Ok(())
    };
    until_ok("mtcAgent is asked again", SOON, look).await
}

#[tokio::test]
async fn the_maintenance_system_is_asked_at_the_start_and_after_a_404_about_a_host() -> Result<()> {
    let site = Site::start().await?;
    let wanted = golden_ready()?;
    ensure!(wanted.len() == 100);
    let unknown = site.place(99);
    let path = format!("/v1/hosts/{}", unknown.id);
    // The token of the start comes back within a second.
    asked_again(&site, &path).await?;
    let before = site.mtc.asked().len();
    let began = std::time::Instant::now();
    for _ in 0..20 {
        ensure!(site.commander.call("GET", &path, None).await?.status == 404);
    }
    let patch = site.commander.switch_instance(golden::instance()?, &unknown.name, true).await;
    ensure!(patch.is_err_and(|error| error.to_string().contains("404")));
    asked_again(&site, &path).await?;
    let most = usize::try_from(began.elapsed().as_secs())? + 2;
    let asked = site.mtc.asked();
    ensure!(asked.len() - before <= most, "{} times, not {most}", asked.len() - before);
    for asked in &asked {
        ensure!(asked.bytes == wanted, "{:?}", asked.bytes);
    }
    let gaps = asked.windows(2).skip(1).map(|two| two[1].at - two[0].at);
    ensure!(gaps.min().is_some_and(|gap| gap > Duration::from_millis(500)));
    Ok(())
}
