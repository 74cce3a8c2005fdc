//! Reads a request from a connection.

use std::io::Read as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a client may take to send its request, as with the real one; it holds up everybody meanwhile.
const PATIENCE: Duration = Duration::from_secs(15);

/// The largest request, in bytes.
const MAX_REQUEST: usize = 1 << 20;

/// A request that was read whole.
#[derive(Debug, Clone)]
pub struct VimRequest {
    /// When it had been read.
    pub at: Instant,
    /// How long after the VIM's start that was.
    pub elapsed: Duration,
    /// `PATCH` or `GET`.
    pub method: String,
    /// With the query.
    pub path: String,
    /// All lines before the body, as they came.
    pub head: String,
    /// The body as it came.
    pub body: String,
    /// How many reads it took: one, if it was sent whole in one write.
    pub reads: usize,
}

impl VimRequest {
    /// The body as JSON; null if it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    /// The `event-type` of an event.
    #[must_use]
    pub fn event_type(&self) -> String {
        self.json()["event-type"].as_str().unwrap_or_default().into()
    }

    /// The first service of an event.
    #[must_use]
    pub fn service(&self) -> Value {
        self.json()["event-data"]["services"][0].clone()
    }

    /// The instance that an event is about, by its path.
    #[must_use]
    pub fn instance(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    pub(super) fn read(stream: &mut TcpStream, started: Instant) -> Option<Self> {
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let mut bytes = Vec::new();
        let mut room = [0; 16 * 1024];
        let mut reads = 0;
        loop {
            let count = stream.read(&mut room).ok().filter(|count| *count > 0)?;
            reads += 1;
            bytes.extend_from_slice(&room[..count]);
            if let Some((head, body)) = whole(&bytes) {
                let line = head.lines().next().unwrap_or_default();
                let mut words = line.split(' ');
                let mut word = || words.next().unwrap_or_default().to_owned();
                let (method, path) = (word(), word());
                let at = Instant::now();
                let elapsed = at.duration_since(started);
                return Some(Self { at, elapsed, method, path, head, body, reads });
            }
            if bytes.len() > MAX_REQUEST {
                return None;
            }
        }
    }
}

/// Head and body, when both are there.
fn whole(bytes: &[u8]) -> Option<(String, String)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse::<usize>().ok())
        .unwrap_or_default();
    let body = bytes.get(end + 4..end + 4 + length)?;
    Some((head, String::from_utf8_lossy(body).into_owned()))
}
