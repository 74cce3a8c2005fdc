//! What becomes of the channel directory as a whole, and of events that the kernel loses.

use std::fs::{self, File};
use std::os::unix::net::UnixListener;

use anyhow::{Context, Result};
use end_to_end::host::{Host, Setup, beats};
use end_to_end::{SOON, id};
use lab::guest::{Behaviour, Guest, What, socket_name};

#[tokio::test]
async fn a_directory_that_is_missing_at_the_start_is_waited_for() -> Result<()> {
    let host = Setup::default().without_channel_dir().start().await?;
    host.daemon.wait_log("the line", SOON, |line| line.contains("no channel directory")).await?;
    let log = host.daemon.stderr();
    assert!(log.contains("no channel directory: waiting for it"), "{log}");
    assert_eq!(host.instances().await?.len(), 0);
    fs::create_dir(host.channel_dir())?;
    let guest = host.guest(id(1), Behaviour::normal())?;
    host.event("RUNNING", id(1)).await?;
    // It is watched from now on, not only scanned now and then.
    guest.remove().await?;
    host.forgotten(id(1)).await?;
    Ok(())
}

#[tokio::test]
async fn a_directory_that_is_removed_and_made_again_is_noticed() -> Result<()> {
    let host = Host::start().await?;
    let guest = host.running(id(1), Behaviour::normal(), true).await?;
    let other = host.guest(id(2), Behaviour::normal())?;
    host.event("RUNNING", id(2)).await?;
    fs::remove_dir_all(host.channel_dir())?;
    for guest in [&guest, &other] {
        guest.wait_for("disconnection", SOON, |what| *what == What::Disconnected).await?;
    }
    host.forgotten(id(2)).await?;
    host.has_told(id(2), &["RUNNING", "STOPPED"]).await?;
    host.instance("the provisioned one stays", id(1), |one| one["heartbeating"] == false).await?;
    fs::create_dir(host.channel_dir())?;
    let again = host.guest(id(2), Behaviour::normal())?;
    beats(&again, 1).await?;
    guest.start_again().await?;
    beats(&guest, 1).await?;
    Ok(())
}

#[tokio::test]
async fn a_directory_that_another_one_takes_the_place_of_is_noticed() -> Result<()> {
    let host = Host::start().await?;
    let old = host.guest(id(1), Behaviour::normal())?;
    host.event("RUNNING", id(1)).await?;
    let new_dir = host.home().join("new");
    fs::create_dir(&new_dir)?;
    let new = Guest::start(&new_dir, id(2), Behaviour::normal())?;
    fs::rename(host.channel_dir(), host.home().join("old"))?;
    fs::rename(&new_dir, host.channel_dir())?;
    host.event("STOPPED", id(1)).await?;
    host.forgotten(id(1)).await?;
    old.wait_for("disconnection", SOON, |what| *what == What::Disconnected).await?;
    beats(&new, 1).await?;
    Ok(())
}

#[tokio::test]
async fn a_directory_that_is_not_one_any_more_is_waited_for() -> Result<()> {
    let host = Host::start().await?;
    let guest = host.guest(id(1), Behaviour::normal())?;
    host.event("RUNNING", id(1)).await?;
    fs::rename(host.channel_dir(), host.home().join("old"))?;
    fs::write(host.channel_dir(), "a file in its place")?;
    host.forgotten(id(1)).await?;
    fs::remove_file(host.channel_dir())?;
    fs::rename(host.home().join("old"), host.channel_dir())?;
    guest.restart().await?;
    beats(&guest, 1).await?;
    Ok(())
}

/// The daemon stands still while more happens in the directory than the kernel remembers.
#[tokio::test]
async fn events_that_the_kernel_lost_are_made_up_for_by_a_scan() -> Result<()> {
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events")?;
    let limit: usize = limit.trim().parse().context("max_queued_events")?;
    let host = Host::start().await?;
    let gone = host.guest(id(1), Behaviour::normal())?;
    host.event("RUNNING", id(1)).await?;
    let replaced = host.guest(id(2), Behaviour::normal().named("old"))?;
    host.event("RUNNING", id(2)).await?;
    host.freeze().await?;
    // Two events each; two alike in a row would count as one.
    let noise = host.channel_dir().join("noise");
    for _ in 0..=limit / 2 {
        File::create(&noise)?;
        fs::remove_file(&noise)?;
    }
    fs::remove_file(gone.path())?;
    fs::remove_file(replaced.path())?;
    let new = host.guest(id(2), Behaviour::normal().named("new"))?;
    let come = host.guest(id(3), Behaviour::normal())?;
    let _stale = UnixListener::bind(host.channel_dir().join(socket_name(id(4), true)))?;
    host.thaw()?;
    let lost = |line: &str| line.contains("the kernel lost events of the channel directory");
    host.daemon.wait_log("overflow", SOON, lost).await?;
    beats(&come, 1).await?;
    beats(&new, 1).await?;
    host.instance("the new one is there", id(2), |one| one["name"] == "new").await?;
    host.forgotten(id(1)).await?;
    host.has_told(id(1), &["RUNNING", "STOPPED"]).await?;
    host.instance("it is found", id(4), |one| one["state"] == "waiting_init").await?;
    Ok(())
}
