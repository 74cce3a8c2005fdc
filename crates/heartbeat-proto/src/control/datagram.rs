//! The envelope of every message between hosts: a fixed header and a JSON text.

/// Bytes before the text.
pub const HEADER_LEN: usize = 100;

/// Bytes of the longest datagram.
pub const MAX_LEN: usize = 1060;

/// Bytes of the longest text that is sent. One less than there is room for, so that a receiver
/// which looks for a final zero finds one.
pub(super) const MAX_TEXT: usize = MAX_LEN - HEADER_LEN - 1;

const SIGNATURE: std::ops::Range<usize> = 0..18;
const FREE_TEXT: std::ops::Range<usize> = 18..64;

/// The numbers of the commands and events.
pub mod code {
    #![expect(missing_docs, reason = "each is named and explained in docs/protocol.md")]

    pub const ADD_HOST: u32 = 0x1111_0010;
    pub const DEL_HOST: u32 = 0x1111_0011;
    pub const MOD_HOST: u32 = 0x1111_0012;
    pub const ADD_INST: u32 = 0x1111_0020;
    pub const DEL_INST: u32 = 0x1111_0021;
    pub const MOD_INST: u32 = 0x1111_0022;
    pub const QRY_INST: u32 = 0x1111_0023;
    pub const VOTE_INST: u32 = 0x1111_0024;
    pub const NOTIFY_INST: u32 = 0x1111_0025;
    pub const LOOPBACK: u32 = 0x0101_0101;
    pub const MONITOR_READY: u32 = 0xf0f0_f0f0;
    pub const RUNNING: u32 = 0x0110_fead;
    pub const STOPPED: u32 = 0x0100_fead;
    pub const ILLHEALTH: u32 = 0x0001_fead;
    pub const LOSS: u32 = 0x0000_fead;
    pub const VOTE_NOTIFY: u32 = 0xfeed_feed;
    pub const ACK: u32 = 0x1111_003a;
}

/// Who speaks, as far as the first 18 bytes tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    /// `guest msg header:`, from guestAgent.
    GuestMessage,
    /// `cgts mtc cmd req:`, from the maintenance system.
    MaintenanceCommand,
    /// Zeros, from guestServer.
    None,
}

impl Signature {
    const ALL: [Self; 3] = [Self::GuestMessage, Self::MaintenanceCommand, Self::None];

    const fn text(self) -> &'static [u8] {
        match self {
            Self::GuestMessage => b"guest msg header:",
            Self::MaintenanceCommand => b"cgts mtc cmd req:",
            Self::None => b"",
        }
    }
}

/// How many bytes are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// The header and the text, as guestAgent does.
    Fitting,
    /// All [`MAX_LEN`] bytes, as guestServer does.
    Full,
}

/// Why some bytes are no datagram.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatagramError {
    /// The length is none that is sent.
    #[error("{0} bytes, expected {HEADER_LEN} to {MAX_LEN}")]
    Length(usize),
    /// The first 18 bytes are none of the signatures.
    #[error("unknown signature")]
    Signature,
    /// The text is not UTF-8.
    #[error("text is not UTF-8 from byte {0} on")]
    Text(usize),
}

/// Which message of its sender's a datagram is; all zero where that is a C++ daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Numbering {
    /// `rev`: 0 from who does not acknowledge, [`REVISION`] from who does.
    pub revision: u16,
    /// `res`: a random number for the life of the sender, so that a restart is noticed. In an `ACK`, that of the message.
    pub epoch: u32,
    /// `num`: a running number from 1; zero is not acknowledged. In an `ACK`, that of the message.
    pub number: u32,
}

/// The revision of the header that is spoken here: numbered messages are acknowledged.
pub const REVISION: u16 = 1;

impl Numbering {
    /// From or for a peer that knows nothing of numbers.
    pub const NONE: Self = Self { revision: 0, epoch: 0, number: 0 };
}

/// One message between hosts.
///
/// All integers are little-endian.
///
/// ```text
///    0       18          64   66   68   72   76   80        100             1060
///    +--------+-----------+----+----+----+----+----+---------+- - - - - - - -+
///    | signa- | free text |ver |rev |res |cmd |num | parm[5] | JSON text,    |
///    | ture   |           |u16 |u16 |u32 |u32 |u32 | u32 x 5 | to first zero |
///    +--------+-----------+----+----+----+----+----+---------+- - - - - - - -+
/// ```
///
/// `ver` is zero and ignored, and so are all but the first of `parm`. `rev`, `res` and `num` are the [`Numbering`], which is zero
/// from and for the C++ daemons. With keys, bytes 18..64 are the seal (see [`Keyring`](super::Keyring)) instead of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Who speaks.
    pub signature: Signature,
    /// Text at byte 18: `guestAgent` towards the maintenance system, otherwise empty.
    pub sender: &'a str,
    /// Which message of its sender's it is.
    pub numbering: Numbering,
    /// What it is: see [`code`].
    pub command: u32,
    /// The first of `parm`: 1 in the `ACK` of a message that is held, zero in all others.
    pub parameter: u32,
    /// The JSON text, without the zeros after it.
    pub text: &'a str,
}

impl<'a> Datagram<'a> {
    /// As a C++ daemon sends it.
    #[must_use]
    pub const fn plain(signature: Signature, command: u32, text: &'a str) -> Self {
        Self { signature, sender: "", numbering: Numbering::NONE, command, parameter: 0, text }
    }

    /// Reads the bytes of one datagram.
    ///
    /// # Errors
    /// When length, signature or text are wrong.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DatagramError> {
        if !(HEADER_LEN..=MAX_LEN).contains(&bytes.len()) {
            return Err(DatagramError::Length(bytes.len()));
        }
        let signed = until_zero(&bytes[SIGNATURE]);
        let signature = Signature::ALL
            .into_iter()
            .find(|signature| signature.text() == signed)
            .ok_or(DatagramError::Signature)?;
        let text = until_zero(&bytes[HEADER_LEN..]);
        Ok(Self {
            signature,
            sender: std::str::from_utf8(until_zero(&bytes[FREE_TEXT])).unwrap_or_default(),
            numbering: Numbering {
                revision: u16::from_le_bytes([bytes[66], bytes[67]]),
                epoch: word(bytes, 68),
                number: word(bytes, 76),
            },
            command: word(bytes, 72),
            parameter: word(bytes, 80),
            text: std::str::from_utf8(text)
                .map_err(|error| DatagramError::Text(HEADER_LEN + error.valid_up_to()))?,
        })
    }

    /// Writes the datagram over `out`. A text over [`MAX_TEXT`] bytes is cut; the senders here keep
    /// theirs shorter.
    pub fn encode(&self, length: Length, out: &mut Vec<u8>) {
        let text = crate::guest::cut(self.text, MAX_TEXT).as_bytes();
        out.clear();
        out.resize(
            match length {
                Length::Fitting => HEADER_LEN + text.len(),
                Length::Full => MAX_LEN,
            },
            0,
        );
        put(&mut out[SIGNATURE], self.signature.text());
        put(&mut out[FREE_TEXT], self.sender.as_bytes());
        put(&mut out[66..68], &self.numbering.revision.to_le_bytes());
        put(&mut out[68..72], &self.numbering.epoch.to_le_bytes());
        put(&mut out[72..76], &self.command.to_le_bytes());
        put(&mut out[76..80], &self.numbering.number.to_le_bytes());
        put(&mut out[80..84], &self.parameter.to_le_bytes());
        put(&mut out[HEADER_LEN..], text);
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn until_zero(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// Copies as much of `value` as there is room for.
fn put(room: &mut [u8], value: &[u8]) {
    let len = value.len().min(room.len());
    room[..len].copy_from_slice(&value[..len]);
}
