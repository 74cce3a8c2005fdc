//! Channels that come and go with their machines, are taken by others, or lose their host.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use end_to_end::SOON;
use end_to_end::host::Host;
use end_to_end::machines::{
    INSTANCE, INTERVAL_MS, LONG_INTERVAL_MS, PATIENCE, boot, counted, expect, heartbeats, on_host,
    restart_server, running,
};
use lab::vm::Vm;
use lab::wait;
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// How long QEMU may take to end.
const END_LIMIT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_killed_machine_is_stopped_at_once_and_its_successor_runs() -> Result<()> {
    on_host(async |host| {
        let mut killed = running(host).await?;
        killed.kill().await?;
        expect(host, &["STOPPED"]).await?;
        // The end of the stream told it, not silence.
        counted(host).await?.ensure_none(&["misses", "losses"])?;
        ensure!(killed.channel_path().exists(), "the stale socket file is gone");
        host.counted_at_least("connection_failures", 1).await?;
        let _successor = boot(host, INSTANCE, INTERVAL_MS).await?;
        expect(host, &["RUNNING"]).await?;
        heartbeats(host, 3).await?.ensure_none(&["misses", "losses"])
    })
    .await
}

#[tokio::test]
async fn a_machine_that_quits_is_stopped_and_forgotten() -> Result<()> {
    on_host(async |host| {
        // The controller never named it: only its channel says that it is there.
        let mut vm = boot(host, INSTANCE, LONG_INTERVAL_MS).await?;
        expect(host, &["RUNNING"]).await?;
        vm.qmp("quit").await?;
        expect(host, &["STOPPED"]).await?;
        ensure!(vm.wait_exit(END_LIMIT).await?.success(), "QEMU failed");
        ensure!(!vm.channel_path().exists(), "QEMU left its socket file behind");
        host.forgotten(INSTANCE).await?;
        // Nor does anything follow: the next one is new.
        let _next = boot(host, INSTANCE, LONG_INTERVAL_MS).await?;
        expect(host, &["RUNNING"]).await
    })
    .await
}

#[tokio::test]
async fn a_guest_that_powers_off_is_stopped_but_remembered_if_the_controller_named_it() -> Result<()>
{
    on_host(async |host| {
        let mut vm = running(host).await?;
        vm.control("poweroff").await?;
        expect(host, &["STOPPED"]).await?;
        ensure!(vm.wait_exit(END_LIMIT).await?.success(), "QEMU failed");
        ensure!(!vm.channel_path().exists(), "QEMU left its socket file behind");
        let away = |status: &Value| {
            status["provisioned"] == true
                && status["heartbeating"] == false
                && status["state"] == "disconnected"
        };
        host.instance("it is known to be away", INSTANCE, away).await?;
        counted(host).await?.ensure_none(&["losses"])?;
        let _next = boot(host, INSTANCE, INTERVAL_MS).await?;
        expect(host, &["RUNNING"]).await
    })
    .await
}

#[tokio::test]
async fn a_channel_taken_by_another_client_heartbeats_once_that_one_leaves() -> Result<()> {
    on_host(async |host| {
        let (_vm, mut others) = taken_by(host, 1).await?;
        host.counted("connections", 1).await?;
        // QEMU serves one at a time: the other hears the guest, guestServer is connected and hears nothing.
        hears_init(&mut others[0]).await?;
        counted(host).await?.ensure_none(&["inits", "heartbeats"])?;
        drop(others);
        expect(host, &["RUNNING"]).await?;
        heartbeats(host, 3).await?.ensure_none(&["misses", "connections"])
    })
    .await
}

#[tokio::test]
async fn a_channel_with_a_full_queue_is_tried_again_until_it_heartbeats() -> Result<()> {
    on_host(async |host| {
        // One is served and two wait; there is no place for more.
        let (_vm, others) = taken_by(host, 3).await?;
        host.counted_at_least("connection_failures", 1).await?;
        host.counted("connections", 0).await?;
        drop(others);
        expect(host, &["RUNNING"]).await?;
        heartbeats(host, 3).await?.ensure_none(&["misses", "connections"])
    })
    .await
}

#[tokio::test]
async fn a_guest_runs_again_after_guest_server_was_killed_and_started() -> Result<()> {
    on_host(async |host| {
        let vm = running(host).await?;
        // The port tells the guest that the host is gone, and later that one is there: it begins anew at once.
        let gone = || vm.serial_log().contains("no host is at the other end of the port");
        let meanwhile = async || wait::until("the guest notices", SOON, gone).await;
        restart_server(host, meanwhile).await?;
        host.controller.add_instance(INSTANCE, true)?;
        expect(host, &["RUNNING"]).await?;
        ensure!(!vm.serial_log().contains("sends no challenges"), "{}", vm.serial_log());
        vm.control("freeze").await?;
        expect(host, &["STOPPED", "LOSS"]).await
    })
    .await
}

/// Starts a machine whose channel so many clients are connected to before guestServer sees it.
async fn taken_by(host: &Host, clients: usize) -> Result<(Vm, Vec<UnixStream>)> {
    host.controller.add_instance(INSTANCE, true)?;
    host.instance("it is known", INSTANCE, |status| status["reporting"] == true).await?;
    host.freeze().await?;
    let vm = boot(host, INSTANCE, INTERVAL_MS).await?;
    let mut others = Vec::new();
    for _ in 0..clients {
        // Until QEMU has taken the one before, there may be no place.
        let connect = async || Ok(UnixStream::connect(vm.channel_path()).await?);
        others.push(wait::until_ok("another client is connected", SOON, connect).await?);
    }
    host.thaw()?;
    Ok((vm, others))
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
