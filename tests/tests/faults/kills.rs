//! Either daemon is killed again and again while everything is on its way.

use std::time::Duration;

use anyhow::{Result, ensure};
use end_to_end::agent::{find, is_state};
use end_to_end::host::all_beat;
use lab::wait::until_ok;
use tokio::time::sleep;

use crate::apart::apart;
use crate::rig::Rig;

const KILLS: u64 = 200;

const GUESTS: usize = 8;

/// The longest time between a start and the next kill.
const LIFE: u64 = 300;

/// What both daemons and the VIM believe, once all agree with what is so.
async fn agree(rig: &Rig, dead: &[usize]) -> Result<()> {
    let look = async || {
        let (agent, server) = (rig.site.agent.status().await?, rig.server.daemon.status().await?);
        for n in 0..GUESTS {
            let alive = !dead.contains(&n);
            for (who, status) in [("guestAgent", &agent), ("guestServer", &server)] {
                let one = find(status, Rig::id(n));
                let fine =
                    one.is_some_and(|one| one["reporting"] == true && one["heartbeating"] == alive);
                ensure!(fine, "{who} has {one:?}");
            }
            let told = rig.site.told_of(Rig::id(n));
            let last = told.iter().rfind(|one| one.event_type() == "service");
            ensure!(last.is_some_and(|last| is_state(last, alive)), "the VIM has {last:?}");
        }
        Ok(())
    };
    // Two audits, and a guest's patience.
    until_ok("all agree", Duration::from_secs(40), look).await
}

#[test]
fn they_are_killed_200_times() -> Result<()> {
    apart(async || {
        let mut rig = Rig::start(GUESTS as u128).await?;
        // Written down here so that a failure can be had again; what the machine adds cannot.
        let mut dice = 20_261_125_u64;
        let mut roll = move |sides: u64| {
            dice = dice
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (dice >> 33) % sides
        };
        for _ in 0..KILLS {
            let guest = Rig::id(usize::try_from(roll(GUESTS as u64))?);
            // Whether it is known at this moment, and what becomes of the vote, is not the question.
            drop(rig.site.commander.vote(guest, &rig.place.name, "stop").await);
            sleep(Duration::from_millis(roll(LIFE))).await;
            if roll(2) == 0 {
                rig.server = rig.server.restart(async || Ok(())).await?;
            } else {
                rig.site = rig.site.restart_agent(async || Ok(())).await?;
            }
        }
        agree(&rig, &[]).await?;
        all_beat(&rig.guests, 3).await?;
        rig.no_alarms(&[])?;
        rig.a_death_is_told(0).await?;
        agree(&rig, &[0]).await?;
        rig.well(&[0]).await
    })
}
