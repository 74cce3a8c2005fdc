//! `cargo xtask package`: what is installed, on hosts and in virtual machines.
//!
//! ```text
//! target/package/<package>_<version>-1_amd64.deb          made by cargo-deb, and
//! target/package/<package>-<version>-1.x86_64.rpm         made by cargo-generate-rpm, from the metadata in the
//!                                                         Cargo.toml of guest-server, guest-agent and guest-client
//! target/package/guest-client-<version>-x86_64.tar.gz     the files of guest-client with an install.sh, for systems
//!                                                         without a package manager
//! ```
//!
//! guestClient is static, so that it runs in whatever the virtual machine has; the daemons run with the C library of every system
//! that is still in use, see `cargo::portable_binaries`. Each binary is built once, for all kinds of packages. What was made is
//! looked at before it is called done; see `verify`. Two runs from the same commit make the same bytes.

mod archive;
mod elf;
mod manual;
mod table;
mod trial;
mod verify;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use self::table::{CLIENT, Linkage, PACKAGES, Package};
use crate::cargo::{
    OLDEST_GLIBC, STATIC_TARGET, portable_binaries, run as run_step, static_binaries, target_dir,
    tool, workspace,
};
use crate::vm::debian;

/// What looks at packages: lintian, RPM's tools, and a reader of manual pages.
const TOOLS: [(&str, &str, &str); 4] = [
    ("lintian", "lintian", "70 MB with what it needs"),
    ("rpm", "rpm", "10 MB"),
    ("cpio", "cpio", "1 MB"),
    ("mandoc", "mandoc", "1 MB"),
];

/// The version of everything in this workspace.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The most that a binary may have, in bytes: guestClient is put into images of a few MB.
const MAX_SIZE: u64 = 4 << 20;

pub(crate) fn run() -> Result<()> {
    ensure!(
        cfg!(all(target_arch = "x86_64", target_os = "linux")),
        "packages are made on x86_64 Linux only"
    );
    debian::programs(&TOOLS)?;
    let [client] = static_binaries([(CLIENT.name, CLIENT.binary)])?;
    portable_binaries([("guest-server", "guestServer"), ("guest-agent", "guestAgent")])?;
    let pages = manual::make()?;
    let dir = target_dir().join("package");
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let epoch = epoch()?;
    let mut made = Vec::new();
    for package in &PACKAGES {
        check_binary(package)?;
        manual::put(&pages, package)?;
        let deb = dir.join(format!("{}_{VERSION}-1_amd64.deb", package.name));
        make_deb(package, &deb, "1", &epoch)?;
        verify::deb::check(package, &deb)?;
        let rpm = dir.join(format!("{}-{VERSION}-1.x86_64.rpm", package.name));
        make_rpm(package, &rpm, &epoch)?;
        verify::rpm::check(package, &rpm)?;
        made.extend([deb, rpm]);
    }
    let archive = dir.join(format!("{}.tar.gz", archive::directory()));
    archive::make(&archive, &client, &epoch)?;
    verify::archive::check(&archive)?;
    made.push(archive);
    trial::run(&dir, &epoch)?;
    for path in made {
        let size = fs::metadata(&path)?.len();
        println!("{}: {} KiB, checked", path.display(), size / 1024);
    }
    Ok(())
}

/// Checks what nothing else would notice before the binary is on another machine.
fn check_binary(package: &Package) -> Result<()> {
    let path = &package.built().join(package.binary);
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let interpreter = elf::has_interpreter(&bytes).with_context(|| path.display().to_string())?;
    match package.linkage {
        Linkage::Static => {
            ensure!(!interpreter, "{} is not static: it asks for an interpreter", path.display());
        }
        Linkage::Portable => {
            let newest = elf::newest_glibc(&bytes);
            ensure!(
                interpreter && newest.is_some_and(|version| version <= OLDEST_GLIBC),
                "{} asks for the C library {newest:?}; {OLDEST_GLIBC:?} at most is wanted",
                path.display()
            );
        }
    }
    let size = fs::metadata(path)?.len();
    ensure!(size < MAX_SIZE, "{} has {size} bytes; it may have {MAX_SIZE}", path.display());
    println!("{}: {:?}, {} KiB", package.binary, package.linkage, size / 1024);
    Ok(())
}

fn make_deb(package: &Package, deb: &Path, revision: &str, epoch: &str) -> Result<()> {
    let mut command = Command::new(tool("cargo-deb")?);
    command
        .current_dir(workspace())
        .args(["--package", package.name, "--no-build", "--no-strip", "--quiet"])
        .args(["--target", STATIC_TARGET, "--deb-revision", revision, "--output"])
        .arg(deb)
        .env("CARGO_TARGET_DIR", package.target_dir())
        .env("SOURCE_DATE_EPOCH", epoch);
    run_step(&format!("Debian package of {}", package.name), &mut command)
}

fn make_rpm(package: &Package, rpm: &Path, epoch: &str) -> Result<()> {
    let mut command = Command::new(tool("cargo-generate-rpm")?);
    command
        .current_dir(workspace())
        .args(["generate-rpm", "--package"])
        .arg(Path::new("crates").join(package.name))
        .args(["--target", STATIC_TARGET, "--source-date", epoch, "--target-dir"])
        .arg(package.target_dir())
        .arg("--output")
        .arg(rpm);
    run_step(&format!("RPM of {}", package.name), &mut command)
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
    workspace().join("packaging").join(CLIENT.name).join(name)
}
