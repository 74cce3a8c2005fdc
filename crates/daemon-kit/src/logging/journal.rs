//! Entries for the journal in its native protocol: what a line says, and each of its fields as a
//! field of the journal's own.
//!
//! One datagram an entry, to a socket that systemd holds open whether the journal runs or not. A
//! field is `KEY=value` and a newline, or, for a value with a newline in it, `KEY`, a newline, the
//! length in eight bytes (little-endian), the value, and a newline. What it looks like there:
//!
//! ```text
//! MESSAGE=WARN heartbeat lost instance=8d80875b-... name=vm-one heartbeating=true
//! PRIORITY=4
//! SYSLOG_IDENTIFIER=guestServer
//! GUEST_MESSAGE=heartbeat lost
//! GUEST_INSTANCE=8d80875b-...
//! GUEST_NAME=vm-one
//! GUEST_HEARTBEATING=true
//! ```
//!
//! The journal finds the unit by our process, which it knows from our standard error: as long as
//! that is its own, the last entry of a process that has ended is still this unit's.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

/// Where the journal listens.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";

/// What our fields' names begin with, so that they are nobody else's.
const PREFIX: &str = "GUEST_";

/// The longest name of a field that the journal takes.
const MAX_KEY: usize = 64;

/// The longest value of one of our fields, in bytes; what is longer is cut. So that an entry with
/// all the fields that an event can have fits into a datagram.
const MAX_VALUE: usize = 4 * 1024;

/// One entry. All text in it is escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    priority: u8,
    /// The line as it is without fields.
    line: String,
    fields: Vec<(String, String)>,
}

impl Entry {
    /// An entry that shows as `line`, and has no fields yet.
    pub(super) const fn new(priority: u8, line: String) -> Entry {
        Entry { priority, line, fields: Vec::new() }
    }

    /// Adds a field; `name` is as at the call site.
    pub(super) fn add(&mut self, name: &str, mut value: String) {
        value.truncate(value.floor_char_boundary(MAX_VALUE));
        self.fields.push((key(name), value));
    }

    /// As a line on standard error, for a journal that has no socket: it takes the priority from
    /// there, as sd-daemon(3) says.
    pub(super) fn to_line(&self) -> String {
        format!("<{}>{}\n", self.priority, self.line)
    }

    fn encode(&self, identifier: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(256 + 2 * self.line.len());
        put(&mut out, "MESSAGE", &self.line);
        put(&mut out, "PRIORITY", &self.priority.to_string());
        put(&mut out, "SYSLOG_IDENTIFIER", identifier);
        for (key, value) in &self.fields {
            put(&mut out, key, value);
        }
        out
    }
}

/// `name` as a field of ours: capitals, digits and `_`.
fn key(name: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    PREFIX.chars().chain(name.chars().map(allowed)).take(MAX_KEY).collect()
}

fn put(out: &mut Vec<u8>, key: &str, value: &str) {
    out.extend_from_slice(key.as_bytes());
    if value.contains('\n') {
        out.push(b'\n');
        out.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend_from_slice(value.as_bytes());
    out.push(b'\n');
}

/// The way to the journal.
#[derive(Debug)]
pub(super) struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
    identifier: String,
}

impl Journal {
    /// A way to the journal at `path`, for the program of this name. Whether anybody is there shows
    /// with each entry.
    pub(super) fn at(path: &Path, identifier: &str) -> io::Result<Journal> {
        let socket = UnixDatagram::unbound()?;
        Ok(Journal { socket, path: path.to_owned(), identifier: identifier.to_owned() })
    }

    /// Hands an entry over. Waits while the journal's queue is full.
    pub(super) fn send(&self, entry: &Entry) -> io::Result<()> {
        let datagram = entry.encode(&self.identifier);
        loop {
            match self.socket.send_to(&datagram, &self.path) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                sent => return sent.map(drop),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_in_the_journals_framing() {
        let mut entry = Entry::new(4, "WARN no answer misses=2".into());
        entry.add("message", "no answer".into());
        entry.add("misses", "2".into());
        entry.add("reason", "one\ntwo=\n".into());
        let mut expected = b"MESSAGE=WARN no answer misses=2\nPRIORITY=4\n\
            SYSLOG_IDENTIFIER=guestServer\nGUEST_MESSAGE=no answer\nGUEST_MISSES=2\nGUEST_REASON\n"
            .to_vec();
        expected.extend_from_slice(b"\x09\0\0\0\0\0\0\0one\ntwo=\n\n");
        assert_eq!(entry.encode("guestServer"), expected);
        assert_eq!(entry.to_line(), "<4>WARN no answer misses=2\n");
    }

    #[test]
    fn the_journal_takes_every_name_of_a_field() {
        for name in ["instance", "log.target", "é", "_x", "a=b\n", &"long".repeat(50)] {
            let key = key(name);
            assert!(key.len() <= MAX_KEY && key.starts_with(PREFIX), "{key}");
            let allowed = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
            assert!(key.chars().all(allowed), "{key}");
        }
        assert_eq!(key("left_out"), "GUEST_LEFT_OUT");
    }

    #[test]
    fn the_largest_entry_fits_into_a_datagram() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let stand_in = UnixDatagram::bind(&path).unwrap();
        let mut entry = Entry::new(6, "x".repeat(8 * 1024));
        // As many as tracing allows.
        for n in 0..32 {
            entry.add(&format!("field_{n}"), "é".repeat(100_000));
        }
        Journal::at(&path, "guestServer").unwrap().send(&entry).unwrap();
        let mut room = vec![0; 1 << 20];
        let len = stand_in.recv(&mut room).unwrap();
        assert_eq!(&room[..len], entry.encode("guestServer"));
    }
}
