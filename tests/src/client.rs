//! A machine without a machine: the real guestClient, whose port is a terminal, on a host of the tests.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use anyhow::{Context, Result};
use heartbeat_proto::InstanceId;
use lab::daemon::{Daemon, binary};
use lab::port::Port;
use lab::wait::until_ok;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use crate::SOON;
use crate::host::Host;

/// The configuration that a client has unless a test says otherwise.
pub const CONF: &str = "HB_INTERVAL=400\nCORRECTIVE_ACTION=log\nHEALTH_CHECK_INTERVAL=1\n";

/// guestClient with a port, a configuration and a place for scripts of its own.
#[derive(Debug)]
pub struct Client {
    /// The real guestClient.
    pub program: Daemon,
    /// Its port.
    pub port: Port,
    home: TempDir,
}

impl Client {
    /// Starts one with this configuration, in which `@` stands for its directory, as an instance of the host.
    ///
    /// # Errors
    ///
    /// It cannot be started, or does not get ready.
    pub async fn start(host: &Host, instance: InstanceId, conf: &str) -> Result<Self> {
        let home = TempDir::with_prefix("end-to-end-client-")?;
        let port = Port::start(&host.channel_dir(), home.path(), instance)?;
        let client = Self::start_with(home, port, conf)?;
        client.ready().await
    }

    fn start_with(home: TempDir, port: Port, conf: &str) -> Result<Self> {
        write_conf(&home, conf)?;
        let config = home.path().join("guest_heartbeat.conf");
        let arguments: [OsString; 8] = [
            "--config".into(),
            config.into(),
            "--device".into(),
            port.device().into(),
            "--name".into(),
            "client".into(),
            "--log-level".into(),
            "debug".into(),
        ];
        let program = Daemon::start_guest_client(&binary("guestClient")?, arguments, &[])?;
        Ok(Self { program, port, home })
    }

    async fn ready(mut self) -> Result<Self> {
        self.program.wait_ready(SOON).await?;
        Ok(self)
    }

    /// Writes its configuration anew; see [`Client::start`].
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn configure(&self, conf: &str) -> Result<()> {
        write_conf(&self.home, conf)
    }

    /// Makes an executable script of this name, or puts another in its place at once.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn script(&self, name: &str, body: &str) -> Result<PathBuf> {
        let path = self.home.path().join(name);
        let new = path.with_extension("new");
        fs::write(&new, format!("#!/bin/sh\n{body}\n"))?;
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755))?;
        fs::rename(&new, &path)?;
        Ok(path)
    }

    /// A file in its directory.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// What it says of itself.
    ///
    /// # Errors
    ///
    /// It gives no answer.
    pub async fn status(&self) -> Result<Value> {
        self.program.request(r#"{"type":"status"}"#).await
    }

    /// Waits until what it says of itself is as wanted.
    ///
    /// # Errors
    ///
    /// It does not come to that.
    pub async fn until(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        until_ok(what, SOON, async || {
            let status = self.status().await?;
            anyhow::ensure!(wanted(&status), "{status}");
            Ok(status)
        })
        .await
    }

    /// Waits until it has answered so many more challenges.
    ///
    /// # Errors
    ///
    /// It does not.
    pub async fn heartbeats(&self, more: u64) -> Result<()> {
        let count = |status: &Value| status["metrics"]["heartbeats"].as_u64().unwrap_or_default();
        let wanted = count(&self.status().await?) + more;
        self.until("it heartbeats", |status| count(status) >= wanted).await.map(drop)
    }

    /// A local application's connection to it.
    ///
    /// # Errors
    ///
    /// It cannot be connected to.
    pub async fn application(&self) -> Result<Application> {
        let path = self.program.run_dir().join("guestClient.sock");
        let (reader, writer) = UnixStream::connect(path).await?.into_split();
        Ok(Application { lines: BufReader::new(reader).lines(), writer })
    }
}

fn write_conf(home: &TempDir, conf: &str) -> Result<()> {
    let here = home.path().to_str().context("a directory with a strange name")?;
    Ok(fs::write(home.path().join("guest_heartbeat.conf"), conf.replace('@', here))?)
}

/// A local application.
#[derive(Debug)]
pub struct Application {
    lines: Lines<BufReader<OwnedReadHalf>>,
    writer: OwnedWriteHalf,
}

impl Application {
    /// Says something.
    ///
    /// # Errors
    ///
    /// The connection is closed.
    pub async fn say(&mut self, message: &Value) -> Result<()> {
        self.say_text(&message.to_string()).await
    }

    /// Says one or more lines at once.
    ///
    /// # Errors
    ///
    /// The connection is closed.
    pub async fn say_text(&mut self, lines: &str) -> Result<()> {
        Ok(self.writer.write_all(format!("{lines}\n").as_bytes()).await?)
    }

    /// Waits for the next thing it is told.
    ///
    /// # Errors
    ///
    /// There is none.
    pub async fn hear(&mut self) -> Result<Value> {
        let line = timeout(SOON, self.lines.next_line()).await.context("not told anything")??;
        Ok(serde_json::from_str(&line.context("the connection is closed")?)?)
    }

    /// Registers, with these keys besides the name.
    ///
    /// # Errors
    ///
    /// It is refused.
    pub async fn register(&mut self, name: &str, more: Value) -> Result<()> {
        let mut message = json!({ "type": "register", "name": name });
        if let (Value::Object(message), Value::Object(more)) = (&mut message, more) {
            message.extend(more);
        }
        self.say(&message).await?;
        let answer = self.hear().await?;
        anyhow::ensure!(answer["type"] == "registered", "{answer}");
        Ok(())
    }
}
