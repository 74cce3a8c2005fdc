//! Both daemons with a VIM, a maintenance system and guests around them, and what an operator wants to see of them
//! whatever happens.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use end_to_end::agent::{Place, RealServer, ServerSetup, Site, SiteSetup, is_alarm, is_state};
use end_to_end::host::all_beat;
use end_to_end::{SOON, id};
use lab::daemon::Daemon;
use lab::guest::{Behaviour, Guest};
use lab::wait::until;

/// How often guests are challenged.
pub(crate) const INTERVAL: Duration = Duration::from_millis(500);

/// Within this a dead guest is an alarm at the VIM: two intervals until it is given up, up to one until the first of
/// them begins, and what a busy machine needs besides.
pub(crate) const BOUND: Duration = Duration::from_secs(5);

/// A site with one host, on which the real guestServer runs.
pub(crate) struct Rig {
    pub(crate) site: Site,
    pub(crate) place: Place,
    pub(crate) server: RealServer,
    pub(crate) guests: Vec<Guest>,
}

impl Rig {
    /// With so many guests, which the VIM knows to be heartbeating and whose faults are reported.
    pub(crate) async fn start(guests: u128) -> Result<Self> {
        Self::set_up(SiteSetup::default(), |_| {}, guests).await
    }

    /// The same, with daemons that are set up otherwise.
    pub(crate) async fn set_up(
        site: SiteSetup,
        server: impl FnOnce(&mut ServerSetup),
        guests: u128,
    ) -> Result<Self> {
        let site = Site::set_up(site).await?;
        let place = site.host(1, true).await?;
        let mut setup = site.server_setup(&place);
        server(&mut setup);
        let server = setup.start(&place.name).await?;
        let mut rig = Self { site, place, server, guests: Vec::new() };
        for _ in 0..guests {
            rig.add(Behaviour::normal().every(INTERVAL)).await?;
        }
        Ok(rig)
    }

    /// The identifier of the `n`th guest, from 0 on.
    pub(crate) fn id(n: usize) -> heartbeat_proto::InstanceId {
        id(n as u128 + 1)
    }

    /// Makes the next instance known, with its faults reported.
    pub(crate) async fn provision(&self) -> Result<heartbeat_proto::InstanceId> {
        let instance = Self::id(self.guests.len());
        self.site.vim.set_instance(self.place.id, instance, true);
        self.site.commander.add_instance(instance, &self.place.name).await?;
        self.site.commander.switch_instance(instance, &self.place.name, true).await?;
        Ok(instance)
    }

    /// One more guest, which is heartbeating when this returns.
    pub(crate) async fn add(&mut self, behaviour: Behaviour) -> Result<()> {
        let instance = self.provision().await?;
        self.guests.push(self.server.guest(instance, behaviour)?);
        self.site.told("heartbeating", instance, |one| is_state(one, true)).await?;
        Ok(())
    }

    /// The instances whose alarms the VIM got, as often as it got them.
    pub(crate) fn alarms(&self) -> Vec<String> {
        alarms(&self.site)
    }

    /// That the guests answer, that no alarm but of these reached the VIM, and that both daemons say how they are.
    pub(crate) async fn well<'a>(&'a self, but: &[usize]) -> Result<()> {
        let alive = |&(n, _): &(usize, &'a Guest)| !but.contains(&n);
        let guests = self.guests.iter().enumerate().filter(alive).map(|(_, guest)| guest);
        // Longer than a loss would take.
        all_beat(guests, 3).await?;
        self.site.agent.status().await?;
        self.server.daemon.status().await?;
        self.no_alarms(but)
    }

    /// That the VIM got no alarm but of these guests.
    pub(crate) fn no_alarms(&self, but: &[usize]) -> Result<()> {
        let expected: Vec<_> = but.iter().map(|&n| Self::id(n).to_string()).collect();
        let mut alarms = self.alarms();
        alarms.retain(|instance| !expected.contains(instance));
        ensure!(alarms.is_empty(), "false alarms: {alarms:?}; {}", self.logs());
        Ok(())
    }

    /// A guest dies: that becomes one alarm at the VIM within the bound, and none of another guest.
    pub(crate) async fn a_death_is_told(&self, n: usize) -> Result<()> {
        self.guests[n].freeze().await?;
        self.dead_since(n, Instant::now(), BOUND).await
    }

    /// The `n`th guest is dead and its death can be noticed since then: that becomes one alarm within the bound.
    pub(crate) async fn dead_since(&self, n: usize, since: Instant, bound: Duration) -> Result<()> {
        let told = self.site.told("the alarm", Self::id(n), |one| is_alarm(one, "failed")).await;
        let took = told.with_context(|| self.logs())?.at.saturating_duration_since(since);
        ensure!(took < bound, "the alarm came after {took:?}; {}", self.logs());
        let count = self.alarms().iter().filter(|&one| *one == Self::id(n).to_string()).count();
        ensure!(count == 1, "{count} alarms of one death; {}", self.logs());
        Ok(())
    }

    /// What both daemons said, for an error.
    pub(crate) fn logs(&self) -> String {
        let (server, agent) = (self.server.daemon.stderr(), self.site.agent.stderr());
        format!("guestServer:\n{server}guestAgent:\n{agent}")
    }
}

/// The instances whose alarms the VIM of this site got.
pub(crate) fn alarms(site: &Site) -> Vec<String> {
    let requests = site.vim.requests();
    let alarms = requests.iter().filter(|one| one.event_type() == "alarm");
    alarms.map(|one| one.instance().to_owned()).collect()
}

/// That the daemon says this in one line, and not in many.
pub(crate) async fn says_once(daemon: &Daemon, words: &[&str]) -> Result<()> {
    let wanted = |line: &str| words.iter().all(|word| line.contains(word));
    until(&format!("the log says {words:?}"), SOON, || daemon.stderr().lines().any(wanted))
        .await
        .with_context(|| daemon.stderr())?;
    let count = daemon.stderr().lines().filter(|line| wanted(line)).count();
    ensure!(count == 1, "{count} lines say {words:?}:\n{}", daemon.stderr());
    Ok(())
}

/// That the daemon does not start but ends with code 3 and a last line that says all of this.
pub(crate) async fn refuses(daemon: &mut Daemon, words: &[&str]) -> Result<()> {
    let status = daemon.wait_exit(Duration::from_secs(5)).await?;
    ensure!(status.code() == Some(3), "{status}: {}", daemon.stderr());
    let log = daemon.stderr();
    let last = log.lines().last().unwrap_or_default();
    ensure!(words.iter().all(|word| last.contains(word)), "{log}");
    Ok(())
}

/// Where the first computer of a network is that is laid with cables.
pub(crate) fn cabled(computer: u8) -> std::net::Ipv4Addr {
    std::net::Ipv4Addr::new(10, 9, 0, computer)
}

/// A site whose guestAgent is on that network.
pub(crate) fn cabled_site() -> SiteSetup {
    let floating: IpAddr = cabled(1).into();
    SiteSetup { network: Some([10, 9, 0]), floating: Some(floating), ..SiteSetup::default() }
}
