//! From a kernel that has just started to a system with its ports in `/dev`.

use std::fs::{self, File};

use anyhow::{Context, Result};
use nix::kmod::{ModuleInitFlags, finit_module};
use nix::mount::{MsFlags, mount};

/// Mounts the kernel's file systems and loads the modules, in the order of their names. What else is written goes into
/// the root, which is in memory.
pub(super) fn prepare() -> Result<()> {
    for (kind, target) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
        mount(Some(kind), target, Some(kind), MsFlags::empty(), None::<&str>)
            .with_context(|| format!("cannot mount {target}"))?;
    }
    let mut modules = fs::read_dir("/modules")
        .context("cannot list /modules")?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()?;
    modules.sort();
    for module in modules {
        let name = module.display();
        let file = File::open(&module).with_context(|| format!("cannot open {name}"))?;
        finit_module(&file, c"", ModuleInitFlags::empty())
            .with_context(|| format!("the kernel does not take {name}"))?;
    }
    Ok(())
}

/// The value of `key=value` on the kernel's command line.
pub(super) fn kernel_option(key: &str) -> Option<String> {
    let line = fs::read_to_string("/proc/cmdline").ok()?;
    line.split_whitespace()
        .filter_map(|word| word.split_once('='))
        .find(|(name, _)| *name == key)
        .map(|(_, value)| value.to_owned())
}
