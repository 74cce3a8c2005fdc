//! Reading a configuration file whole, with a bound.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

/// The largest file that is read, in bytes.
pub const MAX_FILE: u64 = 1 << 20;

/// Why a file was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It cannot be read, or does not exist although it must.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is larger than [`MAX_FILE`].
    #[error("{}: larger than {MAX_FILE} bytes", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
}

/// Reads a file, without a byte order mark. `None` if it does not exist and is not `required`.
///
/// # Errors
///
/// It cannot be read, or is too large.
pub fn read(path: &Path, required: bool) -> Result<Option<Vec<u8>>, ReadError> {
    let failed = |source| ReadError::Read { path: path.to_owned(), source };
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound && !required => return Ok(None),
        opened => opened.map_err(failed)?,
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(ReadError::TooLarge { path: path.to_owned() });
    }
    if bytes.starts_with(b"\xef\xbb\xbf") {
        bytes.drain(..3);
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_without_its_byte_order_mark_and_may_be_missing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "\u{feff}KEY=value").unwrap();
        assert_eq!(read(file.path(), true).unwrap().unwrap(), b"KEY=value");
        let missing = Path::new("/nonexistent/file");
        assert!(matches!(read(missing, false), Ok(None)));
        assert!(matches!(read(missing, true), Err(ReadError::Read { .. })));
    }
}
