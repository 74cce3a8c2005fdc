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
    let mut command = cargo(&["build", "--release"]);
    for (package, binary) in binaries {
        command.args(["--package", package, "--bin", binary]);
    }
    let names = binaries.map(|(_, binary)| binary).join(" and ");
    run(&format!("building {names} (release)"), &mut command)?;
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace().join("target"), |dir| workspace().join(dir));
    let paths = binaries.map(|(_, binary)| target.join("release").join(binary));
    for path in &paths {
        ensure!(path.is_file(), "{} was not built", path.display());
    }
    Ok(paths)
}
