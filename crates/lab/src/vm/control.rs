//! The conversation with the supervisor in the guest.
//!
//! ```text
//! guest: ready                 after each boot
//! host:  7 freeze              a number and a command
//! guest: 7 ok                  the same number
//! guest: 8 error it is dead
//! ```
//!
//! An answer with another number belongs to a command that was given up, and is dropped.

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::qemu::Files;
use super::qmp::connect;

/// After these the supervisor is gone, until Linux is up again.
const LAST_WORDS: [&str; 3] = ["panic", "reboot", "poweroff"];

#[derive(Debug)]
pub(super) struct Control {
    lines: Lines<BufReader<OwnedReadHalf>>,
    writer: OwnedWriteHalf,
    number: u32,
    ready: bool,
}

impl Control {
    pub(super) async fn connect(files: &Files) -> Result<Self> {
        let (reader, writer) = connect(&files.control).await.into_split();
        Ok(Self { lines: BufReader::new(reader).lines(), writer, number: 0, ready: false })
    }

    /// The machine was reset from outside.
    pub(super) fn restarted(&mut self) {
        self.ready = false;
    }

    pub(super) async fn wait_ready(&mut self) -> Result<()> {
        while !self.ready {
            self.ready = self.next_line().await? == "ready";
        }
        Ok(())
    }

    pub(super) async fn command(&mut self, command: &str) -> Result<()> {
        self.number += 1;
        let number = self.number.to_string();
        // Even if this is cancelled before the answer comes.
        self.ready = !LAST_WORDS.contains(&command);
        self.writer.write_all(format!("{number} {command}\n").as_bytes()).await?;
        loop {
            let line = self.next_line().await?;
            if line == "ready" {
                bail!("the guest restarted before it answered");
            }
            let Some((of, answer)) = line.split_once(' ') else { continue };
            if of != number {
                continue;
            }
            if answer != "ok" {
                self.ready = true;
                bail!("{}", answer.strip_prefix("error ").unwrap_or(answer).to_owned());
            }
            return Ok(());
        }
    }

    async fn next_line(&mut self) -> Result<String> {
        self.lines.next_line().await?.context("QEMU closed the control socket")
    }
}
