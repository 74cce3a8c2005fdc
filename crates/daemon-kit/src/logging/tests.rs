use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use tracing::{debug, error, info, trace, warn};

use super::line::Line;
use super::*;

mod native;

/// What a guest may send to take over the terminal of whoever reads the log, or to forge a line or
/// a field in it.
const HOSTILE: &str = "ok\n2026-01-01T00:00:00Z ERROR forged\x1b[2J\x1b]0;x\x07 \u{9b}31m\x7f\0\r level=error \"q\" \\";

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Captured {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// Lines straight into whatever is written to.
struct Direct<F>(F);

impl<F, W> Sink for Direct<F>
where
    F: Fn() -> W + Send + Sync + 'static,
    W: Write,
{
    fn put(&self, line: Line, _: Style) {
        let text = match line {
            Line::Text(text) => text,
            Line::Entry(entry) => entry.to_line(),
        };
        let _ = (self.0)().write_all(text.as_bytes());
    }
}

fn logged(style: Style, level: LogLevel, events: impl FnOnce(&LogHandle)) -> String {
    let captured = Captured::default();
    let writer = captured.clone();
    let (subscriber, handle) = subscriber(style, level, Direct(move || writer.clone()));
    tracing::subscriber::with_default(subscriber, || events(&handle));
    captured.text()
}

fn in_journal(events: impl FnOnce(&LogHandle)) -> String {
    logged(Style::Journal, LogLevel::Trace, events)
}

#[test]
fn the_styles() {
    let event = |_: &LogHandle| warn!(instance = %"i-1", misses = 2, "no answer");
    let plain = logged(Style::Plain, LogLevel::Info, event);
    let (time, rest) = plain.split_once(' ').unwrap();
    assert_eq!(rest, "WARN  no answer instance=i-1 misses=2\n");
    assert_eq!((time.len(), &time[10..11], &time[19..20]), (27, "T", "."), "{time}");
    assert!(time.ends_with('Z'));

    let colour = logged(Style::Colour, LogLevel::Info, event);
    assert!(
        colour.ends_with(" \x1b[33mWARN \x1b[0m no answer instance=i-1 misses=2\n"),
        "{colour}"
    );
    assert_eq!(in_journal(event), "<4>WARN no answer instance=i-1 misses=2\n");
}

#[test]
fn priorities_and_where_the_module_is_named() {
    let text = in_journal(|_| {
        error!("a");
        warn!("a");
        info!("a");
        debug!(target: "t", "a");
        trace!(target: "t", "a");
    });
    assert_eq!(text, "<3>ERROR a\n<4>WARN a\n<6>INFO a\n<7>DEBUG t: a\n<7>TRACE t: a\n");
}

#[test]
fn hostile_text_stays_one_harmless_line_in_every_position() {
    let refused = io::Error::other(HOSTILE);
    let refused: &(dyn std::error::Error + 'static) = &refused;
    for style in [Style::Plain, Style::Journal, Style::Json] {
        let text = logged(style, LogLevel::Info, |_| {
            info!("said {HOSTILE}");
            info!(reason = HOSTILE, "string");
            info!(reason = %HOSTILE, "display");
            info!(reason = ?HOSTILE, "debug");
            info!(reason = ?Some(HOSTILE), list = ?[HOSTILE], "nested");
            info!(reason = refused, "error");
            info!(message = HOSTILE);
        });
        assert_eq!(text.lines().count(), 7, "{text}");
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    }
}

#[test]
fn hostile_text_cannot_forge_a_field() {
    let text = in_journal(|_| {
        info!(reason = HOSTILE, last = 1, "m");
        info!(reason = "\" level=error x=\"", "m");
        info!(reason = "a\\\" level=error", "m");
        info!(reason = ?"a\" level=error", empty = "", "m");
        info!(reason = %"\"a\" level=\"b\"", path = "C:\\x", "m");
    });
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        "<6>INFO m reason=\"ok\\n2026-01-01T00:00:00Z ERROR forged\\x1b[2J\\x1b]0;x\\x07 \
         \\u{9b}31m\\x7f\\x00\\r level=error \\\"q\\\" \\\\\" last=1"
    );
    assert_eq!(lines[1], "<6>INFO m reason=\"\\\" level=error x=\\\"\"");
    assert_eq!(lines[2], "<6>INFO m reason=\"a\\\\\\\" level=error\"");
    assert_eq!(lines[3], "<6>INFO m reason=\"a\\\" level=error\" empty=\"\"");
    assert_eq!(lines[4], "<6>INFO m reason=\"\\\"a\\\" level=\\\"b\\\"\" path=C:\\x");
}

#[test]
fn json_lines_are_whole_objects() {
    let text = logged(Style::Json, LogLevel::Debug, |_| {
        info!(
            level = 7_u64,
            timestamp = -1_i64,
            r#type = true,
            load = 0.5,
            bad = f64::NAN,
            "said {HOSTILE}"
        );
        debug!(target: "t", reason = %HOSTILE);
    });
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["level"], "INFO");
    assert_eq!(lines[0]["message"], format!("said {HOSTILE}"));
    assert_eq!(
        lines[0]["fields"],
        serde_json::json!({"level": 7, "timestamp": -1, "type": true, "load": 0.5, "bad": null})
    );
    assert!(lines[0].get("target").is_none());
    assert_eq!(lines[1]["target"], "t");
    assert_eq!(lines[1]["fields"]["reason"], HOSTILE);
}

#[test]
fn the_level_can_be_changed() {
    let text = in_journal(|handle| {
        handle.set_level(LogLevel::Warn);
        info!("hidden");
        warn!("shown");
        handle.set_level(LogLevel::Debug);
        debug!(target: "t", "shown");
        trace!("hidden");
    });
    assert_eq!(text, "<4>WARN shown\n<7>DEBUG t: shown\n");
}

#[test]
fn values_that_fail_to_speak_and_errors_with_sources() {
    struct Broken;
    impl fmt::Display for Broken {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("half")?;
            Err(fmt::Error)
        }
    }
    #[derive(Debug, thiserror::Error)]
    #[error("no answer")]
    struct Outer(#[source] io::Error);

    let outer = Outer(io::Error::other("line dead"));
    let error: &(dyn std::error::Error + 'static) = &outer;
    let text = in_journal(|_| {
        info!(broken = %Broken, "said {Broken}");
        info!(error, "failed");
    });
    assert_eq!(
        text,
        "<6>INFO said half broken=half\n<6>INFO failed error=\"no answer: line dead\"\n"
    );
}

#[test]
fn a_writer_that_fails_is_no_concern_of_the_daemon() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (subscriber, _handle) = subscriber(Style::Plain, LogLevel::Info, Direct(|| Full));
    tracing::subscriber::with_default(subscriber, || info!("lost"));
}

#[test]
fn names() {
    for name in ["error", "warn", "info", "debug", "trace"] {
        assert_eq!(name.parse::<LogLevel>().unwrap().to_string(), name);
    }
    let error = "loud\n".parse::<LogLevel>().unwrap_err().to_string();
    assert_eq!(
        error,
        "unknown log level 'loud\\n': expected one of error, warn, info, debug, trace"
    );
    assert_eq!("json".parse(), Ok(LogFormat::Json));
    let error = "xml".parse::<LogFormat>().unwrap_err().to_string();
    assert_eq!(error, "unknown log format 'xml': expected one of text, json");
}

const CHILD: &str = "DAEMON_KIT_TEST_LOG_FORMAT";

/// Where a child finds the journal's socket.
const JOURNAL: &str = "DAEMON_KIT_TEST_JOURNAL";

/// Sets up logging in a child.
fn init_child(format: LogFormat) -> LogHandle {
    let socket = std::env::var(JOURNAL).unwrap_or_else(|_| "/nonexistent/journal".into());
    init_at(Path::new(&socket), "child", format, LogLevel::Info).unwrap()
}

/// As [`LogHandle::flush`], on a machine that may be too busy for its patience.
fn all_written(log: &LogHandle) {
    log.queue.as_ref().unwrap().flush(Duration::from_secs(30));
}

/// Does something only as the child of the tests below, with their environment and their stderr.
#[test]
fn child_logs() {
    let Ok(format) = std::env::var(CHILD) else { return };
    let handle = init_child(format.parse().unwrap());
    init("child", LogFormat::Text, LogLevel::Info).unwrap_err();
    for _ in 0..3 {
        info!(reason = HOSTILE, "a line");
    }
    handle.set_level(LogLevel::Error);
    warn!("hidden");
    all_written(&handle);
    println!("still running");
}

fn child(format: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "--nocapture", "logging::tests::child_logs"])
        .env(CHILD, format)
        .env("RUST_LOG", "off")
        .env_remove("JOURNAL_STREAM");
    command
}

/// The child's log, for which it is told that device and inode plus `offset` are the journal.
fn child_log(offset: u64) -> String {
    let mut file = tempfile::tempfile().unwrap();
    let metadata = file.metadata().unwrap();
    let stream = format!("{}:{}", metadata.dev(), metadata.ino() + offset);
    let status = child("text")
        .env("JOURNAL_STREAM", stream)
        .stdout(Stdio::null())
        .stderr(file.try_clone().unwrap())
        .status()
        .unwrap();
    assert!(status.success());
    let mut text = String::new();
    io::Seek::rewind(&mut file).unwrap();
    file.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn the_journal_is_known_by_its_stream() {
    // Nobody is at its socket: the lines say all, once the reason is told.
    let journal = child_log(0);
    let (told, lines) = journal.split_once('\n').unwrap();
    assert_eq!(
        told,
        "<4>WARN cannot reach the journal's socket: lines without fields \
         error=\"No such file or directory (os error 2)\""
    );
    assert_eq!(lines.lines().count(), 3, "{journal}");
    assert!(lines.lines().all(|line| line.starts_with("<6>INFO a line reason=")), "{journal}");
    let file = child_log(1);
    assert_eq!(file.lines().count(), 3, "{file}");
    assert!(file.lines().all(|line| line.contains("Z INFO  a line reason=")), "{file}");
}

#[test]
fn a_daemon_outlives_its_stderr() {
    let (reader, pipe) = std::io::pipe().unwrap();
    drop(reader);
    let full = File::options().write(true).open("/dev/full").unwrap();
    // Opened for reading only: writing to it is EBADF, as to a closed stderr.
    let closed = File::open("/dev/null").unwrap();
    for stderr in [Stdio::from(pipe), Stdio::from(full), Stdio::from(closed)] {
        let output = child("json").stderr(stderr).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("still running"), "{output:?}");
    }
}

/// Run as a child whose stderr nobody reads: logs far more than a pipe and the queue hold, and ends.
#[test]
fn logs_more_than_anybody_reads() {
    if std::env::var_os("LOG_FLOOD").is_none() {
        return;
    }
    let log = init_child(LogFormat::Text);
    for n in 0..20_000 {
        info!(n, "{}", "x".repeat(100));
    }
    println!("logged");
    // The reader wakes up.
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    all_written(&log);
    info!("the last line");
    all_written(&log);
}

#[test]
fn a_reader_that_stands_still_does_not_hold_up_the_daemon_and_learns_what_it_missed() {
    use std::io::BufRead;

    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "logging::tests::logs_more_than_anybody_reads"])
        .env("LOG_FLOOD", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
    // Comes although nothing has been read from its stderr.
    assert!(stdout.any(|line| line.unwrap().contains("logged")));
    let mut stderr = child.stderr.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).unwrap();
        text
    });
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert!(child.wait().unwrap().success());
    let text = reader.join().unwrap();
    let notice = text.lines().find(|line| line.contains("log lines left out")).unwrap();
    let left_out: usize = notice.rsplit('=').next().unwrap().parse().unwrap();
    let written = text.lines().filter(|line| line.contains("xxx")).count();
    assert_eq!(written + left_out, 20_000);
    assert!(text.contains("the last line"));
}
