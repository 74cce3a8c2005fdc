//! The journal's native protocol, against a stand-in for its socket.

use std::collections::BTreeMap;
use std::io::BufRead as _;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixDatagram;

use nix::sys::stat::fstat;

use super::*;

/// How long an entry may take to arrive.
const SOON: Duration = Duration::from_secs(20);

/// Reads an entry as journald does.
fn parse(mut datagram: &[u8]) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    while !datagram.is_empty() {
        let end = datagram.iter().position(|b| *b == b'\n').unwrap();
        let (line, rest) = (&datagram[..end], &datagram[end + 1..]);
        let (key, value) = if let Some(at) = line.iter().position(|b| *b == b'=') {
            datagram = rest;
            (&line[..at], &line[at + 1..])
        } else {
            let (len, rest) = rest.split_first_chunk::<8>().unwrap();
            let (value, rest) = rest.split_at(usize::try_from(u64::from_le_bytes(*len)).unwrap());
            datagram = rest.strip_prefix(b"\n").unwrap();
            (line, value)
        };
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        fields.insert(text(key), text(value));
    }
    fields
}

struct StandIn {
    socket: UnixDatagram,
    dir: tempfile::TempDir,
}

impl StandIn {
    fn start() -> StandIn {
        let dir = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(dir.path().join("socket")).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        StandIn { socket, dir }
    }

    fn entry(&self) -> BTreeMap<String, String> {
        let mut room = vec![0; 1 << 20];
        let len = self.socket.recv(&mut room).unwrap();
        parse(&room[..len])
    }

    /// A child that takes the file for the journal's stream and this for the journal's socket.
    fn tell(&self, command: &mut Command, stderr: &File) {
        let stat = fstat(stderr.as_fd()).unwrap();
        command
            .env("JOURNAL_STREAM", format!("{}:{}", stat.st_dev, stat.st_ino))
            .env(JOURNAL, self.dir.path().join("socket"))
            .stderr(stderr.try_clone().unwrap());
    }
}

#[test]
fn the_journal_gets_every_field_escaped_and_stderr_nothing() {
    let stand_in = StandIn::start();
    let stderr = tempfile::tempfile().unwrap();
    let mut command = child("text");
    stand_in.tell(&mut command, &stderr);
    assert!(command.stdout(Stdio::null()).status().unwrap().success());
    for _ in 0..3 {
        let entry = stand_in.entry();
        assert_eq!(
            entry.keys().map(String::as_str).collect::<Vec<_>>(),
            ["GUEST_MESSAGE", "GUEST_REASON", "MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER"]
        );
        assert_eq!(entry["PRIORITY"], "6");
        assert_eq!(entry["SYSLOG_IDENTIFIER"], "child");
        assert_eq!(entry["GUEST_MESSAGE"], "a line");
        assert_eq!(entry["GUEST_REASON"], Escaped(HOSTILE).to_string());
        assert!(entry["MESSAGE"].starts_with("INFO a line reason=\"ok\\n2026"), "{entry:?}");
        assert!(!entry.values().any(|value| value.contains(char::is_control)), "{entry:?}");
    }
    assert_eq!(stderr.metadata().unwrap().len(), 0);
}

#[test]
fn a_journal_that_stands_still_does_not_hold_up_the_daemon_and_learns_what_it_missed() {
    let stand_in = StandIn::start();
    let stderr = tempfile::tempfile().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "--nocapture", "logging::tests::logs_more_than_anybody_reads"])
        .env("LOG_FLOOD", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    stand_in.tell(&mut command, &stderr);
    let mut child = command.spawn().unwrap();
    let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
    // Comes although no entry has been taken.
    assert!(stdout.any(|line| line.unwrap().contains("logged")));
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    let (mut written, mut left_out) = (0, 0);
    loop {
        let entry = stand_in.entry();
        match entry["GUEST_MESSAGE"].as_str() {
            "the last line" => break,
            "log lines left out: the log's reader is too slow" => {
                left_out += entry["GUEST_LEFT_OUT"].parse::<usize>().unwrap();
                assert_eq!(entry["PRIORITY"], "4");
            }
            _ => written += 1,
        }
    }
    assert!(child.wait().unwrap().success());
    assert!(left_out > 0);
    assert_eq!(written + left_out, 20_000);
    assert_eq!(stderr.metadata().unwrap().len(), 0);
}

#[test]
fn a_journal_that_comes_back_gets_entries_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let queue = LogQueue::start(Some(Journal::at(&path, "test").unwrap())).unwrap();
    let (subscriber, _handle) = subscriber(Style::Journal, LogLevel::Info, queue.clone());
    tracing::subscriber::with_default(subscriber, || {
        info!("to stderr");
        queue.flush(SOON);
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        let stand_in = StandIn { socket, dir };
        warn!(instance = %"i-1", "to the journal");
        let entry = stand_in.entry();
        assert_eq!(entry["MESSAGE"], "WARN to the journal instance=i-1");
        assert_eq!(entry["GUEST_INSTANCE"], "i-1");
    });
}
