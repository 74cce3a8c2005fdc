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

use super::journal::Journal;
use super::line::{Line, Style, left_out_line, no_journal_line};

/// Lines that wait for the log's reader. When it is full, further ones are left out.
pub(super) const LOG_DEPTH: usize = 4096;

/// How often it is tried to put the last word into a full queue.
const RETRY: Duration = Duration::from_millis(5);

/// Takes finished lines.
pub(super) trait Sink: Send + Sync + 'static {
    /// Never waits, never fails.
    fn put(&self, line: Line, style: Style);
}

enum Entry {
    Line(Line),
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
    /// Starts the thread that writes: to the journal, if there is one, else to stderr.
    pub(super) fn start(journal: Option<Journal>) -> io::Result<LogQueue> {
        let (entries, queue) = sync_channel(LOG_DEPTH);
        let mut writer = Writer { journal, told: false };
        let write = move || writer.run(&queue);
        std::thread::Builder::new().name("log".into()).spawn(write)?;
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
    fn put(&self, line: Line, style: Style) {
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

/// What the thread owns.
struct Writer {
    journal: Option<Journal>,
    /// It has said that the journal does not take entries.
    told: bool,
}

impl Writer {
    fn run(&mut self, queue: &Receiver<Entry>) {
        while let Ok(entry) = queue.recv() {
            match entry {
                Entry::Line(line) => self.write(line),
                Entry::Flush(done) => drop(done.try_send(())),
            }
        }
    }

    /// Every entry is tried, for the journal may come back; what it does not take goes to its other
    /// ear, our stderr, as a line.
    fn write(&mut self, line: Line) {
        let text = match line {
            Line::Text(text) => text,
            Line::Entry(entry) => {
                let sent = self.journal.as_ref().map(|journal| journal.send(&entry));
                match sent {
                    Some(Ok(())) => {
                        self.told = false;
                        return;
                    }
                    Some(Err(error)) if !std::mem::replace(&mut self.told, true) => {
                        if let Line::Entry(notice) = no_journal_line(&error) {
                            write_to_stderr(&notice.to_line());
                        }
                    }
                    Some(Err(_)) | None => {}
                }
                entry.to_line()
            }
        };
        write_to_stderr(&text);
    }
}

fn write_to_stderr(text: &str) {
    // A log that cannot be written has nowhere to say so.
    drop(io::stderr().write_all(text.as_bytes()));
}
