//! The directory as libvirt and QEMU use it, and as nobody should.

use std::os::unix::net::UnixListener;
use std::path::Path;

use tokio::time::timeout;

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

fn name(n: u128) -> ChannelName {
    ChannelName { instance: InstanceId::from_u128(n), naming: Naming::Current }
}

async fn next_sighting(sightings: &mut mpsc::Receiver<Sighting>) -> Sighting {
    timeout(PATIENCE, sightings.recv()).await.expect("a sighting in time").expect("a watcher")
}

/// The next sighting of this channel: its inode and whether it was modified.
async fn seen(sightings: &mut mpsc::Receiver<Sighting>, wanted: ChannelName) -> Option<Inode> {
    loop {
        if let Sighting::Channel { name, inode, modified: false } = next_sighting(sightings).await
            && name == wanted
        {
            return inode;
        }
    }
}

async fn listing(sightings: &mut mpsc::Receiver<Sighting>) -> Vec<InstanceId> {
    loop {
        if let Sighting::Listing(channels) = next_sighting(sightings).await {
            let mut found: Vec<_> = channels.into_iter().map(|(id, ..)| id).collect();
            found.sort_unstable();
            return found;
        }
    }
}

fn bind(dir: &Path, n: u128) -> UnixListener {
    UnixListener::bind(name(n).path(dir)).unwrap()
}

#[tokio::test]
async fn what_is_there_at_the_start_is_listed_and_only_sockets_count() {
    let dir = tempfile::tempdir().unwrap();
    let _listener = bind(dir.path(), 1);
    std::fs::write(name(2).path(dir.path()), "a file").unwrap();
    std::fs::create_dir(name(3).path(dir.path())).unwrap();
    std::os::unix::fs::symlink(name(1).path(dir.path()), name(4).path(dir.path())).unwrap();
    let _other = UnixListener::bind(dir.path().join("monitor.sock")).unwrap();
    let mut sightings = Watcher::spawn(dir.path().into());
    assert_eq!(listing(&mut sightings).await, [name(1).instance]);
}

#[tokio::test]
async fn create_delete_and_moves_are_seen() {
    let dir = tempfile::tempdir().unwrap();
    let aside = tempfile::tempdir_in(dir.path().parent().unwrap()).unwrap();
    let mut sightings = Watcher::spawn(dir.path().into());
    listing(&mut sightings).await;

    let _listener = bind(dir.path(), 1);
    let inode = seen(&mut sightings, name(1)).await;
    assert!(inode.is_some());

    std::fs::rename(name(1).path(dir.path()), name(1).path(aside.path())).unwrap();
    assert_eq!(seen(&mut sightings, name(1)).await, None);
    std::fs::rename(name(1).path(aside.path()), name(1).path(dir.path())).unwrap();
    assert_eq!(seen(&mut sightings, name(1)).await, inode);

    std::fs::remove_file(name(1).path(dir.path())).unwrap();
    assert_eq!(seen(&mut sightings, name(1)).await, None);
}

#[tokio::test]
async fn a_socket_that_takes_the_place_of_another_has_another_inode() {
    let dir = tempfile::tempdir().unwrap();
    let _first = bind(dir.path(), 1);
    let mut sightings = Watcher::spawn(dir.path().into());
    let Sighting::Listing(channels) = next_sighting(&mut sightings).await else {
        panic!("listing")
    };
    let before = channels[0].2;
    std::fs::remove_file(name(1).path(dir.path())).unwrap();
    let _second = bind(dir.path(), 1);
    let after = loop {
        if let Some(inode) = seen(&mut sightings, name(1)).await {
            break inode;
        }
    };
    assert_ne!(before, after, "the first listener holds its inode");
}

#[tokio::test]
async fn a_write_is_told_as_modified() {
    let dir = tempfile::tempdir().unwrap();
    let path = name(1).path(dir.path());
    std::fs::write(&path, "").unwrap();
    let mut sightings = Watcher::spawn(dir.path().into());
    listing(&mut sightings).await;
    std::fs::write(&path, "x").unwrap();
    loop {
        if let Sighting::Channel { modified: true, inode, .. } = next_sighting(&mut sightings).await
        {
            assert_eq!(inode, None, "a plain file is no channel");
            break;
        }
    }
}

#[tokio::test]
async fn a_directory_that_is_missing_is_waited_for() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("qemu");
    let mut sightings = Watcher::spawn(dir.clone());
    assert_eq!(listing(&mut sightings).await, []);
    std::fs::create_dir(&dir).unwrap();
    let _listener = bind(&dir, 1);
    loop {
        if listing(&mut sightings).await == [name(1).instance] {
            break;
        }
    }
}

#[tokio::test]
async fn a_directory_that_is_replaced_is_noticed() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("qemu");
    std::fs::create_dir(&dir).unwrap();
    let _first = bind(&dir, 1);
    let mut sightings = Watcher::spawn(dir.clone());
    assert_eq!(listing(&mut sightings).await, [name(1).instance]);
    std::fs::rename(&dir, parent.path().join("old")).unwrap();
    std::fs::create_dir(&dir).unwrap();
    let _second = bind(&dir, 2);
    loop {
        if listing(&mut sightings).await == [name(2).instance] {
            break;
        }
    }
}

#[tokio::test]
async fn a_removed_directory_means_that_no_channel_is_there() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("qemu");
    std::fs::create_dir(&dir).unwrap();
    let listener = bind(&dir, 1);
    let mut sightings = Watcher::spawn(dir.clone());
    assert_eq!(listing(&mut sightings).await, [name(1).instance]);
    drop(listener);
    std::fs::remove_dir_all(&dir).unwrap();
    assert_eq!(listing(&mut sightings).await, []);
}
