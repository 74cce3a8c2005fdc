//! A listening socket with a name in the file system, which goes with it.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, fchmod};
use tokio::net::{UnixListener, UnixSocket};
use tracing::debug;

use crate::file_id::{FileId, remove_if_there};

/// Connections that the kernel keeps while none is accepted.
const BACKLOG: u32 = 16;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Something else than a socket has the name. It is somebody's, so it stays.
    #[error("{} is there and is not a socket", .path.display())]
    NotASocket {
        /// The socket's path.
        path: PathBuf,
    },
    /// The machine refused it.
    #[error("cannot listen on {}", .path.display())]
    Io {
        /// The socket's path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The file of a socket that was bound here. Dropping it removes the file, unless another one has taken its place.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    id: FileId,
}

impl SocketFile {
    /// Listens on `path` with a file of this mode, whatever the umask. A socket that is there is taken for one left behind
    /// and replaced. Call it inside the runtime.
    ///
    /// # Errors
    ///
    /// When `path` names something else than a socket, or the machine refuses it (a path of more than 107 bytes too).
    pub fn bind(path: &Path, mode: Mode) -> Result<(UnixListener, SocketFile), BindError> {
        let failed = |source| BindError::Io { path: path.to_owned(), source };
        match fs::symlink_metadata(path) {
            Ok(found) if found.file_type().is_socket() => remove_if_there(path).map_err(failed)?,
            Ok(_) => return Err(BindError::NotASocket { path: path.to_owned() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let (listener, id) = listen(path, mode).map_err(failed)?;
        Ok((listener, SocketFile { path: path.to_owned(), id }))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A file that stays is replaced by the next start.
        if let Err(error) = self.id.unlink(&self.path) {
            debug!(%error, path = %self.path.display(), "cannot remove a socket");
        }
    }
}

fn listen(path: &Path, mode: Mode) -> io::Result<(UnixListener, FileId)> {
    let socket = UnixSocket::new_stream()?;
    // Linux gives the new file the mode of the socket itself (less the umask). Set before bind,
    // there is no moment at which others could connect, and the process-wide umask stays alone.
    fchmod(&socket, mode)?;
    socket.bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode.bits()))?;
    let id = FileId::of(&fs::symlink_metadata(path)?);
    Ok((socket.listen(BACKLOG)?, id))
}
