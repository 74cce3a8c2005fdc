//! The socket where local applications take part.
//!
//! A task accepts, and each connection has a task of its own that reads lines, answers those that are none, and hands
//! the others to the main loop. An application can hold up itself and nobody else.

use std::io;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::time::{Duration, Instant};

use daemon_kit::{BindError, RateLimit, SocketFile, limited};
use heartbeat_proto::MonotonicTime;
use heartbeat_proto::TokenBucket;
use heartbeat_proto::guest::{Frame, LineFramer, MAX_LINE};
use listenfd::ListenFd;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use nix::sys::stat::Mode;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{sleep, timeout};

use crate::applications::message::{self, Said};
use crate::applications::{Id, MAX_APPLICATIONS};

/// Connections served at once: an application each, and some that ask for the status. More wait in the kernel's queue.
const MAX_CONNECTIONS: usize = MAX_APPLICATIONS + 8;

/// Messages of all applications that wait for the main loop. When it is full, the applications wait.
const EVENTS_DEPTH: usize = 64;

/// Messages that wait for one application. When it is full, it gets no more, and an event counts as not answered.
const ANSWERS_DEPTH: usize = 16;

/// How long one message may take to be written; then the application does not read, and its connection is closed.
const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// How long a connection may take to its first message.
const FIRST_WORD_LIMIT: Duration = Duration::from_secs(10);

/// Messages of one application at once, and the pause that each further one costs.
const BURST: u32 = 100;
const PAUSE: Duration = Duration::from_millis(10);

/// What is read at once.
const READ_SIZE: usize = 512;

/// The pause after a failed accept. Out of file descriptors, the next one fails as fast.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketError {
    /// Another copy serves it.
    #[error("{}: another program listens there", .0.display())]
    InUse(std::path::PathBuf),
    /// It cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// What systemd passed cannot be used.
    #[error("cannot use the socket that systemd passes")]
    Passed(#[source] io::Error),
}

/// Something that an application did.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) id: Id,
    pub(crate) what: What,
}

/// What it did.
#[derive(Debug)]
pub(crate) enum What {
    /// It connected; here are its answers to be sent.
    Connected(mpsc::Sender<Value>),
    /// It said something.
    Said(Said),
    /// Its connection is closed.
    Closed,
}

/// The socket, which goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Socket {
    listener: UnixListener,
    /// None of ours if systemd made it.
    _file: Option<SocketFile>,
}

impl Socket {
    /// Takes the socket that systemd passes, else makes one at `path`, mode 0660.
    pub(crate) fn open(path: &Path) -> Result<Self, SocketError> {
        let passed = ListenFd::from_env().take_unix_listener(0).map_err(SocketError::Passed)?;
        if let Some(listener) = passed {
            listener.set_nonblocking(true).map_err(SocketError::Passed)?;
            let listener = UnixListener::from_std(listener).map_err(SocketError::Passed)?;
            return Ok(Self { listener, _file: None });
        }
        if is_served(path) {
            return Err(SocketError::InUse(path.to_owned()));
        }
        let mode = Mode::S_IRUSR | Mode::S_IWUSR | Mode::S_IRGRP | Mode::S_IWGRP;
        let (listener, file) = SocketFile::bind(path, mode)?;
        Ok(Self { listener, _file: Some(file) })
    }

    /// Serves it from tasks of its own until the receiver is dropped.
    pub(crate) fn spawn(self) -> mpsc::Receiver<Event> {
        let (events, receiver) = mpsc::channel(EVENTS_DEPTH);
        tokio::spawn(self.run(events));
        receiver
    }

    async fn run(self, events: mpsc::Sender<Event>) {
        let mut connections = JoinSet::new();
        let mut failures = RateLimit::new(3, Duration::from_secs(60));
        let mut count = 0;
        loop {
            tokio::select! {
                () = events.closed() => return,
                Some(_) = connections.join_next() => {}
                accepted = self.listener.accept(), if connections.len() < MAX_CONNECTIONS => {
                    match accepted {
                        Ok((stream, _)) => {
                            count += 1;
                            connections.spawn(serve(Id(count), stream, events.clone()));
                        }
                        Err(error) => {
                            let allowed = failures.allow(Instant::now());
                            limited!(allowed, warn, %error, "cannot accept an application");
                            sleep(ACCEPT_PAUSE).await;
                        }
                    }
                }
            }
        }
    }
}

/// Whether anybody listens there: a socket that was left behind refuses. Never waits, not even for one who does not accept.
fn is_served(path: &Path) -> bool {
    let connect = || -> nix::Result<()> {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        connect(socket.as_raw_fd(), &UnixAddr::new(path)?)
    };
    matches!(connect(), Ok(()) | Err(Errno::EAGAIN))
}

/// The main loop is gone, or the connection is.
struct Over;

async fn serve(id: Id, stream: UnixStream, events: mpsc::Sender<Event>) {
    let (sender, answers) = mpsc::channel(ANSWERS_DEPTH);
    let connected = Event { id, what: What::Connected(sender) };
    if events.send(connected).await.is_err() {
        return;
    }
    let mut connection =
        Connection { id, stream, answers, events: &events, bucket: TokenBucket::default() };
    let ended = connection.read().await;
    let _ = events.send(Event { id, what: What::Closed }).await;
    // One that only has nothing more to say still gets its answers: the main loop ends them.
    if ended.is_ok() {
        while let Some(answer) = connection.answers.recv().await {
            if connection.write(&answer).await.is_err() {
                return;
            }
        }
    }
}

struct Connection<'a> {
    id: Id,
    stream: UnixStream,
    answers: mpsc::Receiver<Value>,
    events: &'a mpsc::Sender<Event>,
    bucket: TokenBucket,
}

impl Connection<'_> {
    /// Takes what the application says, until it says no more.
    async fn read(&mut self) -> Result<(), Over> {
        let started = Instant::now();
        let mut framer = LineFramer::default();
        let mut buffer = [0; READ_SIZE];
        let mut silent = true;
        loop {
            let read = tokio::select! {
                length = self.stream.read(&mut buffer) => match length {
                    Ok(length) if length > 0 => length,
                    Ok(_) | Err(_) => return Ok(()),
                },
                Some(answer) = self.answers.recv() => {
                    self.write(&answer).await?;
                    continue;
                }
                () = sleep(FIRST_WORD_LIMIT.saturating_sub(started.elapsed())), if silent => {
                    return Ok(());
                }
            };
            silent = false;
            let mut lines = Vec::new();
            framer.push(&buffer[..read], |frame| {
                lines.push(match frame {
                    Frame::Line { bytes, .. } => Said::parse(bytes),
                    Frame::TooLong => Err(format!("a line of more than {MAX_LINE} bytes")),
                });
            });
            for line in lines {
                while !self.bucket.take(MonotonicTime::after_start(started.elapsed()), BURST, PAUSE)
                {
                    sleep(PAUSE).await;
                }
                match line {
                    Ok(said) => {
                        let event = Event { id: self.id, what: What::Said(said) };
                        self.events.send(event).await.map_err(|_| Over)?;
                        // The main loop may answer before the next one: it does not wait for a place to put it.
                        yield_now().await;
                    }
                    Err(what) => self.write(&message::error(&what)).await?,
                }
                while let Ok(answer) = self.answers.try_recv() {
                    self.write(&answer).await?;
                }
            }
        }
    }

    async fn write(&mut self, answer: &Value) -> Result<(), Over> {
        let line = format!("{answer}\n");
        match timeout(WRITE_LIMIT, self.stream.write_all(line.as_bytes())).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Over),
        }
    }
}

#[cfg(test)]
mod tests;
