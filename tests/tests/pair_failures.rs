//! The whole way, with both real daemons: from a guest that falls silent to the alarm at the VIM, from the VIM's vote to
//! the guest's answer, and over a network that loses.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use end_to_end::agent::{Place, RealServer, Site, find, is_alarm, is_state};
use end_to_end::{SOON, id};
use heartbeat_proto::InstanceId;
use heartbeat_proto::guest::CorrectiveAction;
use lab::guest::{Behaviour, Guest, Health, Voting};
use lab::relay::{Faults, Relay};
use lab::vim::Mood;
use lab::wait::until_ok;

const INTERVAL: Duration = Duration::from_secs(1);

/// A guest on the host, which the VIM knows to be heartbeating, with its reporting on.
async fn running(
    site: &Site,
    place: &Place,
    server: &RealServer,
    instance: InstanceId,
    behaviour: Behaviour,
) -> Result<Guest> {
    site.commander.add_instance(instance, &place.name).await?;
    site.commander.switch_instance(instance, &place.name, true).await?;
    let guest = server.guest(instance, behaviour)?;
    site.told("heartbeating", instance, |request| is_state(request, true)).await?;
    Ok(guest)
}

/// A site with one host, on which the real guestServer runs. The host's reporting is on.
async fn pair() -> Result<(Site, Place, RealServer)> {
    let site = Site::start().await?;
    let place = site.host(1, true).await?;
    let server = site.real_server(&place).await?;
    Ok((site, place, server))
}

#[tokio::test]
async fn a_silent_guest_becomes_an_alarm_in_time_and_one_that_comes_back_is_told() -> Result<()> {
    let (site, place, server) = pair().await?;
    let behaviour = Behaviour::normal().every(INTERVAL);
    let guest = running(&site, &place, &server, id(1), behaviour.clone()).await?;
    let healthy = running(&site, &place, &server, id(2), behaviour).await?;
    guest.wait_heartbeat(SOON).await?;
    guest.freeze().await?;
    let silent = Instant::now();
    site.told("STOPPED", id(1), |request| is_state(request, false)).await?;
    let alarm = site.told("the alarm", id(1), |request| is_alarm(request, "failed")).await?;
    let took = alarm.at.saturating_duration_since(silent);
    ensure!(took < 3 * INTERVAL + Duration::from_secs(1), "the alarm came after {took:?}");
    // The lab guest's `init` asks for a reboot, unless it says otherwise.
    let action = site.instance("lost", id(1), |one| one["heartbeating"] == false).await?;
    ensure!(alarm.service()["repair-action"] == action["repair_action"], "{alarm} {action}");
    guest.thaw().await?;
    guest.restart().await?;
    site.told("it is back", id(1), |request| is_state(request, true)).await?;

    guest
        .change(|behaviour| {
            let (corrective_action, log_msg) = (CorrectiveAction::Stop, "disk is full".into());
            behaviour.profile.health = Health::Unhealthy { corrective_action, log_msg };
        })
        .await?;
    let ill = site.told("ill", id(1), |request| is_alarm(request, "unhealthy")).await?;
    ensure!(ill.service()["repair-action"] == "stop", "{ill}");
    // Host-level reporting off: it is stopped and begins anew, and a loss is nobody's business.
    healthy.wait_heartbeat(SOON).await?;
    site.commander.switch_host(place.id, &place.name, false).await?;
    healthy.freeze().await?;
    site.instance("the loss is seen", id(2), |one| one["heartbeating"] == false).await?;
    site.all_told().await?;
    ensure!(!site.told_of(id(2)).iter().any(|request| request.event_type() == "alarm"));
    Ok(())
}

#[tokio::test]
async fn votes_and_notifications_go_to_the_guest_and_back_with_their_times() -> Result<()> {
    let (site, place, server) = pair().await?;
    let mut behaviour = Behaviour::normal().every(INTERVAL);
    // Each is a second more on the wire.
    let settings = &mut behaviour.profile.settings;
    settings.vote_secs = 6;
    settings.shutdown_notice_secs = 20;
    settings.suspend_notice_secs = 21;
    settings.resume_notice_secs = 22;
    let guest = running(&site, &place, &server, id(1), behaviour).await?;
    let vim = site.commander;
    let outcome = async |action: &str| -> Result<(String, String)> {
        let request = site
            .told(action, id(1), |request| {
                request.event_type() == "action" && request.json()["event-data"]["action"] == action
            })
            .await?;
        ensure!(request.json().get("hostname").is_none(), "{request}");
        let text = |key: &str| request.json()["event-data"][key].as_str().map(str::to_owned);
        Ok((text("guest-response").unwrap_or_default(), text("reason").unwrap_or_default()))
    };
    ensure!(vim.vote(id(1), &place.name, "stop").await?["timeout"] == "7");
    ensure!(outcome("stop").await?.0 == "allow");
    let why = "a \"backup\" is\trunning \u{e9}";
    guest.change(move |behaviour| behaviour.profile.voting = Voting::Reject(why.into())).await?;
    ensure!(vim.vote(id(1), &place.name, "reboot").await?["timeout"] == "7");
    let (response, reason) = outcome("reboot").await?;
    ensure!(response == "reject" && reason == why, "{response} {reason:?}");
    for (action, secs) in [
        ("live_migrate_begin", "22"),
        ("live_migrate_end", "23"),
        ("resize_begin", "22"),
        ("resize_end", "23"),
        ("pause", "22"),
        ("unpause", "23"),
        ("stop", "21"),
    ] {
        let answer = vim.notify(id(1), &place.name, action).await?;
        ensure!(answer["timeout"] == secs, "{action}: {answer}");
        ensure!(answer["uuid"] == id(1).to_string() && answer["action"] == action, "{answer}");
        let (response, _) = outcome(action).await?;
        ensure!(response == "proceed", "{action}: {response}");
    }
    Ok(())
}

/// What both daemons and the VIM believe, once all agree with what is so.
async fn agree(site: &Site, server: &RealServer, truth: &[(InstanceId, bool, bool)]) -> Result<()> {
    let look = async || {
        let (agent, server) = (site.agent.status().await?, server.daemon.status().await?);
        for (instance, reporting, heartbeating) in truth {
            for (who, status) in [("guestAgent", &agent), ("guestServer", &server)] {
                let one = find(status, *instance);
                let fine = one.is_some_and(|one| {
                    one["reporting"] == *reporting && one["heartbeating"] == *heartbeating
                });
                ensure!(fine, "{who} has {one:?}, not {reporting} {heartbeating}");
            }
            let told = site.told_of(*instance);
            let last = told.iter().rfind(|request| request.event_type() == "service");
            ensure!(
                last.map_or(!heartbeating, |last| is_state(last, *heartbeating)),
                "the VIM has {last:?}"
            );
        }
        let count = server["instances"].as_array().map(Vec::len);
        ensure!(count == Some(truth.len()), "guestServer has {count:?} instances");
        Ok(())
    };
    until_ok("all agree", Duration::from_secs(30), look).await
}

/// A third of what is said is lost, both ways, while everything changes. Then two audits put it right.
#[tokio::test]
async fn what_a_lossy_network_lost_is_made_good_by_the_audit() -> Result<()> {
    let site = Site::start().await?;
    // guestAgent takes the relay's front for the host; guestServer takes its back for the controller.
    let place = site.place(1);
    let at = SocketAddr::new(site.ip(60), site.server_port);
    let back = site.ip(61);
    let relay =
        Relay::start(site.address, place.ip, site.server_port, at, back, 20_240_607).await?;
    let lossy =
        Faults { loss: 0.3, doubling: 0.05, delaying: 0.2, delay: Duration::from_millis(200) };
    relay.set(lossy);
    site.vim.set_host(place.id, &place.name, true);
    site.mtc.add_host(place.id, &place.name, &place.ip.to_string())?;
    site.known(&place, true).await?;
    let server = site.real_server_at(&place, at, back).await?;

    let vim = site.commander;
    let mut guests = Vec::new();
    for number in 1..=8 {
        vim.add_instance(id(number), &place.name).await?;
        vim.switch_instance(id(number), &place.name, true).await?;
        let behaviour = Behaviour::normal().every(Duration::from_millis(500));
        guests.push(server.guest(id(number), behaviour)?);
    }
    for guest in &guests {
        guest.wait_heartbeat(SOON).await?;
    }
    for (guest, number) in guests.iter().zip(1..=8) {
        match number {
            1..=2 => guest.freeze().await?,
            3..=4 => drop(vim.switch_instance(id(number), &place.name, false).await?),
            5 => {
                vim.delete_instance(id(number)).await?;
                guest.remove().await?;
            }
            6 => guest.kill().await?,
            _ => {}
        }
    }
    // One that misses nothing is lost too late for this.
    for number in [1, 2, 6] {
        server.instance("lost", id(number), |one| one["heartbeating"] == false).await?;
    }
    let fates = relay.fates();
    ensure!(fates.lost > 0, "{fates:?}");
    relay.set(Faults::default());
    let truth: Vec<_> = [
        (1, true, false),
        (2, true, false),
        (3, false, true),
        (4, false, true),
        (6, true, false),
        (7, true, true),
        (8, true, true),
    ]
    .map(|(number, reporting, heartbeating)| (id(number), reporting, heartbeating))
    .into();
    let agreed = agree(&site, &server, &truth).await;
    ensure!(agreed.is_ok(), "{agreed:?}\nguestServer:\n{}", server.daemon.stderr());
    // Deleted is deleted, whatever was lost.
    ensure!(find(&site.agent.status().await?, id(5)).is_none());
    Ok(())
}

/// The VIM is away while a guest dies; it learns that when it is back.
#[tokio::test]
async fn a_vim_that_hangs_gets_the_alarm_later() -> Result<()> {
    let (site, place, server) = pair().await?;
    let guest =
        running(&site, &place, &server, id(1), Behaviour::normal().every(INTERVAL / 2)).await?;
    site.vim.set_mood(Mood::Hanging);
    guest.freeze().await?;
    site.counted("alarms", 1).await?;
    let status = site.commander.get_instance(id(1)).await?;
    ensure!(status["services"][0]["status"] == "disabled", "{status}");
    ensure!(status["services"][0]["restart-timeout"] == "0", "{status}");
    site.vim.set_mood(Mood::Normal);
    site.told("STOPPED", id(1), |request| is_state(request, false)).await?;
    site.told("the alarm", id(1), |request| is_alarm(request, "failed")).await?;
    Ok(())
}
