//! Between the daemon and the log's reader: a bounded queue and a thread of its own.
//!
//! Whoever reads the log (journald, a pipe) may stand still; the daemon, which is one thread, must
//! not. So it never writes itself. What does not fit into the queue is left out and counted, and the
//! next line that fits says how many.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use super::line::{Style, left_out_line};

/// Lines that wait for the log's reader. When it is full, further ones are left out.
pub(super) const LOG_DEPTH: usize = 4096;

/// How often it is tried to put the last word into a full queue.
const RETRY: Duration = Duration::from_millis(5);

/// Takes finished lines.
pub(super) trait Sink: Send + Sync + 'static {
    /// Never waits, never fails.
    fn put(&self, line: String, style: Style);
}

enum Entry {
    Line(String),
    /// Everything before this has been written when it is answered.
    Flush(SyncSender<()>),
}

/// The daemon's end of the queue.
#[derive(Clone, Debug)]
pub(super) struct LogQueue {
    entries: SyncSender<Entry>,
    left_out: Arc<AtomicU64>,
}

impl LogQueue {
    /// Starts the thread that writes to stderr.
    pub(super) fn start() -> io::Result<LogQueue> {
        let (entries, queue) = sync_channel(LOG_DEPTH);
        std::thread::Builder::new().name("log".into()).spawn(move || write(&queue))?;
        Ok(LogQueue { entries, left_out: Arc::default() })
    }

    /// Waits until everything so far is written, but not longer than `patience`.
    pub(super) fn flush(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let (done, written) = sync_channel(1);
        let mut entry = Entry::Flush(done);
        while let Err(TrySendError::Full(back)) = self.entries.try_send(entry) {
            if Instant::now() >= deadline {
                return;
            }
            std::thread::sleep(RETRY);
            entry = back;
        }
        // Late or gone: there is nothing more to be done about it.
        let _ = written.recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

impl Sink for LogQueue {
    fn put(&self, line: String, style: Style) {
        let left_out = self.left_out.swap(0, Ordering::Relaxed);
        if left_out > 0 {
            let notice = Entry::Line(left_out_line(style, left_out));
            if self.entries.try_send(notice).is_err() {
                self.left_out.fetch_add(left_out + 1, Ordering::Relaxed);
                return;
            }
        }
        if self.entries.try_send(Entry::Line(line)).is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write(queue: &Receiver<Entry>) {
    while let Ok(entry) = queue.recv() {
        match entry {
            // A log that cannot be written has nowhere to say so.
            Entry::Line(line) => drop(io::stderr().write_all(line.as_bytes())),
            Entry::Flush(done) => drop(done.try_send(())),
        }
    }
}
