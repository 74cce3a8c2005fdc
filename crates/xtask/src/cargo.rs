//! Runs cargo, the one that runs us.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

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

/// The only target of static binaries. They go into virtual machines, and those of the tests are PCs.
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
