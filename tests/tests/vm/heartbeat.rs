//! Real guests that are well.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use end_to_end::host::Host;
use end_to_end::id;
use end_to_end::machines::{
    INSTANCE, INTERVAL_MS, NAME, alone_on_host, boot, heartbeats, next_event, on_host,
};
use heartbeat_proto::client::Settings;
use heartbeat_proto::control::{InstanceInfo, ServerEvent};
use heartbeat_proto::guest::CorrectiveAction;

/// Whatever is not as it should be between a guest that is well and a host that is.
const TROUBLE: [&str; 12] = [
    "misses",
    "losses",
    "wrong_numbers",
    "late_responses",
    "challenges_skipped",
    "messages_skipped",
    "malformed_messages",
    "long_messages",
    "fragments",
    "inits",
    "connections",
    "connection_failures",
];

#[tokio::test]
async fn a_real_guest_heartbeats_for_ten_seconds_without_a_miss() -> Result<()> {
    on_host(async |host| {
        host.controller.add_instance(INSTANCE, true)?;
        let _vm = boot(host, INSTANCE, INTERVAL_MS).await?;
        let event = next_event(host).await?;
        let needed = Settings::default();
        let info = InstanceInfo {
            reporting: true,
            heartbeating: true,
            repair_action: CorrectiveAction::Reboot,
            restart_secs: needed.restart_secs + 1,
            shutdown_secs: needed.shutdown_notice_secs + 1,
            suspend_secs: needed.suspend_notice_secs + 1,
            resume_secs: needed.resume_notice_secs + 1,
            vote_secs: needed.vote_secs + 1,
        };
        ensure!(event == ServerEvent::Running(INSTANCE, info), "{event:?}");
        heartbeats_without_trouble(host, 1, 10).await
    })
    .await
}

#[tokio::test]
async fn eight_real_guests_at_once_heartbeat_for_twenty_seconds_without_a_miss() -> Result<()> {
    alone_on_host(async |host| {
        let instances: Vec<_> = (1..=8).map(id).collect();
        let mut machines = Vec::new();
        for &instance in &instances {
            host.controller.add_instance(instance, true)?;
            machines.push(boot(host, instance, INTERVAL_MS).await?);
        }
        // Some run while others still come up and take all there is: what a guest misses then, the computer misses.
        // The threshold forgives it, and it is over when the last one has come up.
        let mut up = HashSet::new();
        while up.len() < instances.len() {
            let ServerEvent::Running(instance, _) = next_event(host).await? else {
                bail!("a guest was lost while others came up");
            };
            up.insert(instance);
        }
        for machine in &machines {
            machine.wait_ready().await?;
        }
        heartbeats_without_trouble(host, 8, 20).await
    })
    .await
}

/// So many guests answer so many challenges each, and nothing else happens.
async fn heartbeats_without_trouble(host: &Host, guests: u64, each: u64) -> Result<()> {
    let begin = Instant::now();
    let interval = Duration::from_millis(INTERVAL_MS.into());
    let meanwhile = heartbeats(host, guests * each).await?;
    meanwhile.ensure_none(&TROUBLE)?;
    // No more challenges than answers, but for those on their way at the beginning and the end.
    let (asked, answered) = (meanwhile.of("challenges")?, meanwhile.of("heartbeats")?);
    ensure!(asked.abs_diff(answered) <= guests, "{asked} challenges, {answered} answers");
    // The time is only a lower bound: it says that they were not asked faster than they wanted. The first answer
    // comes at once; each challenge may make up for a late one before it.
    let least = interval * u32::try_from(each)? - 2 * interval;
    ensure!(begin.elapsed() > least, "{answered} answers within {:?}", begin.elapsed());
    let later: Vec<_> = host.controller.drain();
    ensure!(later.is_empty(), "something was reported: {later:?}");
    let shown = host.instances().await?;
    ensure!(shown.len() as u64 == guests, "{shown:?}");
    for instance in shown {
        let well = instance["heartbeating"] == true && instance["misses"] == 0;
        ensure!(well && instance["name"] == NAME, "{instance}");
    }
    Ok(())
}
