//! What the machine gives them runs out: open files, watches, memory, time on a processor.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use end_to_end::SOON;
use end_to_end::agent::{SiteSetup, is_state};
use end_to_end::host::all_beat;
use end_to_end::launch::Launch;
use lab::guest::{Behaviour, Flood};
use lab::wait::until_ok;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::apart::apart;
use crate::rig::{INTERVAL, Rig, says_once};

/// More guests than files: those that have a connection are watched as ever, the others are when there is room, and the
/// operator can ask meanwhile.
#[test]
fn guest_server_has_no_open_files_left() -> Result<()> {
    apart(async || {
        let limit = Launch::after("ulimit -n 40");
        let mut rig = Rig::set_up(SiteSetup::default(), |server| server.launch = limit, 3).await?;
        for _ in 0..40 {
            let instance = rig.provision().await?;
            rig.guests.push(rig.server.guest(instance, Behaviour::normal().every(INTERVAL))?);
        }
        let without = |line: &str| {
            line.contains("cannot connect to the channel") && line.contains("open files")
        };
        rig.server.daemon.wait_log("why", SOON, without).await?;
        let status = rig.server.daemon.status().await?;
        let beating = |one: &&serde_json::Value| one["heartbeating"] == true;
        let count = status["instances"].as_array().into_iter().flatten().filter(beating).count();
        ensure!((4..40).contains(&count), "{count} are heartbeating");
        all_beat(&rig.guests[..3], 3).await?;
        rig.no_alarms(&[])?;
        rig.a_death_is_told(0).await?;
        // Room for all.
        let gone: Vec<usize> = (3..33).collect();
        for &guest in &gone {
            rig.guests[guest].remove().await?;
        }
        for guest in &rig.guests[33..] {
            guest.wait_heartbeat(SOON).await?;
        }
        all_beat(&rig.guests[33..], 3).await?;
        rig.a_death_is_told(42).await
    })
}

/// Connections that somebody holds open take neither the VIM's answers nor its alarms away.
#[test]
fn guest_agent_has_no_open_files_left() -> Result<()> {
    apart(async || {
        let site = SiteSetup { launch: Launch::after("ulimit -n 40"), ..SiteSetup::default() };
        let rig = Rig::set_up(site, |_| {}, 3).await?;
        let mut idle = Vec::new();
        for _ in 0..60 {
            idle.push(TcpStream::connect(rig.site.http).await?);
        }
        rig.well(&[]).await?;
        rig.a_death_is_told(0).await?;
        let answer = rig.site.commander.get_instance(Rig::id(1)).await?;
        ensure!(answer["services"][0]["status"] == "enabled", "{answer}");
        drop(idle);
        rig.a_death_is_told(1).await?;
        rig.well(&[0, 1]).await
    })
}

/// In a user namespace of its own that may have none of these.
fn scanned_without(limit: &'static str) -> Result<()> {
    apart(async move || {
        let none = format!("echo 0 > /proc/sys/user/{limit}; exec \"$0\" \"$@\"");
        let before =
            format!("exec unshare --user --map-root-user sh -c '{none}' \"$LAUNCH_BINARY\" \"$@\"");
        let launch = Launch::after(&before);
        let mut rig = Rig::set_up(SiteSetup::default(), |server| server.launch = launch, 2).await?;
        says_once(&rig.server.daemon, &["cannot watch the channel directory, scanning it instead"])
            .await?;
        // Found by the next scan, and forgotten by another.
        rig.add(Behaviour::normal().every(INTERVAL)).await?;
        rig.well(&[]).await?;
        rig.guests[2].remove().await?;
        rig.site.told("it is gone", Rig::id(2), |one| is_state(one, false)).await?;
        rig.guests[2].start_again().await?;
        rig.site.told("it is back", Rig::id(2), |one| is_state(one, true)).await?;
        rig.a_death_is_told(0).await?;
        rig.well(&[0, 2]).await
    })
}

#[test]
fn no_inotify_instance_is_left() -> Result<()> {
    scanned_without("max_inotify_instances")
}

#[test]
fn no_inotify_watch_is_left() -> Result<()> {
    scanned_without("max_inotify_watches")
}

/// Memory is counted as the kernel counts it for `ulimit -d`: all that is private and may be written to.
#[test]
fn there_are_32_megabytes_of_memory() -> Result<()> {
    apart(async || {
        let limit = Launch::after("ulimit -d 32768");
        let site = SiteSetup { launch: limit.clone(), ..SiteSetup::default() };
        let mut rig = Rig::set_up(site, |server| server.launch = limit, 2).await?;
        for n in 0..200 {
            let mut behaviour = Behaviour::normal().every(INTERVAL * 4);
            if n % 10 == 0 {
                behaviour.flood = Some(Flood::Garbage);
            }
            let instance = rig.provision().await?;
            rig.guests.push(rig.server.guest(instance, behaviour)?);
        }
        let mut clients = Vec::new();
        for _ in 0..300 {
            clients.push(TcpStream::connect(rig.site.http).await?);
        }
        all_beat(&rig.guests[..2], 10).await?;
        let all = async || {
            let metrics = &rig.server.daemon.status().await?["metrics"];
            ensure!(metrics["connections"].as_u64() >= Some(202), "{metrics}");
            Ok(())
        };
        until_ok("all are connected", SOON, all).await?;
        rig.site.agent.status().await?;
        rig.no_alarms(&[])?;
        rig.a_death_is_told(0).await
    })
}

/// Lets a process run for one twentieth of the time, until it is dropped.
struct Starved {
    pids: Vec<Pid>,
    task: tokio::task::JoinHandle<()>,
}

impl Starved {
    fn new(pids: [i32; 2]) -> Self {
        const TURN: Duration = Duration::from_millis(100);
        let pids = pids.map(Pid::from_raw).to_vec();
        let all = pids.clone();
        let task = tokio::spawn(async move {
            loop {
                for (signal, long) in
                    [(Signal::SIGCONT, TURN / 20), (Signal::SIGSTOP, TURN * 19 / 20)]
                {
                    for &pid in &all {
                        let _ = kill(pid, signal);
                    }
                    sleep(long).await;
                }
            }
        });
        Self { pids, task }
    }
}

impl Drop for Starved {
    fn drop(&mut self) {
        self.task.abort();
        for &pid in &self.pids {
            let _ = kill(pid, Signal::SIGCONT);
        }
    }
}

#[test]
fn they_have_a_twentieth_of_a_processor() -> Result<()> {
    apart(async || {
        let rig = Rig::start(5).await?;
        let starved = Starved::new([rig.server.daemon.pid(), rig.site.agent.pid()]);
        all_beat(&rig.guests, 20).await?;
        rig.well(&[]).await?;
        rig.guests[0].freeze().await?;
        rig.dead_since(0, Instant::now(), crate::rig::BOUND * 2).await?;
        drop(starved);
        rig.a_death_is_told(1).await?;
        rig.well(&[0, 1]).await
    })
}
