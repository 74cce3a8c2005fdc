//! An RPM, looked at with Debian's build of RPM's tools.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::super::VERSION;
use super::super::table::Package;
use super::{listed, program, same_files, script, text};
use crate::vm::debian::output;

/// A file a line, as `ls` writes it.
const FILES: &str =
    "[%{FILEMODES:perms} %{FILEUSERNAME}/%{FILEGROUPNAME} %{FILESIZES} %{FILENAMES}\\n]";

pub(in super::super) fn check(package: &Package, rpm: &Path) -> Result<()> {
    eprintln!("== checking {}", rpm.display());
    let contents = query(rpm, &["--queryformat", FILES])?;
    same_files(&listed(&contents, "")?, &package.rpm_files().collect())?;

    let conffiles = query(rpm, &["--configfiles"])?;
    let conffiles: BTreeSet<_> = conffiles.lines().collect();
    let expected = package.conffiles.iter().copied().collect();
    ensure!(conffiles == expected, "configuration files are {conffiles:?}");
    for name in ["PREIN", "POSTIN", "PREUN", "POSTUN"] {
        script(name, &query(rpm, &["--queryformat", &format!("%{{{name}}}")])?)?;
    }
    let name = query(rpm, &["--queryformat", "%{NAME} %{VERSION} %{RELEASE} %{ARCH}"])?;
    let expected = format!("{} {VERSION} 1 x86_64", package.name);
    ensure!(name == expected, "{name} instead of {expected}");
    if let Some((_, former)) = package.former {
        for relation in ["--obsoletes", "--provides"] {
            let names = query(rpm, &[relation])?;
            ensure!(names.lines().any(|line| line == former), "{relation}: no {former} in {names}");
        }
    }

    let root = tempfile::tempdir()?;
    let mut unpack = Command::new("sh");
    unpack.args(["-c", "rpm2cpio \"$1\" | cpio --quiet --extract --make-directories", "unpack"]);
    output(unpack.arg(rpm).current_dir(root.path())).context("cannot unpack it")?;
    program(package, root.path())
}

/// What RPM says about a package that is not installed. It is not signed here, and it is not ours to complain.
fn query(rpm: &Path, question: &[&str]) -> Result<String> {
    text(
        Command::new("rpm").args(["--query", "--nosignature", "--package"]).args(question).arg(rpm),
    )
}
