//! The VIM's other side: its commands to guestAgent over HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use heartbeat_proto::{HostId, InstanceId};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long the VIM waits for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// What guestAgent answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// All lines before the body.
    pub head: String,
    /// The body; null if there is none.
    pub body: Value,
}

/// Sends commands to one guestAgent, each over a connection of its own.
#[derive(Debug, Clone, Copy)]
pub struct Commander {
    agent: SocketAddr,
}

impl Commander {
    /// Commands the guestAgent that listens there.
    #[must_use]
    pub const fn new(agent: SocketAddr) -> Self {
        Self { agent }
    }

    /// Sends a request and reads its answer.
    ///
    /// # Errors
    ///
    /// There is no answer in time, or it is no HTTP.
    pub async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Reply> {
        let body = body.map(Value::to_string);
        let length = body.as_ref().map(|body| format!("Content-Length: {}\r\n", body.len()));
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: vim/1.0\r\n\
             Content-Type: application/json\r\n{}Connection: close\r\n\r\n{}",
            self.agent,
            length.unwrap_or_default(),
            body.unwrap_or_default()
        );
        let exchange = async {
            let mut stream = TcpStream::connect(self.agent).await?;
            stream.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            anyhow::Ok(answer)
        };
        let answer = timeout(PATIENCE, exchange)
            .await
            .with_context(|| format!("{method} {path}: no answer in {PATIENCE:?}"))??;
        let (head, body) = answer.split_once("\r\n\r\n").context("an answer without an end")?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok(Reply {
            status: status.with_context(|| format!("no HTTP: {head:?}"))?,
            head: head.into(),
            body: serde_json::from_str(body).unwrap_or(Value::Null),
        })
    }

    async fn expect(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let reply = self.call(method, path, body).await?;
        let fine = (200..300).contains(&reply.status);
        ensure!(fine, "{method} {path}: {} {}", reply.status, reply.body);
        Ok(reply.body)
    }

    /// Switches the reporting of a host.
    ///
    /// # Errors
    ///
    /// It is refused, or not answered.
    pub async fn switch_host(&self, host: HostId, hostname: &str, enabled: bool) -> Result<Value> {
        let word = if enabled { "enable" } else { "disable" };
        let body = json!({"uuid": host.to_string(), "hostname": hostname});
        self.expect("PUT", &format!("/v1/hosts/{host}/{word}"), Some(&body)).await
    }

    /// Adds an instance.
    ///
    /// # Errors
    ///
    /// It is refused, or not answered.
    pub async fn add_instance(&self, instance: InstanceId, hostname: &str) -> Result<Value> {
        let body = json!({
            "uuid": instance.to_string(), "hostname": hostname, "services": ["heartbeat"],
        });
        self.expect("POST", &instance_path(instance), Some(&body)).await
    }

    /// Switches the reporting of an instance.
    ///
    /// # Errors
    ///
    /// It is refused, or not answered.
    pub async fn switch_instance(
        &self,
        instance: InstanceId,
        hostname: &str,
        enabled: bool,
    ) -> Result<Value> {
        let state = if enabled { "enabled" } else { "disabled" };
        let body = json!({
            "uuid": instance.to_string(), "hostname": hostname,
            "services": [{"service": "heartbeat", "state": state}],
        });
        self.expect("PATCH", &instance_path(instance), Some(&body)).await
    }

    /// Asks for an instance.
    ///
    /// # Errors
    ///
    /// It is not known, or there is no answer.
    pub async fn get_instance(&self, instance: InstanceId) -> Result<Value> {
        self.expect("GET", &instance_path(instance), None).await
    }

    /// Deletes an instance.
    ///
    /// # Errors
    ///
    /// It is not known, or there is no answer.
    pub async fn delete_instance(&self, instance: InstanceId) -> Result<()> {
        self.expect("DELETE", &instance_path(instance), None).await.map(drop)
    }

    /// Asks a guest; the answer has the time until the outcome.
    ///
    /// # Errors
    ///
    /// The instance is not known, or there is no answer.
    pub async fn vote(&self, instance: InstanceId, hostname: &str, action: &str) -> Result<Value> {
        self.act(instance, hostname, action, "vote").await
    }

    /// Tells a guest; the answer has the time until the outcome.
    ///
    /// # Errors
    ///
    /// The instance is not known, or there is no answer.
    pub async fn notify(
        &self,
        instance: InstanceId,
        hostname: &str,
        action: &str,
    ) -> Result<Value> {
        self.act(instance, hostname, action, "notify").await
    }

    async fn act(
        &self,
        instance: InstanceId,
        hostname: &str,
        action: &str,
        how: &str,
    ) -> Result<Value> {
        let body = json!({"uuid": instance.to_string(), "hostname": hostname, "action": action});
        self.expect("POST", &format!("{}/{how}", instance_path(instance)), Some(&body)).await
    }
}

fn instance_path(instance: InstanceId) -> String {
    format!("/v1/instances/{instance}")
}
