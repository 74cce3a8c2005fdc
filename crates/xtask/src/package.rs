//! `cargo xtask package`: what is installed in virtual machines.
//!
//! ```text
//! target/package/guest-client_<version>-1_amd64.deb         made by cargo-deb from the metadata in
//!                                                           crates/guest-client/Cargo.toml
//! target/package/guest-client-<version>-x86_64.tar.gz       the same files with an install.sh, for systems without dpkg
//! ```
//!
//! The binary in both is static, so that it runs in whatever the virtual machine has. What was made is looked at before
//! it is called done; see `verify`. Two runs from the same commit make the same bytes.

mod archive;
mod elf;
mod verify;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::cargo::{
    STATIC_TARGET, run as run_step, static_binaries, static_target_dir, target_dir, tool, workspace,
};
use crate::vm::debian;

/// The version of everything in this workspace.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The crate, the Debian package and the archive.
const PACKAGE: &str = "guest-client";

const BINARY: &str = "guestClient";

/// The most that the binary may have, in bytes: it is put into images of a few MB.
const MAX_SIZE: u64 = 4 << 20;

pub(crate) fn run() -> Result<()> {
    ensure!(
        cfg!(all(target_arch = "x86_64", target_os = "linux")),
        "packages are made on x86_64 Linux only"
    );
    let [binary] = static_binaries([(PACKAGE, BINARY)])?;
    let size = check_binary(&binary)?;
    let dir = target_dir().join("package");
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let epoch = epoch()?;
    let deb = dir.join(format!("{PACKAGE}_{VERSION}-1_amd64.deb"));
    make_deb(&deb, &epoch)?;
    let archive = dir.join(format!("{}.tar.gz", archive::directory()));
    archive::make(&archive, &binary, &epoch)?;
    verify::deb(&deb)?;
    verify::archive(&archive)?;
    println!("{BINARY}: static, {} KiB", size / 1024);
    for path in [deb, archive] {
        let size = fs::metadata(&path)?.len();
        println!("{}: {} KiB, checked", path.display(), size / 1024);
    }
    Ok(())
}

/// Checks what nothing else would notice before the binary is in a virtual machine, and returns its size.
fn check_binary(path: &Path) -> Result<u64> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let interpreter = elf::has_interpreter(&bytes).with_context(|| path.display().to_string())?;
    ensure!(!interpreter, "{} is not static: it asks for an interpreter", path.display());
    let size = fs::metadata(path)?.len();
    ensure!(size < MAX_SIZE, "{} has {size} bytes; it may have {MAX_SIZE}", path.display());
    Ok(size)
}

fn make_deb(deb: &Path, epoch: &str) -> Result<()> {
    let mut command = Command::new(tool("cargo-deb")?);
    command
        .current_dir(workspace())
        .args(["--package", PACKAGE, "--no-build", "--no-strip", "--quiet"])
        .args(["--target", STATIC_TARGET, "--deb-revision", "1", "--output"])
        .arg(deb)
        .env("CARGO_TARGET_DIR", static_target_dir())
        .env("SOURCE_DATE_EPOCH", epoch);
    run_step("Debian package", &mut command)
}

/// The time that files in packages have, in seconds since 1970: that of the commit.
fn epoch() -> Result<String> {
    if let Ok(epoch) = std::env::var("SOURCE_DATE_EPOCH") {
        return Ok(epoch);
    }
    let mut git = Command::new("git");
    git.current_dir(workspace()).args(["log", "-1", "--format=%ct"]);
    let time = debian::output(&mut git)
        .context("outside of a git repository, SOURCE_DATE_EPOCH must say how old the files are")?;
    Ok(String::from_utf8(time)?.trim().to_owned())
}

/// A file below packaging/guest-client.
fn packaging(name: &str) -> PathBuf {
    workspace().join("packaging").join(PACKAGE).join(name)
}
