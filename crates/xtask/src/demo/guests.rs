//! The story with three stand-ins for guests: nothing to install, over in a few seconds.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use heartbeat_proto::InstanceId;
use lab::guest::{Behaviour, Guest, Voting};

use super::stage::Stage;
use super::timeline::Voice;

const WHY: &str = "database is being backed up";

const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn story(binary: &Path) -> Result<()> {
    let stage = Stage::set(binary, "Three guests: one dies and comes back, one votes").await?;
    let names = ["web", "database", "batch"];
    let ids = [0xa1, 0xa2, 0xa3].map(InstanceId::from_u128);
    let [web, database, batch] = ids;
    let mut guests = Vec::new();
    for (name, id) in names.into_iter().zip(ids) {
        let voting = Voting::Reject(WHY.into());
        let behaviour = Behaviour::voting(voting).named(name).every(Duration::from_secs(1));
        guests.push(Guest::start(&stage.channels(), id, behaviour)?);
        stage.tell(Voice::Hand, name, "starts; its channel appears in the directory");
        stage.logged(id, "channel connected").await?;
        stage.tell(Voice::Good, name, "connected");
    }
    for (name, id) in names.into_iter().zip(ids) {
        stage.heartbeating(name, id, PATIENCE, "heartbeating: RUNNING sent").await?;
    }
    stage.enable_reporting(&[web, database, batch])?;
    tokio::time::sleep(Duration::from_millis(1500)).await;

    guests[2].freeze().await?;
    stage.tell(Voice::Hand, "batch", "its program is frozen: it answers no more");
    stage.loss("batch", batch).await?;
    guests[2].thaw().await?;
    guests[2].restart().await?;
    stage.tell(Voice::Hand, "batch", "its program is started anew");
    stage.heartbeating("batch", batch, PATIENCE, "heartbeating again: RUNNING sent").await?;

    stage.rejected("database", database, WHY).await?;
    stage.end().await
}
