//! Runs cargo, the one that runs us.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::vm::debian;

/// The workspace's directory.
pub(crate) fn workspace() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).unwrap_or(manifest).to_owned()
}

/// Where cargo puts what it builds.
pub(crate) fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace().join("target"), |dir| workspace().join(dir))
}

/// A cargo command in the workspace.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command.current_dir(workspace()).args(args);
    command
}

/// Says what is run, runs it, and fails if it does.
pub(crate) fn run(what: &str, command: &mut Command) -> Result<()> {
    eprintln!("== {what}");
    let status = command.status().with_context(|| format!("{what}: cannot run {command:?}"))?;
    ensure!(status.success(), "{what}: failed ({status})");
    Ok(())
}

/// Builds binaries, each given with its package, in release mode, and returns their paths.
pub(crate) fn release_binaries<const N: usize>(
    binaries: [(&str, &str); N],
) -> Result<[PathBuf; N]> {
    let names = names(&binaries);
    build(&format!("building {names} (release)"), &mut cargo(&["build", "--release"]), &binaries)?;
    built(&target_dir().join("release"), binaries)
}

/// The only target of static and of portable binaries. They go into virtual machines, and those of the tests are PCs.
pub(crate) const STATIC_TARGET: &str = "x86_64-unknown-linux-gnu";

/// Where cargo puts what it builds statically. Its own directory: other flags in the main one would rebuild
/// everything there at each turn.
pub(crate) fn static_target_dir() -> PathBuf {
    target_dir().join("static")
}

/// Builds binaries, each given with its package, in release mode and static, for machines that have nothing they could
/// be linked with, and returns their paths.
pub(crate) fn static_binaries<const N: usize>(binaries: [(&str, &str); N]) -> Result<[PathBuf; N]> {
    let names = names(&binaries);
    let mut command = cargo(&["build", "--release", "--target", STATIC_TARGET, "--target-dir"]);
    command
        .arg(static_target_dir())
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    build(&format!("building {names} (release, static)"), &mut command, &binaries)?;
    built(&static_target_dir().join(STATIC_TARGET).join("release"), binaries)
}

/// The C library that the daemons are linked against, at least; with it they run on Debian 10 and Red Hat 8 and whatever is newer.
pub(crate) const OLDEST_GLIBC: (u32, u32) = (2, 28);

/// Where cargo puts the daemons that are packaged, as with [`static_target_dir`].
pub(crate) fn portable_target_dir() -> PathBuf {
    target_dir().join("portable")
}

/// Builds binaries, each given with its package, in release mode, for every machine with [`OLDEST_GLIBC`] or a newer one, and
/// returns their paths.
///
/// Linked with this machine's C library they would want one as new. And they are not static, for they look up names: what
/// /etc/nsswitch.conf asks for is loaded into the process, and has to find the C library that it was made for.
pub(crate) fn portable_binaries<const N: usize>(
    binaries: [(&str, &str); N],
) -> Result<[PathBuf; N]> {
    let names = names(&binaries);
    let (major, minor) = OLDEST_GLIBC;
    let tools = zig()?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::iter::once(tools.clone()).chain(std::env::split_paths(&path));
    let mut command = Command::new(tools.join("cargo-zigbuild"));
    command
        .current_dir(workspace())
        .args(["zigbuild", "--release", "--target"])
        .arg(format!("{STATIC_TARGET}.{major}.{minor}"))
        .arg("--target-dir")
        .arg(portable_target_dir())
        .env("PATH", std::env::join_paths(path)?)
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    build(&format!("building {names} (release, for old systems too)"), &mut command, &binaries)?;
    built(&portable_target_dir().join(STATIC_TARGET).join("release"), binaries)
}

/// A linker that knows the C libraries of old, and what calls it for cargo. Both are Python packages.
const ZIG: [&str; 2] = ["ziglang==0.17.1", "cargo-zigbuild==0.23.4"];

/// The directory of these tools, installed into target/tools the first time.
fn zig() -> Result<PathBuf> {
    let venv = workspace().join("target").join("tools").join("zig");
    // Written last, so that an installation that was interrupted is done again; another version is another file.
    let done = venv.join(ZIG.join("+"));
    if !done.is_file() {
        debian::python()?;
        let mut python = Command::new("python3");
        run("a virtual environment for zig", python.args(["-m", "venv", "--clear"]).arg(&venv))?;
        let mut pip = Command::new(venv.join("bin").join("pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check"]).args(ZIG);
        run("installing zig and cargo-zigbuild (100 MB, once)", &mut pip)?;
        std::fs::write(&done, "").with_context(|| format!("cannot write {}", done.display()))?;
    }
    Ok(venv.join("bin"))
}

fn names(binaries: &[(&str, &str)]) -> String {
    binaries.iter().map(|&(_, binary)| binary).collect::<Vec<_>>().join(" and ")
}

fn build(what: &str, command: &mut Command, binaries: &[(&str, &str)]) -> Result<()> {
    for (package, binary) in binaries {
        command.args(["--package", package, "--bin", binary]);
    }
    run(what, command)
}

fn built<const N: usize>(dir: &Path, binaries: [(&str, &str); N]) -> Result<[PathBuf; N]> {
    let paths = binaries.map(|(_, binary)| dir.join(binary));
    for path in &paths {
        ensure!(path.is_file(), "{} was not built", path.display());
    }
    Ok(paths)
}

/// A program that extends cargo, such as cargo-deny, installed into target/tools the first time.
pub(crate) fn tool(name: &str) -> Result<PathBuf> {
    let root = workspace().join("target").join("tools");
    let binary = root.join("bin").join(name);
    if !binary.is_file() {
        let mut install = cargo(&["install", "--quiet", "--locked", name, "--root"]);
        run(&format!("installing {name} (some minutes, once)"), install.arg(&root))?;
    }
    Ok(binary)
}
