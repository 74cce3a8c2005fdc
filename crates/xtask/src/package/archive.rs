//! The archive for systems without a package manager.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::table::CLIENT;
use super::{VERSION, packaging};
use crate::cargo::workspace;
use crate::vm::debian;

/// What is below packaging/guest-client and in the archive, with its mode.
const FILES: [(&str, u32); 9] = [
    ("README", 0o644),
    ("install.sh", 0o755),
    ("guest_heartbeat.conf", 0o644),
    ("60-guest-client.rules", 0o644),
    ("guest-client.sysusers", 0o644),
    ("guestClient.init", 0o755),
    ("guestClient.logrotate", 0o644),
    ("examples/application.py", 0o755),
    ("examples/application.sh", 0o755),
];

/// What lies beside the samples' own directory and is an example once it is installed.
const SAMPLES: [&str; 2] = ["health-check.sample", "event-notification.sample"];

/// What is elsewhere in the workspace.
const OTHERS: [&str; 4] =
    ["LICENSE", "docs/guest.md", "systemd/guestClient.service", "systemd/guestClient.socket"];

/// The directory that the archive unpacks to.
pub(super) fn directory() -> String {
    format!("{}-{VERSION}-x86_64", CLIENT.name)
}

/// All that is in it: where it comes from, its name there, its mode.
pub(super) fn contents(binary: &Path) -> Vec<(PathBuf, String, u32)> {
    let mut contents = vec![(binary.to_owned(), CLIENT.binary.to_owned(), 0o755)];
    for (name, mode) in FILES {
        contents.push((packaging(name), name.to_owned(), mode));
    }
    for name in SAMPLES {
        contents.push((packaging(name), format!("examples/{name}"), 0o755));
    }
    for path in OTHERS {
        let name = path.rsplit('/').next().unwrap_or(path);
        contents.push((workspace().join(path), name.to_owned(), 0o644));
    }
    contents
}

pub(super) fn make(archive: &Path, binary: &Path, epoch: &str) -> Result<()> {
    eprintln!("== archive");
    let parent = archive.parent().context("an archive without a directory")?;
    let work = tempfile::Builder::new().prefix(".archive-").tempdir_in(parent)?;
    let root = work.path().join(directory());
    for dir in [root.clone(), root.join("examples")] {
        fs::create_dir(&dir)?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755))?;
    }
    for (from, name, mode) in contents(binary) {
        let to = root.join(name);
        fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
        fs::set_permissions(&to, fs::Permissions::from_mode(mode))?;
    }
    let made = work.path().join("made.tar.gz");
    let mut tar = Command::new("tar");
    tar.args(["--create", "--gzip", "--owner=root:0", "--group=root:0", "--sort=name"])
        .arg(format!("--mtime=@{epoch}"))
        .arg("--directory")
        .arg(work.path())
        .arg("--file")
        .arg(&made)
        .arg(directory());
    debian::output(&mut tar)?;
    fs::rename(&made, archive).with_context(|| format!("cannot write {}", archive.display()))
}
