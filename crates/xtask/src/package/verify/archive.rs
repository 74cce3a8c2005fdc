//! The archive for systems without a package manager.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::super::archive;
use super::super::table::CLIENT;
use super::{listed, program, same_files, text};
use crate::vm::debian::output;

pub(in super::super) fn check(path: &Path) -> Result<()> {
    eprintln!("== checking {}", path.display());
    let contents = text(Command::new("tar").args(["--list", "--verbose", "--file"]).arg(path))?;
    let mode = |bits| if bits == 0o755 { "-rwxr-xr-x" } else { "-rw-r--r--" }.to_owned();
    let expected = archive::contents(Path::new(CLIENT.binary))
        .into_iter()
        .map(|(_, name, bits)| (format!("/{name}"), mode(bits)))
        .collect();
    same_files(&listed(&contents, &archive::directory())?, &expected)?;

    // Installed below another root, nothing of the system is touched.
    let work = tempfile::tempdir()?;
    output(
        Command::new("tar").arg("--extract").arg("--file").arg(path).arg("-C").arg(work.path()),
    )?;
    let root = work.path().join("root");
    let script = work.path().join(archive::directory()).join("install.sh");
    output(Command::new("sh").arg(script).env("DESTDIR", &root))?;
    program(&CLIENT, &root)
}
