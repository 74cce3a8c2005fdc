//! Both real daemons over a network that loses, doubles and reorders, and with processes that are killed in the middle: every
//! death becomes one alarm, every vote comes back once.
//!
//! `SOAK_SECS` and `SOAK_GUESTS` make the first one as long and as large as is wanted.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use end_to_end::agent::{RealServer, Site, is_alarm, is_state};
use end_to_end::{SOON, id};
use heartbeat_proto::InstanceId;
use lab::guest::{Behaviour, Guest};
use lab::relay::{Faults, Relay};
use lab::wait::{until, until_ok};

/// How long everything has to arrive after the last fault: the longest wait before a message is sent again, and two audits.
const SETTLE: Duration = Duration::from_secs(30);

fn setting(name: &str, default: u64) -> Result<u64> {
    match std::env::var(name) {
        Ok(text) => Ok(text.parse()?),
        Err(_) => Ok(default),
    }
}

/// A site, a host behind a relay, and the real guestServer on it.
async fn behind_relay(seed: u64) -> Result<(Site, end_to_end::agent::Place, Relay, RealServer)> {
    let site = Site::start().await?;
    let place = site.place(1);
    let at = SocketAddr::new(site.ip(60), site.server_port);
    let back = site.ip(61);
    let relay = Relay::start(site.address, place.ip, site.server_port, at, back, seed).await?;
    site.vim.set_host(place.id, &place.name, true);
    site.mtc.add_host(place.id, &place.name, &place.ip.to_string())?;
    site.known(&place, true).await?;
    let server = site.real_server_at(&place, at, back).await?;
    Ok((site, place, relay, server))
}

fn alarms(site: &Site, instance: InstanceId) -> usize {
    site.told_of(instance).iter().filter(|request| is_alarm(request, "failed")).count()
}

/// What the VIM was told, counted as it comes: hundreds of guests share this thread, and looking through it all again and
/// again would keep them from answering.
#[derive(Debug, Default)]
struct Tally {
    alive: HashSet<String>,
    alarms: HashMap<String, usize>,
    votes: HashMap<String, usize>,
}

impl Tally {
    fn count(&mut self, site: &Site) {
        for request in site.vim.drain() {
            let instance = request.instance().to_owned();
            if is_alarm(&request, "failed") {
                *self.alarms.entry(instance).or_default() += 1;
            } else if request.event_type() == "action" {
                *self.votes.entry(instance).or_default() += 1;
            } else if is_state(&request, true) {
                self.alive.insert(instance);
            }
        }
    }

    fn alarms(&self, instance: InstanceId) -> usize {
        self.alarms.get(&instance.to_string()).copied().unwrap_or_default()
    }

    fn votes(&self, instance: InstanceId) -> usize {
        self.votes.get(&instance.to_string()).copied().unwrap_or_default()
    }
}

/// Numbers that only look random.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

#[tokio::test]
async fn alarms_equal_deaths_over_a_network_that_loses_a_third() -> Result<()> {
    let guests_count = u32::try_from(setting("SOAK_GUESTS", 20)?)?;
    let time = Duration::from_secs(setting("SOAK_SECS", 15)?);
    let (site, place, relay, server) = behind_relay(20_261_125).await?;
    let mut guests: Vec<(InstanceId, Guest, usize, usize)> = Vec::new();
    for number in 1..=guests_count {
        let instance = id(number.into());
        site.commander.add_instance(instance, &place.name).await?;
        site.commander.switch_instance(instance, &place.name, true).await?;
        let behaviour = Behaviour::normal().every(Duration::from_secs(1));
        guests.push((instance, server.guest(instance, behaviour)?, 0, 0));
    }
    let mut tally = Tally::default();
    let all_alive = || {
        tally.count(&site);
        tally.alive.len() == guests.len()
    };
    until("the VIM knows that they are heartbeating", SETTLE, all_alive).await?;
    relay.set(Faults {
        loss: 0.3,
        doubling: 0.1,
        delaying: 0.3,
        delay: Duration::from_millis(300),
    });
    let (began, mut dice) = (Instant::now(), Dice(1));
    while began.elapsed() < time {
        // Every tenth dies, another tenth is asked, at the same time.
        let first = usize::try_from(dice.below(u64::from(guests_count)))?;
        let tenth = guests.len().div_ceil(10);
        guests.rotate_left(first);
        let (dying, others) = guests.split_at_mut(tenth);
        for (_, guest, deaths, _) in &mut *dying {
            guest.freeze().await?;
            *deaths += 1;
        }
        for (instance, _, _, asked) in others.iter_mut().take(tenth) {
            let answer = site.commander.vote(*instance, &place.name, "stop").await?;
            // Nobody is asked who is not known to be heartbeating.
            *asked += usize::from(answer["timeout"] != "0");
        }
        // They stay dead until the VIM knows: what has not been told before one is back need not be.
        let all_told = || {
            tally.count(&site);
            dying.iter().all(|(instance, _, deaths, _)| tally.alarms(*instance) >= *deaths)
        };
        until("the alarms", SETTLE, all_told).await?;
        for (_, guest, ..) in &*dying {
            guest.thaw().await?;
            guest.restart().await?;
        }
        for (instance, ..) in &*dying {
            server.instance("it is back", *instance, |one| one["heartbeating"] == true).await?;
        }
    }
    relay.set(Faults::default());
    let nothing_waits = async || {
        let status = server.daemon.status().await?;
        ensure!(status["delivery"]["messages"] == 0, "{}", status["delivery"]);
        Ok(())
    };
    until_ok("everything is acknowledged", SETTLE, nothing_waits).await?;
    tally.count(&site);
    let (deaths, asked): (usize, usize) =
        guests.iter().fold((0, 0), |(d, a), (_, _, deaths, asked)| (d + deaths, a + asked));
    let all: usize = guests.iter().map(|(instance, ..)| tally.alarms(*instance)).sum();
    let answered: usize = guests.iter().map(|(instance, ..)| tally.votes(*instance)).sum();
    for (instance, _, deaths, asked) in &guests {
        let (alarms, votes) = (tally.alarms(*instance), tally.votes(*instance));
        ensure!(alarms == *deaths, "{instance}: {alarms} alarms of {deaths} deaths");
        ensure!(votes <= *asked, "{instance}: {votes} outcomes of {asked} votes");
    }
    let fates = relay.fates();
    println!("{deaths} deaths, {all} alarms, {asked} votes asked, {answered} answered, {fates:?}");
    ensure!(all == deaths && deaths > 0, "{all} alarms of {deaths} deaths");
    ensure!(fates.lost > 50 && fates.doubled > 10, "{fates:?}");
    Ok(())
}

/// guestAgent has the LOSS and is killed before the VIM, which is away, has it: its successor gets it anew.
#[tokio::test]
async fn an_alarm_survives_the_death_of_the_agent_that_had_not_told_it_yet() -> Result<()> {
    let (site, place, _relay, server) = behind_relay(7).await?;
    site.commander.add_instance(id(1), &place.name).await?;
    site.commander.switch_instance(id(1), &place.name, true).await?;
    let behaviour = Behaviour::normal().every(Duration::from_millis(500));
    let guest = server.guest(id(1), behaviour)?;
    site.told("heartbeating", id(1), |request| is_state(request, true)).await?;
    site.vim.set_instance(place.id, id(1), true);
    site.vim.leave();
    guest.freeze().await?;
    site.counted("alarms", 1).await?;
    let held = async || {
        let status = site.agent.status().await?;
        ensure!(status["held"] == 1, "{}", status["held"]);
        let status = server.daemon.status().await?;
        ensure!(status["delivery"]["reports"] == 1, "{}", status["delivery"]);
        Ok(())
    };
    until_ok("guestServer keeps it", SOON, held).await?;
    let site = site.restart_agent(async || Ok(())).await?;
    site.vim.come_back();
    until("the alarm", SETTLE, || alarms(&site, id(1)) > 0).await?;
    let done = async || {
        let status = server.daemon.status().await?;
        ensure!(status["delivery"]["reports"] == 0, "{}", status["delivery"]);
        Ok(())
    };
    until_ok("it is done", SOON, done).await?;
    ensure!(alarms(&site, id(1)) == 1, "{} alarms", alarms(&site, id(1)));
    Ok(())
}
