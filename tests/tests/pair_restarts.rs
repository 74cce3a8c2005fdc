//! Both real daemons: either is killed and started again, instances move, and all is on one host.

use std::time::Duration;

use anyhow::{Result, ensure};
use end_to_end::agent::{Place, RealServer, Site, is_alarm, is_state};
use end_to_end::host::all_beat;
use end_to_end::{SOON, id};
use lab::guest::{Behaviour, Guest};
use lab::wait::until;

fn normal() -> Behaviour {
    Behaviour::normal().every(Duration::from_millis(500))
}

/// A site with one host and this many guests, which the VIM knows to be heartbeating. Its reporting is on, and the VIM
/// lists the instances.
async fn pair(guests: u128) -> Result<(Site, Place, RealServer, Vec<Guest>)> {
    let site = Site::start().await?;
    let place = site.host(1, true).await?;
    let server = site.real_server(&place).await?;
    let mut started = Vec::new();
    for number in 1..=guests {
        site.commander.add_instance(id(number), &place.name).await?;
        site.commander.switch_instance(id(number), &place.name, true).await?;
        site.vim.set_instance(place.id, id(number), true);
        started.push(server.guest(id(number), normal())?);
        site.told("heartbeating", id(number), |request| is_state(request, true)).await?;
    }
    Ok((site, place, server, started))
}

/// Whether the VIM got an alarm of the `n`th instance.
fn alarmed(site: &Site, n: u128) -> bool {
    site.told_of(id(n)).iter().any(|request| request.event_type() == "alarm")
}

#[tokio::test]
async fn a_killed_guest_agent_learns_everything_again() -> Result<()> {
    let (site, place, server, guests) = pair(3).await?;
    let died = async || {
        guests[2].freeze().await?;
        let lost = |one: &serde_json::Value| one["heartbeating"] == false;
        server.instance("it is lost while nobody listens", id(3), lost).await.map(drop)
    };
    let asked = site.mtc.asked().len();
    let before = site.vim.requests().len();
    let site = site.restart_agent(died).await?;
    until("mtcAgent is asked", SOON, || site.mtc.asked().len() > asked).await?;
    site.known(&place, true).await?;
    for number in 1..=3 {
        let known = |one: &serde_json::Value| {
            one["reporting"] == true
                && one["hostname"] == *place.name
                && one["heartbeating"] == (number != 3)
        };
        site.instance("it is known again", id(number), known).await?;
    }
    site.all_told().await?;
    // The healthy ones are told as such; the dead one is no longer said to be alive, and its guestServer has kept the alarm.
    let told = &site.vim.requests()[before..];
    for number in 1..=2 {
        let about = |request: &&lab::vim::VimRequest| request.instance() == id(number).to_string();
        let told: Vec<_> = told.iter().filter(about).collect();
        ensure!(!told.is_empty() && told.iter().all(|one| is_state(one, true)), "{told:?}");
    }
    site.told("the alarm of the one that died", id(3), |one| is_alarm(one, "failed")).await?;
    ensure!((1..=2).all(|n| !alarmed(&site, n)), "an alarm: {:?}", site.vim.requests());
    let dead = site.commander.get_instance(id(3)).await?;
    ensure!(dead["services"][0]["status"] == "disabled", "{dead}");
    // The state of the one that died meanwhile reaches the VIM.
    site.vim_has("the VIM knows that it died", |requests| {
        let about = |one: &&lab::vim::VimRequest| one.instance() == id(3).to_string();
        requests.iter().skip(before).filter(about).any(|one| is_state(one, false))
    })
    .await?;
    // All works as before.
    guests[0].freeze().await?;
    site.told("the alarm", id(1), |request| is_alarm(request, "failed")).await?;
    ensure!(!alarmed(&site, 2));
    Ok(())
}

#[tokio::test]
async fn a_killed_guest_server_learns_everything_again() -> Result<()> {
    let (site, place, server, guests) = pair(3).await?;
    let server = server.restart(async || guests[2].remove().await).await?;
    let ready = |line: &str| line.contains("guestServer is ready") && line.contains(&place.name);
    site.agent.wait_log("MONITOR_READY", SOON, ready).await?;
    for guest in &guests[..2] {
        guest.wait_heartbeat(SOON).await?;
    }
    all_beat(&guests[..2], 2).await?;
    for number in 1..=2 {
        let alive =
            |one: &serde_json::Value| one["heartbeating"] == true && one["reporting"] == true;
        server.instance("it is watched again", id(number), alive).await?;
        site.instance("that is known", id(number), alive).await?;
    }
    let dead = |one: &serde_json::Value| one["heartbeating"] == false && one["reporting"] == true;
    server.instance("the dead one is known", id(3), dead).await?;
    site.told("the dead one is told", id(3), |request| is_state(request, false)).await?;
    site.all_told().await?;
    ensure!((1..=2).all(|n| !alarmed(&site, n)), "an alarm: {:?}", site.vim.requests());
    guests[1].freeze().await?;
    site.told("the alarm", id(2), |request| is_alarm(request, "failed")).await?;
    ensure!(!alarmed(&site, 1));
    Ok(())
}

#[tokio::test]
async fn an_instance_moves_between_two_hosts() -> Result<()> {
    let (site, from, old, guests) = pair(2).await?;
    let to = site.host(2, true).await?;
    let new = site.real_server(&to).await?;
    // A live migration: the machine appears there, then the VIM says so, then it is gone here.
    let arrived = new.guest(id(1), normal())?;
    arrived.wait_heartbeat(SOON).await?;
    let before = site.told_of(id(1)).len();
    ensure!(site.told_of(id(1)).iter().all(|request| request.json()["hostname"] == *from.name));
    site.commander.switch_instance(id(1), &to.name, true).await?;
    guests[0].remove().await?;
    let there = |one: &serde_json::Value| {
        one["hostname"] == *to.name && one["heartbeating"] == true && one["reporting"] == true
    };
    site.instance("it is there", id(1), there).await?;
    let request = site
        .told("it is heartbeating there", id(1), |request| {
            is_state(request, true) && request.json()["hostname"] == *to.name
        })
        .await?;
    ensure!(request.service()["state"] == "enabled", "{request}");
    let gone = async || {
        let status = old.daemon.status().await?;
        ensure!(end_to_end::agent::find(&status, id(1)).is_none(), "{status}");
        Ok(())
    };
    lab::wait::until_ok("the old host has forgotten it", SOON, gone).await?;
    let told = site.told_of(id(1));
    ensure!(told[before..].iter().all(|one| one.event_type() == "service"), "{told:?}");
    // From now on it is the new host's word that counts.
    arrived.freeze().await?;
    let alarm = site.told("the alarm", id(1), |request| is_alarm(request, "failed")).await?;
    ensure!(alarm.json()["hostname"] == *to.name, "{alarm}");
    ensure!(!alarmed(&site, 2));
    Ok(())
}

/// As on an all-in-one controller: one address for all.
#[tokio::test]
async fn both_daemons_are_on_one_host() -> Result<()> {
    let site = Site::start().await?;
    let place = Place { ip: site.address.ip(), ..site.place(1) };
    site.vim.set_host(place.id, &place.name, true);
    site.mtc.add_host(place.id, &place.name, &place.ip.to_string())?;
    site.known(&place, true).await?;
    let server = site.real_server(&place).await?;
    site.commander.switch_instance(id(1), &place.name, true).await?;
    let guest = server.guest(id(1), normal())?;
    site.told("heartbeating", id(1), |request| is_state(request, true)).await?;
    ensure!(site.commander.vote(id(1), &place.name, "stop").await?["timeout"] != "0");
    site.told("the vote", id(1), |request| request.event_type() == "action").await?;
    guest.freeze().await?;
    site.told("the alarm", id(1), |request| is_alarm(request, "failed")).await?;
    site.commander.delete_instance(id(1)).await?;
    guest.remove().await?;
    let look = async || {
        let status = server.daemon.status().await?;
        ensure!(status["instances"].as_array().is_some_and(Vec::is_empty), "{status}");
        Ok(())
    };
    lab::wait::until_ok("it is forgotten", SOON, look).await
}
