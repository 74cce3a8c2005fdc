//! Checks docs/openapi.yaml against what the real guestAgent answers, with schemathesis.

use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use lab::daemon::Daemon;
use lab::maintenance::MtcAgent;
use lab::vim::Vim;

use crate::cargo::{run as run_step, workspace};
use crate::vm::debian;

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

const PATIENCE: Duration = Duration::from_secs(20);

/// The host of the document's examples.
const HOST: &str = "010e7741-1173-4a3b-88fa-c4e5905500ca";

pub(super) fn run() -> Result<()> {
    debian::python()?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(check())
}

async fn check() -> Result<()> {
    let vim = Vim::start(LOCALHOST)?;
    let mtc = MtcAgent::start(LOCALHOST)?;
    mtc.add_host(HOST.parse()?, "compute-0", "127.0.0.1")?;
    let binary = lab::daemon::binary("guestAgent")?;
    let port = mtc.port().to_string();
    let options = [
        "--bind",
        "127.0.0.1",
        "--agent-port",
        "0",
        "--listen",
        "127.0.0.1:0",
        "--vim",
        &vim.url(),
        "--mtc",
        "127.0.0.1",
        "--mtc-event-port",
        &port,
        "--mtc-command-port",
        "0",
        "--floating-ip",
        "127.0.0.1",
        "--log-level",
        "warn",
    ];
    let mut agent = Daemon::start(&binary, options, &[])?;
    agent.wait_ready(PATIENCE).await?;
    mtc.wait_asked(PATIENCE).await?;
    lab::wait::until_ok("guestAgent knows the host", PATIENCE, async || {
        let hosts = agent.status().await?["hosts"].as_array().map_or(0, Vec::len);
        anyhow::ensure!(hosts == 1, "{hosts} hosts");
        Ok(())
    })
    .await?;
    let status = agent.status().await?;
    let address = status["http"].as_str().context("no http address in the status")?;
    let script = workspace().join("tests").join("openapi").join("run.sh");
    let mut command = Command::new(script);
    command.arg(format!("http://{address}"));
    tokio::task::spawn_blocking(move || {
        run_step("docs/openapi.yaml against guestAgent (schemathesis)", &mut command)
    })
    .await??;
    // It was asked a thousand odd things and is still well.
    let exit = agent.stop(PATIENCE).await?;
    anyhow::ensure!(exit.success(), "guestAgent ended with {exit}:\n{}", agent.stderr());
    Ok(())
}
