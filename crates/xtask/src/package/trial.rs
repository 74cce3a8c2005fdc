//! The Debian packages in a Debian that has nothing but them: see tests/tests/packages.rs for what is tried.
//!
//! The tree is made by debootstrap, once. Each trial gets a copy of it, and namespaces of its own for mounts, network and
//! processes: the default paths and ports are free there, and whatever was started in it ends with it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::table::PACKAGES;
use super::{VERSION, make_deb};
use crate::cargo::{cargo, run as run_step, target_dir};
use crate::vm::debian;

const TOOLS: [(&str, &str, &str); 2] =
    [("debootstrap", "debootstrap", "1 MB"), ("ip", "iproute2", "2 MB")];

/// What the packages depend on and what their init scripts use; the rest is essential to every Debian.
const INCLUDED: &str = "init-system-helpers,adduser,procps,lsb-base,logrotate";

/// Debian's way to say that the init scripts may be called: no init system runs that they would belong to.
const ALLOW: &str = "#!/bin/sh\nexit 0\n";

/// In the namespaces: the tree gets a short path, for a socket's has 107 characters at most, wherever the sources are.
/// umask lets a socket's group connect, as libvirt has it. What follows is run, and not instead of the shell, which is the
/// namespace's first process and takes in those whose parents are gone.
const SETUP: &str = r#"umask 0002 && ip link set lo up && mount -t proc proc /proc \
    && mount --bind "$TRIAL_TREE" "$TRIAL_ROOT" && mount -t proc proc "$TRIAL_ROOT/proc" && "$@""#;

/// Installs the packages in `dir`, which were checked, and uses them.
pub(super) fn run(dir: &Path, epoch: &str) -> Result<()> {
    let user = debian::output(Command::new("id").arg("-u"))?;
    ensure!(user == b"0\n", "packages are tried as root: a Debian is made, and mounted in");
    debian::programs(&TOOLS)?;
    let work = target_dir().join("trial");
    let root = copy(&base(&work)?, &work.join("root"))?;
    let allow = root.join("usr/sbin/policy-rc.d");
    fs::write(&allow, ALLOW)?;
    fs::set_permissions(&allow, fs::Permissions::from_mode(0o755))?;
    for inside in ["packages", "upgrade"] {
        fs::create_dir(root.join(inside))?;
    }
    for package in &PACKAGES {
        let name = |revision| format!("{}_{VERSION}-{revision}_amd64.deb", package.name);
        fs::copy(dir.join(name("1")), root.join("packages").join(name("1")))?;
        make_deb(package, &root.join("upgrade").join(name("2")), "2", epoch)?;
    }
    let test = ["test", "--package", "end-to-end", "--features", "packages", "--test", "packages"];
    run_step("building the trial of the packages", cargo(&test).arg("--no-run"))?;
    let test = cargo(&test);
    let mounted = tempfile::Builder::new().prefix("trial.").tempdir_in("/tmp")?;
    let mut unshare = Command::new("unshare");
    unshare
        .args(["--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", SETUP, "trial"])
        .arg(test.get_program())
        .args(test.get_args())
        .env("TRIAL_TREE", &root)
        .env("TRIAL_ROOT", mounted.path());
    if let Some(dir) = test.get_current_dir() {
        unshare.current_dir(dir);
    }
    run_step("trial of the packages in a Debian of their own", &mut unshare)?;
    // Only when all is well: else somebody wants to look at it.
    fs::remove_dir_all(&root).with_context(|| format!("cannot remove {}", root.display()))
}

/// A fresh Debian of this machine's release, which nobody writes to.
fn base(work: &Path) -> Result<PathBuf> {
    let release = fs::read_to_string("/etc/os-release").context("this is no Debian")?;
    let suite = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let suite = suite.context("/etc/os-release names no suite")?.trim_matches('"');
    let base = work.join(format!("base-{suite}"));
    // Written last: a tree without it was interrupted. It names what is in it.
    let done = work.join(format!("base-{suite}.done"));
    if fs::read_to_string(&done).is_ok_and(|included| included == INCLUDED) {
        return Ok(base);
    }
    remove(&base)?;
    fs::create_dir_all(work)?;
    let mut debootstrap = Command::new("debootstrap");
    debootstrap.args(["--variant=minbase", "--include", INCLUDED, suite]).arg(&base);
    eprintln!("== debootstrap of {suite} (70 MB, once)");
    debian::output(&mut debootstrap)?;
    fs::write(done, INCLUDED)?;
    Ok(base)
}

fn copy(base: &Path, root: &Path) -> Result<PathBuf> {
    remove(root)?;
    debian::output(Command::new("cp").arg("--archive").arg(base).arg(root))?;
    Ok(root.to_owned())
}

fn remove(tree: &Path) -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let below = format!(" {}/", tree.display());
    ensure!(!mounts.contains(&below), "something is mounted below {}", tree.display());
    if tree.exists() {
        fs::remove_dir_all(tree).with_context(|| format!("cannot remove {}", tree.display()))?;
    }
    Ok(())
}
