//! A site: guestAgent with a VIM and an mtcAgent around it, and hosts with whichever guestServer a test wants.
//!
//! Every site has a network of its own among the loopback addresses, so that all its hosts can have the same port.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::Output;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};
use heartbeat_proto::{HostId, InstanceId};
use lab::daemon::{self, Daemon};
use lab::maintenance::MtcAgent;
use lab::server::Server;
use lab::vim::{Commander, Vim, VimRequest};
use lab::wait::{until, until_ok};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

use crate::launch::Launch;
pub use crate::server::{RealServer, ServerSetup};
use crate::{SOON, golden};

const VIM: &str = include_str!("../../crates/heartbeat-proto/testdata/vim.jsonl");

const DATAGRAMS: &str = include_str!("../../crates/heartbeat-proto/testdata/datagrams.jsonl");

/// Sites of this process so far.
static SITES: AtomicU32 = AtomicU32::new(0);

/// The network of a site: the first three bytes of its addresses.
pub type Network = [u8; 3];

/// The address of a computer on the network of a site.
fn address([first, second, third]: Network, computer: u8) -> IpAddr {
    Ipv4Addr::new(first, second, third, computer).into()
}

/// Loopback addresses that no other test uses at this time, most likely.
fn network() -> Network {
    let number = (std::process::id() * 32 + SITES.fetch_add(1, Ordering::Relaxed)) & 0x7fff;
    let [_, _, high, low] = number.to_be_bytes();
    [127, 128 | high, low]
}

/// What a site is to be like.
#[derive(Debug, Clone, Default)]
pub struct SiteSetup {
    /// Its network, if not one of its own among the loopback addresses.
    pub network: Option<Network>,
    /// Which address of the network guestAgent has, if not the first.
    pub computer: Option<u8>,
    /// guestAgent's port for guestServers, if not any that is free.
    pub agent_port: Option<u16>,
    /// The port of every guestServer, likewise.
    pub server_port: Option<u16>,
    /// The floating address, if not the one in the golden datagrams.
    pub floating: Option<IpAddr>,
    /// guestAgent's further arguments.
    pub args: Vec<String>,
    /// How guestAgent is started.
    pub launch: Launch,
}

/// A host of a site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its identifier.
    pub id: HostId,
    /// Its name.
    pub name: String,
    /// Its address.
    pub ip: IpAddr,
}

/// guestAgent and its neighbours on the controller.
#[derive(Debug)]
pub struct Site {
    /// The orchestrator's event server.
    pub vim: Vim,
    /// The maintenance system.
    pub mtc: MtcAgent,
    /// The real guestAgent.
    pub agent: Daemon,
    /// The orchestrator's commands.
    pub commander: Commander,
    /// Where guestAgent listens for guestServers.
    pub address: SocketAddr,
    /// Where it listens for commands over HTTP.
    pub http: SocketAddr,
    /// The port of every guestServer.
    pub server_port: u16,
    maintenance: SocketAddr,
    network: Network,
    launch: Launch,
    args: Vec<String>,
    home: TempDir,
}

/// guestAgent's arguments for these ports.
fn arguments(ip: IpAddr, ports: [u16; 3]) -> Vec<String> {
    let [agent, http, maintenance] = ports;
    [
        ("--bind", ip.to_string()),
        ("--agent-port", agent.to_string()),
        ("--listen", SocketAddr::new(ip, http).to_string()),
        ("--mtc-command-port", maintenance.to_string()),
    ]
    .into_iter()
    .flat_map(|(option, value)| [option.to_owned(), value])
    .collect()
}

impl Site {
    /// A site without hosts, whose floating address is the one in the golden datagrams.
    ///
    /// # Errors
    ///
    /// guestAgent does not get ready.
    pub async fn start() -> Result<Self> {
        Self::start_with(&[]).await
    }

    /// A site whose guestAgent has these further arguments.
    ///
    /// # Errors
    ///
    /// guestAgent does not get ready.
    pub async fn start_with(further: &[&str]) -> Result<Self> {
        let args = further.iter().map(ToString::to_string).collect();
        Self::set_up(SiteSetup { args, ..SiteSetup::default() }).await
    }

    /// A site that is set up like this.
    ///
    /// # Errors
    ///
    /// guestAgent does not get ready.
    pub async fn set_up(setup: SiteSetup) -> Result<Self> {
        let SiteSetup {
            network: given,
            computer,
            agent_port,
            server_port,
            floating,
            args: further,
            launch,
        } = setup;
        let network = given.unwrap_or_else(network);
        let ip = address(network, computer.unwrap_or(1));
        let vim = Vim::start(ip)?;
        let mtc = MtcAgent::start(ip)?;
        let free_port = || anyhow::Ok(UdpSocket::bind((ip, 0))?.local_addr()?.port());
        let server_port = server_port.map_or_else(free_port, Ok)?;
        let floating = floating.map_or(golden::CONTROLLER.to_owned(), |ip| ip.to_string());
        let home = TempDir::with_prefix("end-to-end-")?;
        let ini = home.path().join("guestAgent.ini");
        std::fs::write(&ini, "")?;
        let mut args: Vec<String> = [
            ("--config", ini.to_string_lossy().into_owned()),
            ("--server-port", server_port.to_string()),
            ("--mtc", ip.to_string()),
            ("--mtc-event-port", mtc.port().to_string()),
            ("--floating-ip", floating),
            ("--hostname", "controller-0".to_owned()),
        ]
        .into_iter()
        .flat_map(|(option, value)| [option.to_owned(), value])
        .collect();
        if !further.iter().any(|argument| argument == "--vim") {
            args.extend(["--vim".to_owned(), vim.url()]);
        }
        args.extend(further);
        let first = args.iter().cloned().chain(arguments(ip, [agent_port.unwrap_or(0), 0, 0]));
        let mut agent = launch.start("guestAgent", first)?;
        agent.wait_ready(SOON).await?;
        let status = agent.status().await?;
        let at = |key: &str| -> Result<SocketAddr> {
            Ok(status[key].as_str().with_context(|| format!("no {key}: {status}"))?.parse()?)
        };
        let (address, http, maintenance) = (at("address")?, at("http")?, at("maintenance")?);
        let commander = Commander::new(http);
        mtc.wait_asked(SOON).await?;
        Ok(Self {
            vim,
            mtc,
            agent,
            commander,
            address,
            http,
            server_port,
            maintenance,
            network,
            launch,
            args,
            home,
        })
    }

    /// Kills guestAgent, does something while it is dead, and starts it again where it was, among what it left.
    ///
    /// # Errors
    ///
    /// It does not get ready.
    pub async fn restart_agent(
        mut self,
        meanwhile: impl AsyncFnOnce() -> Result<()>,
    ) -> Result<Self> {
        let dir = self.agent.into_dir().await?;
        meanwhile().await?;
        let ports = [self.address.port(), self.http.port(), self.maintenance.port()];
        let args = self.args.iter().cloned().chain(arguments(self.address.ip(), ports));
        self.agent = self.launch.start_in(dir, "guestAgent", args)?;
        self.agent.wait_ready(SOON).await?;
        Ok(self)
    }

    /// guestAgent's configuration file.
    #[must_use]
    pub fn ini(&self) -> PathBuf {
        self.home.path().join("guestAgent.ini")
    }

    /// An address on the site's network; hosts have those from 10 on.
    #[must_use]
    pub fn ip(&self, computer: u8) -> IpAddr {
        address(self.network, computer)
    }

    /// The `n`th host, whether it is known to anybody or not.
    #[must_use]
    pub fn place(&self, n: u8) -> Place {
        Place {
            id: HostId::from_u128(0xc0de_0000_0000_0000_0000_0000_0000_0000 | u128::from(n)),
            name: format!("compute-{n}"),
            ip: self.ip(10 + n),
        }
    }

    /// The `n`th host, of which the VIM says whether its faults are reported, and the maintenance system that it is
    /// there; known to guestAgent when this returns.
    ///
    /// # Errors
    ///
    /// guestAgent does not get to know it.
    pub async fn host(&self, n: u8, reporting: bool) -> Result<Place> {
        let place = self.place(n);
        self.vim.set_host(place.id, &place.name, reporting);
        self.mtc.add_host(place.id, &place.name, &place.ip.to_string())?;
        self.known(&place, reporting).await?;
        Ok(place)
    }

    /// Waits until guestAgent knows the host and what the VIM says of it.
    ///
    /// # Errors
    ///
    /// It does not soon.
    pub async fn known(&self, place: &Place, reporting: bool) -> Result<()> {
        self.status(&format!("{} is known", place.name), |status| {
            let known = status["hosts"].as_array().into_iter().flatten();
            known
                .filter(|host| host["known_to_vim"] == true && host["reporting"] == reporting)
                .any(|host| host["hostname"] == *place.name && host["ip"] == place.ip.to_string())
        })
        .await
        .map(drop)
    }

    /// A C++-like guestServer on a host; guestAgent has heard that it is ready when this returns.
    ///
    /// # Errors
    ///
    /// It cannot be started, or guestAgent does not hear it.
    pub async fn server(&self, place: &Place) -> Result<Server> {
        let at = SocketAddr::new(place.ip, self.server_port);
        let server = Server::start(&place.name, at, self.address).await?;
        let ready =
            |line: &str| line.contains("guestServer is ready") && line.contains(&place.name);
        self.agent.wait_log("MONITOR_READY", SOON, ready).await?;
        Ok(server)
    }

    /// The real guestServer on a host, with a channel directory of its own.
    ///
    /// # Errors
    ///
    /// It does not get ready.
    pub async fn real_server(&self, place: &Place) -> Result<RealServer> {
        self.real_server_at(place, SocketAddr::new(place.ip, self.server_port), self.address.ip())
            .await
    }

    /// As [`Site::real_server`], at another address and with another address of the controller.
    ///
    /// # Errors
    ///
    /// It does not get ready.
    pub async fn real_server_at(
        &self,
        place: &Place,
        at: SocketAddr,
        controller: IpAddr,
    ) -> Result<RealServer> {
        let controller = controller.to_string();
        let setup = ServerSetup {
            bind: Some(at.ip()),
            port: at.port(),
            controller,
            ..self.server_setup(place)
        };
        setup.start(&place.name).await
    }

    /// What the real guestServer of this host is to be like, for a test to change.
    #[must_use]
    pub fn server_setup(&self, place: &Place) -> ServerSetup {
        ServerSetup {
            bind: Some(place.ip),
            port: self.server_port,
            controller: self.address.ip().to_string(),
            controllers: String::new(),
            agent_port: self.address.port(),
            launch: Launch::default(),
        }
    }

    /// guestAgent's status, once that is `wanted`.
    ///
    /// # Errors
    ///
    /// It is not soon.
    pub async fn status(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let look = async || {
            let status = self.agent.status().await?;
            ensure!(wanted(&status), "{status}");
            Ok(status)
        };
        let looked = until_ok(what, SOON, look).await;
        looked.with_context(|| format!("guestAgent:\n{}", self.agent.stderr()))
    }

    /// What guestAgent's status says of an instance, once that is `wanted`.
    ///
    /// # Errors
    ///
    /// It is not soon.
    pub async fn instance(
        &self,
        what: &str,
        instance: InstanceId,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let found = |status: &Value| find(status, instance).is_some_and(&wanted);
        let status = self.status(what, found).await?;
        Ok(find(&status, instance).cloned().unwrap_or_default())
    }

    /// Waits until a counter of guestAgent's is at least `value`.
    ///
    /// # Errors
    ///
    /// It is not soon.
    pub async fn counted(&self, name: &str, value: u64) -> Result<Value> {
        let wanted = |status: &Value| {
            status["metrics"][name].as_u64().is_some_and(|counted| counted >= value)
        };
        self.status(&format!("{name} is {value}"), wanted).await
    }

    /// Waits for the next request about an instance that `wanted` takes.
    ///
    /// # Errors
    ///
    /// The VIM does not get it soon.
    pub async fn told(
        &self,
        what: &str,
        instance: InstanceId,
        wanted: impl Fn(&VimRequest) -> bool,
    ) -> Result<VimRequest> {
        let instance = instance.to_string();
        let wanted = |request: &VimRequest| request.instance() == instance && wanted(request);
        let told = self.vim.wait_for(what, SOON, wanted).await;
        told.with_context(|| format!("guestAgent:\n{}", self.agent.stderr()))
    }

    /// Waits until nothing waits for the VIM.
    ///
    /// # Errors
    ///
    /// Something does for too long.
    pub async fn all_told(&self) -> Result<Value> {
        self.status("all is told", |status| {
            status["outbox"]["events"] == 0 && status["outbox"]["questions"] == 0
        })
        .await
    }

    /// What the VIM was told about an instance so far, in order.
    #[must_use]
    pub fn told_of(&self, instance: InstanceId) -> Vec<VimRequest> {
        let instance = instance.to_string();
        let about =
            |request: &VimRequest| request.method == "PATCH" && request.instance() == instance;
        self.vim.requests().into_iter().filter(about).collect()
    }

    /// Waits until a look at all that the VIM was told is `wanted`.
    ///
    /// # Errors
    ///
    /// It is not soon.
    pub async fn vim_has(
        &self,
        what: &str,
        mut wanted: impl FnMut(&[VimRequest]) -> bool,
    ) -> Result<()> {
        let waited = until(what, SOON, || wanted(&self.vim.requests())).await;
        waited.with_context(|| format!("guestAgent:\n{}", self.agent.stderr()))
    }
}

/// What a daemon's status says of an instance.
#[must_use]
pub fn find(status: &Value, instance: InstanceId) -> Option<&Value> {
    let uuid = instance.to_string();
    status["instances"].as_array()?.iter().find(|one| one["uuid"] == uuid.as_str())
}

/// Whether an event says that its instance is heartbeating, or is not.
#[must_use]
pub fn is_state(request: &VimRequest, heartbeating: bool) -> bool {
    let word = if heartbeating { "enabled" } else { "disabled" };
    request.event_type() == "service" && request.service()["status"] == word
}

/// Whether an event is an alarm of this state.
#[must_use]
pub fn is_alarm(request: &VimRequest, state: &str) -> bool {
    request.event_type() == "alarm" && request.service()["state"] == state
}

/// What a C++ guestAgent said to the VIM.
#[derive(Debug, Clone)]
pub struct GoldenRequest {
    /// Request line and headers.
    pub head: String,
    /// The body.
    pub body: String,
}

/// The golden request whose path and body contain all of these.
///
/// # Errors
///
/// There is none.
pub fn golden_request(with: &[&str]) -> Result<GoldenRequest> {
    for line in VIM.lines() {
        let entry: Value = serde_json::from_str(line)?;
        let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        let (head, body) = (text("head"), text("body"));
        if with.iter().all(|with| head.contains(with) || body.contains(with)) {
            return Ok(GoldenRequest { head, body });
        }
    }
    anyhow::bail!("no golden request with {with:?}")
}

/// What a C++ guestAgent sent to mtcAgent: MONITOR_READY.
///
/// # Errors
///
/// The golden file is broken.
pub fn golden_ready() -> Result<Vec<u8>> {
    let line = DATAGRAMS.lines().find(|line| line.contains("agent to mtcAgent"));
    let entry: Value = serde_json::from_str(line.context("no golden MONITOR_READY")?)?;
    let hex = entry["hex"].as_str().context("no hex")?;
    let byte = |at| Ok(u8::from_str_radix(hex.get(at..at + 2).context("odd hex")?, 16)?);
    (0..hex.len()).step_by(2).map(byte).collect()
}

/// Fails unless the request is the golden one: in its first line, its headers but for the VIM's port and the length
/// of a body that has other spaces, its JSON; and it was sent in one write.
///
/// # Errors
///
/// It differs.
pub fn assert_golden(request: &VimRequest, golden: &GoldenRequest, vim: &str) -> Result<()> {
    let headers = |head: &str, host: &str, length: usize| {
        let mut lines: Vec<String> = head
            .lines()
            .map(|line| match line.split_once(": ") {
                Some(("Host", value)) => format!("Host: {}", value.replace(host, "VIM")),
                Some(("Content-Length", value)) => {
                    format!("Content-Length: {}", value.replace(&length.to_string(), "LENGTH"))
                }
                _ => line.to_owned(),
            })
            .collect();
        lines[1..].sort();
        lines
    };
    let ours = headers(&request.head, vim.trim_start_matches("http://"), request.body.len());
    let theirs = headers(&golden.head, "127.0.0.1:30002", golden.body.len());
    ensure!(ours == theirs, "{ours:#?} instead of {theirs:#?}");
    if golden.body.is_empty() {
        ensure!(request.body.is_empty(), "a body: {}", request.body);
    } else {
        let wanted: Value = serde_json::from_str(&golden.body)?;
        ensure!(request.json() == wanted, "{} instead of {}", request.body, golden.body);
    }
    ensure!(request.reads == 1, "it came in {} pieces", request.reads);
    Ok(())
}

/// Runs guestAgent's binary to its end.
///
/// # Errors
///
/// It cannot be started, or does not end.
pub async fn run(args: &[&str]) -> Result<Output> {
    let mut command = Command::new(daemon::binary("guestAgent")?);
    let output = command.args(args).kill_on_drop(true).output();
    Ok(timeout(SOON, output).await.context("it does not end")??)
}
