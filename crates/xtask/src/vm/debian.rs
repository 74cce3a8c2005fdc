//! What comes from Debian: QEMU, python3-venv and shellcheck, installed when they are missing, and a kernel, unpacked
//! and not installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use lab::vm::Assets;

/// The package that depends on the current kernel for virtual machines: small, and few drivers built in.
const KERNEL: &str = "linux-image-cloud-amd64";
const QEMU: &str = "qemu-system-x86";

/// Makes sure that QEMU is there.
pub(super) fn qemu() -> Result<()> {
    if Assets::find_qemu().is_some() {
        return Ok(());
    }
    let by_hand = format!(
        "{} is not installed: as root, `apt-get install --no-install-recommends {QEMU}`, \
         or leave the virtual machine out with --no-vm",
        Assets::QEMU
    );
    install(QEMU, "17 MB").context(by_hand.clone())?;
    ensure!(Assets::find_qemu().is_some(), by_hand);
    Ok(())
}

/// Makes sure that python3 can make virtual environments; Debian has that in a package of its own.
pub(crate) fn python() -> Result<()> {
    let there = || {
        let mut python = Command::new("python3");
        output(python.args(["-c", "import ensurepip, venv"])).is_ok()
    };
    if there() {
        return Ok(());
    }
    let by_hand =
        "python3 cannot make virtual environments: as root, `apt-get install python3-venv`";
    install("python3-venv", "6 MB").context(by_hand)?;
    ensure!(there(), by_hand);
    Ok(())
}

/// Makes sure that libvirt is there. Its daemons are not started by its installation where systemd does not run.
pub(crate) fn libvirt() -> Result<()> {
    let there = || output(Command::new("libvirtd").arg("--version")).is_ok();
    if there() {
        return Ok(());
    }
    let packages = "libvirt-daemon-system libvirt-daemon-driver-qemu libvirt-clients";
    let by_hand = format!(
        "libvirt is not installed: as root, `apt-get install --no-install-recommends {packages}`, \
         or leave the virtual machines out with --no-vm"
    );
    for package in packages.split(' ') {
        install(package, "10 MB").context(by_hand.clone())?;
    }
    ensure!(there(), by_hand);
    Ok(())
}

/// Makes sure that programs are there, each given with the package that it comes from and how much that downloads.
pub(crate) fn programs(wanted: &[(&str, &str, &str)]) -> Result<()> {
    for (program, package, size) in wanted {
        let find = format!("command -v {program}");
        let there = || output(Command::new("sh").arg("-c").arg(&find)).is_ok();
        if there() {
            continue;
        }
        let by_hand = format!("{program} is not installed: as root, `apt-get install {package}`");
        install(package, size).context(by_hand.clone())?;
        ensure!(there(), by_hand);
    }
    Ok(())
}

/// Finds promtool: that of the machine, or, the first time, one that is unpacked into target/tools. The package is not
/// installed, for that would start a Prometheus.
pub(crate) fn promtool() -> Result<PathBuf> {
    let works = |program: &Path| output(Command::new(program).arg("--version")).is_ok();
    let dir = crate::cargo::workspace().join("target").join("tools").join("prometheus");
    let unpacked = dir.join("root").join("usr").join("bin").join("promtool");
    for program in [Path::new("promtool"), &unpacked] {
        if works(program) {
            return Ok(program.to_owned());
        }
    }
    let by_hand = "promtool is not there: install it, with Debian's `prometheus` or from elsewhere";
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir)?;
    unpack("prometheus", "19 MB", &dir).context(by_hand)?;
    ensure!(works(&unpacked), by_hand);
    Ok(unpacked)
}

fn install(package: &str, size: &str) -> Result<Vec<u8>> {
    eprintln!("apt: installing {package} ({size})");
    with_fresh_lists(|| {
        output(
            Command::new("apt-get")
                .args(["install", "--yes", "--no-install-recommends", package])
                .env("DEBIAN_FRONTEND", "noninteractive"),
        )
    })
}

/// The name of the package with the current kernel itself, such as `linux-image-6.1.0-56-cloud-amd64`.
pub(super) fn kernel_package() -> Result<String> {
    with_fresh_lists(|| {
        let depends = output(Command::new("apt-cache").args(["depends", KERNEL]))?;
        String::from_utf8_lossy(&depends)
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Depends: "))
            .find(|name| name.starts_with("linux-image-"))
            .map(str::to_owned)
            .with_context(|| format!("apt does not say which kernel {KERNEL} stands for"))
    })
    .context("the guest's kernel comes from Debian's packages: they must be within reach of apt")
}

/// Downloads a package and unpacks it below `work`; the answer is the directory that stands for `/`.
pub(super) fn unpack(package: &str, size: &str, work: &Path) -> Result<PathBuf> {
    eprintln!("apt: downloading and unpacking {package} ({size})");
    // apt warns when its own user may not write here, and goes on.
    with_fresh_lists(|| {
        output(Command::new("apt-get").args(["download", package]).current_dir(work))
    })
    .with_context(|| format!("cannot download {package}"))?;
    let file = fs::read_dir(work)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .with_context(|| format!("apt-get download left no file of {package}"))?;
    let root = work.join("root");
    output(Command::new("dpkg").arg("-x").arg(file).arg(&root))?;
    Ok(root)
}

/// Does it, and if that fails once more after `apt-get update`: the lists may be missing (a fresh image), or
/// name versions that are no longer there.
fn with_fresh_lists<T>(attempt: impl Fn() -> Result<T>) -> Result<T> {
    attempt().or_else(|first| {
        eprintln!("apt: apt-get update");
        output(Command::new("apt-get").arg("update"))
            .with_context(|| format!("after another failure: {first:#}"))?;
        attempt()
    })
}

/// Runs a command that prints nothing by itself; its standard error is in the error.
pub(crate) fn output(command: &mut Command) -> Result<Vec<u8>> {
    let name = format!("{command:?}");
    let output = command
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {name}"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        bail!("{name}: {}: {}", output.status, text.trim());
    }
    Ok(output.stdout)
}
