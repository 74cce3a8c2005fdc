//! The channel's socket as QEMU makes it: one client at a time, one byte stream each way.
//!
//! What the guest writes while no host is connected waits here, up to [`OUT_LIMIT`]; what the host writes while
//! nobody reads waits in the kernel's buffer, and is lost when the host closes before.

use std::fs;
use std::future::pending;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::{UnixListener, UnixSocket, UnixStream};
use tokio::time::sleep;

use super::behaviour::{FLOOD_BYTES, Writing};

/// Bytes that wait for the host, about: when there are more, what the guest says is lost, as for a program that
/// does not wait when its port is full. A part of a flood leaves room for more.
const OUT_LIMIT: usize = 2 * FLOOD_BYTES;
/// Clients that may wait, less one: seen are two.
const BACKLOG: u32 = 1;

/// The listening socket, the client that is served, and what waits for it.
#[derive(Debug)]
pub(super) struct Link {
    path: PathBuf,
    listener: Option<UnixListener>,
    stream: Option<UnixStream>,
    out: Vec<u8>,
}

/// What happened on the link.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// A host is served from now on.
    Connected,
    /// The host wrote this many bytes.
    Bytes(usize),
    /// Bytes went to the host.
    Wrote,
    /// The host is gone.
    Closed,
}

impl Link {
    /// A link that listens at `path`, where a file left behind gives way.
    pub(super) fn bind(path: PathBuf) -> Result<Self> {
        let mut link = Self { path, listener: None, stream: None, out: Vec::new() };
        link.listen()?;
        Ok(link)
    }

    /// Listens anew, as another QEMU on the same path.
    pub(super) fn listen(&mut self) -> Result<()> {
        self.kill();
        let listen = || {
            match fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            let socket = UnixSocket::new_stream()?;
            // A host that is told of the file by inotify may connect between the two, and is refused.
            socket.bind(&self.path)?;
            socket.listen(BACKLOG)
        };
        let listener = listen().with_context(|| format!("cannot make {}", self.path.display()))?;
        self.listener = Some(listener);
        Ok(())
    }

    /// Whether a host is served.
    pub(super) fn connected(&self) -> bool {
        self.stream.is_some()
    }

    /// Whether everything was handed over.
    pub(super) fn flushed(&self) -> bool {
        self.out.is_empty()
    }

    /// Lets `say` append what the guest writes; `false` when there was no room for it.
    pub(super) fn write<R>(
        &mut self,
        writing: Writing,
        say: impl FnOnce(&mut Vec<u8>) -> R,
    ) -> (bool, R) {
        let before = self.out.len();
        let said = say(&mut self.out);
        if before >= OUT_LIMIT && self.out.len() > before {
            self.out.truncate(before);
            return (false, said);
        }
        if let Writing::Joined(times) = writing {
            let end = self.out.len();
            for _ in 1..times {
                self.out.extend_from_within(before..end);
            }
        }
        (true, said)
    }

    /// Hands over at once what the host takes at once.
    pub(super) fn flush(&mut self, writing: Writing) {
        if self.out.is_empty() || matches!(writing, Writing::Fragmented(_)) {
            return;
        }
        // What goes wrong here goes wrong again in `next`, which tells.
        if let Some(Ok(length)) = self.stream.as_ref().map(|stream| stream.try_write(&self.out)) {
            self.out.drain(..length);
        }
    }

    /// Waits for what happens next; while not `reading`, the host's bytes stay where they are. May be
    /// cancelled: nothing is lost.
    pub(super) async fn next(
        &mut self,
        reading: bool,
        writing: Writing,
        buffer: &mut [u8],
    ) -> io::Result<Input> {
        let Some(stream) = &mut self.stream else {
            let Some(listener) = &self.listener else { return pending().await };
            let (stream, _) = listener.accept().await?;
            self.stream = Some(stream);
            return Ok(Input::Connected);
        };
        let (mut reader, writer) = stream.split();
        let writable = async {
            if let Writing::Fragmented(pause) = writing
                && !pause.is_zero()
            {
                sleep(pause).await;
            }
            writer.writable().await
        };
        let input = tokio::select! {
            read = reader.read(buffer), if reading => match read {
                Ok(length) if length > 0 => Input::Bytes(length),
                Ok(_) | Err(_) => Input::Closed,
            },
            () = closed(writer.as_ref()), if !reading => Input::Closed,
            ready = writable, if !self.out.is_empty() => {
                let length = match writing {
                    Writing::Fragmented(_) => 1,
                    Writing::Whole | Writing::Joined(_) => self.out.len(),
                };
                match ready.and_then(|()| writer.try_write(&self.out[..length])) {
                    Ok(length) => {
                        self.out.drain(..length);
                        Input::Wrote
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => Input::Wrote,
                    Err(_) => Input::Closed,
                }
            }
        };
        if input == Input::Closed {
            self.stream = None;
        }
        Ok(input)
    }

    /// To be called when reading begins again: what had arrived is there to be read.
    pub(super) fn refresh(&mut self) {
        if let Some(stream) = self.stream.take() {
            self.stream = stream.into_std().and_then(UnixStream::from_std).ok();
        }
    }

    /// Closes the connection; the next host gets the rest of what the guest wrote.
    pub(super) fn close(&mut self) {
        self.stream = None;
    }

    /// Ends as a killed QEMU: the file stays.
    pub(super) fn kill(&mut self) {
        self.stream = None;
        self.listener = None;
        self.out.clear();
    }

    /// Ends as a QEMU that exits: the file goes too.
    pub(super) fn remove(&mut self) -> Result<()> {
        self.kill();
        fs::remove_file(&self.path)
            .with_context(|| format!("cannot remove {}", self.path.display()))
    }
}

/// Waits until the other end is closed, without reading.
async fn closed(stream: &UnixStream) {
    loop {
        match stream.ready(Interest::READABLE).await {
            Ok(ready) if !ready.is_read_closed() => {
                // There is something to read: forget it, to be woken by the next thing only.
                let _ = stream.try_io(Interest::READABLE, || -> io::Result<()> {
                    Err(io::ErrorKind::WouldBlock.into())
                });
                // In case that is not how it works, it must not be a busy loop.
                sleep(Duration::from_millis(1)).await;
            }
            Ok(_) | Err(_) => return,
        }
    }
}
