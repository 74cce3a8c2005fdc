//! What systemd says about the units.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::cargo::workspace;
use crate::vm::debian;

/// The most that `systemd-analyze security` may find exposed, from 0 (nothing) to 10.
const MAX_EXPOSURE: f64 = 2.0;

/// The daemons' units.
const SERVICES: [&str; 3] = ["guestServer.service", "guestAgent.service", "guestClient.service"];

/// The part of a unit for compute hosts of the platform, and whose part it is.
const DROP_IN: (&str, &str) = ("guestServer-platform.conf", "guestServer.service.d");

/// Checks that systemd reads the units without a complaint, and how much they leave exposed.
pub(super) fn check() -> Result<()> {
    eprintln!("== systemd units");
    debian::programs(&[("systemd-analyze", "systemd", "10 MB")])?;
    let systemd = workspace().join("systemd");
    verify(&systemd)?;
    for service in SERVICES {
        let exposure = exposure(&systemd.join(service))?;
        ensure!(
            exposure <= MAX_EXPOSURE,
            "{service}: an exposure of {exposure}, {MAX_EXPOSURE} at most is wanted; \
             `systemd-analyze security --offline=true systemd/{service}` says what makes it"
        );
        eprintln!("{service}: exposure {exposure}");
    }
    Ok(())
}

/// The units as they are and with the drop-in. Copies of them: what they start is not installed here, and systemd would
/// say nothing else.
fn verify(systemd: &Path) -> Result<()> {
    let copies = tempfile::tempdir()?;
    let mut units: Vec<PathBuf> = fs::read_dir(systemd)
        .with_context(|| format!("cannot list {}", systemd.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<_>>()?;
    units.sort();
    let mut copied = Vec::new();
    for unit in units {
        let name = unit.file_name().context("a unit without a name")?;
        copied.push(copy(&unit, &copies.path().join(name))?);
    }
    analyze(&copied)?;
    let (drop_in, dir) = DROP_IN;
    let dir = copies.path().join(dir);
    fs::create_dir(&dir)?;
    let platform = workspace().join("packaging").join("guest-server").join(drop_in);
    copy(&platform, &dir.join("platform.conf"))?;
    analyze(&copied)
}

/// Copies it, with other programs to start.
fn copy(unit: &Path, to: &Path) -> Result<PathBuf> {
    let text =
        fs::read_to_string(unit).with_context(|| format!("cannot read {}", unit.display()))?;
    fs::write(to, text.lines().map(harmless).collect::<String>())?;
    Ok(to.to_owned())
}

/// A line of a unit, and the program in it, if it starts one, another that every machine has.
fn harmless(line: &str) -> String {
    let program = line
        .strip_prefix("Exec")
        .and_then(|rest| rest.split_once("=+").or_else(|| rest.split_once('=')))
        .and_then(|(_, command)| command.split(' ').next())
        .filter(|program| {
            program.starts_with("/usr/sbin/guest") || program.starts_with("/usr/lib/guest")
        });
    let line =
        program.map_or_else(|| line.to_owned(), |program| line.replace(program, "/bin/true"));
    format!("{line}\n")
}

/// systemd complains on standard error, and of unknown directives without a failure.
fn analyze(units: &[PathBuf]) -> Result<()> {
    let mut command = Command::new("systemd-analyze");
    command.args(["verify", "--man=no", "--recursive-errors=no"]).args(units).env("LC_ALL", "C");
    let output = command.output().context("cannot run systemd-analyze")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success() && said.trim().is_empty(),
        "systemd-analyze verify: {}:\n{said}",
        output.status
    );
    Ok(())
}

fn exposure(service: &Path) -> Result<f64> {
    let mut command = Command::new("systemd-analyze");
    command.args(["security", "--offline=true", "--no-pager"]).arg(service);
    let said = String::from_utf8(debian::output(&mut command)?)?;
    overall(&said)
        .with_context(|| format!("no exposure level in what systemd-analyze says:\n{said}"))
}

/// The number in the last line: `→ Overall exposure level for guestServer.service: 1.2 OK`.
fn overall(said: &str) -> Option<f64> {
    let (_, level) = said.rsplit_once("Overall exposure level for ")?.1.split_once(": ")?;
    level.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{harmless, overall};

    #[test]
    fn the_level_is_found_in_the_last_line() {
        let said =
            "  NAME DESCRIPTION\n\n→ Overall exposure level for guestServer.service: 1.2 OK :-)\n";
        assert_eq!(overall(said), Some(1.2));
        assert_eq!(overall("nothing of the kind"), None);
    }

    #[test]
    fn only_our_own_programs_are_replaced() {
        assert_eq!(
            harmless("ExecStart=/usr/sbin/guestServer --run-dir /run"),
            "ExecStart=/bin/true --run-dir /run\n"
        );
        assert_eq!(
            harmless("ExecStartPre=+/usr/lib/guest-server/prepare start"),
            "ExecStartPre=+/bin/true start\n"
        );
        for other in
            ["ExecReload=/bin/sh -c 'kill -HUP $MAINPID'", "ExecStart=", "User=guest-server"]
        {
            assert_eq!(harmless(other), format!("{other}\n"));
        }
    }
}
