//! Keys: who may speak, and that nobody changed or repeated it on the way.

use std::fmt;

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use super::datagram::HEADER_LEN;

/// How far a datagram's time may be from ours, in microseconds: clocks differ, and the network delays.
pub const MAX_SKEW_MICROS: u64 = 30_000_000;

const MARKER: usize = 18;
const KEY_ID: usize = 19;
const TIME: std::ops::Range<usize> = 20..28;
const CODE: std::ops::Range<usize> = 28..44;
const RECIPIENT: std::ops::Range<usize> = 44..64;

/// What the seal begins with; no text that is sent at that place does.
const MARK: u8 = b'K';

/// Bytes of a key.
const KEY_LEN: usize = 32;

/// What a datagram needs to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SecurityMode {
    /// Nothing is sealed, and no seal is looked at.
    #[default]
    Off,
    /// What is sent is sealed. What comes without a seal is taken; with one, it has to be right.
    Permissive,
    /// What is sent is sealed, and nothing else is taken.
    Required,
}

impl SecurityMode {
    /// The words of the configuration file.
    pub const ALL: [Self; 3] = [Self::Off, Self::Permissive, Self::Required];

    /// The word of the configuration file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Permissive => "permissive",
            Self::Required => "required",
        }
    }
}

impl AsRef<str> for SecurityMode {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for SecurityMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A 256-bit key and the number that datagrams name it by.
#[derive(Clone, PartialEq, Eq)]
struct Key {
    id: u8,
    secret: [u8; KEY_LEN],
}

impl fmt::Display for Guard {
    /// As an operator is told: never the keys themselves.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.mode().fmt(f)?;
        match self.key_ids() {
            Some([current, next]) => write!(f, ", keys {current} and {next}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Key {
    /// The secret stays one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {}", self.id)
    }
}

/// What is wrong with a key file. No error repeats what might be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    /// A line is none of those allowed.
    #[error(
        "line {0}: expected 'current ID KEY' or 'next ID KEY', ID from 0 to 255, KEY of 64 hexadecimal digits"
    )]
    Line(usize),
    /// A key is there twice.
    #[error("line {0}: there is a {1} key already")]
    Twice(usize, &'static str),
    /// A key is not there.
    #[error("no {0} key: expected a line 'current ID KEY' and a line 'next ID KEY'")]
    Missing(&'static str),
    /// Datagrams could not say which key they mean.
    #[error("both keys have the id {0}: expected two ids")]
    SameId(u8),
}

/// The two keys of a key file: one to seal with, and the one that will be it next.
///
/// ```text
///  18     19     20                28                     44                    64
///  +------+------+-----------------+----------------------+---------------------+
///  | 'K'  | key  | time of sending | HMAC-SHA-256, first  | recipient: SHA-256  |
///  |      | id   | us since 1970   | 16 bytes             | of its name, or 0   |
///  +------+------+-----------------+----------------------+---------------------+
/// ```
///
/// The HMAC is over the whole datagram with its own 16 bytes zeroed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyring {
    current: Key,
    next: Key,
}

impl Keyring {
    /// Reads the text of a key file: a line a key, empty lines and comments after `#`.
    ///
    /// # Errors
    /// Says which line is wrong and what would be right.
    pub fn parse(text: &str) -> Result<Self, KeyFileError> {
        let (mut current, mut next) = (None, None);
        for (index, line) in text.lines().enumerate() {
            let line_number = index + 1;
            let line = line.split('#').next().unwrap_or_default();
            let words: Vec<&str> = line.split_whitespace().collect();
            let (role, id, secret) = match words[..] {
                [] => continue,
                [role, id, secret] => (role, id, secret),
                _ => return Err(KeyFileError::Line(line_number)),
            };
            let bad = KeyFileError::Line(line_number);
            let (place, role) = match role {
                "current" => (&mut current, "current"),
                "next" => (&mut next, "next"),
                _ => return Err(bad),
            };
            let id = id.parse().map_err(|_| bad.clone())?;
            let secret = hexadecimal(secret).ok_or(bad)?;
            if place.replace(Key { id, secret }).is_some() {
                return Err(KeyFileError::Twice(line_number, role));
            }
        }
        let current = current.ok_or(KeyFileError::Missing("current"))?;
        let next = next.ok_or(KeyFileError::Missing("next"))?;
        if current.id == next.id {
            return Err(KeyFileError::SameId(current.id));
        }
        Ok(Self { current, next })
    }

    /// Two keys made of these random bytes.
    #[must_use]
    pub const fn generate(current: [u8; KEY_LEN], next: [u8; KEY_LEN]) -> Self {
        Self { current: Key { id: 1, secret: current }, next: Key { id: 2, secret: next } }
    }

    /// The next key becomes the current one; the former one stays, for those who still seal with it.
    #[must_use]
    pub fn swap(&self) -> Self {
        Self { current: self.next.clone(), next: self.current.clone() }
    }

    /// A new key of these random bytes is next; the one that was is no longer known.
    #[must_use]
    pub fn renew(&self, secret: [u8; KEY_LEN]) -> Self {
        let id = self.current.id.max(self.next.id).wrapping_add(1);
        let id = if id == self.current.id { id.wrapping_add(1) } else { id };
        Self { current: self.current.clone(), next: Key { id, secret } }
    }

    /// The text of the key file.
    #[must_use]
    pub fn text(&self) -> String {
        use std::fmt::Write as _;
        let mut text = String::from(
            "# Keys of guestServer and guestAgent: the same file on all hosts, mode 0600.\n",
        );
        for (role, key) in [("current", &self.current), ("next", &self.next)] {
            // Writing to a String does not fail.
            let _ = write!(text, "{role} {} ", key.id);
            for byte in key.secret {
                let _ = write!(text, "{byte:02x}");
            }
            text.push('\n');
        }
        text
    }

    /// The numbers of the two keys, the current one first.
    #[must_use]
    pub const fn ids(&self) -> [u8; 2] {
        [self.current.id, self.next.id]
    }

    fn by_id(&self, id: u8) -> Option<&Key> {
        [&self.current, &self.next].into_iter().find(|key| key.id == id)
    }
}

fn hexadecimal(text: &str) -> Option<[u8; KEY_LEN]> {
    if text.len() != 2 * KEY_LEN || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut secret = [0; KEY_LEN];
    for (byte, at) in secret.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(secret)
}

/// Why a datagram is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It has no seal, and needs one.
    #[error("not sealed with a key, and [security] mode is required")]
    Unsealed,
    /// It names a key that we do not have.
    #[error("sealed with key {0}, which is not in our key file")]
    UnknownKey(u8),
    /// Its code is wrong: it was made or changed by somebody who does not have the key.
    #[error("its seal is wrong: forged, altered, or sealed with another key of that id")]
    Forged,
    /// It is too old, or from the future.
    #[error("sealed {0} s from our time, more than 30: repeated, or the clocks differ")]
    Late(u64),
    /// It is for somebody else.
    #[error("sealed for another recipient")]
    OtherRecipient,
    /// It could be repeated and nobody would know.
    #[error("sealed without a number")]
    Unnumbered,
}

/// Seals what is sent, and looks at the seals of what comes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Guard {
    mode: SecurityMode,
    keys: Option<Keyring>,
}

impl Guard {
    /// With these keys; without any, nothing is sealed or looked at.
    #[must_use]
    pub const fn new(mode: SecurityMode, keys: Option<Keyring>) -> Self {
        Self { mode, keys }
    }

    /// In this mode, with the keys of this text of a key file.
    ///
    /// # Errors
    /// Says what is wrong with the text.
    pub fn read(mode: SecurityMode, keys: Option<&str>) -> Result<Self, KeyFileError> {
        Ok(Self::new(mode, keys.map(Keyring::parse).transpose()?))
    }

    /// What a datagram needs to be taken.
    #[must_use]
    pub const fn mode(&self) -> SecurityMode {
        if self.keys.is_some() { self.mode } else { SecurityMode::Off }
    }

    /// The ids of the keys, the one that is sealed with first.
    #[must_use]
    pub fn key_ids(&self) -> Option<[u8; 2]> {
        self.keys.as_ref().filter(|_| self.seals()).map(Keyring::ids)
    }

    /// Whether what is sent is sealed.
    #[must_use]
    pub fn seals(&self) -> bool {
        self.mode() != SecurityMode::Off
    }

    /// Seals a datagram that was encoded, if anything is sealed. `now` is in microseconds since 1970.
    pub fn seal(&self, bytes: &mut [u8], now: u64, recipient: Option<&str>) {
        let Some(keys) = self.keys.as_ref().filter(|_| self.seals()) else { return };
        if bytes.len() < HEADER_LEN {
            return;
        }
        bytes[MARKER] = MARK;
        bytes[KEY_ID] = keys.current.id;
        bytes[TIME].copy_from_slice(&now.to_le_bytes());
        bytes[CODE].fill(0);
        bytes[RECIPIENT].copy_from_slice(&recipient.map_or([0; 20], name_of));
        let code = code(&keys.current, bytes).finalize().into_bytes();
        bytes[CODE].copy_from_slice(&code[..CODE.end - CODE.start]);
    }

    /// Looks at the seal of a datagram's bytes; says whether it has one. `me` is our name as a recipient.
    ///
    /// # Errors
    /// Says why it is not to be taken.
    pub fn check(&self, bytes: &[u8], now: u64, me: &str) -> Result<bool, SealError> {
        let Some(keys) = self.keys.as_ref().filter(|_| self.seals()) else { return Ok(false) };
        if bytes.len() < HEADER_LEN || bytes[MARKER] != MARK {
            return match self.mode {
                SecurityMode::Required => Err(SealError::Unsealed),
                SecurityMode::Off | SecurityMode::Permissive => Ok(false),
            };
        }
        let id = bytes[KEY_ID];
        let key = keys.by_id(id).ok_or(SealError::UnknownKey(id))?;
        let mut blank = bytes.to_vec();
        blank[CODE].fill(0);
        code(key, &blank).verify_truncated_left(&bytes[CODE]).map_err(|_| SealError::Forged)?;
        let mut time = [0; 8];
        time.copy_from_slice(&bytes[TIME]);
        let skew = u64::from_le_bytes(time).abs_diff(now);
        if skew > MAX_SKEW_MICROS {
            return Err(SealError::Late(skew / 1_000_000));
        }
        let recipient = &bytes[RECIPIENT];
        if recipient.iter().any(|byte| *byte != 0) && recipient != name_of(me) {
            return Err(SealError::OtherRecipient);
        }
        Ok(true)
    }
}

fn code(key: &Key, bytes: &[u8]) -> Hmac<Sha256> {
    // HMAC fills a key up with zeros to the block of its hash; a whole block is always taken.
    let mut block = [0; 64];
    block[..KEY_LEN].copy_from_slice(&key.secret);
    let mut code = <Hmac<Sha256> as Mac>::new(&block.into());
    code.update(bytes);
    code
}

/// A host's name as a recipient.
fn name_of(name: &str) -> [u8; 20] {
    let mut short = [0; 20];
    short.copy_from_slice(&Sha256::digest(name.as_bytes())[..20]);
    short
}

#[cfg(test)]
mod tests;
