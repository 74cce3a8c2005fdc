//! The real guestServer of a host of a site, with a channel directory of its own.

use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use heartbeat_proto::InstanceId;
use lab::daemon::Daemon;
use lab::guest::{Behaviour, Guest};
use lab::wait::until_ok;
use serde_json::Value;
use tempfile::TempDir;

use crate::SOON;
use crate::agent::find;
use crate::host::INI;
use crate::launch::Launch;

/// What the real guestServer of a host is to be like.
#[derive(Debug, Clone)]
pub struct ServerSetup {
    /// Its own address; without one it finds it by itself.
    pub bind: Option<IpAddr>,
    /// Its port.
    pub port: u16,
    /// The controller's name or address.
    pub controller: String,
    /// Who may command besides: names or addresses, between commas.
    pub controllers: String,
    /// guestAgent's port.
    pub agent_port: u16,
    /// How it is started.
    pub launch: Launch,
}

impl ServerSetup {
    /// Starts it, with a channel directory of its own, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// It does not get ready.
    pub async fn start(&self, hostname: &str) -> Result<RealServer> {
        let mut server = self.start_unready(hostname)?;
        server.daemon.wait_ready(SOON).await?;
        Ok(server)
    }

    /// Starts it, with a channel directory of its own.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub fn start_unready(&self, hostname: &str) -> Result<RealServer> {
        let home = TempDir::with_prefix("end-to-end-")?;
        std::fs::create_dir(home.path().join("qemu"))?;
        let ini = home.path().join("guestServer.ini");
        let controllers = &self.controllers;
        std::fs::write(&ini, format!("{INI}[security]\ncontrollers = {controllers}\n"))?;
        let bind = self.bind.map(|ip| ("--bind", ip.to_string()));
        let args = [
            ("--config", ini.to_string_lossy().into_owned()),
            ("--channel-dir", home.path().join("qemu").to_string_lossy().into_owned()),
            ("--server-port", self.port.to_string()),
            ("--controller", self.controller.clone()),
            ("--agent-port", self.agent_port.to_string()),
            ("--hostname", hostname.to_owned()),
        ]
        .into_iter()
        .chain(bind)
        .flat_map(|(option, value)| [option.to_owned(), value])
        .collect::<Vec<_>>();
        let daemon = self.launch.start("guestServer", &args)?;
        Ok(RealServer { daemon, launch: self.launch.clone(), args, home })
    }
}

/// The real guestServer of a site's host.
#[derive(Debug)]
pub struct RealServer {
    /// The process.
    pub daemon: Daemon,
    launch: Launch,
    args: Vec<String>,
    home: TempDir,
}

impl RealServer {
    /// Its configuration file.
    #[must_use]
    pub fn ini(&self) -> PathBuf {
        self.home.path().join("guestServer.ini")
    }

    /// Starts a guest on this host.
    ///
    /// # Errors
    ///
    /// Its socket cannot be made.
    pub fn guest(&self, instance: InstanceId, behaviour: Behaviour) -> Result<Guest> {
        Guest::start(&self.home.path().join("qemu"), instance, behaviour)
    }

    /// Kills it, does something while it is dead, and starts it again where it was, among what it left.
    ///
    /// # Errors
    ///
    /// It does not get ready.
    pub async fn restart(mut self, meanwhile: impl AsyncFnOnce() -> Result<()>) -> Result<Self> {
        let dir = self.daemon.into_dir().await?;
        meanwhile().await?;
        self.daemon = self.launch.start_in(dir, "guestServer", &self.args)?;
        self.daemon.wait_ready(SOON).await?;
        Ok(self)
    }

    /// What its status says of an instance, once that is `wanted`.
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
            let status = self.daemon.status().await?;
            let found = find(&status, instance).filter(|found| wanted(found));
            found.cloned().with_context(|| status.to_string())
        };
        until_ok(what, SOON, look).await
    }
}
