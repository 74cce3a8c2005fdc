//! A Debian package.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::super::VERSION;
use super::super::table::{Linkage, Package};
use super::{listed, program, same_files, script, text};
use crate::cargo::workspace;
use crate::vm::debian::output;

pub(in super::super) fn check(package: &Package, deb: &Path) -> Result<()> {
    eprintln!("== checking {}", deb.display());
    let contents = text(Command::new("dpkg-deb").arg("--contents").arg(deb))?;
    same_files(&listed(&contents, ".")?, &package.deb_files().collect())?;

    let conffiles = control(deb, "conffiles")?;
    let conffiles: BTreeSet<_> = conffiles.lines().filter(|line| !line.is_empty()).collect();
    let expected = package.conffiles.iter().copied().collect();
    ensure!(conffiles == expected, "conffiles are {conffiles:?}");
    for name in ["postinst", "prerm", "postrm"] {
        script(name, &control(deb, name)?)?;
    }
    let field = |name| text(Command::new("dpkg-deb").arg("--field").arg(deb).arg(name));
    ensure!(field("Package")?.trim() == package.name, "another name");
    ensure!(field("Architecture")?.trim() == "amd64", "another architecture");
    let version = format!("{VERSION}-1");
    ensure!(field("Version")?.trim() == version, "another version");
    for name in ["Conflicts", "Replaces", "Provides"] {
        let former = package.former.map_or("", |(deb, _)| deb);
        ensure!(field(name)?.trim() == former, "{name} is not {former:?}");
    }
    let path = workspace().join("packaging").join(package.name).join("changelog");
    ensure!(
        fs::read_to_string(&path)?.starts_with(&format!("{} ({version}) ", package.name)),
        "{} does not begin with {version}",
        path.display()
    );

    let root = tempfile::tempdir()?;
    output(Command::new("dpkg-deb").arg("--extract").arg(deb).arg(root.path()))?;
    program(package, root.path())?;
    lintian(package, deb)
}

/// A file of the package's control part.
fn control(deb: &Path, name: &str) -> Result<String> {
    text(Command::new("dpkg-deb").arg("--info").arg(deb).arg(name))
}

/// Debian's own check. Its errors count, its warnings are shown.
fn lintian(package: &Package, deb: &Path) -> Result<()> {
    let mut lintian = Command::new("lintian");
    lintian.args(["--allow-root", "--fail-on", "error", "--suppress-tags"]);
    // No bug of Debian asks for these packages.
    let mut suppressed = vec!["initial-upload-closes-no-bugs"];
    if package.linkage == Linkage::Static {
        // On purpose: it must run in whatever the virtual machine has.
        suppressed.push("statically-linked-binary");
    }
    lintian.arg(suppressed.join(",")).arg(deb);
    let status = lintian.status().context("cannot run lintian")?;
    ensure!(status.success(), "lintian: {status}");
    Ok(())
}
