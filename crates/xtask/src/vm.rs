//! What a virtual machine needs before it can start: QEMU, a kernel and an initramfs, kept under `target/vm`.
//!
//! ```text
//! target/vm/vmlinuz        the kernel                             both are what
//! target/vm/initrd.cpio    /init, the modules and guestClient     lab::vm::Assets names
//! target/vm/kernel/        picked from Debian's package; remove it to take a newer kernel
//! target/static/           where cargo builds the guest's programs
//! ```
//!
//! Everything appears by a rename, so that a run that is interrupted leaves nothing half made, and two runs at
//! once do not disturb each other. What is there is not made again: the kernel is kept, cargo knows whether
//! the programs are fresh, and the initramfs is only written when it would differ.

mod cpio;
pub(crate) mod debian;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use lab::vm::Assets;

use self::cpio::Archive;
use crate::cargo::static_binaries;

/// The guest's programs: their packages, their names, and where the guest has them.
const PROGRAMS: [(&str, &str, &str); 2] =
    [("lab", "vm-init", "init"), ("guest-client", "guestClient", "usr/bin/guestClient")];

/// The modules between the PC's bus and the port, in the order in which they can be loaded. `/init` loads what
/// it finds in the order of the names, so each gets its place as a prefix.
const MODULES: [&str; 6] = [
    "virtio_ring",
    "virtio",
    "virtio_pci_modern_dev",
    "virtio_pci_legacy_dev",
    "virtio_pci",
    "virtio_console",
];

/// Makes sure that virtual machines can be started, and says in one line each what it does for that.
///
/// # Errors
///
/// Says what is missing and how to get it.
pub(crate) fn prepare(workspace: &Path) -> Result<Assets> {
    ensure!(
        cfg!(all(target_arch = "x86_64", target_os = "linux")),
        "the virtual machine runs on x86_64 Linux only; leave it out with --no-vm"
    );
    let cache = workspace.join("target").join("vm");
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    debian::qemu()?;
    let kernel = kernel(&cache)?;
    // There is nothing else in the initramfs that they could be linked with.
    let programs = static_binaries(PROGRAMS.map(|(package, name, _)| (package, name)))?;
    publish(&cache.join(Assets::KERNEL), &read(&kernel.join("vmlinuz"))?)?;
    publish(&cache.join(Assets::INITRD), &initramfs(&programs, &kernel.join("modules"))?)?;
    Assets::from_dir(&cache)
}

/// The directory with `vmlinuz` and `modules/`.
fn kernel(cache: &Path) -> Result<PathBuf> {
    let kernel = cache.join("kernel");
    if kernel.is_dir() {
        return Ok(kernel);
    }
    let package = debian::kernel_package()?;
    let work = tempfile::Builder::new()
        .prefix(".kernel-")
        .tempdir_in(cache)
        .with_context(|| format!("cannot make a directory in {}", cache.display()))?;
    let root = debian::unpack(&package, "27 MB", work.path())?;
    let picked = work.path().join("picked");
    pick(&root, &picked).with_context(|| format!("{package} is not as expected"))?;
    match fs::rename(&picked, &kernel) {
        // Another run was faster, and what it made is as good.
        Err(_) if kernel.is_dir() => Ok(kernel),
        done => done.context("cannot keep the kernel").map(|()| kernel),
    }
}

/// Takes the kernel and the modules out of an unpacked package.
fn pick(root: &Path, picked: &Path) -> Result<()> {
    let modules = picked.join("modules");
    fs::create_dir_all(&modules)?;
    let vmlinuz = find(&root.join("boot"), &|name| name.starts_with("vmlinuz-"))?
        .context("no boot/vmlinuz-* in it")?;
    fs::copy(&vmlinuz, picked.join("vmlinuz"))?;
    for (place, module) in MODULES.iter().enumerate() {
        let plain = format!("{module}.ko");
        let packed = format!("{module}.ko.xz");
        let file = find(&root.join("lib/modules"), &|name| name == plain || name == packed)?
            .with_context(|| format!("no {plain} in it"))?;
        let bytes = if file.extension() == Some(OsStr::new("xz")) {
            debian::output(Command::new("xz").arg("-dc").arg(&file))?
        } else {
            read(&file)?
        };
        fs::write(modules.join(format!("{place}-{plain}")), bytes)?;
    }
    Ok(())
}

/// The first file below `dir` whose name is wanted.
fn find(dir: &Path, wanted: &dyn Fn(&str) -> bool) -> Result<Option<PathBuf>> {
    for entry in fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            if let Some(found) = find(&entry.path(), wanted)? {
                return Ok(Some(found));
            }
        } else if kind.is_file() && entry.file_name().to_str().is_some_and(wanted) {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}

/// What the guest has for a file system.
fn initramfs(programs: &[PathBuf], modules: &Path) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for dir in ["dev", "modules", "proc", "run", "sys", "usr", "usr/bin"] {
        archive.directory(dir)?;
    }
    for ((_, _, place), program) in PROGRAMS.iter().zip(programs) {
        archive.file(place, 0o755, &read(program)?)?;
    }
    let mut names = fs::read_dir(modules)
        .with_context(|| format!("cannot list {}", modules.display()))?
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<Result<Vec<_>, _>>()?;
    names.sort();
    if names.len() != MODULES.len() {
        bail!("{} is not whole; remove {0} and try again", modules.display());
    }
    for name in names {
        let name = name.to_str().context("a module with a strange name")?;
        archive.file(&format!("modules/{name}"), 0o644, &read(&modules.join(name))?)?;
    }
    archive.finish()
}

/// Puts a file in place unless the same one is there: a machine that starts meanwhile reads the old or the new.
fn publish(path: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    let dir = path.parent().context("a file without a directory")?;
    let file = tempfile::NamedTempFile::new_in(dir)
        .with_context(|| format!("cannot write in {}", dir.display()))?;
    fs::write(file.path(), bytes)
        .and_then(|()| file.persist(path).map_err(|failed| failed.error))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
