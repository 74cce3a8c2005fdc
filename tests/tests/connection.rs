//! Connecting to channels, losing them and connecting again (protocol, "Connection").

use std::fs;
use std::io::Read;
use std::os::unix::net::UnixStream;

use anyhow::{Context, Result};
use end_to_end::host::{Host, beats};
use end_to_end::raw::{self, RawChannel};
use end_to_end::{SOON, id};
use lab::guest::{Behaviour, Guest, What, socket_name};
use lab::wait::until;
use tokio::net::UnixSocket;

#[tokio::test]
async fn a_killed_guest_is_stopped_and_its_successor_connected_without_a_restart() -> Result<()> {
    let host = Host::start().await?;
    let guest = host.running(id(1), Behaviour::normal(), true).await?;
    guest.kill().await?;
    host.event("STOPPED", id(1)).await?;
    assert!(fs::symlink_metadata(guest.path()).is_ok(), "a killed QEMU leaves its file");
    host.counted_at_least("connection_failures", 1).await?;
    guest.start_again().await?;
    host.event("RUNNING", id(1)).await?;
    assert_eq!(host.metric("losses").await?, 0, "a closed channel is no silence");
    Ok(())
}

/// No event of the directory tells that somebody listens at last: only trying again finds out.
#[tokio::test]
async fn a_socket_on_which_nobody_listens_yet_is_tried_again() -> Result<()> {
    let host = Host::start().await?;
    let socket = UnixSocket::new_stream()?;
    socket.bind(host.channel_dir().join(socket_name(id(1), false)))?;
    // The first look, the second a moment later, and one after a second.
    host.counted_at_least("connection_failures", 3).await?;
    let listener = socket.listen(1)?;
    tokio::time::timeout(SOON, listener.accept()).await.context("nobody tries again")??;
    host.instance("it is connected", id(1), |one| one["state"] == "waiting_init").await?;
    Ok(())
}

#[tokio::test]
async fn end_of_file_means_stopped_and_a_new_connection() -> Result<()> {
    let host = Host::start().await?;
    let guest = host.running(id(1), Behaviour::normal(), true).await?;
    guest.close_connection().await?;
    host.event("STOPPED", id(1)).await?;
    until("the host is back", SOON, || guest.counters().connections == 2).await?;
    guest.restart().await?;
    host.event("RUNNING", id(1)).await?;
    assert_eq!(host.told(id(1)), ["RUNNING", "STOPPED", "RUNNING"]);
    Ok(())
}

#[tokio::test]
async fn a_reset_means_stopped_and_a_new_connection() -> Result<()> {
    let host = Host::start().await?;
    let channel = RawChannel::bind(&host.channel_dir(), id(1))?;
    let mut first = channel.accept().await?;
    let (sequence, number) = first.init(&raw::init(1, 42, 400)).await?;
    first.write(raw::response(sequence + 1, number)).await?;
    host.event("RUNNING", id(1)).await?;
    // Closing with something unread resets: the next challenge stays unread.
    host.counted_at_least("challenges", 2).await?;
    drop(first);
    host.event("STOPPED", id(1)).await?;
    let log = host.daemon.wait_log("reset", SOON, |line| line.contains("channel closed")).await?;
    assert!(log.text.contains("reset by peer"), "{}", log.text);
    let mut second = channel.accept().await?;
    let (sequence, number) = second.init(&raw::init(1, 43, 60_000)).await?;
    second.write(raw::response(sequence + 1, number)).await?;
    host.event("RUNNING", id(1)).await?;
    Ok(())
}

/// One that takes every connection and closes it at once must not be called in a tight loop.
#[tokio::test]
async fn a_channel_that_closes_at_once_is_backed_off_from() -> Result<()> {
    let host = Host::start().await?;
    let channel = RawChannel::bind(&host.channel_dir(), id(1))?;
    drop(channel.accept().await?);
    // A normal guest's second is the clock.
    let clock = host.guest(id(2), Behaviour::normal())?;
    let mut calls = 1;
    let ticks = clock.counters().responses + 3;
    while clock.counters().responses < ticks {
        tokio::select! {
            called = channel.accept() => { drop(called?); calls += 1; }
            () = tokio::task::yield_now(), if clock.counters().responses >= ticks => {}
            beat = clock.wait_heartbeat(SOON) => drop(beat?),
        }
    }
    assert!((2..=6).contains(&calls), "{calls} calls within three seconds");
    Ok(())
}

#[tokio::test]
async fn a_channel_whose_place_is_taken_is_served_when_the_other_client_leaves() -> Result<()> {
    let host = Host::start().await?;
    let aside = host.home().join("aside");
    fs::create_dir(&aside)?;
    let guest = Guest::start(&aside, id(1), Behaviour::normal())?;
    let other = UnixStream::connect(guest.path())?;
    guest.wait_for("the other client", SOON, |what| *what == What::Connected).await?;
    fs::rename(guest.path(), host.channel_dir().join(socket_name(id(1), false)))?;
    // Connected as far as the host can see, and silent.
    host.instance("it waits", id(1), |one| one["state"] == "waiting_init").await?;
    until("the guest says init", SOON, || guest.counters().inits > 1).await?;
    assert_eq!(host.metric("inits").await?, 0);
    drop(other);
    host.event("RUNNING", id(1)).await?;
    assert_eq!(guest.counters().connections, 2);
    assert_eq!(host.metric("connection_failures").await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_channel_whose_waiting_room_is_full_is_tried_again() -> Result<()> {
    let host = Host::start().await?;
    let aside = host.home().join("aside");
    fs::create_dir(&aside)?;
    let guest = Guest::start(&aside, id(1), Behaviour::normal())?;
    let mut others = vec![UnixStream::connect(guest.path())?];
    guest.wait_for("the first client", SOON, |what| *what == What::Connected).await?;
    // Two more wait; a fourth finds no room.
    others.extend([UnixStream::connect(guest.path())?, UnixStream::connect(guest.path())?]);
    fs::rename(guest.path(), host.channel_dir().join(socket_name(id(1), false)))?;
    host.counted_at_least("connection_failures", 1).await?;
    assert_eq!(host.metric("connections").await?, 0);
    let full = |line: &str| line.contains("others are connected and waiting");
    host.daemon.wait_log("why", SOON, full).await?;
    drop(others);
    host.event("RUNNING", id(1)).await?;
    Ok(())
}

/// What the host writes before the guest's program is there must not pile up or confuse it.
#[tokio::test]
async fn a_guest_that_opens_its_port_late_is_simply_waited_for() -> Result<()> {
    let host = Host::start().await?;
    let behaviour = Behaviour { opening: lab::guest::Opening::OnCommand, ..Behaviour::normal() };
    let guest = host.guest(id(1), behaviour)?;
    host.instance("it waits", id(1), |one| one["state"] == "waiting_init").await?;
    guest.open().await?;
    host.event("RUNNING", id(1)).await?;
    assert_eq!(guest.counters().malformed, 0);
    Ok(())
}

#[tokio::test]
async fn every_channel_is_closed_when_the_daemon_stops() -> Result<()> {
    let mut host = Host::start().await?;
    let channel = RawChannel::bind(&host.channel_dir(), id(1))?;
    let mut raw = channel.accept().await?;
    let guest = host.guest(id(2), Behaviour::normal())?;
    beats(&guest, 1).await?;
    assert!(host.daemon.stop(SOON).await?.success());
    raw.closed().await?;
    guest.wait_for("disconnection", SOON, |what| *what == What::Disconnected).await?;
    let mut stream = UnixStream::connect(channel.path())?;
    stream.set_nonblocking(true)?;
    assert!(stream.read(&mut [0]).is_err(), "the socket itself is not ours to remove or close");
    Ok(())
}
