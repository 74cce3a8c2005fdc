//! What a daemon prints and what it notifies, read line by line.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::net::UnixDatagram;

use crate::record::Record;

/// Bytes of a line that are remembered; the rest makes lines of its own.
const LINE_BYTES: u64 = 4096;

/// A line that the daemon printed, or a notification, and when it was read.
#[derive(Debug, Clone)]
pub struct Line {
    /// When it was read.
    pub at: Instant,
    /// How long after the daemon's start that was.
    pub elapsed: Duration,
    /// The text, without its newline.
    pub text: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:9.3} ms  {}", self.elapsed.as_secs_f64() * 1e3, self.text)
    }
}

/// All lines that are remembered.
pub(super) fn text(record: &Record<Line>) -> String {
    record.all().into_iter().map(|line| line.text + "\n").collect()
}

fn add(record: &Record<Line>, started: Instant, text: &str) {
    let at = Instant::now();
    record.add(|| Line { at, elapsed: at.duration_since(started), text: text.into() });
}

/// Reads until the pipe is closed.
pub(super) async fn read_lines(
    pipe: impl AsyncRead + Unpin,
    started: Instant,
    record: Arc<Record<Line>>,
) {
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut reader).take(LINE_BYTES).read_until(b'\n', &mut line).await {
            Ok(length) if length > 0 => {
                add(&record, started, String::from_utf8_lossy(&line).trim_end_matches('\n'));
            }
            Ok(_) | Err(_) => return,
        }
    }
}

/// Reads for ever.
pub(super) async fn read_notifications(
    socket: UnixDatagram,
    started: Instant,
    record: Arc<Record<Line>>,
) {
    let mut buffer = [0; 4096];
    while let Ok(length) = socket.recv(&mut buffer).await {
        for line in String::from_utf8_lossy(&buffer[..length]).lines() {
            add(&record, started, line);
        }
    }
}
