//! The story with three stand-ins for guests: nothing to install, over in a few seconds.

use std::time::{Duration, Instant};

use anyhow::Result;
use heartbeat_proto::InstanceId;
use lab::guest::{Behaviour, Guest, Voting};

use super::Binaries;
use super::stage::{PATIENCE, Stage};
use super::timeline::Voice;

const WHY: &str = "database is being backed up";

/// How long the VIM is away.
const AWAY: Duration = Duration::from_secs(3);

pub(super) async fn story(binaries: &Binaries) -> Result<()> {
    let stage = Stage::set(binaries, "Three guests: two die, one comes back, one votes").await?;
    let names = ["web", "database", "batch"];
    let [web, database, batch] = [0xa1, 0xa2, 0xa3].map(InstanceId::from_u128);
    let cast = [(names[0], web), (names[1], database), (names[2], batch)];
    stage.create(&cast).await?;
    let mut guests = Vec::new();
    for (name, id) in cast {
        let voting = Voting::Reject(WHY.into());
        let behaviour = Behaviour::voting(voting).named(name).every(Duration::from_secs(1));
        guests.push(Guest::start(&stage.channels(), id, behaviour)?);
        stage.logged(id, "channel connected").await?;
        stage.tell(Voice::Good, name, "starts; its channel appears and is connected");
    }
    for (name, id) in cast {
        stage.heartbeating(name, id, PATIENCE, "heartbeating").await?;
    }
    tokio::time::sleep(Duration::from_millis(1200)).await;

    guests[2].freeze().await?;
    let frozen = Instant::now();
    stage.tell(Voice::Hand, "batch", "its program is frozen: it answers no more");
    stage.misses("batch", batch).await?;
    stage.alarm("batch", batch, frozen).await?;
    guests[2].thaw().await?;
    guests[2].restart().await?;
    stage.tell(Voice::Hand, "batch", "its program is started anew");
    stage.heartbeating("batch", batch, PATIENCE, "heartbeating again").await?;

    stage.rejected("database", database, WHY).await?;

    stage.vim.leave();
    let left = Instant::now();
    stage.tell(Voice::Hand, "VIM", "goes away");
    guests[0].freeze().await?;
    let frozen = Instant::now();
    stage.tell(Voice::Hand, "web", "its program is frozen: it answers no more");
    stage.misses("web", web).await?;
    tokio::time::sleep(AWAY.saturating_sub(left.elapsed())).await;
    stage.vim.come_back();
    stage.tell(Voice::Hand, "VIM", "is back; guestAgent has kept what it has to know");
    stage.alarm("web", web, frozen).await?;
    stage.end(2).await
}
