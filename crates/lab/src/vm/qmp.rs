//! The conversation with QEMU: one JSON object a line, events in between.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::qemu::Files;

/// QEMU makes its sockets within some milliseconds, but says nothing when they are there.
const CONNECT_PAUSE: Duration = Duration::from_millis(3);

#[derive(Debug)]
pub(super) struct Qmp {
    lines: Lines<BufReader<OwnedReadHalf>>,
    writer: OwnedWriteHalf,
    number: u32,
}

impl Qmp {
    /// When QEMU answers here, all its sockets are there.
    pub(super) async fn connect(files: &Files) -> Result<Self> {
        let (reader, writer) = connect(&files.qmp).await.into_split();
        let mut qmp = Self { lines: BufReader::new(reader).lines(), writer, number: 0 };
        qmp.command("qmp_capabilities").await?;
        Ok(qmp)
    }

    pub(super) async fn command(&mut self, command: &str) -> Result<Value> {
        self.number += 1;
        let request = json!({ "execute": command, "id": self.number });
        self.writer.write_all(format!("{request}\n").as_bytes()).await?;
        loop {
            let line = self.lines.next_line().await?.context("QEMU closed the QMP socket")?;
            let mut message: Value = serde_json::from_str(&line)?;
            // The greeting, an event, or the answer to a command that was given up.
            if message["id"] != self.number {
                continue;
            }
            if message["error"].is_object() {
                bail!("{}", message["error"]["desc"]);
            }
            return Ok(message["return"].take());
        }
    }
}

/// Connects as soon as it can be done; whoever calls has a deadline.
pub(super) async fn connect(path: &Path) -> UnixStream {
    loop {
        match UnixStream::connect(path).await {
            Ok(stream) => return stream,
            Err(_) => tokio::time::sleep(CONNECT_PAUSE).await,
        }
    }
}
