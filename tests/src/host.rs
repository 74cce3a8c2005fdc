//! A host: guestServer with a channel directory of its own, and the controller that it reports to.

use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Output;

use anyhow::{Context, Result, ensure};
use heartbeat_proto::control::ServerEvent;
use heartbeat_proto::{HostId, InstanceId};
use lab::controller::{Arrival, Controller};
use lab::daemon::{self, Daemon};
use lab::guest::{Behaviour, Guest};
use lab::wait::{until, until_ok};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

use crate::{SOON, golden};

/// The configuration that a host has unless a test says otherwise: guests may ask for 100 ms.
pub const INI: &str = "[client]\nhbs_pulse_period = 100\n";

/// What a host is to be like.
#[derive(Debug, Clone)]
pub struct Setup {
    args: Vec<String>,
    env: Vec<(String, String)>,
    ini: String,
    controller: IpAddr,
    controller_name: Option<String>,
    no_channel_dir: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            args: Vec::new(),
            env: Vec::new(),
            ini: INI.into(),
            controller: Ipv4Addr::LOCALHOST.into(),
            controller_name: None,
            no_channel_dir: false,
        }
    }
}

impl Setup {
    /// With these further arguments.
    #[must_use]
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(ToString::to_string));
        self
    }

    /// With this in the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// With this configuration file instead of [`INI`].
    #[must_use]
    pub fn ini(mut self, ini: &str) -> Self {
        self.ini = ini.into();
        self
    }

    /// With the controller at this address instead of 127.0.0.1.
    #[must_use]
    pub fn controller(mut self, ip: IpAddr) -> Self {
        self.controller = ip;
        self
    }

    /// With the controller given by this name instead of its address.
    #[must_use]
    pub fn controller_name(mut self, name: &str) -> Self {
        self.controller_name = Some(name.into());
        self
    }

    /// Without a channel directory: it is made later.
    #[must_use]
    pub fn without_channel_dir(mut self) -> Self {
        self.no_channel_dir = true;
        self
    }

    /// Starts the daemon and waits until it has said MONITOR_READY.
    ///
    /// # Errors
    ///
    /// It does not get ready.
    pub async fn start(self) -> Result<Host> {
        let host = self.start_unready()?;
        host.ready().await
    }

    /// Starts the daemon without waiting for anything.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub fn start_unready(self) -> Result<Host> {
        // Hundreds of guests are in this process.
        daemon_kit::raise_open_files()?;
        let home = TempDir::with_prefix("end-to-end-")?;
        std::fs::write(home.path().join("guestServer.ini"), &self.ini)?;
        if !self.no_channel_dir {
            std::fs::create_dir(home.path().join("qemu"))?;
        }
        let controller = Controller::bind(self.controller)?;
        let mut args =
            vec!["--config".into(), home.path().join("guestServer.ini").into_os_string()];
        args.extend(["--channel-dir".into(), home.path().join("qemu").into_os_string()]);
        let name = self.controller_name.clone().unwrap_or_else(|| controller.ip().to_string());
        let port = controller.port().to_string();
        args.extend(
            [
                ["--bind", "127.0.0.1"],
                ["--server-port", "0"],
                ["--controller", &name],
                ["--agent-port", &port],
                ["--hostname", golden::HOSTNAME],
            ]
            .concat()
            .into_iter()
            .chain(self.args.iter().map(String::as_str))
            .map(Into::into),
        );
        let env: Vec<_> = self.env.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let daemon = Daemon::start(&daemon::binary("guestServer")?, args, &env)?;
        Ok(Host { daemon, controller, home })
    }
}

/// A host with its daemon and its controller.
#[derive(Debug)]
pub struct Host {
    /// The real guestServer.
    pub daemon: Daemon,
    /// A stand-in for guestAgent.
    pub controller: Controller,
    home: TempDir,
}

impl Host {
    /// A host like any other.
    ///
    /// # Errors
    ///
    /// The daemon does not get ready.
    pub async fn start() -> Result<Self> {
        Setup::default().start().await
    }

    /// Waits until the daemon is ready and has said MONITOR_READY.
    ///
    /// # Errors
    ///
    /// It does not.
    pub async fn ready(mut self) -> Result<Self> {
        self.daemon.wait_ready(SOON).await?;
        let ready = |event: &ServerEvent| matches!(event, ServerEvent::MonitorReady);
        self.controller.wait_for("MONITOR_READY", SOON, ready).await?;
        Ok(self)
    }

    /// Parts with the daemon; what is left keeps the controller and the directory.
    #[must_use]
    pub fn split(self) -> (Daemon, (Controller, TempDir)) {
        (self.daemon, (self.controller, self.home))
    }

    /// A directory that goes with the host, on the file system of the channel directory.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.home.path().into()
    }

    /// The configuration file.
    #[must_use]
    pub fn ini(&self) -> PathBuf {
        self.home.path().join("guestServer.ini")
    }

    /// The channel directory.
    #[must_use]
    pub fn channel_dir(&self) -> PathBuf {
        self.home.path().join("qemu")
    }

    /// Starts a guest on this host.
    ///
    /// # Errors
    ///
    /// Its socket cannot be made.
    pub fn guest(&self, instance: InstanceId, behaviour: Behaviour) -> Result<Guest> {
        Guest::start(&self.channel_dir(), instance, behaviour)
    }

    /// Starts a guest, waits until it is reported as running, and has its faults reported, or not.
    ///
    /// # Errors
    ///
    /// It does not run soon.
    pub async fn running(
        &self,
        instance: InstanceId,
        behaviour: Behaviour,
        reporting: bool,
    ) -> Result<Guest> {
        self.controller.add_instance(instance, reporting)?;
        let reported = |status: &Value| status["reporting"] == reporting;
        self.instance("it is provisioned", instance, reported).await?;
        let guest = self.guest(instance, behaviour)?;
        self.event("RUNNING", instance).await?;
        Ok(guest)
    }

    /// Waits for the next event of this name about the instance; what came before it about the instance is consumed.
    ///
    /// # Errors
    ///
    /// There is none soon.
    pub async fn event(&self, name: &str, instance: InstanceId) -> Result<Arrival> {
        self.controller.wait_about(instance, name, SOON, |arrival| name_of(arrival) == name).await
    }

    /// Waits for whatever is next told about the instance.
    ///
    /// # Errors
    ///
    /// Nothing is soon.
    pub async fn next_event(&self, instance: InstanceId) -> Result<Arrival> {
        self.controller.wait_about(instance, "event", SOON, |_| true).await
    }

    /// The names of all that was told about the instance so far. RUNNING several times in a row counts once: a guest
    /// says `init` again when its host is slow.
    #[must_use]
    pub fn told(&self, instance: InstanceId) -> Vec<&'static str> {
        let about = |arrival: &&Arrival| arrival.instance() == Some(instance);
        let arrivals = self.controller.arrivals();
        let mut names: Vec<_> = arrivals.iter().filter(about).map(name_of).collect();
        names.dedup_by(|next, last| next == last && *last == "RUNNING");
        names
    }

    /// Waits until all that was told about the instance are exactly these.
    ///
    /// # Errors
    ///
    /// It is not soon, or becomes something else.
    pub async fn has_told(&self, instance: InstanceId, names: &[&str]) -> Result<()> {
        let look = async || {
            let told = self.told(instance);
            ensure!(told == names, "{told:?}");
            Ok(())
        };
        until_ok(&format!("{names:?} is told of {instance}"), SOON, look).await
    }

    /// Asks the controller's question and waits for the answer about the instance: whatever was sent before has been
    /// dealt with then.
    ///
    /// # Errors
    ///
    /// There is no answer soon.
    pub async fn query(&self, instance: InstanceId) -> Result<Arrival> {
        self.controller.query()?;
        self.event("QRY_INST", instance).await
    }

    /// Switches the reporting of the host, and waits until that is in force.
    ///
    /// # Errors
    ///
    /// It is not soon.
    pub async fn set_host_reporting(&self, reporting: bool) -> Result<()> {
        self.controller.mod_host(HostId::from_u128(7), reporting)?;
        let status = async || {
            let status = self.daemon.status().await?;
            ensure!(status["host_reporting"] == reporting, "{status}");
            Ok(())
        };
        until_ok("the host's reporting is switched", SOON, status).await
    }

    /// What the status says of the instance, once that is `wanted`.
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
        let look = async || {
            let found = self.find(instance).await?.context("it is not known")?;
            ensure!(wanted(&found), "{found}");
            Ok(found)
        };
        until_ok(what, SOON, look).await
    }

    /// Waits until the status does not show the instance.
    ///
    /// # Errors
    ///
    /// It does.
    pub async fn forgotten(&self, instance: InstanceId) -> Result<()> {
        let look = async || {
            let found = self.find(instance).await?;
            ensure!(found.is_none(), "{found:?}");
            Ok(())
        };
        until_ok(&format!("{instance} is forgotten"), SOON, look).await
    }

    /// What the status says of the instance now, if it is known.
    ///
    /// # Errors
    ///
    /// The daemon does not answer.
    pub async fn find(&self, instance: InstanceId) -> Result<Option<Value>> {
        let uuid = instance.to_string();
        Ok(self.instances().await?.into_iter().find(|one| one["uuid"] == uuid.as_str()))
    }

    /// What the status says of every instance.
    ///
    /// # Errors
    ///
    /// The daemon does not answer.
    pub async fn instances(&self) -> Result<Vec<Value>> {
        let status = self.daemon.status().await?;
        Ok(status["instances"].as_array().context("no instances")?.clone())
    }

    /// A counter of the daemon's.
    ///
    /// # Errors
    ///
    /// There is no such counter.
    pub async fn metric(&self, name: &str) -> Result<u64> {
        let status = self.daemon.status().await?;
        status["metrics"][name].as_u64().with_context(|| format!("no metric {name}"))
    }

    /// Waits until a counter has come to exactly `value`, and fails when it goes beyond.
    ///
    /// # Errors
    ///
    /// It does not soon.
    pub async fn counted(&self, name: &str, value: u64) -> Result<()> {
        let look = async || {
            let counted = self.metric(name).await?;
            ensure!(counted >= value, "{name} is {counted}");
            Ok(counted)
        };
        let counted = until_ok(&format!("{name} is {value}"), SOON, look).await?;
        ensure!(counted == value, "{name} is {counted}, not {value}");
        Ok(())
    }

    /// Waits until a counter has come to at least `value`.
    ///
    /// # Errors
    ///
    /// It does not soon.
    pub async fn counted_at_least(&self, name: &str, value: u64) -> Result<()> {
        let look = async || {
            let counted = self.metric(name).await?;
            ensure!(counted >= value, "{name} is {counted}");
            Ok(())
        };
        until_ok(&format!("{name} is at least {value}"), SOON, look).await
    }

    /// Where the daemon listens for datagrams.
    ///
    /// # Errors
    ///
    /// The daemon does not answer.
    pub async fn address(&self) -> Result<SocketAddr> {
        let status = self.daemon.status().await?;
        Ok(status["address"].as_str().context("no address")?.parse()?)
    }

    /// Stops the daemon as a debugger does, and waits until it stands still.
    ///
    /// # Errors
    ///
    /// It has ended.
    pub async fn freeze(&self) -> Result<()> {
        self.daemon.signal(Signal::SIGSTOP)?;
        let stat = format!("/proc/{}/stat", self.daemon.pid());
        let stopped = || {
            let stat = std::fs::read_to_string(&stat).unwrap_or_default();
            stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
        };
        until("the daemon stands still", SOON, stopped).await
    }

    /// Lets it go on.
    ///
    /// # Errors
    ///
    /// It has ended.
    pub fn thaw(&self) -> Result<()> {
        self.daemon.signal(Signal::SIGCONT)
    }
}

/// The name of an event; `?` for what is none.
#[must_use]
pub fn name_of(arrival: &Arrival) -> &'static str {
    arrival.event.as_ref().map_or("?", ServerEvent::name)
}

/// Waits until the guest has answered so many further challenges.
///
/// # Errors
///
/// It does not.
pub async fn beats(guest: &Guest, count: u64) -> Result<()> {
    all_beat([guest], count).await
}

/// Waits until each of the guests has answered so many further challenges.
///
/// # Errors
///
/// One does not.
pub async fn all_beat<'a>(guests: impl IntoIterator<Item = &'a Guest>, count: u64) -> Result<()> {
    let wanted = |guest: &'a Guest| (guest, guest.counters().responses + count);
    let wanted: Vec<_> = guests.into_iter().map(wanted).collect();
    for (guest, wanted) in wanted {
        let what = format!("{} answered {count} more challenges", guest.instance());
        until(&what, SOON + SOON, || guest.counters().responses >= wanted).await?;
    }
    Ok(())
}

/// Runs the daemon's binary to its end.
///
/// # Errors
///
/// It cannot be started, or does not end.
pub async fn run<A: AsRef<OsStr>>(args: &[A]) -> Result<Output> {
    let mut command = Command::new(daemon::binary("guestServer")?);
    let output = command.args(args).kill_on_drop(true).output();
    Ok(timeout(SOON, output).await.context("it does not end")??)
}
