//! The files that a machine is started from, and where to find them.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

/// What QEMU is started with. `cargo xtask test` makes them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assets {
    /// A Linux kernel.
    pub kernel: PathBuf,
    /// Its first and only file system: `/init`, the modules that it loads, and guestClient.
    pub initrd: PathBuf,
    /// The program `qemu-system-x86_64`.
    pub qemu: PathBuf,
}

impl Assets {
    /// The name of the environment variable that says where kernel and initramfs are.
    pub const ENV: &str = "HEARTBEAT_VM_ASSETS";
    /// The name of the kernel in that directory.
    pub const KERNEL: &str = "vmlinuz";
    /// The name of the initramfs in that directory.
    pub const INITRD: &str = "initrd.cpio";
    /// The name of QEMU's program.
    pub const QEMU: &str = "qemu-system-x86_64";

    /// The assets in the directory that [`Assets::ENV`] names.
    ///
    /// # Errors
    ///
    /// The variable is not set, or something is missing; the text says what to do.
    pub fn from_env() -> Result<Self> {
        let dir = env::var_os(Self::ENV).with_context(|| {
            format!(
                "{} is not set: run `cargo xtask test`, which prepares the virtual machine",
                Self::ENV
            )
        })?;
        Self::from_dir(Path::new(&dir))
    }

    /// The assets in this directory.
    ///
    /// # Errors
    ///
    /// Something is missing; the text says what to do.
    pub fn from_dir(dir: &Path) -> Result<Self> {
        let kernel = dir.join(Self::KERNEL);
        let initrd = dir.join(Self::INITRD);
        for file in [&kernel, &initrd] {
            ensure!(file.is_file(), "{} is missing: run `cargo xtask test`", file.display());
        }
        let qemu = Self::find_qemu()
            .with_context(|| format!("{} is missing: run `cargo xtask test`", Self::QEMU))?;
        Ok(Self { kernel, initrd, qemu })
    }

    /// QEMU's program, if it is installed.
    #[must_use]
    pub fn find_qemu() -> Option<PathBuf> {
        find_program(Self::QEMU)
    }
}

/// Finds a program as a shell does.
pub(super) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}
