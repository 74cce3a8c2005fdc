//! The story with a real virtual machine: QEMU, a Linux kernel and a program in it.

use std::time::{Duration, Instant};

use anyhow::Result;
use heartbeat_proto::InstanceId;
use lab::vm::{Assets, Vm, VmConfig};

use super::Binaries;
use super::stage::{BOOT, Stage};
use super::timeline::Voice;

const WHY: &str = "a backup is running";

pub(super) async fn story(binaries: &Binaries, assets: &Assets) -> Result<()> {
    let stage = Stage::set(binaries, "A real virtual machine dies and comes back").await?;
    let id = InstanceId::from_u128(0xb1);
    stage.create(&[("machine", id)]).await?;
    let vm = Vm::start(
        assets,
        &VmConfig {
            channel_dir: stage.channels(),
            uuid: id.to_string(),
            name: "machine".into(),
            interval_ms: 1000,
            workdir: stage.dir.path().to_owned(),
        },
    )
    .await?;
    stage.tell(Voice::Hand, "machine", "QEMU starts; its channel appears in the directory");
    stage.logged(id, "channel connected").await?;
    stage.tell(Voice::Good, "machine", "connected; Linux boots");
    stage.heartbeating("machine", id, BOOT, "heartbeating").await?;
    tokio::time::sleep(Duration::from_millis(1200)).await;

    vm.control("freeze").await?;
    let frozen = Instant::now();
    stage.tell(Voice::Hand, "machine", "the program in it is frozen: it answers no more");
    stage.misses("machine", id).await?;
    stage.alarm("machine", id, frozen).await?;
    vm.control("thaw").await?;
    vm.control("restart").await?;
    stage.tell(Voice::Hand, "machine", "the program in it is started anew");
    stage.heartbeating("machine", id, BOOT, "heartbeating again").await?;

    vm.control(&format!("vote reject {WHY}")).await?;
    stage.rejected("machine", id, WHY).await?;
    stage.end(1).await
}
