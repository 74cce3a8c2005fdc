//! The bytes seen on the wires of the C++ daemons.

use anyhow::{Context, Result};
use heartbeat_proto::InstanceId;
use serde_json::Value;

const DATAGRAMS: &str = include_str!("../../crates/heartbeat-proto/testdata/datagrams.jsonl");
const CHANNEL: &str = include_str!("../../crates/heartbeat-proto/testdata/channel.jsonl");

/// The instance that the golden messages are about.
pub const INSTANCE: &str = "8d80875b-fa73-4ccb-bce3-1cd4df104400";

/// The host that the golden events come from.
pub const HOSTNAME: &str = "vm";

/// The address that the golden commands come from.
pub const CONTROLLER: &str = "127.0.0.2";

/// Bytes of an event, whatever it says.
pub const EVENT_LEN: usize = 1060;

/// The instance that the golden messages are about.
///
/// # Errors
///
/// Never.
pub fn instance() -> Result<InstanceId> {
    Ok(INSTANCE.parse()?)
}

/// A datagram that was seen.
#[derive(Debug, Clone)]
pub struct Datagram {
    /// The name of the command or event.
    pub name: String,
    /// All of its bytes.
    pub bytes: Vec<u8>,
    /// Its JSON text.
    pub text: String,
}

/// What a C++ guestAgent sent to a guestServer.
///
/// # Errors
///
/// The golden file is broken.
pub fn commands() -> Result<Vec<Datagram>> {
    datagrams("agent to server")
}

/// What a C++ guestServer sent to a guestAgent.
///
/// # Errors
///
/// The golden file is broken.
pub fn events() -> Result<Vec<Datagram>> {
    datagrams("server to agent")
}

/// The golden command of this name.
///
/// # Errors
///
/// There is none.
pub fn command(name: &str) -> Result<Datagram> {
    let found = commands()?.into_iter().find(|datagram| datagram.name == name);
    found.with_context(|| format!("no golden command {name}"))
}

/// The golden event of this name; of several, the one whose text contains `with`.
///
/// # Errors
///
/// There is none.
pub fn event(name: &str, with: &str) -> Result<Datagram> {
    let wanted = |event: &Datagram| event.name == name && event.text.contains(with);
    let found = events()?.into_iter().find(wanted);
    found.with_context(|| format!("no golden event {name} with {with}"))
}

/// The bytes of an event, put together without the help of what is tested.
///
/// # Errors
///
/// The text is too long.
pub fn event_bytes(code: u32, text: &str) -> Result<Vec<u8>> {
    let mut bytes = vec![0; EVENT_LEN];
    bytes[72..76].copy_from_slice(&code.to_le_bytes());
    let room = bytes.get_mut(100..100 + text.len()).context("the text is too long")?;
    room.copy_from_slice(text.as_bytes());
    Ok(bytes)
}

/// The bytes of a command as guestAgent signs it, likewise.
#[must_use]
pub fn command_bytes(code: u32, text: &str) -> Vec<u8> {
    let mut bytes = vec![0; 100];
    bytes[..17].copy_from_slice(b"guest msg header:");
    bytes[72..76].copy_from_slice(&code.to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// The bytes of a datagram as they would be for a peer that is known not to acknowledge: `rev`, `res` and `num` are zero. Before
/// it is heard, a peer is shown that we would, and a C++ daemon ignores that.
#[must_use]
pub fn without_numbering(bytes: &[u8]) -> Vec<u8> {
    let mut plain = bytes.to_vec();
    for place in [66..72, 76..80] {
        plain[place].fill(0);
    }
    plain
}

/// The lines of the golden channel in order: whether each is the guest's, and its text with the newlines around.
///
/// # Errors
///
/// The golden file is broken.
pub fn channel() -> Result<Vec<(bool, String)>> {
    let read = |line| -> Result<_> {
        let entry: Value = serde_json::from_str(line)?;
        Ok((entry["from"] == "guest", field(&entry, "text")?))
    };
    CHANNEL.lines().map(read).collect()
}

/// The one golden line of the guest, or the host, that contains `with`.
///
/// # Errors
///
/// There is none, or another one.
pub fn line(guest: bool, with: &str) -> Result<String> {
    let mut found =
        channel()?.into_iter().filter(|(from, text)| *from == guest && text.contains(with));
    let (_, text) = found.next().with_context(|| format!("no golden line with {with}"))?;
    anyhow::ensure!(found.next().is_none(), "several golden lines with {with}");
    Ok(text)
}

fn datagrams(direction: &str) -> Result<Vec<Datagram>> {
    let read = |line| -> Result<_> {
        let entry: Value = serde_json::from_str(line)?;
        let hex = field(&entry, "hex")?;
        let byte = |at| Ok(u8::from_str_radix(hex.get(at..at + 2).context("odd hex")?, 16)?);
        let bytes = (0..hex.len()).step_by(2).map(byte).collect::<Result<_>>()?;
        let datagram =
            Datagram { name: field(&entry, "name")?, bytes, text: field(&entry, "text")? };
        Ok((entry["direction"] == direction, datagram))
    };
    let all = DATAGRAMS.lines().map(read).collect::<Result<Vec<_>>>()?;
    Ok(all.into_iter().filter_map(|(wanted, datagram)| wanted.then_some(datagram)).collect())
}

fn field(entry: &Value, key: &str) -> Result<String> {
    Ok(entry[key].as_str().with_context(|| format!("no text {key}"))?.to_owned())
}
