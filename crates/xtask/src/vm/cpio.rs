//! An archive in the format that the kernel unpacks into its first file system: cpio, "newc".
//!
//! ```text
//! bytes      field
//! 0..6       "070701"
//! 6..110     13 numbers of 8 hexadecimal digits: inode, mode, uid, gid, links, mtime, length of the content,
//!            device major and minor (of the file system), device major and minor (of the file),
//!            length of the name with its zero, check (0)
//! 110..      name, zero, zeroes up to a multiple of 4
//!            content, zeroes up to a multiple of 4
//! ```

use anyhow::{Context, Result};

const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;

/// An archive being written. All times are zero, so that the same content gives the same bytes.
#[derive(Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    inode: u32,
}

impl Archive {
    /// Adds a directory; its parent comes first.
    pub(super) fn directory(&mut self, name: &str) -> Result<()> {
        self.entry(name, DIRECTORY | 0o755, &[])
    }

    /// Adds a file; its directory comes first.
    pub(super) fn file(&mut self, name: &str, mode: u32, content: &[u8]) -> Result<()> {
        self.entry(name, FILE | mode, content)
    }

    /// The bytes, with the entry that ends them.
    pub(super) fn finish(mut self) -> Result<Vec<u8>> {
        self.entry("TRAILER!!!", 0, &[])?;
        Ok(self.bytes)
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) -> Result<()> {
        self.inode += 1;
        let length = u32::try_from(content.len()).context("too large for an initramfs")?;
        let name_length = u32::try_from(name.len() + 1).context("too long a name")?;
        self.bytes.extend_from_slice(b"070701");
        for number in [self.inode, mode, 0, 0, 1, 0, length, 0, 0, 0, 0, name_length, 0] {
            self.bytes.extend_from_slice(format!("{number:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
        Ok(())
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_laid_out_as_drawn() {
        let mut archive = Archive::default();
        archive.file("init", 0o755, b"12345").unwrap();
        let bytes = archive.finish().unwrap();
        let header = "070701\
             00000001000081ed000000000000000000000001000000000000000500000000000000000000000000000000\
             0000000500000000";
        assert_eq!(&bytes[..110], header.as_bytes());
        assert_eq!(&bytes[110..124], b"init\0\x0012345\0\0\0"[..14].as_ref());
        assert_eq!(&bytes[124..130], b"070701");
        assert_eq!(bytes.len() % 4, 0);
        assert!(bytes.windows(11).any(|window| window == b"TRAILER!!!\0"));
    }
}
