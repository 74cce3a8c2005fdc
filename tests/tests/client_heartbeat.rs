//! guestClient and guestServer, the real ones, over a terminal.

use std::fs;

use anyhow::Result;
use end_to_end::client::{CONF, Client};
use end_to_end::host::Host;
use end_to_end::{SOON, id};
use heartbeat_proto::control::{InstanceInfo, ServerEvent};
use heartbeat_proto::guest::CorrectiveAction;
use lab::daemon::binary;
use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::process::Command;

#[tokio::test]
async fn it_heartbeats_and_leaves_with_a_word() -> Result<()> {
    let host = Host::start().await?;
    host.controller.add_instance(id(1), true)?;
    host.instance("it is provisioned", id(1), |status| status["reporting"] == true).await?;
    let conf = "HB_INTERVAL=\"500\" # ms\nCORRECTIVE_ACTION=stop\nVOTE=20\nSHUTDOWN_NOTICE=21\n\
        SUSPEND_NOTICE=22\nRESUME_NOTICE=23\nRESTART=24\n";
    let mut client = Client::start(&host, id(1), conf).await?;
    let running = host.event("RUNNING", id(1)).await?;
    let info = InstanceInfo {
        reporting: true,
        heartbeating: true,
        repair_action: CorrectiveAction::Stop,
        restart_secs: 25,
        shutdown_secs: 22,
        suspend_secs: 23,
        resume_secs: 24,
        vote_secs: 21,
    };
    assert_eq!(running.event, Ok(ServerEvent::Running(id(1), info)));
    client.heartbeats(5).await?;
    let shown = host.instance("it beats", id(1), |status| status["heartbeating"] == true).await?;
    assert_eq!((&shown["name"], &shown["misses"]), (&"client".into(), &0.into()));
    assert!(client.program.stop(SOON).await?.success());
    host.event("STOPPED", id(1)).await?;
    assert_eq!(host.metric("losses").await?, 0);
    let log = client.program.stderr();
    for line in ["port open", "asking the host to be watched", "heartbeating", "stopping"] {
        assert!(log.contains(line), "{line}: {log}");
    }
    // One line a change: five heartbeats are none.
    assert!(log.lines().filter(|line| line.contains(" INFO ")).count() < 10, "{log}");
    Ok(())
}

#[tokio::test]
async fn a_frozen_program_is_lost_and_comes_back_by_itself() -> Result<()> {
    let host = Host::start().await?;
    host.controller.add_instance(id(1), true)?;
    let client = Client::start(&host, id(1), CONF).await?;
    host.event("RUNNING", id(1)).await?;
    client.program.signal(Signal::SIGSTOP)?;
    host.event("LOSS", id(1)).await?;
    client.program.signal(Signal::SIGCONT)?;
    host.event("RUNNING", id(1)).await?;
    client.heartbeats(3).await
}

#[tokio::test]
async fn it_waits_for_its_port_and_opens_it_again_when_it_goes_and_comes_back() -> Result<()> {
    let host = Host::start().await?;
    let client = Client::start(&host, id(1), CONF).await?;
    host.event("RUNNING", id(1)).await?;
    client.port.unplug()?;
    let lost = |status: &Value| status["device"].is_null() && status["state"] == "disabled";
    client.until("the port is lost", lost).await?;
    client.port.plug()?;
    client.until("it beats again", |status| status["heartbeating"] == true).await?;
    client.heartbeats(3).await
}

#[tokio::test]
async fn a_host_that_does_not_read_never_holds_it_up() -> Result<()> {
    let host = Host::start().await?;
    let client = Client::start(&host, id(1), CONF).await?;
    host.event("RUNNING", id(1)).await?;
    client.port.let_host_read(false);
    // Each change is told at once. The terminal's buffer takes some of it; then older words give way to newer ones.
    let skipped = |status: &Value| status["metrics"]["messages_skipped"].as_u64() > Some(0);
    for vote in 1..5000 {
        if skipped(&client.status().await?) {
            break;
        }
        client.configure(&format!("{CONF}VOTE={vote}\n"))?;
        client.program.signal(Signal::SIGHUP)?;
    }
    assert!(skipped(&client.status().await?));
    client.port.let_host_read(true);
    client.until("it beats again", |status| status["heartbeating"] == true).await?;
    client.heartbeats(3).await
}

#[tokio::test]
async fn another_configuration_is_told_to_the_host_and_a_bad_one_is_not() -> Result<()> {
    let host = Host::start().await?;
    let client = Client::start(&host, id(1), CONF).await?;
    host.event("RUNNING", id(1)).await?;
    client.configure(&format!("{CONF}VOTE=zero\n"))?;
    client.program.signal(Signal::SIGHUP)?;
    let refused = client
        .program
        .wait_log("the bad configuration", SOON, |line| line.contains("not reloaded"))
        .await?;
    let wanted = "line 4: VOTE=\\\"zero\\\": expected a whole number of seconds from 1 to 86399";
    assert!(refused.text.contains(wanted), "{}", refused.text);
    client.heartbeats(3).await?;
    client.configure(&format!("{CONF}VOTE=30\n"))?;
    client.program.signal(Signal::SIGHUP)?;
    let running = host.event("RUNNING", id(1)).await?;
    let Ok(ServerEvent::Running(_, info)) = running.event else { panic!("{running}") };
    assert_eq!(info.vote_secs, 31);
    client.heartbeats(3).await
}

#[tokio::test]
async fn a_bad_configuration_ends_it_with_2_and_check_config_prints_the_rest() -> Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    let run = async |conf: &str| {
        fs::write(file.path(), conf)?;
        let mut command = Command::new(binary("guestClient")?);
        command.args(["--name", "vm", "--check-config", "--config"]).arg(file.path());
        anyhow::Ok(command.output().await?)
    };
    let output = run("# the interval\nHB_INTERVAL=300\n").await?;
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        String::from_utf8(output.stderr)?,
        format!(
            "guestClient: {}: line 2: HB_INTERVAL=\"300\": expected a whole number of milliseconds \
             from 400 to 3600000\n",
            file.path().display()
        )
    );
    let output = run("HB_INTERVAL=500\nHB_INTERVALL=1\n").await?;
    assert!(output.status.success());
    let printed = String::from_utf8(output.stdout)?;
    assert!(printed.contains("HB_INTERVAL=500\n"), "{printed}");
    assert!(printed.contains("line 2: HB_INTERVALL is an unknown key, ignored\n"), "{printed}");
    Ok(())
}
