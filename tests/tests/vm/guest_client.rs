//! guestClient in its machine: the scripts that it asks, and time that stands still or jumps.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use end_to_end::SOON;
use end_to_end::host::Host;
use end_to_end::machines::{
    INSTANCE, alone_on_host, counted, expect, heartbeats, next_event, on_host, running,
};
use heartbeat_proto::client::Settings;
use heartbeat_proto::control::{ServerEvent, VoteNotify};
use heartbeat_proto::guest::{CorrectiveAction, EventType, NotificationType, VoteResult};
use lab::wait;
use tokio::time::{sleep, timeout};

/// How long the machine stands still: longer than any time of either side.
const PAUSE: Duration = Duration::from_secs(30);

/// How soon it has to heartbeat again after that. Five seconds are guestClient's patience: it does not know that it
/// stood still, and waits for challenges first.
const BACK_WITHIN: Duration = Duration::from_secs(10);

#[tokio::test]
async fn what_the_health_script_finds_is_reported_until_it_finds_nothing() -> Result<()> {
    on_host(async |host| {
        let vm = running(host).await?;
        for text in ["the disk is full", "the \"other\" disk is full"] {
            vm.control(&format!("unhealthy {text}")).await?;
            ill_health(host).await?;
            // The controller is told of the action, the log of the reason.
            let reason = text.replace('"', "\\\"");
            let said = |line: &str| line.contains(&reason);
            host.daemon.wait_log("the reason", SOON, said).await?;
            vm.control("healthy").await?;
            // An answer or two may be on their way; then the heartbeat goes on, and nothing is said about it any more.
            let quiet = async || {
                let _ = host.controller.drain();
                let meanwhile = heartbeats(host, 3).await?;
                meanwhile.ensure_none(&["unhealthy_responses", "misses", "losses"])?;
                ensure!(host.controller.drain().is_empty(), "still reported");
                Ok(())
            };
            wait::until_ok("the guest is well again", 3 * SOON, quiet).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_the_event_script_says_is_the_guests_vote() -> Result<()> {
    on_host(async |host| {
        let vm = running(host).await?;
        host.controller.vote(INSTANCE, EventType::Reboot)?;
        voted(host, NotificationType::Revocable, EventType::Reboot, VoteResult::Accept, "").await?;
        vm.control("vote reject a \"backup\" runs").await?;
        host.controller.vote(INSTANCE, EventType::Stop)?;
        let reason = "a \"backup\" runs";
        voted(host, NotificationType::Revocable, EventType::Stop, VoteResult::Reject, reason)
            .await?;
        // Nobody can reject what is only announced.
        host.controller.notify(INSTANCE, EventType::Stop)?;
        voted(host, NotificationType::Irrevocable, EventType::Stop, VoteResult::Complete, "")
            .await?;
        vm.control("vote accept").await?;
        host.controller.vote(INSTANCE, EventType::Stop)?;
        voted(host, NotificationType::Revocable, EventType::Stop, VoteResult::Accept, "").await?;
        let counted = counted(host).await?;
        ensure!(counted.of("votes_answered")? == 4, "{counted}");
        counted.ensure_none(&["votes_unanswered", "votes_unexpected"])
    })
    .await
}

/// Alone: the guest has one second less than the host, and has to be heard within it.
#[tokio::test]
async fn an_event_script_that_does_not_end_is_a_vote_of_timeout() -> Result<()> {
    alone_on_host(async |host| {
        let vm = running(host).await?;
        vm.control("vote never").await?;
        host.controller.vote(INSTANCE, EventType::Stop)?;
        let reason = format!("no answer within {} ms", 1000 * Settings::default().vote_secs);
        voted(host, NotificationType::Revocable, EventType::Stop, VoteResult::Timeout, &reason)
            .await?;
        let before = counted(host).await?;
        ensure!(before.of("votes_answered")? == 1, "{before}");
        before.ensure_none(&["votes_unanswered", "votes_unexpected", "misses"])?;
        // That script is gone, and the next one is asked.
        vm.control("vote reject too busy").await?;
        host.controller.vote(INSTANCE, EventType::Stop)?;
        voted(host, NotificationType::Revocable, EventType::Stop, VoteResult::Reject, "too busy")
            .await
    })
    .await
}

#[tokio::test]
async fn a_machine_that_stood_still_for_long_runs_again_soon() -> Result<()> {
    alone_on_host(async |host| {
        let vm = running(host).await?;
        vm.qmp("stop").await?;
        let stopped = Instant::now();
        expect(host, &["STOPPED", "LOSS"]).await?;
        // This is not waiting for something: it is the time that the machine loses.
        sleep(PAUSE.saturating_sub(stopped.elapsed())).await;
        vm.qmp("cont").await?;
        let Ok(running) = timeout(BACK_WITHIN, expect(host, &["RUNNING"])).await else {
            bail!("not running {BACK_WITHIN:?} after the machine was continued");
        };
        running?;
        host.counted("connections", 1).await?;
        heartbeats(host, 3).await?.ensure_none(&["misses", "losses", "inits"])
    })
    .await
}

#[tokio::test]
async fn a_wall_clock_that_jumps_is_nothing_to_the_heartbeat() -> Result<()> {
    alone_on_host(async |host| {
        let vm = running(host).await?;
        heartbeats(host, 10).await?;
        let before = counted(host).await?;
        for jump in ["clock +3600", "clock -3600"] {
            vm.control(jump).await?;
            heartbeats(host, 10).await?;
            let after = counted(host).await?;
            for counter in ["misses", "losses", "inits", "late_responses", "wrong_numbers"] {
                ensure!(after.of(counter)? == before.of(counter)?, "{jump}: {before}, {after}");
            }
        }
        // The health script has its turn as before, too.
        vm.control("unhealthy the clock is mad").await?;
        ill_health(host).await
    })
    .await
}

/// Waits for ILLHEALTH, and nothing before it, with the action of the guest's configuration.
async fn ill_health(host: &Host) -> Result<()> {
    let event = next_event(host).await?;
    let ServerEvent::IllHealth(INSTANCE, info) = event else { bail!("{event:?}") };
    ensure!(info.repair_action == CorrectiveAction::Reboot && info.heartbeating, "{info:?}");
    Ok(())
}

/// Waits for the end of a vote or notification, which has to be this.
async fn voted(
    host: &Host,
    notification_type: NotificationType,
    event_type: EventType,
    vote: VoteResult,
    reason: &str,
) -> Result<()> {
    let expected = VoteNotify { notification_type, event_type, vote, reason: reason.into() };
    let event = next_event(host).await?;
    ensure!(event == ServerEvent::VoteNotify(INSTANCE, expected), "{event:?}");
    Ok(())
}
