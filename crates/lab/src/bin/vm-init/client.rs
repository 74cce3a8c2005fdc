//! guestClient as an operator sets it up: its configuration file and its command line.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use crate::boot::kernel_option;
use crate::script::Script;

const BINARY: &str = "/usr/bin/guestClient";
const CONFIG: &str = "/etc/guest-client/heartbeat/guest_heartbeat.conf";

/// Writes the configuration that the kernel's command line asks for; the times are guestClient's own.
pub(super) fn configure() -> Result<()> {
    let interval = kernel_option("hb.interval").context("no hb.interval")?;
    let action = kernel_option("hb.action").context("no hb.action")?;
    let (health, event) = (Script::Health.path(), Script::Event.path());
    let config = format!(
        "# Written by /init for the lab\n\
         HB_INTERVAL={interval}\n\
         CORRECTIVE_ACTION={action}\n\
         HEALTH_CHECK_INTERVAL=1\n\
         HEALTH_CHECK_SCRIPT=\"{health}\"\n\
         EVENT_NOTIFICATION_SCRIPT=\"{event}\"\n"
    );
    let path = Path::new(CONFIG);
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::write(path, config).with_context(|| format!("cannot write {CONFIG}"))
}

/// Starts it. Its log goes where ours goes: to the serial console.
pub(super) fn start() -> Result<Child> {
    Command::new(BINARY)
        .arg("--name")
        .arg(kernel_option("hb.name").context("no hb.name")?)
        .args(["--log-level", "debug"])
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {BINARY}"))
}
