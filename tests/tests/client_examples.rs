//! The examples that are shipped with guestClient do what they say. They need Python 3.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use end_to_end::client::{CONF, Client};
use end_to_end::host::Host;
use end_to_end::{SOON, id};
use heartbeat_proto::control::ServerEvent;
use heartbeat_proto::guest::{EventType, VoteResult};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// What the shell example needs of socat, so that it need not be installed.
const SOCAT: &str = r#"#!/usr/bin/env python3
import os, select, socket, sys
dash, address = sys.argv[1:]
assert dash == "-"
peer = socket.socket(socket.AF_UNIX)
peer.connect(address.removeprefix("UNIX-CONNECT:"))
ends = [0, peer]
while True:
    for end in select.select(ends, [], [])[0]:
        if end == 0:
            said = os.read(0, 4096)
            if said:
                peer.sendall(said)
            else:
                peer.shutdown(socket.SHUT_WR)
                ends.remove(0)
        else:
            told = peer.recv(4096)
            if not told:
                sys.exit()
            os.write(1, told)
"#;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/guest-client/examples").join(name)
}

/// Runs an example as an application with this name.
fn start(client: &Client, name: &str, tools: &TempDir) -> Result<Child> {
    let socat = tools.path().join("socat");
    fs::write(&socat, SOCAT)?;
    fs::set_permissions(&socat, fs::Permissions::from_mode(0o755))?;
    let path = std::env::var("PATH").context("no PATH")?;
    let mut command = Command::new(example(name));
    command
        .arg("db")
        .arg(client.program.run_dir().join("guestClient.sock"))
        .env("PATH", format!("{}:{path}", tools.path().display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .process_group(0)
        .kill_on_drop(true);
    command.spawn().with_context(|| format!("cannot run {name}"))
}

async fn verdict(host: &Host, event: EventType) -> Result<VoteResult> {
    host.controller.vote(id(1), event)?;
    let arrival = host.event("VOTE_NOTIFY", id(1)).await?;
    let Ok(ServerEvent::VoteNotify(_, vote)) = arrival.event else { bail!("{arrival}") };
    Ok(vote.vote)
}

async fn takes_part(name: &str) -> Result<()> {
    let host = Host::start().await?;
    let client = Client::start(&host, id(1), CONF).await?;
    host.event("RUNNING", id(1)).await?;
    let tools = tempfile::tempdir()?;
    let mut application = start(&client, name, &tools)?;
    let well = json!([{ "name": "db", "trouble": null }]);
    client.until("it is there", |status| status["applications"] == well).await?;
    assert_eq!(verdict(&host, EventType::Stop).await?, VoteResult::Accept);
    host.controller.notify(id(1), EventType::Stop)?;
    let arrival = host.event("VOTE_NOTIFY", id(1)).await?;
    let Ok(ServerEvent::VoteNotify(_, vote)) = arrival.event else { bail!("{arrival}") };
    assert_eq!(vote.vote, VoteResult::Complete);
    // It beats: otherwise it would be in trouble after one and a half seconds.
    client.heartbeats(6).await?;
    assert_eq!(client.status().await?["applications"], well);
    // It says goodbye.
    let pid = application.id().and_then(|id| i32::try_from(id).ok()).context("it has ended")?;
    kill(Pid::from_raw(pid), Signal::SIGTERM)?;
    let gone = |status: &Value| status["applications"] == json!([]);
    client.until("it has said goodbye", gone).await?;
    tokio::time::timeout(SOON, application.wait()).await??;
    let log = client.program.stderr();
    assert!(!log.contains("WARN"), "{log}");
    Ok(())
}

#[tokio::test]
async fn the_application_in_python() -> Result<()> {
    takes_part("application.py").await
}

#[tokio::test]
async fn the_application_in_shell() -> Result<()> {
    takes_part("application.sh").await
}
