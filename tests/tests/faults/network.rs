//! The network between the two: addresses and names that are not there yet, ports that others have, a cable that is pulled.

use std::net::{TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use end_to_end::SOON;
use end_to_end::agent::{Place, RealServer, Site, is_alarm, is_state};
use end_to_end::launch::Launch;
use heartbeat_proto::control::ServerEvent;
use lab::controller::Controller;
use lab::guest::Behaviour;

use crate::apart::{Elsewhere, apart, hosts, ip, own_etc};
use crate::rig::{INTERVAL, Rig, cabled, cabled_site, refuses, says_once};

/// Adds a guest to what a test has started piece by piece, and lets it die.
async fn it_works(site: Site, place: Place, server: RealServer) -> Result<()> {
    let mut rig = Rig { site, place, server, guests: Vec::new() };
    for _ in 0..2 {
        rig.add(Behaviour::normal().every(INTERVAL)).await?;
    }
    rig.well(&[]).await?;
    rig.a_death_is_told(0).await?;
    rig.well(&[0]).await
}

#[test]
fn a_port_is_taken() -> Result<()> {
    apart(async || {
        let site = Site::start().await?;
        let place = site.host(1, true).await?;
        let setup = site.server_setup(&place);
        let taken = UdpSocket::bind((place.ip, setup.port))?;
        let started = Instant::now();
        let mut server = setup.start_unready(&place.name)?;
        let words = ["cannot bind UDP", &format!("{}:{}", place.ip, setup.port), "in use"];
        refuses(&mut server.daemon, &words).await?;
        // pmon gives up on a start after a second.
        ensure!(started.elapsed() < Duration::from_secs(1), "after {:?}", started.elapsed());
        drop(taken);
        let server = server.restart(async || Ok(())).await?;

        let udp = UdpSocket::bind("127.0.0.9:0")?.local_addr()?.port().to_string();
        let (taken, http) = (TcpListener::bind("127.0.0.9:0")?, "127.0.0.9:0");
        let tcp = taken.local_addr()?.to_string();
        let _events = UdpSocket::bind(format!("127.0.0.9:{udp}"))?;
        for (arguments, words) in [
            (["0", http, &udp], ["cannot bind UDP", "--mtc-command-port"]),
            ([&udp, http, "0"], ["cannot bind UDP", "--agent-port"]),
            (["0", &tcp, "0"], ["cannot bind TCP", "--listen"]),
        ] {
            let [agent, http, maintenance] = arguments;
            let mut daemon = Launch::default().start(
                "guestAgent",
                [
                    "--bind",
                    "127.0.0.9",
                    "--agent-port",
                    agent,
                    "--listen",
                    http,
                    "--mtc-command-port",
                    maintenance,
                    "--mtc",
                    "127.0.0.9",
                ],
            )?;
            refuses(&mut daemon, &words).await?;
        }
        it_works(site, place, server).await
    })
}

/// An address that is given and not there is refused, and the supervisor tries again until it is.
#[test]
fn the_address_to_bind_to_comes_later() -> Result<()> {
    apart(async || {
        let dir = tempfile::TempDir::new()?;
        let mut agent = Launch::default().start_in(dir, "guestAgent", ["--bind", "10.9.0.1"])?;
        refuses(&mut agent, &["cannot bind UDP 10.9.0.1", "Cannot assign", "--bind"]).await?;
        ip("addr add 10.9.0.1/32 dev lo")?;
        let site = Site::set_up(cabled_site()).await?;
        let place = site.host(1, true).await?;
        let mut server = site.server_setup(&place).start_unready(&place.name)?;
        refuses(&mut server.daemon, &["cannot bind UDP 10.9.0.11", "Cannot assign"]).await?;
        ip("addr add 10.9.0.11/32 dev lo")?;
        let server = server.restart(async || Ok(())).await?;
        it_works(site, place, server).await
    })
}

/// As the platform starts it, without `--bind`: the interface is there, its address is not yet.
#[test]
fn the_management_interface_has_no_address_yet() -> Result<()> {
    apart(async || {
        own_etc()?;
        std::fs::create_dir("/etc/platform")?;
        std::fs::write("/etc/platform/platform.conf", "management_interface=there\n")?;
        let host = Elsewhere::new()?;
        host.cable("mgmt", cabled(1), None)?;
        let site = Site::set_up(cabled_site()).await?;
        let place = site.host(1, true).await?;
        let mut setup = site.server_setup(&place);
        setup.bind = None;
        setup.launch = Launch::with(&host.command());
        let server = setup.start(&place.name).await?;
        says_once(&server.daemon, &["management interface there has no address"]).await?;
        host.ip(&format!("addr add {}/24 dev there", cabled(11)))?;
        it_works(site, place, server).await
    })
}

#[test]
fn the_controllers_name_resolves_late_and_elsewhere_first() -> Result<()> {
    apart(async || {
        own_etc()?;
        let site = Site::start().await?;
        let place = site.place(1);
        let mut setup = site.server_setup(&place);
        setup.controller = "controller".into();
        let server = setup.start(&place.name).await?;
        let unknown = |line: &str| line.contains("the controller's name has no address");
        server.daemon.wait_log("no name", SOON, unknown).await?;
        let elsewhere = Controller::bind_to((site.ip(50), site.address.port()).into())?;
        hosts(&format!("{} controller\n", site.ip(50)))?;
        let ready = |event: &ServerEvent| matches!(event, ServerEvent::MonitorReady);
        elsewhere.wait_for("MONITOR_READY", SOON, ready).await?;
        hosts(&format!("{} controller\n", site.address.ip()))?;
        // It asks again after 5, 10, 20 s.
        let heard = |line: &str| line.contains("host that is not known");
        site.agent.wait_log("MONITOR_READY", SOON * 2, heard).await?;
        site.vim.set_host(place.id, &place.name, true);
        site.mtc.add_host(place.id, &place.name, &place.ip.to_string())?;
        site.known(&place, true).await?;
        it_works(site, place, server).await
    })
}

#[test]
fn the_interface_goes_down_and_up() -> Result<()> {
    apart(async || {
        let host = Elsewhere::new()?;
        host.cable("mgmt", cabled(1), Some(cabled(11)))?;
        let launch = Launch::with(&host.command());
        let rig = Rig::set_up(cabled_site(), |server| server.launch = launch, 4).await?;
        for (n, link) in ["mgmt", "there"].into_iter().enumerate() {
            let set = |to: &str| match link {
                "mgmt" => ip(&format!("link set mgmt {to}")),
                _ => host.ip(&format!("link set there {to}")),
            };
            set("down")?;
            let dead: Vec<_> = (0..n + usize::from(n > 0)).collect();
            rig.well(&dead).await?;
            // One that dies meanwhile: guestServer keeps what it has to tell.
            if n == 0 {
                rig.guests[0].freeze().await?;
                let lost = |one: &serde_json::Value| one["heartbeating"] == false;
                rig.server.instance("it is lost", Rig::id(0), lost).await?;
            }
            set("up")?;
            if n == 0 {
                let told = |one: &lab::vim::VimRequest| is_state(one, false);
                rig.site.told("the state", Rig::id(0), told).await.with_context(|| rig.logs())?;
                let told = |one: &lab::vim::VimRequest| is_alarm(one, "failed");
                rig.site.told("the alarm", Rig::id(0), told).await.with_context(|| rig.logs())?;
            }
            rig.a_death_is_told(n + 1).await?;
            let dead: Vec<_> = (0..=n + 1).collect();
            rig.well(&dead).await?;
        }
        Ok(())
    })
}
