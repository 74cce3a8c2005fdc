//! Looks at what was made as the one who installs it would.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use super::{BINARY, PACKAGE, VERSION, archive, packaging};
use crate::vm::debian::output;

/// Every file of the Debian package with its mode, as `ls` writes it.
const INSTALLED: [(&str, &str); 15] = [
    ("/etc/guest-client/heartbeat/guest_heartbeat.conf", "-rw-r--r--"),
    ("/etc/init.d/guestClient", "-rwxr-xr-x"),
    ("/etc/logrotate.d/guest-client", "-rw-r--r--"),
    ("/usr/lib/systemd/system/guestClient.service", "-rw-r--r--"),
    ("/usr/lib/systemd/system/guestClient.socket", "-rw-r--r--"),
    ("/usr/lib/sysusers.d/guest-client.conf", "-rw-r--r--"),
    ("/usr/lib/udev/rules.d/60-guest-client.rules", "-rw-r--r--"),
    ("/usr/sbin/guestClient", "-rwxr-xr-x"),
    ("/usr/share/doc/guest-client/changelog.Debian.gz", "-rw-r--r--"),
    ("/usr/share/doc/guest-client/copyright", "-rw-r--r--"),
    ("/usr/share/doc/guest-client/examples/application.py", "-rwxr-xr-x"),
    ("/usr/share/doc/guest-client/examples/application.sh", "-rwxr-xr-x"),
    ("/usr/share/doc/guest-client/examples/event-notification.sample", "-rwxr-xr-x"),
    ("/usr/share/doc/guest-client/examples/health-check.sample", "-rwxr-xr-x"),
    ("/usr/share/doc/guest-client/guest.md", "-rw-r--r--"),
];

/// What is the administrator's once it is installed.
const CONFFILES: [&str; 3] = [
    "/etc/guest-client/heartbeat/guest_heartbeat.conf",
    "/etc/init.d/guestClient",
    "/etc/logrotate.d/guest-client",
];

pub(super) fn deb(deb: &Path) -> Result<()> {
    eprintln!("== checking the Debian package");
    let contents = text(Command::new("dpkg-deb").arg("--contents").arg(deb))?;
    let expected = INSTALLED.map(|(path, mode)| (path.to_owned(), mode.to_owned()));
    same_files(&listed(&contents, ".")?, &expected.into())?;

    let conffiles = control(deb, "conffiles")?;
    let conffiles: BTreeSet<_> = conffiles.lines().filter(|line| !line.is_empty()).collect();
    ensure!(conffiles == CONFFILES.into(), "conffiles are {conffiles:?}");
    for script in ["postinst", "prerm", "postrm"] {
        ensure!(control(deb, script)?.starts_with("#!/bin/sh\n"), "no {script}");
    }
    let field = |name| text(Command::new("dpkg-deb").arg("--field").arg(deb).arg(name));
    ensure!(field("Package")?.trim() == PACKAGE, "another name");
    ensure!(field("Architecture")?.trim() == "amd64", "another architecture");
    let version = format!("{VERSION}-1");
    ensure!(field("Version")?.trim() == version, "another version");
    let changelog = fs::read_to_string(packaging("changelog"))?;
    ensure!(
        changelog.starts_with(&format!("{PACKAGE} ({version}) ")),
        "packaging/{PACKAGE}/changelog does not begin with {version}"
    );

    let root = tempfile::tempdir()?;
    output(Command::new("dpkg-deb").arg("--extract").arg(deb).arg(root.path()))?;
    program(root.path())?;
    lintian(deb)
}

pub(super) fn archive(path: &Path) -> Result<()> {
    eprintln!("== checking the archive");
    let contents = text(Command::new("tar").args(["--list", "--verbose", "--file"]).arg(path))?;
    let mode = |bits| if bits == 0o755 { "-rwxr-xr-x" } else { "-rw-r--r--" }.to_owned();
    let expected = archive::contents(Path::new(BINARY))
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
    program(&root)
}

/// The program says which version it is, and takes the configuration that it comes with, also with every key in force.
fn program(root: &Path) -> Result<()> {
    let program = root.join("usr/sbin").join(BINARY);
    let version = text(Command::new(&program).arg("--version"))?;
    ensure!(version.trim() == format!("{BINARY} {VERSION}"), "it says that it is {version}");
    let shipped = root.join("etc/guest-client/heartbeat/guest_heartbeat.conf");
    let with_all_keys = root.join("all.conf");
    let lines = fs::read_to_string(&shipped)?;
    fs::write(&with_all_keys, lines.lines().map(in_force).collect::<String>())?;
    for config in [shipped, with_all_keys] {
        output(Command::new(&program).arg("--check-config").arg("--config").arg(&config))
            .with_context(|| format!("it refuses {}", config.display()))?;
    }
    Ok(())
}

/// A line of the sample with its setting, if it has one, no longer commented out.
fn in_force(line: &str) -> String {
    let setting = line.strip_prefix('#').filter(|rest| {
        let key = rest.split_once('=').map_or("", |(key, _)| key);
        !key.is_empty() && key.chars().all(|one| one.is_ascii_uppercase() || one == '_')
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

/// A file of the package's control part.
fn control(deb: &Path, name: &str) -> Result<String> {
    text(Command::new("dpkg-deb").arg("--info").arg(deb).arg(name))
}

/// Debian's own check, where it is installed. Its errors count, its warnings are shown.
fn lintian(deb: &Path) -> Result<()> {
    if output(Command::new("lintian").arg("--version")).is_err() {
        eprintln!("lintian is not installed: left out");
        return Ok(());
    }
    let mut lintian = Command::new("lintian");
    lintian.args(["--allow-root", "--fail-on", "error", "--suppress-tags"]);
    // Static on purpose: it must run in whatever the virtual machine has. No bug of Debian asks for this package.
    lintian.arg("statically-linked-binary,initial-upload-closes-no-bugs").arg(deb);
    let status = lintian.status().context("cannot run lintian")?;
    ensure!(status.success(), "lintian: {status}");
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
