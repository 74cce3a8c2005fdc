//! Which file a path leads to, so that a daemon only ever removes what is its own.

use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Device and inode of a file. While the file is held open its number is not given to another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    pub(crate) fn of(metadata: &Metadata) -> FileId {
        FileId { device: metadata.dev(), inode: metadata.ino() }
    }

    /// What `path` names now, links not followed; `None` where there is nothing.
    pub(crate) fn at(path: &Path) -> io::Result<Option<FileId>> {
        match fs::symlink_metadata(path) {
            Ok(metadata) => Ok(Some(FileId::of(&metadata))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes `path` if it still names this file. What took its place belongs to somebody else and
    /// stays.
    pub(crate) fn unlink(self, path: &Path) -> io::Result<()> {
        if FileId::at(path)? == Some(self) { remove_if_there(path) } else { Ok(()) }
    }
}

/// Removes `path`; that there is nothing to remove is fine.
pub(crate) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
