//! Datagrams that are lost, and such as do not fit anywhere.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Result, ensure};
use end_to_end::SOON;
use end_to_end::agent::{RealServer, Site, SiteSetup, is_alarm, is_state};
use end_to_end::host::all_beat;
use end_to_end::launch::Launch;
use lab::guest::Behaviour;
use lab::relay::{Faults, Relay};
use lab::wait::until_ok;

use crate::apart::{Elsewhere, apart, ip};
use crate::rig::{INTERVAL, Rig, cabled, cabled_site};

/// Half of what is said is lost for a while, both ways, under votes and deaths.
#[test]
fn half_of_all_datagrams_are_lost() -> Result<()> {
    apart(async || {
        let site = Site::set_up(SiteSetup::default()).await?;
        let place = site.place(1);
        let at = SocketAddr::new(site.ip(60), site.server_port);
        let back = site.ip(61);
        let relay = Relay::start(site.address, place.ip, site.server_port, at, back, 50).await?;
        site.vim.set_host(place.id, &place.name, true);
        site.mtc.add_host(place.id, &place.name, &place.ip.to_string())?;
        site.known(&place, true).await?;
        let server: RealServer = site.real_server_at(&place, at, back).await?;
        let mut rig = Rig { site, place, server, guests: Vec::new() };
        for _ in 0..6 {
            rig.add(Behaviour::normal().every(INTERVAL)).await?;
        }
        relay.set(Faults { loss: 0.5, ..Faults::default() });
        for guest in 0..2 {
            rig.guests[guest].freeze().await?;
            let lost = |one: &serde_json::Value| one["heartbeating"] == false;
            rig.server.instance("it is lost", Rig::id(guest), lost).await?;
        }
        for _ in 0..10 {
            for guest in 2..6 {
                rig.site.commander.vote(Rig::id(guest), &rig.place.name, "stop").await?;
            }
            all_beat(&rig.guests[2..], 1).await?;
        }
        let fates = relay.fates();
        ensure!(fates.lost > 10, "{fates:?}");
        rig.well(&[0, 1]).await?;
        relay.set(Faults::default());
        // The longest wait before a message is sent again, whatever was lost.
        for guest in 0..2 {
            let told = async || {
                let told = rig.site.told_of(Rig::id(guest));
                ensure!(told.iter().any(|one| is_state(one, false)), "{told:?}");
                let alarms = told.iter().filter(|one| is_alarm(one, "failed")).count();
                ensure!(alarms == 1, "{alarms} alarms: {told:?}");
                Ok(())
            };
            until_ok("the VIM knows of the death", Duration::from_secs(10), told).await?;
        }
        rig.a_death_is_told(2).await?;
        rig.well(&[0, 1, 2]).await
    })
}

/// Of every size that a datagram can have, from nothing to what no network carries in one piece.
#[test]
fn datagrams_have_any_size() -> Result<()> {
    apart(async || {
        // As on a real network: what is larger comes in fragments.
        ip("link set lo mtu 1500")?;
        let rig = Rig::start(2).await?;
        let sizes = [0, 1, 64, 99, 100, 1059, 1060, 1061, 1472, 1473, 2120, 2121, 9000, 65_507];
        let http = rig.site.agent.status().await?["maintenance"].clone();
        let maintenance: SocketAddr = serde_json::from_value(http)?;
        let from = UdpSocket::bind(SocketAddr::new(rig.place.ip, 0))?;
        let server = SocketAddr::new(rig.place.ip, rig.site.server_port);
        for _ in 0..5 {
            for size in sizes {
                for to in [server, rig.site.address, maintenance] {
                    for byte in [0, b'A', 0xff] {
                        from.send_to(&vec![byte; size], to)?;
                    }
                }
            }
        }
        let thrown = |line: &str| line.contains("datagram thrown away");
        rig.server.daemon.wait_log("why", SOON, thrown).await?;
        rig.site.agent.wait_log("why", SOON, thrown).await?;
        // The lines are held to a rate, whatever comes.
        for daemon in [&rig.server.daemon, &rig.site.agent] {
            let lines = daemon.stderr().lines().filter(|line| thrown(line)).count();
            ensure!(lines < 60, "{lines} lines");
        }
        rig.well(&[]).await?;
        rig.a_death_is_told(0).await?;
        rig.well(&[0]).await
    })
}

/// A network on which none of our datagrams fits into one packet.
#[test]
fn the_network_carries_small_packets_only() -> Result<()> {
    apart(async || {
        let host = Elsewhere::new()?;
        host.cable("mgmt", cabled(1), Some(cabled(11)))?;
        ip("link set mgmt mtu 576")?;
        host.ip("link set there mtu 576")?;
        let launch = Launch::with(&host.command());
        let rig = Rig::set_up(cabled_site(), |server| server.launch = launch, 2).await?;
        rig.well(&[]).await?;
        rig.site.commander.vote(Rig::id(0), &rig.place.name, "stop").await?;
        let voted = |one: &lab::vim::VimRequest| one.event_type() == "action";
        rig.site.told("the vote", Rig::id(0), voted).await?;
        rig.a_death_is_told(0).await?;
        rig.well(&[0]).await
    })
}
