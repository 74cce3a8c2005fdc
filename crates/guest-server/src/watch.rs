//! Watches the channel directory.
//!
//! The kernel's events are hints, the directory is the truth: an event about a name makes us look
//! at that name, a scan looks at all of them. So a lost, doubled or late event does no harm, and
//! what is told is always what was there a moment ago.
//!
//! One task owns the watch. It reads events and scans in turn, never both at once, so that what a
//! scan saw is never told after what an event showed later. It tells the main loop through a
//! bounded queue and waits when that is full.

mod directory;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use daemon_kit::{RateLimit, limited};
use futures_util::StreamExt as _;
use heartbeat_proto::InstanceId;
use inotify::{Event, EventMask, EventStream, Inotify, WatchMask};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::debug;

use crate::channel_name::{ChannelName, Naming};
use directory::Directory;
pub(crate) use directory::socket_at;

/// How often the whole directory is looked at, whatever the events say.
const SCAN_PERIOD: Duration = Duration::from_secs(180);

/// How often it is looked whether the directory is still the one that is watched, and, while
/// there is none, whether there is one.
const PRESENCE_PERIOD: Duration = Duration::from_secs(3);

/// How often the directory is scanned while the kernel does not let us watch it.
const UNWATCHED_SCAN_PERIOD: Duration = Duration::from_secs(3);

/// Sightings that wait for the main loop. When it is full the watch waits, and events with it, in
/// the kernel's queue; when that overflows too, the kernel says so and a scan follows.
pub(crate) const SIGHTINGS_DEPTH: usize = 1024;

/// Bytes for events read at once: about 150 of them.
const EVENT_BUFFER: usize = 16 * 1024;

/// What identifies a socket file while it is there.
pub(crate) type Inode = u64;

/// What was seen in the channel directory.
#[derive(Debug)]
pub(crate) enum Sighting {
    /// Something happened to one name.
    Channel {
        name: ChannelName,
        /// The socket that has this name now; none if there is none.
        inode: Option<Inode>,
        /// The kernel says that it was modified.
        modified: bool,
    },
    /// Everything that is there.
    Listing(Vec<(InstanceId, Naming, Inode)>),
}

/// The main loop has gone: there is nobody left to watch for.
struct Gone;

/// The task that watches.
pub(crate) struct Watcher {
    path: PathBuf,
    sightings: mpsc::Sender<Sighting>,
    /// Events that the kernel lost: whoever may write to the directory can cause that.
    lost: RateLimit,
    /// A directory that comes and goes, or cannot be read.
    troubles: RateLimit,
}

impl Watcher {
    /// Starts watching; the first thing told is always a listing.
    pub(crate) fn spawn(path: PathBuf) -> mpsc::Receiver<Sighting> {
        let (sightings, receiver) = mpsc::channel(SIGHTINGS_DEPTH);
        tokio::spawn(async move {
            let lost = RateLimit::new(3, Duration::from_secs(60));
            let troubles = RateLimit::new(20, Duration::from_secs(10));
            let Gone = Self { path, sightings, lost, troubles }.run().await;
        });
        receiver
    }

    async fn run(mut self) -> Gone {
        let mut missing = false;
        loop {
            let gone = match Directory::open(&self.path) {
                Ok(directory) => {
                    if std::mem::take(&mut missing) {
                        let path = self.path.display();
                        limited!(self.troubles.allow(now()), info, %path, "channel directory is there");
                    }
                    self.watch(directory).await
                }
                Err(error) => {
                    if !std::mem::replace(&mut missing, true) {
                        let path = self.path.display();
                        limited!(
                            self.troubles.allow(now()), warn, %path, %error,
                            "no channel directory: waiting for it"
                        );
                    }
                    self.absent(&error).await
                }
            };
            if let Err(gone) = gone {
                return gone;
            }
        }
    }

    /// Tells that no channel is there, if that is certain, and waits for a while.
    async fn absent(&self, error: &io::Error) -> Result<(), Gone> {
        // A directory that we may not read, or lack a descriptor for, may well be full.
        if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
            self.tell(Sighting::Listing(Vec::new())).await?;
        }
        tokio::time::sleep(PRESENCE_PERIOD).await;
        Ok(())
    }

    /// Watches one directory until it is no longer the one at our path.
    async fn watch(&mut self, directory: Directory) -> Result<(), Gone> {
        // The watch stands before the first scan, so that nothing falls in between.
        let mut events = match event_stream(&directory) {
            Ok(events) => Some(events),
            Err(error) => {
                limited!(
                    self.troubles.allow(now()), warn, path = %self.path.display(), %error,
                    "cannot watch the channel directory, scanning it instead; \
                     fs.inotify.max_user_instances and max_user_watches may be too low"
                );
                None
            }
        };
        let period = if events.is_some() { SCAN_PERIOD } else { UNWATCHED_SCAN_PERIOD };
        let mut scans = interval_at(Instant::now(), period);
        scans.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut presence = interval_at(Instant::now() + PRESENCE_PERIOD, PRESENCE_PERIOD);
        presence.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let event = tokio::select! {
                biased;
                _ = scans.tick() => { self.scan(&directory).await?; continue }
                _ = presence.tick() => {
                    if directory.is_at(&self.path) { continue }
                    debug!(path = %self.path.display(), "channel directory was replaced or is gone");
                    return Ok(());
                }
                Some(event) = next(&mut events) => event,
            };
            match event {
                Ok(event) if event.mask.contains(EventMask::Q_OVERFLOW) => {
                    limited!(
                        self.lost.allow(now()),
                        warn,
                        "the kernel lost events of the channel directory: scanning it"
                    );
                    self.scan(&directory).await?;
                }
                Ok(event) if event.mask.intersects(DIRECTORY_GONE) => return Ok(()),
                Ok(event) => self.look(&directory, &event).await?,
                Err(error) => {
                    limited!(
                        self.troubles.allow(now()), warn, %error,
                        "cannot read events of the channel directory: starting over"
                    );
                    tokio::time::sleep(PRESENCE_PERIOD).await;
                    return Ok(());
                }
            }
        }
    }

    /// Looks at the name that an event is about.
    async fn look(
        &self,
        directory: &Directory,
        event: &Event<std::ffi::OsString>,
    ) -> Result<(), Gone> {
        let Some(name) = event.name.as_deref().and_then(ChannelName::parse) else { return Ok(()) };
        let inode = directory.socket(name);
        let modified = event.mask.contains(EventMask::MODIFY);
        self.tell(Sighting::Channel { name, inode, modified }).await
    }

    async fn scan(&mut self, directory: &Directory) -> Result<(), Gone> {
        match directory.list().await {
            Ok(channels) => self.tell(Sighting::Listing(channels)).await,
            Err(error) => {
                limited!(
                    self.troubles.allow(now()), warn, path = %self.path.display(), %error,
                    "cannot read the channel directory"
                );
                Ok(())
            }
        }
    }

    async fn tell(&self, sighting: Sighting) -> Result<(), Gone> {
        self.sightings.send(sighting).await.map_err(|_| Gone)
    }
}

/// For the log's rates, which know the clock of the operating system only.
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

/// The directory itself is no longer where it was, or no longer watched.
const DIRECTORY_GONE: EventMask = EventMask::DELETE_SELF
    .union(EventMask::MOVE_SELF)
    .union(EventMask::IGNORED)
    .union(EventMask::UNMOUNT);

fn event_stream(directory: &Directory) -> io::Result<EventStream<[u8; EVENT_BUFFER]>> {
    let inotify = Inotify::init()?;
    let mask = WatchMask::CREATE
        | WatchMask::DELETE
        | WatchMask::MODIFY
        | WatchMask::MOVED_FROM
        | WatchMask::MOVED_TO
        | WatchMask::DELETE_SELF
        | WatchMask::MOVE_SELF;
    inotify.watches().add(directory.through_descriptor(), mask)?;
    inotify.into_event_stream([0; EVENT_BUFFER])
}

/// The next event; never, where there is no watch.
async fn next(
    events: &mut Option<EventStream<[u8; EVENT_BUFFER]>>,
) -> Option<io::Result<Event<std::ffi::OsString>>> {
    match events {
        Some(events) => events.next().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
