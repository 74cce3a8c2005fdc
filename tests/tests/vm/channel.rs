//! Channels that come and go with their machines, are taken by others, or lose their host.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use end_to_end::SOON;
use end_to_end::machines::{Host, INSTANCE, INTERVAL_MS, PATIENCE, on_host};
use lab::vm::Vm;
use lab::wait;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// Longer than usual, for guests whose faults are not reported: a single challenge without an answer stops them.
const LONG_INTERVAL_MS: u32 = 3000;

/// How long QEMU may take to end.
const END_LIMIT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_killed_machine_is_stopped_at_once_and_its_successor_runs() -> Result<()> {
    on_host(async |host| {
        let mut killed = host.heartbeating_machine().await?;
        killed.kill().await?;
        host.expect(&["STOPPED"]).await?;
        // The end of the stream told it, not silence.
        let counted = host.counted().await?;
        counted.ensure_none(&["misses", "losses"])?;
        ensure!(killed.channel_path().exists(), "the stale socket file is gone");
        host.until_counted("connection_failures", 1).await?;
        let _successor = host.boot(INSTANCE, INTERVAL_MS).await?;
        host.expect(&["RUNNING"]).await?;
        host.until_counted_anew("heartbeats", 3).await?.ensure_none(&["misses", "losses"])
    })
    .await
}

#[tokio::test]
async fn a_machine_that_quits_is_stopped_and_forgotten() -> Result<()> {
    on_host(async |host| {
        host.start_server().await?;
        // The controller never named it: only its channel says that it is there.
        let mut vm = host.boot(INSTANCE, LONG_INTERVAL_MS).await?;
        host.expect(&["RUNNING"]).await?;
        vm.qmp("quit").await?;
        host.expect(&["STOPPED"]).await?;
        ensure!(vm.wait_exit(END_LIMIT).await?.success(), "QEMU failed");
        ensure!(!vm.channel_path().exists(), "QEMU left its socket file behind");
        wait::until_ok("it is forgotten", SOON, async || {
            let status = host.status().await?;
            let instances = status["instances"].as_array().context("no instances")?;
            ensure!(instances.is_empty(), "{status:#}");
            Ok(())
        })
        .await?;
        // Nor does anything follow: the next one is new.
        let _next = host.boot(INSTANCE, LONG_INTERVAL_MS).await?;
        host.expect(&["RUNNING"]).await
    })
    .await
}

#[tokio::test]
async fn a_guest_that_powers_off_is_stopped_but_remembered_if_the_controller_named_it() -> Result<()>
{
    on_host(async |host| {
        let mut vm = host.heartbeating_machine().await?;
        vm.control("poweroff").await?;
        host.expect(&["STOPPED"]).await?;
        ensure!(vm.wait_exit(END_LIMIT).await?.success(), "QEMU failed");
        ensure!(!vm.channel_path().exists(), "QEMU left its socket file behind");
        wait::until_ok("it is known to be away", SOON, async || {
            let status = host.status().await?;
            let instance = &status["instances"][0];
            let away = instance["uuid"] == INSTANCE.to_string()
                && instance["provisioned"] == true
                && instance["heartbeating"] == false
                && instance["state"] == "disconnected";
            ensure!(away, "{status:#}");
            Ok(())
        })
        .await?;
        host.counted().await?.ensure_none(&["losses"])?;
        let _next = host.boot(INSTANCE, INTERVAL_MS).await?;
        host.expect(&["RUNNING"]).await
    })
    .await
}

#[tokio::test]
async fn a_channel_taken_by_another_client_heartbeats_once_that_one_leaves() -> Result<()> {
    on_host(async |host| {
        let vm = host.boot(INSTANCE, INTERVAL_MS).await?;
        let mut other = connect(&vm).await?;
        start_server_behind(host).await?;
        host.until_counted("connections", 1).await?;
        hears_init(&mut other).await?;
        // QEMU serves one at a time: guestServer is connected, and hears nothing.
        let counted = host.counted().await?;
        counted.ensure_none(&["inits", "heartbeats"])?;
        drop(other);
        host.expect(&["RUNNING"]).await?;
        host.until_counted_anew("heartbeats", 3).await?.ensure_none(&["misses", "connections"])
    })
    .await
}

#[tokio::test]
async fn a_channel_with_a_full_queue_is_tried_again_until_it_heartbeats() -> Result<()> {
    on_host(async |host| {
        let vm = host.boot(INSTANCE, INTERVAL_MS).await?;
        let mut others = Vec::new();
        // One is served and two wait; there is no place for more.
        for _ in 0..3 {
            others.push(connect(&vm).await?);
        }
        start_server_behind(host).await?;
        let counted = host.until_counted("connection_failures", 1).await?;
        counted.ensure_none(&["connections"])?;
        drop(others);
        host.expect(&["RUNNING"]).await?;
        host.until_counted_anew("heartbeats", 3).await?.ensure_none(&["misses", "connections"])
    })
    .await
}

#[tokio::test]
async fn a_guest_runs_again_after_guest_server_was_killed_and_started() -> Result<()> {
    on_host(async |host| {
        let vm = host.heartbeating_machine().await?;
        host.restart_server().await?;
        host.controller().add_instance(INSTANCE, true)?;
        // The guest grows tired of waiting for a challenge, and starts over.
        host.expect(&["RUNNING"]).await?;
        vm.control("freeze").await?;
        host.expect(&["STOPPED", "LOSS"]).await
    })
    .await
}

/// Another client of a channel.
async fn connect(vm: &Vm) -> Result<UnixStream> {
    // Until QEMU has taken the one before, there may be no place.
    wait::until_ok("connected", SOON, async || Ok(UnixStream::connect(vm.channel_path()).await?))
        .await
}

/// Starts guestServer where others are connected already.
async fn start_server_behind(host: &mut Host) -> Result<()> {
    host.start_server().await?;
    host.controller().add_instance(INSTANCE, true)
}

/// Waits until the guest asks to be watched by whoever is at the other end.
async fn hears_init(stream: &mut UnixStream) -> Result<()> {
    let mut heard = Vec::new();
    let mut buffer = [0; 1024];
    let listen = async {
        while !String::from_utf8_lossy(&heard).contains("\"init\"") {
            let length = stream.read(&mut buffer).await?;
            if length == 0 {
                bail!("QEMU closed the channel");
            }
            heard.extend_from_slice(&buffer[..length]);
        }
        Ok(())
    };
    timeout(PATIENCE, listen).await.context("the guest says nothing")?
}
