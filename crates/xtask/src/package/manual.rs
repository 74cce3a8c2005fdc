//! Manual pages and completions, made by the crate `manual`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::table::Package;
use crate::cargo::{cargo, run as run_step, target_dir};
use crate::vm::debian::output;

/// Makes those of all programs, in one directory. In a debug build, which the tests have as well.
pub(super) fn make() -> Result<PathBuf> {
    let dir = target_dir().join("package").join("manual");
    let mut make = cargo(&["run", "--quiet", "--package", "manual", "--"]);
    run_step("manual pages and completions", make.arg(&dir))?;
    let files = fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))?;
    // Compressed ones are of a run before.
    for path in files.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()? {
        check(&path)?;
        if is_page(&path) {
            // As they are installed; without time and name, so that each run makes the same bytes.
            output(Command::new("gzip").args(["-9", "--no-name", "--keep", "--force"]).arg(&path))?;
        }
    }
    Ok(dir)
}

/// Asks those who will read it.
fn check(path: &Path) -> Result<()> {
    let mut reader = if is_page(path) {
        let mut mandoc = Command::new("mandoc");
        mandoc.args(["-T", "lint", "-W", "warning"]);
        mandoc
    } else if path.extension().is_some_and(|extension| extension == "bash") {
        let mut bash = Command::new("bash");
        bash.arg("-n");
        bash
    } else {
        // What clap writes for zsh and fish; a machine need not have them.
        return Ok(());
    };
    reader.arg(path).env("LC_ALL", "C");
    let said = reader.output().with_context(|| format!("cannot run {reader:?}"))?;
    ensure!(
        said.status.success(),
        "{}: {}{}",
        path.display(),
        String::from_utf8_lossy(&said.stdout),
        String::from_utf8_lossy(&said.stderr)
    );
    Ok(())
}

fn is_page(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "5" || extension == "8")
}

/// Puts them where the package's metadata look for what was built.
pub(super) fn put(pages: &Path, package: &Package) -> Result<()> {
    let to = package.built().join("manual");
    fs::create_dir_all(&to).with_context(|| format!("cannot make {}", to.display()))?;
    output(Command::new("cp").arg("--recursive").arg(pages.join(".")).arg(&to))?;
    Ok(())
}
