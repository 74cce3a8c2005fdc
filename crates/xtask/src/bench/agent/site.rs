//! A VIM, an mtcAgent, a fleet, and guestAgent started beside them.
//!
//! The neighbours are busy at times: ten hosts that answer a query send a thousand datagrams. They
//! live on a thread that comes after everything else on the load's core, so that they do not hold up
//! what measures.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use lab::daemon::Daemon;
use lab::maintenance::MtcAgent;
use lab::vim::{Vim, VimRequest};
use lab::wait;
use serde_json::Value;
use tokio::sync::oneshot;

use super::super::Setup;
use super::super::cores::{come_after_others, put_after_load};
use super::super::site::PATIENCE;
use super::fleet::{Fleet, Size, host_id, host_ip, hostname, instance_id};

pub(super) const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// How long the VIM may take to be told of every instance, one connection each.
const TELLING: Duration = Duration::from_secs(180);

/// The neighbours.
pub(super) struct Site {
    pub(super) vim: Vim,
    pub(super) mtc: MtcAgent,
    pub(super) fleet: Fleet,
    /// Where each guestServer listens.
    pub(super) server_port: u16,
    size: Size,
    /// Their thread ends when this is dropped.
    _leave: oneshot::Sender<()>,
}

/// guestAgent among them.
pub(super) struct Agent {
    pub(super) site: Site,
    pub(super) daemon: Daemon,
    /// When the daemon was started.
    pub(super) started: Instant,
    /// Where it takes the VIM's commands.
    pub(super) http: SocketAddr,
    /// Where it listens to guestServers.
    pub(super) address: SocketAddr,
}

impl Site {
    pub(super) async fn new(size: Size) -> Result<Self> {
        // The daemons have to know each other's port before they start.
        let server_port = UdpSocket::bind((LOCALHOST, 0))?.local_addr()?.port();
        let (leave, left) = oneshot::channel::<()>();
        let (tell, told) = oneshot::channel();
        let live = move || -> Result<()> {
            come_after_others()?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                // Whoever waits for them may have given up; then nobody waits for the end either.
                drop(tell.send(neighbours(size, server_port).await));
                drop(left.await);
            });
            Ok(())
        };
        std::thread::Builder::new().name("neighbours".into()).spawn(live)?;
        let (vim, mtc, fleet) = told.await.context("the neighbours' thread ended")??;
        Ok(Self { vim, mtc, fleet, server_port, size, _leave: leave })
    }

    /// Starts guestAgent on its core, and waits until it is ready.
    pub(super) async fn start(self, setup: &Setup) -> Result<Agent> {
        let (server_port, mtc_port) = (self.server_port.to_string(), self.mtc.port().to_string());
        let vim = self.vim.url();
        let args = [
            ["--bind", "127.0.0.1"],
            ["--agent-port", "0"],
            ["--server-port", &server_port],
            ["--listen", "127.0.0.1:0"],
            ["--vim", &vim],
            ["--mtc", "127.0.0.1"],
            ["--mtc-event-port", &mtc_port],
            ["--mtc-command-port", "0"],
            ["--floating-ip", "127.0.0.1"],
            ["--hostname", "controller-0"],
        ];
        let args = args.as_flattened();
        let started = Instant::now();
        let start = || Daemon::start(&setup.agent, args, &[]);
        let mut daemon = setup.cores.on_daemons(start)??;
        daemon.wait_ready(PATIENCE).await?;
        put_after_load(daemon.pid())?;
        let status = daemon.status().await?;
        let address = |key: &str| -> Result<SocketAddr> {
            Ok(status[key].as_str().with_context(|| format!("no {key} in {status}"))?.parse()?)
        };
        let (http, address) = (address("http")?, address("address")?);
        Ok(Agent { site: self, daemon, started, http, address })
    }
}

async fn neighbours(size: Size, server_port: u16) -> Result<(Vim, MtcAgent, Fleet)> {
    let (vim, mtc) = (Vim::start(LOCALHOST)?, MtcAgent::start(LOCALHOST)?);
    for host in 0..size.hosts {
        let name = hostname(host);
        vim.set_host(host_id(host), &name, true);
        mtc.add_host(host_id(host), &name, &host_ip(host).to_string())?;
        for instance in 0..size.instances {
            let instance = instance_id(host * size.instances + instance);
            vim.set_instance(host_id(host), instance, true);
        }
    }
    Ok((vim, mtc, Fleet::start(size, server_port).await?))
}

impl Agent {
    /// Waits until the VIM knows the state of every instance, and says when every guestServer knew
    /// its instances and when that was.
    pub(super) async fn settle(&self) -> Result<(Duration, Duration)> {
        let all = usize::try_from(self.site.size.all())?;
        let mut told = 0;
        let what = format!("the VIM is told of {all} instances");
        wait::until(&what, TELLING, || {
            told += self.site.vim.drain().iter().filter(|request| is_event(request)).count();
            told >= all
        })
        .await?;
        let told = self.started.elapsed();
        let known = self.site.fleet.all_known().context("not every instance is known")?;
        Ok((known.saturating_duration_since(self.started), told))
    }

    /// One of the daemon's own counters.
    pub(super) async fn metric(&self, name: &str) -> Result<u64> {
        let status = self.daemon.status().await?;
        status["metrics"][name].as_u64().with_context(|| format!("no metric {name}"))
    }

    /// Waits until nothing waits for the VIM any more.
    pub(super) async fn delivered(&self) -> Result<()> {
        wait::until_ok("the VIM is told everything", TELLING, async || {
            let status: Value = self.daemon.status().await?;
            (status["outbox"]["events"] == 0).then_some(()).context("not yet")
        })
        .await
    }

    /// The daemon's memory, in MiB.
    pub(super) fn rss_mib(&self) -> Result<f64> {
        Ok(self.daemon.rss_kib()? as f64 / 1024.0)
    }

    pub(super) async fn stop(mut self) -> Result<()> {
        let status = self.daemon.stop(PATIENCE).await?;
        anyhow::ensure!(status.success(), "guestAgent ended with {status}");
        Ok(())
    }
}

/// Whether this tells something, and does not ask.
pub(super) fn is_event(request: &VimRequest) -> bool {
    request.method == "PATCH"
}
