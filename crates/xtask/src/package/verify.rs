//! Looks at what was made as the one who installs it would.

pub(super) mod archive;
pub(super) mod deb;
pub(super) mod rpm;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use super::VERSION;
use super::table::Package;
use crate::vm::debian::output;

/// The program, installed below `root`, says which version it is, and takes the configuration that it comes with, also with every
/// key in force, without a word about any of them.
fn program(package: &Package, root: &Path) -> Result<()> {
    let binary = package.binary;
    let program = root.join("usr/sbin").join(binary);
    let version = text(Command::new(&program).arg("--version"))?;
    ensure!(version.trim() == format!("{binary} {VERSION}"), "it says that it is {version}");
    let shipped = root.join(package.config.trim_start_matches('/'));
    let with_all_keys = root.join("all.conf");
    let lines = fs::read_to_string(&shipped)?;
    fs::write(&with_all_keys, lines.lines().map(in_force).collect::<String>())?;
    for config in [shipped, with_all_keys] {
        let mut check = Command::new(&program);
        let said = text(check.arg("--check-config").arg("--config").arg(&config))
            .with_context(|| format!("it refuses {}", config.display()))?;
        // What is odd comes first, as remarks that name the file.
        let odd = said.lines().find(|line| line.starts_with(&format!("# {}", config.display())));
        ensure!(odd.is_none(), "it finds its own configuration odd: {}", odd.unwrap_or_default());
    }
    Ok(())
}

/// A line of the sample with its setting, if it has one, no longer commented out.
fn in_force(line: &str) -> String {
    let setting = line.strip_prefix(['#', ';']).filter(|rest| {
        let key = rest.split_once('=').map_or("", |(key, _)| key).trim_end();
        !key.is_empty() && key.chars().all(|one| one.is_ascii_alphabetic() || one == '_')
    });
    format!("{}\n", setting.unwrap_or(line))
}

/// The files of a listing, which must all be root's: path below `root`, and mode.
fn listed(contents: &str, root: &str) -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for line in contents.lines() {
        // -rwxr-xr-x root/root    123456 2026-11-25 12:00 ./usr/sbin/guestClient
        let mut words = line.split_whitespace();
        let (mode, owner, path) = (words.next(), words.next(), words.next_back());
        let (Some(mode), Some(owner), Some(path)) = (mode, owner, path) else {
            bail!("no file in {line:?}");
        };
        // cargo-deb gives no names.
        ensure!(["root/root", "0/0"].contains(&owner), "not root's: {line}");
        let path = path.strip_prefix(root).with_context(|| format!("not below {root}: {line}"))?;
        if mode.starts_with('d') {
            ensure!(mode == "drwxr-xr-x", "a strange mode: {line}");
        } else {
            files.insert(path.to_owned(), mode.to_owned());
        }
    }
    Ok(files)
}

fn same_files(there: &BTreeMap<String, String>, expected: &BTreeMap<String, String>) -> Result<()> {
    let only = |one: &BTreeMap<String, String>, other: &BTreeMap<String, String>| {
        let differs = one.iter().filter(|(path, mode)| other.get(*path) != Some(*mode));
        differs.map(|(path, mode)| format!("\n  {mode} {path}")).collect::<String>()
    };
    let (missing, surplus) = (only(expected, there), only(there, expected));
    ensure!(
        missing.is_empty() && surplus.is_empty(),
        "not the expected files. Missing:{missing}\nThere instead:{surplus}"
    );
    Ok(())
}

/// The scripts that a package runs at its installation, by name; a shell reads each of them.
fn script(name: &str, text: &str) -> Result<()> {
    ensure!(text.starts_with("#!/bin/sh\n"), "no script {name}");
    let mut file = tempfile::NamedTempFile::new()?;
    std::io::Write::write_all(&mut file, text.as_bytes())?;
    output(Command::new("sh").arg("-n").arg(file.path())).with_context(|| name.to_owned())?;
    Ok(())
}

fn text(command: &mut Command) -> Result<String> {
    Ok(String::from_utf8(output(command)?)?)
}

#[cfg(test)]
mod tests {
    use super::{in_force, listed};

    #[test]
    fn a_setting_comes_into_force_and_a_remark_does_not() {
        assert_eq!(in_force("#HB_INTERVAL=1000"), "HB_INTERVAL=1000\n");
        assert_eq!(in_force("# KEY=value, in quotes"), "# KEY=value, in quotes\n");
        assert_eq!(in_force("VOTE=8"), "VOTE=8\n");
        assert_eq!(in_force(";rx_port = 2401"), "rx_port = 2401\n");
        assert_eq!(in_force("; key = value, in a remark"), "; key = value, in a remark\n");
    }

    #[test]
    fn what_is_not_roots_is_found() {
        let line = "-rwxr-xr-x root/root  5 2026-11-25 12:00 ./usr/sbin/a\n";
        let files = listed(line, ".").unwrap_or_default();
        assert_eq!(files.get("/usr/sbin/a").map(String::as_str), Some("-rwxr-xr-x"));
        assert!(listed("-rwxr-xr-x ann/root 5 2026-11-25 12:00 ./a\n", ".").is_err());
        assert!(listed("drwxrwxrwx root/root 0 2026-11-25 12:00 ./a\n", ".").is_err());
    }
}
