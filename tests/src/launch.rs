//! How a daemon is started: as it is, or by a shell that takes something away from it first.

use std::ffi::OsStr;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::Result;
use lab::daemon::{Daemon, binary};
use tempfile::TempDir;

/// What is done before a daemon, in its own process: limits and namespaces stay with it.
#[derive(Debug, Clone, Default)]
pub struct Launch {
    /// Commands of the shell, for instance `ulimit -n 40`.
    pub before: String,
    /// A command that runs the daemon in its own place, for instance `unshare --user`.
    pub with: String,
}

impl Launch {
    /// After these commands of the shell.
    #[must_use]
    pub fn after(before: &str) -> Self {
        Self { before: before.into(), with: String::new() }
    }

    /// By this command.
    #[must_use]
    pub fn with(command: &str) -> Self {
        Self { before: String::new(), with: command.into() }
    }

    /// Starts the binary of this name; see [`Daemon::start`].
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub fn start<A: AsRef<OsStr>>(
        &self,
        name: &str,
        args: impl IntoIterator<Item = A>,
    ) -> Result<Daemon> {
        self.start_in(TempDir::with_prefix("lab-daemon-")?, name, args)
    }

    /// As [`Launch::start`], in the directory of an earlier one.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub fn start_in<A: AsRef<OsStr>>(
        &self,
        dir: TempDir,
        name: &str,
        args: impl IntoIterator<Item = A>,
    ) -> Result<Daemon> {
        let binary = binary(name)?;
        if self.before.is_empty() && self.with.is_empty() {
            return Daemon::start_in(dir, &binary, args, &[]);
        }
        // A link of the daemon's name, not a script that is written here: what another test forks at this moment would
        // hold a file that was just written, which cannot be run then.
        let link = dir.path().join(name);
        if !link.is_symlink() {
            symlink(Path::new(env!("CARGO_MANIFEST_DIR")).join("launch.sh"), &link)?;
        }
        let binary = binary.to_string_lossy().into_owned();
        let environment = [
            ("LAUNCH_BEFORE", self.before.as_str()),
            ("LAUNCH_WITH", self.with.as_str()),
            ("LAUNCH_BINARY", binary.as_str()),
        ];
        Daemon::start_in(dir, &link, args, &environment)
    }
}
