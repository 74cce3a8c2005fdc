//! Active monitoring by the platform's process monitor, pmon: it asks, the main loop answers, and a loop that is stuck
//! does not.
//!
//! ```text
//! pmon → 127.0.0.1:<active port>     <process> 12345678 <sequence>
//! 127.0.0.1:<pmon's port> ← daemon   <process> edcba987 <sequence>     the bits of the number turned over
//! ```
//!
//! Words with white space between them, the number hexadecimal, the sequence decimal. Anybody on this host can ask, so
//! a question costs one answer at most, which goes to pmon and nowhere else; what is no question costs nothing.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;

use crate::options::Sources;
use crate::reload::Change;
use crate::{Failure, RateLimit, limited};

/// The port that pmon has its answers sent to.
pub const PMON_PORT: u16 = 2200;

/// What a question carries.
const MAGIC: u32 = 0x1234_5678;

/// Room for a question: pmon's longest has 100 bytes. What is longer is cut, and then no question.
const ROOM: usize = 128;

/// How much of what is no question its log line repeats, in characters.
const MAX_QUOTED: usize = 60;

/// The pause after an error of the socket.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// Whether, and where, pmon may ask. A change needs a restart, as pmon does for a change of its own file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PmonSettings {
    /// The port that is listened on; none unless told.
    pub active_port: Option<u16>,
    /// The port that answers go to.
    pub pmon_port: u16,
}

impl PmonSettings {
    /// The keys that are read, as (section, key).
    pub const KEYS: [(&'static str, &'static str); 2] =
        [("pmon", "active_port"), ("pmon", "pmon_port")];

    /// Reads `[pmon] active_port`, where 0 means off, and `pmon_port`.
    ///
    /// # Errors
    ///
    /// A value is not what it should be.
    pub fn read(sources: &Sources) -> Result<Self, Failure> {
        let active_port = sources.port("pmon", "active_port", 0, 0)?;
        Ok(Self {
            active_port: (active_port != 0).then_some(active_port),
            pmon_port: sources.port("pmon", "pmon_port", 1, PMON_PORT)?,
        })
    }

    /// What differs from `former`.
    pub fn changes(&self, former: &Self) -> impl Iterator<Item = Change> {
        let port =
            Change::of("[pmon] active_port", &former.active_port, &self.active_port, |port| {
                active_text(*port)
            });
        let pmon_port = Change::plain("[pmon] pmon_port", &former.pmon_port, &self.pmon_port);
        [port, pmon_port].into_iter().flatten()
    }
}

fn active_text(port: Option<u16>) -> String {
    port.map_or_else(|| "off".to_owned(), |port| port.to_string())
}

/// What is in force, a line each.
impl fmt::Display for PmonSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "pmon-active-port = {}", active_text(self.active_port))?;
        writeln!(f, "pmon-port = {}", self.pmon_port)
    }
}

/// What became of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulse {
    /// A question, answered.
    Answered,
    /// A question whose answer the kernel did not take, or which could not be received.
    Failed,
    /// No question for this process.
    Ignored,
}

/// Answers pmon, where that is switched on. The main loop owns it and waits for [`Pmon::next`].
#[derive(Debug)]
pub struct Pmon(Option<Line>);

impl Pmon {
    /// Listens for questions about the process `name`, if it is told to. Call it inside the runtime.
    ///
    /// # Errors
    ///
    /// The port is taken.
    pub fn start(name: &'static str, settings: &PmonSettings) -> Result<Self, Failure> {
        let Some(port) = settings.active_port else { return Ok(Self(None)) };
        let line = Line::bind(name, port, settings.pmon_port).map_err(|error| {
            Failure::environment(format!(
                "cannot bind UDP 127.0.0.1:{port} ([pmon] active_port): {error}: expected a port that is free, \
                 and the same as in pmon's file"
            ))
        })?;
        Ok(Self(Some(line)))
    }

    /// Where it listens, if it does.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.0.as_ref().and_then(|line| line.socket.local_addr().ok())
    }

    /// Waits for the next datagram and answers it; for ever where it is switched off. May be dropped while it waits;
    /// nothing is lost or half done then.
    pub async fn next(&mut self) -> Pulse {
        match &mut self.0 {
            Some(line) => line.next().await,
            None => std::future::pending().await,
        }
    }
}

/// The line to pmon.
#[derive(Debug)]
struct Line {
    name: &'static str,
    socket: UdpSocket,
    answers_to: SocketAddr,
    limit: RateLimit,
    room: [u8; ROOM],
}

impl Line {
    fn bind(name: &'static str, port: u16, pmon_port: u16) -> io::Result<Self> {
        let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, port))?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            name,
            socket: UdpSocket::from_std(socket)?,
            answers_to: (Ipv4Addr::LOCALHOST, pmon_port).into(),
            limit: RateLimit::new(5, Duration::from_secs(60)),
            room: [0; ROOM],
        })
    }

    async fn next(&mut self) -> Pulse {
        let (length, from) = match self.socket.recv_from(&mut self.room).await {
            Ok(received) => received,
            Err(error) => {
                limited!(self.limit.allow(Instant::now()), warn, %error, "cannot receive from pmon");
                tokio::time::sleep(ERROR_PAUSE).await;
                return Pulse::Failed;
            }
        };
        let received = self.room.get(..length).unwrap_or_default();
        let Some(answer) = answer(self.name, received) else {
            let text: String = String::from_utf8_lossy(received).chars().take(MAX_QUOTED).collect();
            limited!(
                self.limit.allow(Instant::now()), warn, %from, text,
                "not a question of pmon's for this process: ignored"
            );
            return Pulse::Ignored;
        };
        // Loopback takes it at once or not at all, and pmon asks again.
        match self.socket.try_send_to(answer.as_bytes(), self.answers_to) {
            Ok(_) => Pulse::Answered,
            Err(error) => {
                limited!(self.limit.allow(Instant::now()), warn, %error, "cannot answer pmon");
                Pulse::Failed
            }
        }
    }
}

/// The answer to a question about the process `name`; `None` to anything else.
fn answer(name: &str, question: &[u8]) -> Option<String> {
    // One that is written from a buffer may bring the zero at its end.
    let text = std::str::from_utf8(question).ok()?.trim_end_matches('\0');
    let mut words = text.split_ascii_whitespace();
    let (process, magic, sequence) = (words.next()?, words.next()?, words.next()?);
    let digits = |word: &str| word.bytes().all(|byte| byte.is_ascii_hexdigit());
    if process != name || !digits(magic) || !digits(sequence) || words.next().is_some() {
        return None;
    }
    let magic = u32::from_str_radix(magic, 16).ok().filter(|magic| *magic == MAGIC)?;
    let sequence: u32 = sequence.parse().ok()?;
    Some(format!("{name} {:x} {sequence}", !magic))
}

#[cfg(test)]
mod tests;
