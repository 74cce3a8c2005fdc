//! A channel spoken byte by byte, for what no well-behaved guest says and for the exact bytes of what the host says.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use heartbeat_proto::InstanceId;
use heartbeat_proto::guest::HostMessage;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use crate::SOON;

/// A channel's socket, on which nobody has been served yet.
#[derive(Debug)]
pub struct RawChannel {
    listener: UnixListener,
    path: PathBuf,
}

impl RawChannel {
    /// Makes the socket.
    ///
    /// # Errors
    ///
    /// It cannot be made.
    pub fn bind(dir: &Path, instance: InstanceId) -> Result<Self> {
        let path = dir.join(lab::guest::socket_name(instance, false));
        let listener = UnixListener::bind(&path).with_context(|| path.display().to_string())?;
        Ok(Self { listener, path })
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for the host.
    ///
    /// # Errors
    ///
    /// It does not come soon.
    pub async fn accept(&self) -> Result<RawHost> {
        let accepted = timeout(SOON, self.listener.accept()).await;
        let (stream, _) =
            accepted.with_context(|| format!("nobody at {}", self.path.display()))??;
        Ok(RawHost { stream: BufReader::new(stream) })
    }

    /// Whether somebody waits to be served now.
    pub async fn is_called(&self) -> bool {
        timeout(Duration::from_millis(1), self.listener.accept()).await.is_ok()
    }
}

/// The host at the other end of a channel.
#[derive(Debug)]
pub struct RawHost {
    stream: BufReader<UnixStream>,
}

impl RawHost {
    /// Writes these bytes.
    ///
    /// # Errors
    ///
    /// The host is gone, or does not take them.
    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        let written = timeout(SOON, self.stream.get_mut().write_all(bytes.as_ref()));
        Ok(written.await.context("the host does not read")??)
    }

    /// Reads the next message of the host, with the newlines before and after it.
    ///
    /// # Errors
    ///
    /// There is none soon, or it has no newlines around it.
    pub async fn read(&mut self) -> Result<String> {
        let read = async {
            let mut text = String::new();
            for _ in 0..2 {
                self.stream.read_line(&mut text).await?;
            }
            anyhow::Ok(text)
        };
        let text = timeout(SOON, read).await.context("the host says nothing")??;
        ensure!(!text.is_empty(), "the host has closed the channel");
        let framed = text.len() > 2 && text.starts_with('\n') && text.ends_with('\n');
        ensure!(framed, "not a message with a newline before and after it: {text:?}");
        Ok(text)
    }

    /// Reads the next message of the host and decodes it.
    ///
    /// # Errors
    ///
    /// There is none soon, or it is none.
    pub async fn message(&mut self) -> Result<(u64, HostMessage)> {
        let text = self.read().await?;
        let received = HostMessage::decode(text.trim().as_bytes()).with_context(|| text.clone())?;
        Ok((received.sequence, received.message))
    }

    /// Reads a challenge and returns its sequence and number.
    ///
    /// # Errors
    ///
    /// Something else comes, or nothing.
    pub async fn challenge(&mut self) -> Result<(u64, u32)> {
        match self.message().await? {
            (sequence, HostMessage::Challenge { heartbeat_challenge }) => {
                Ok((sequence, heartbeat_challenge))
            }
            other => bail!("not a challenge: {other:?}"),
        }
    }

    /// Says `init`, which is acknowledged and challenged; returns sequence and number of the challenge.
    ///
    /// # Errors
    ///
    /// The host answers anything else.
    pub async fn init(&mut self, init: &str) -> Result<(u64, u32)> {
        self.write(init).await?;
        match self.message().await? {
            (_, HostMessage::InitAck { .. }) => self.challenge().await,
            other => bail!("not an init_ack: {other:?}"),
        }
    }

    /// Reads until the host has closed the channel.
    ///
    /// # Errors
    ///
    /// It does not soon.
    pub async fn closed(&mut self) -> Result<()> {
        let mut rest = Vec::new();
        // A reset is an end as well.
        let read = timeout(SOON, self.stream.read_to_end(&mut rest)).await;
        read.map(drop).context("the host does not close the channel")
    }
}

/// An `init` with the times of the golden one.
#[must_use]
pub fn init(sequence: u64, invocation_id: u64, interval_ms: u64) -> String {
    format!(
        "\n{{\"version\":3,\"revision\":1,\"msg_type\":\"init\",\"sequence\":{sequence},\
         \"invocation_id\":{invocation_id},\"name\":\"raw\",\"heartbeat_interval_ms\":{interval_ms},\
         \"vote_secs\":10,\"shutdown_notice_secs\":11,\"suspend_notice_secs\":12,\
         \"resume_notice_secs\":13,\"restart_secs\":121,\"corrective_action\":\"reboot\"}}\n"
    )
}

/// A healthy answer to a challenge.
#[must_use]
pub fn response(sequence: u64, number: u32) -> String {
    format!(
        "\n{{\"version\":3,\"revision\":1,\"msg_type\":\"challenge_response\",\"sequence\":{sequence},\
         \"heartbeat_response\":{number},\"heartbeat_health\":\"healthy\",\
         \"corrective_action\":\"none\",\"log_msg\":\"\"}}\n"
    )
}
