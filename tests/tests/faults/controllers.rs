//! Two controllers: both are at work for a while, and the address that is active moves from one to the other.

use std::time::Instant;

use anyhow::{Result, ensure};
use end_to_end::SOON;
use end_to_end::agent::{Place, ServerSetup, Site, SiteSetup, is_alarm, is_state};
use end_to_end::host::all_beat;
use end_to_end::launch::Launch;
use lab::guest::Behaviour;
use lab::wait::until;

use crate::apart::{Elsewhere, apart, ip};
use crate::rig::{BOUND, INTERVAL, Rig, alarms, cabled, says_once};

/// A further guestAgent takes the host over.
async fn take_over(site: &Site, place: &Place, guests: u128) -> Result<()> {
    site.vim.set_host(place.id, &place.name, true);
    for n in 0..guests {
        site.vim.set_instance(place.id, end_to_end::id(n + 1), true);
    }
    site.mtc.add_host(place.id, &place.name, &place.ip.to_string())?;
    site.known(place, true).await?;
    for n in 0..guests {
        let known =
            |one: &serde_json::Value| one["heartbeating"] == true && one["reporting"] == true;
        site.instance("it is known here", end_to_end::id(n + 1), known).await?;
    }
    Ok(())
}

/// Both tell the same VIM, as during a switch-over that overlaps.
#[test]
fn two_agents_are_at_work_at_once() -> Result<()> {
    apart(async || {
        const NETWORK: [u8; 3] = [127, 90, 1];
        let may_command = |server: &mut ServerSetup| server.controllers = "127.90.1.2".to_owned();
        let setup = SiteSetup { network: Some(NETWORK), ..SiteSetup::default() };
        let mut rig = Rig::set_up(setup, may_command, 4).await?;
        let args = vec!["--vim".to_owned(), rig.site.vim.url()];
        // As on a platform, where both have the same ports.
        let (agent_port, server_port) = (Some(rig.site.address.port()), Some(rig.site.server_port));
        let (network, computer) = (Some(NETWORK), Some(2));
        let own = SiteSetup {
            network,
            computer,
            floating: Some("127.0.0.3".parse()?),
            ..SiteSetup::default()
        };
        let second = Site::set_up(SiteSetup { args, agent_port, server_port, ..own }).await?;
        take_over(&second, &rig.place, 4).await?;
        rig.well(&[]).await?;
        // guestServer reports to the one that has commanded it last: one alarm, whoever that is.
        rig.a_death_is_told(0).await?;
        rig.well(&[0]).await?;
        rig.site.agent.kill().await?;
        let known = |status: &serde_json::Value| {
            end_to_end::agent::find(status, Rig::id(0))
                .is_some_and(|one| one["heartbeating"] == false)
        };
        second.status("the dead one is known as dead", known).await?;
        all_beat(&rig.guests[1..], 3).await?;
        rig.no_alarms(&[0])?;
        rig.a_death_is_told(1).await?;
        second.agent.status().await?;
        rig.no_alarms(&[0, 1])
    })
}

/// ```text
///   controller-0: this thread's network      compute-1       controller-1
///   10.9.0.1, at first 10.9.0.100    <-->    10.9.0.11  <-->  10.9.0.2, then 10.9.0.100
/// ```
#[test]
fn the_floating_address_moves_to_the_other_controller() -> Result<()> {
    apart(async || {
        let (host, other) = (Elsewhere::new()?, Elsewhere::new()?);
        host.cable("mgmt", cabled(1), None)?;
        host.ip("link add bridge type bridge")?;
        host.ip("link set bridge up")?;
        host.ip("link set there master bridge")?;
        host.ip(&format!("addr add {}/24 dev bridge", cabled(11)))?;
        host.visit(async { other.cable("second", cabled(90), Some(cabled(2))) }).await?;
        host.ip(&format!("addr del {}/24 dev second", cabled(90)))?;
        host.ip("link set second master bridge")?;
        let floating = cabled(100);
        ip(&format!("addr add {floating}/32 dev mgmt"))?;

        let setup = |computer, with| SiteSetup {
            network: Some([10, 9, 0]),
            computer: Some(computer),
            agent_port: Some(2401),
            server_port: Some(2411),
            floating: Some(floating.into()),
            args: Vec::new(),
            launch: with,
        };
        let launch = Launch::with(&host.command());
        let to_floating = |server: &mut ServerSetup| {
            server.controller = floating.to_string();
            // Each commands from its own address.
            server.controllers = format!("{}, {}", cabled(1), cabled(2));
            server.launch = launch;
        };
        let mut rig = Rig::set_up(setup(1, Launch::default()), to_floating, 3).await?;
        says_once(&rig.site.agent, &["listening on the floating address too"]).await?;
        rig.well(&[]).await?;

        // A switch-over: the service stops, the address moves, the other service starts.
        ensure!(rig.site.agent.stop(SOON).await?.success());
        ip(&format!("addr del {floating}/32 dev mgmt"))?;
        other.ip(&format!("addr add {floating}/32 dev there"))?;
        host.ip("neigh flush all")?;
        let second = other.visit(Site::set_up(setup(2, Launch::default()))).await?;
        says_once(&second.agent, &["listening on the floating address too"]).await?;
        other.visit(take_over(&second, &rig.place, 3)).await?;
        let commanded =
            |line: &str| line.contains("commanded by this controller") && line.contains("10.9.0.2");
        rig.server.daemon.wait_log("who commands", SOON, commanded).await?;
        all_beat(&rig.guests, 3).await?;
        ensure!(alarms(&second).is_empty(), "{:?}", alarms(&second));
        rig.no_alarms(&[])?;
        rig.guests[0].freeze().await?;
        let since = Instant::now();
        let alarm = second.told("the alarm", Rig::id(0), |one| is_alarm(one, "failed")).await?;
        let took = alarm.at.saturating_duration_since(since);
        ensure!(took < BOUND, "the alarm came after {took:?}");
        // A guestServer that starts now finds the controller by the address that moved.
        rig.server = rig.server.restart(async || Ok(())).await?;
        let ready = |line: &str| line.contains("guestServer is ready");
        second.agent.wait_log("MONITOR_READY", SOON, ready).await?;
        rig.guests.push(rig.server.guest(Rig::id(3), Behaviour::normal().every(INTERVAL))?);
        all_beat(&rig.guests[1..], 3).await?;
        let back = |one: &lab::vim::VimRequest| is_state(one, true);
        second.told("it is heartbeating again", Rig::id(1), back).await?;
        ensure!(alarms(&second).len() == 1, "{:?}", alarms(&second));
        rig.guests[1].freeze().await?;
        until("the alarm", BOUND, || alarms(&second).len() == 2).await?;
        rig.no_alarms(&[])
    })
}
