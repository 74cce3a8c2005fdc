//! The health file: what a monitor reads to learn that the main loop is alive.
//!
//! The main loop itself writes it when asked by `USR1`, so a daemon that is stuck fails its
//! monitor.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process;

use crate::file_id::remove_if_there;

/// How the file begins. Monitors compare it.
pub const HEALTHY: &str = "I'm healthy";

/// The file `<run-dir>/<name>.info`.
#[derive(Clone, Debug)]
pub struct HealthFile {
    path: PathBuf,
    temporary: PathBuf,
}

impl HealthFile {
    /// The file at `path`; nothing is written yet.
    pub fn new(path: impl Into<PathBuf>) -> HealthFile {
        let path = path.into();
        let mut name = std::ffi::OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(format!(".{}", process::id()));
        HealthFile { temporary: path.with_file_name(name), path }
    }

    /// Writes the file anew: [`HEALTHY`] alone on the first line, then `body`. A reader finds the
    /// old file or the new one, whole, mode 0644. A link in its place is replaced, never followed.
    ///
    /// # Errors
    ///
    /// When the directory refuses it; the old file is still there then.
    pub fn write(&self, body: &str) -> io::Result<()> {
        // One left by an earlier process with our pid would be in the way of create_new.
        remove_if_there(&self.temporary)?;
        let written =
            write_new(&self.temporary, body).and_then(|()| fs::rename(&self.temporary, &self.path));
        if written.is_err() {
            // The first error is the one to tell.
            let _ = remove_if_there(&self.temporary);
        }
        written
    }

    /// Removes the file at a clean stop. That there is none is fine.
    ///
    /// # Errors
    ///
    /// When it is there and cannot be removed.
    pub fn remove(&self) -> io::Result<()> {
        remove_if_there(&self.path)
    }
}

fn write_new(path: &Path, body: &str) -> io::Result<()> {
    // create_new fails on anything that is there already, links included.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path)?;
    // The monitor may be another user: not what the umask leaves, but what we mean.
    file.set_permissions(Permissions::from_mode(0o644))?;
    let end = if body.is_empty() || body.ends_with('\n') { "" } else { "\n" };
    file.write_all(format!("{HEALTHY}\n{body}{end}").as_bytes())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn written_anew_each_time_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("guestServer.info");
        let health = HealthFile::new(&path);
        health.write("instances 3\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "I'm healthy\ninstances 3\n");
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!(metadata.mode() & 0o7777, 0o644);

        let open = fs::File::open(&path).unwrap();
        health.write("instances 4").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "I'm healthy\ninstances 4\n");
        assert_ne!(fs::metadata(&path).unwrap().ino(), metadata.ino(), "another file");
        assert_eq!(io::read_to_string(open).unwrap(), "I'm healthy\ninstances 3\n");

        health.write("").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "I'm healthy\n");
        assert_eq!(names(dir.path()), ["guestServer.info"]);
        health.remove().unwrap();
        health.remove().unwrap();
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    fn links_are_replaced_and_failures_leave_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("guestServer.info");
        let target = dir.path().join("target");
        fs::write(&target, "precious").unwrap();
        let health = HealthFile::new(&path);
        symlink(&target, &path).unwrap();
        symlink(&target, &health.temporary).unwrap();
        health.write("").unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
        assert!(fs::symlink_metadata(&path).unwrap().is_file());

        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        health.write("").unwrap_err();
        assert!(!health.temporary.exists());
    }
}
