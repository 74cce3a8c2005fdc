//! Which files are channels, and what happens when they come, go and change places (protocol, "Discovery").

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use anyhow::Result;
use end_to_end::host::{Host, Setup, all_beat, beats};
use end_to_end::raw::RawChannel;
use end_to_end::{SOON, id};
use lab::guest::{Behaviour, Guest, What, socket_name};
use lab::wait::until;

#[tokio::test]
async fn both_names_are_found_before_and_after_the_start() -> Result<()> {
    let setup = Setup::default().without_channel_dir();
    let host = setup.start_unready()?;
    fs::create_dir(host.channel_dir())?;
    let older = || Behaviour { older_name: true, ..Behaviour::normal() };
    let mut guests = Vec::new();
    guests.push(host.guest(id(1), Behaviour::normal())?);
    guests.push(host.guest(id(2), older())?);
    let host = host.ready().await?;
    guests.push(host.guest(id(3), Behaviour::normal())?);
    guests.push(host.guest(id(4), older())?);
    all_beat(&guests, 2).await?;
    assert_eq!(host.instances().await?.len(), 4);
    assert_eq!(host.metric("connections").await?, 4);
    Ok(())
}

#[tokio::test]
async fn what_is_there_at_the_start_is_part_of_being_ready() -> Result<()> {
    let mut host = Host::start().await?;
    let _guests: Vec<Guest> =
        (1..=3).map(|n| host.guest(id(n), Behaviour::normal())).collect::<Result<_>>()?;
    for n in 1..=3 {
        host.event("RUNNING", id(n)).await?;
    }
    // Another daemon on the same directory: it is ready with all three known.
    let (run, channels) = (host.home().join("run"), host.channel_dir());
    fs::create_dir(&run)?;
    let mut other = lab::daemon::Daemon::start(
        &lab::daemon::binary("guestServer")?,
        ["--bind", "127.0.0.1", "--server-port", "0", "--controller", "127.0.0.1", "--channel-dir"]
            .into_iter()
            .map(Into::into)
            .chain([channels.into_os_string()]),
        &[],
    )?;
    let line = other.wait_log("ready", SOON, |line| line.contains(" ready ")).await?;
    assert!(line.text.contains(" instances=3"), "{}", line.text);
    other.wait_ready(SOON).await?;
    assert!(host.daemon.stop(SOON).await?.success());
    Ok(())
}

#[tokio::test]
async fn other_names_are_ignored_and_links_directories_and_plain_files_are_never_followed()
-> Result<()> {
    let host = Host::start().await?;
    let dir = host.channel_dir();
    // What the links lead to: nobody may ever call there.
    let aside = host.home().join("aside");
    fs::create_dir(&aside)?;
    let decoy = RawChannel::bind(&aside, id(90))?;
    for n in 1..=2 {
        symlink(decoy.path(), dir.join(socket_name(id(n), n == 2)))?;
    }
    fs::hard_link(decoy.path(), dir.join("cgcs.heartbeat.sock"))?;
    let uuid = id(3).to_string();
    for name in [
        format!("cgcs.heartbeat.{}.sock", uuid.to_uppercase()),
        format!("cgcs.heartbeat.{uuid}"),
        format!("cgcs.heartbeat.{uuid}.sock.tmp"),
        format!("cgcs.heartbeat.{{{uuid}}}.sock"),
        format!("cgcs.heartbeat.{}.sock", uuid.replace('-', "")),
        format!("cgcs.messaging.{uuid}.sock"),
        format!("wrs.heartbeat.agent.1.{uuid}.sock"),
        "monitor.sock".into(),
    ] {
        fs::hard_link(decoy.path(), dir.join(name))?;
    }
    fs::create_dir(dir.join(socket_name(id(4), false)))?;
    fs::write(dir.join(socket_name(id(5), false)), "no socket")?;
    fs::write(dir.join(socket_name(id(8), true)), "none either")?;
    fs::create_dir(dir.join("deeper"))?;
    fs::hard_link(decoy.path(), dir.join("deeper").join(socket_name(id(6), false)))?;
    // The controller names some of them: that is no reason to follow a link either.
    for n in [1, 2, 4, 5] {
        host.controller.add_instance(id(n), true)?;
    }
    host.counted_at_least("channels_missing", 4).await?;
    // Channels that come later are found, so all of the above has been looked at by now.
    let guest = host.guest(id(7), Behaviour::normal())?;
    beats(&guest, 1).await?;
    assert!(!decoy.is_called().await, "somebody followed a link or took another name for ours");
    assert_eq!(host.metric("connections").await?, 1);
    let known: Vec<_> =
        host.instances().await?.into_iter().map(|one| one["uuid"].clone()).collect();
    assert_eq!(known, [1, 2, 4, 5, 7].map(|n| id(n).to_string()));
    let log = host.daemon.stderr();
    assert!(!log.contains(&id(8).to_string()), "not even for a moment: {log}");
    Ok(())
}

#[tokio::test]
async fn a_removed_channel_is_reported_as_stopped_and_forgotten_although_its_listener_lives()
-> Result<()> {
    let host = Host::start().await?;
    let guest = host.guest(id(1), Behaviour::normal())?;
    host.event("RUNNING", id(1)).await?;
    fs::remove_file(guest.path())?;
    host.event("STOPPED", id(1)).await?;
    host.forgotten(id(1)).await?;
    guest.wait_for("disconnection", SOON, |what| *what == What::Disconnected).await?;
    // It was not named by the controller: a query does not know it.
    let other = host.guest(id(2), Behaviour::normal())?;
    host.event("RUNNING", id(2)).await?;
    host.query(id(2)).await?;
    assert_eq!(host.told(id(1)), ["RUNNING", "STOPPED"]);
    drop(other);
    Ok(())
}

#[tokio::test]
async fn a_channel_that_is_moved_out_is_closed_and_one_that_is_moved_in_is_connected() -> Result<()>
{
    let host = Host::start().await?;
    let guest = host.guest(id(1), Behaviour::normal())?;
    host.event("RUNNING", id(1)).await?;
    let outside = host.home().join("elsewhere");
    fs::rename(guest.path(), &outside)?;
    host.event("STOPPED", id(1)).await?;
    host.forgotten(id(1)).await?;
    fs::rename(&outside, guest.path())?;
    guest.restart().await?;
    host.event("RUNNING", id(1)).await?;
    // Renamed to another instance's name: the one goes, the other comes.
    fs::rename(guest.path(), host.channel_dir().join(socket_name(id(2), true)))?;
    host.event("STOPPED", id(1)).await?;
    host.forgotten(id(1)).await?;
    let stopped = host.instance("it is connected", id(2), |one| one["state"] != "disconnected");
    stopped.await?;
    Ok(())
}

#[tokio::test]
async fn a_socket_that_takes_the_place_of_another_is_connected_while_the_old_listener_lives()
-> Result<()> {
    let host = Host::start().await?;
    let old = host.guest(id(1), Behaviour::normal().named("old"))?;
    host.event("RUNNING", id(1)).await?;
    // As an atomic replacement, so that at no time there was no file.
    let aside = host.home().join("aside");
    fs::create_dir(&aside)?;
    let new = Guest::start(&aside, id(1), Behaviour::normal().named("new"))?;
    fs::rename(new.path(), old.path())?;
    host.event("STOPPED", id(1)).await?;
    host.event("RUNNING", id(1)).await?;
    old.wait_for("disconnection", SOON, |what| *what == What::Disconnected).await?;
    host.instance("the new one is there", id(1), |one| one["name"] == "new").await?;
    // And the other way: removed, then made again.
    fs::remove_file(old.path())?;
    let third = host.guest(id(1), Behaviour::normal().named("third"))?;
    host.event("STOPPED", id(1)).await?;
    host.event("RUNNING", id(1)).await?;
    beats(&third, 2).await?;
    host.instance("the third is there", id(1), |one| one["name"] == "third").await?;
    Ok(())
}

#[tokio::test]
async fn of_two_names_the_newer_is_connected_and_the_other_takes_over() -> Result<()> {
    let host = Host::start().await?;
    let older = Behaviour { older_name: true, ..Behaviour::normal() };
    let older = host.guest(id(1), older.named("older"))?;
    host.instance("the older name is there", id(1), |one| one["name"] == "older").await?;
    let newer = host.guest(id(1), Behaviour::normal().named("newer"))?;
    host.instance("the newer name is preferred", id(1), |one| one["name"] == "newer").await?;
    newer.remove().await?;
    until("the older one is served again", SOON, || older.counters().connections == 2).await?;
    older.restart().await?;
    beats(&older, 1).await?;
    assert_eq!(host.instances().await?.len(), 1, "one instance, whatever its names");
    Ok(())
}

#[tokio::test]
async fn a_provisioned_instance_keeps_its_record_when_its_channel_goes_and_comes_back() -> Result<()>
{
    let host = Host::start().await?;
    let guest = host.running(id(1), Behaviour::normal(), true).await?;
    guest.remove().await?;
    let stopped = host.event("STOPPED", id(1)).await?;
    assert!(stopped.text().contains(r#""reporting":"enabled","heartbeating":"disabled""#));
    let kept = host.instance("it is disconnected", id(1), |one| one["state"] == "disconnected");
    let kept = kept.await?;
    assert_eq!((&kept["provisioned"], &kept["reporting"]), (&true.into(), &true.into()));
    let answer = host.query(id(1)).await?;
    assert!(answer.text().contains(r#""reporting":"enabled","heartbeating":"disabled""#));
    guest.start_again().await?;
    let running = host.event("RUNNING", id(1)).await?;
    assert!(running.text().contains(r#""reporting":"enabled","heartbeating":"enabled""#));
    Ok(())
}

#[tokio::test]
async fn two_hundred_channels_at_once() -> Result<()> {
    let host = Host::start().await?;
    let start = |n| host.guest(id(n), Behaviour::forgetful());
    let guests = (1..=200).map(start).collect::<Result<Vec<_>>>()?;
    for guest in &guests {
        until("it answered", SOON, || guest.counters().responses > 0).await?;
    }
    assert_eq!(host.instances().await?.len(), 200);
    assert_eq!(host.metric("connections").await?, 200);
    for guest in &guests {
        fs::remove_file(guest.path())?;
    }
    for n in 1..=200 {
        host.forgotten(id(n)).await?;
        host.has_told(id(n), &["RUNNING", "STOPPED"]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_file_that_a_killed_listener_left_behind_is_no_reason_to_give_up() -> Result<()> {
    let host = Host::start().await?;
    drop(UnixListener::bind(host.channel_dir().join(socket_name(id(1), false)))?);
    host.counted_at_least("connection_failures", 1).await?;
    host.instance("it is kept", id(1), |one| one["state"] == "disconnected").await?;
    // `start_again` and lab guests remove what is in the way, as QEMU does.
    let guest = host.guest(id(1), Behaviour::normal())?;
    beats(&guest, 1).await?;
    Ok(())
}
