//! The channel directory, held open so that what is watched is what is scanned.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use heartbeat_proto::InstanceId;
use nix::fcntl::OFlag;

use super::Inode;
use crate::channel_name::{ChannelName, Naming};

/// An open directory.
pub(super) struct Directory {
    file: File,
    /// Device and inode: what tells it from another one that took its place.
    identity: (u64, u64),
}

impl Directory {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_DIRECTORY.bits();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
        let metadata = file.metadata()?;
        Ok(Self { file, identity: (metadata.dev(), metadata.ino()) })
    }

    /// Whether this is still what is found at `path`.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        std::fs::metadata(path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.identity)
    }

    /// A path to this very directory, whatever its name is by now.
    pub(super) fn through_descriptor(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.file.as_raw_fd()).into()
    }

    /// The socket that has this name now.
    pub(super) fn socket(&self, name: ChannelName) -> Option<Inode> {
        socket_at(&name.path(&self.through_descriptor()))
    }

    /// Every channel that is there: sockets with one of our names.
    ///
    /// In a thread of its own, for a file system may be slow, and heartbeats do not wait.
    pub(super) async fn list(&self) -> io::Result<Vec<(InstanceId, Naming, Inode)>> {
        let path = self.through_descriptor();
        tokio::task::spawn_blocking(move || list(&path)).await?
    }
}

/// The socket at this path. Links are not followed and count as none.
pub(crate) fn socket_at(path: &Path) -> Option<Inode> {
    let metadata = path.symlink_metadata().ok()?;
    metadata.file_type().is_socket().then(|| metadata.ino())
}

fn list(path: &Path) -> io::Result<Vec<(InstanceId, Naming, Inode)>> {
    let mut channels = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let Some(name) = ChannelName::parse(&entry.file_name()) else { continue };
        // Asked of the file, as events and connections do: on a stacked file system the directory
        // may say another inode.
        if let Some(inode) = socket_at(&entry.path()) {
            channels.push((name.instance, name.naming, inode));
        }
    }
    Ok(channels)
}
