//! Guests that fall silent, each in another way. The channel stays connected through all of it: what the host sees
//! is that no answer comes.

use anyhow::{Result, ensure};
use end_to_end::host::Host;
use end_to_end::machines::{
    INSTANCE, LONG_INTERVAL_MS, boot, counted, expect, heartbeats, next_event, on_host, running,
};

#[tokio::test]
async fn a_frozen_program_is_lost_and_runs_again_when_it_is_thawed() -> Result<()> {
    on_host(async |host| {
        let vm = running(host).await?;
        vm.control("freeze").await?;
        expect(host, &["STOPPED", "LOSS"]).await?;
        vm.control("thaw").await?;
        expect(host, &["RUNNING"]).await?;
        same_connection(host).await?;
        late_answers(host).await
    })
    .await
}

#[tokio::test]
async fn a_program_that_crashed_is_lost_and_runs_again_when_it_is_started() -> Result<()> {
    on_host(async |host| {
        let vm = running(host).await?;
        vm.control("kill").await?;
        expect(host, &["STOPPED", "LOSS"]).await?;
        vm.control("start").await?;
        expect(host, &["RUNNING"]).await?;
        same_connection(host).await
    })
    .await
}

#[tokio::test]
async fn a_program_restarted_in_the_middle_of_a_line_goes_on_heartbeating() -> Result<()> {
    const TIMES: u64 = 3;
    on_host(async |host| {
        let vm = running(host).await?;
        for _ in 0..TIMES {
            vm.control("restart-mid-line").await?;
            // It never was silent for long: the new program's `init` is taken as it comes.
            expect(host, &["RUNNING"]).await?;
        }
        same_connection(host).await?;
        let counted = counted(host).await?;
        // Each half line is one: the next program's first newline ends it.
        ensure!(counted.of("malformed_messages")? == TIMES, "{counted}");
        ensure!(counted.of("inits")? == 1 + TIMES, "{counted}");
        // No storm follows: the guest is neither told off for it time and again, nor does it start over.
        let meanwhile = heartbeats(host, 3).await?;
        meanwhile.ensure_none(&["malformed_messages", "inits", "misses", "wrong_numbers"])
    })
    .await
}

#[tokio::test]
async fn a_guest_whose_kernel_panicked_is_lost_and_runs_again_after_a_reset() -> Result<()> {
    on_host(async |host| {
        let vm = running(host).await?;
        vm.control("panic").await?;
        expect(host, &["STOPPED", "LOSS"]).await?;
        ensure!(vm.serial_log().contains("Kernel panic"), "the kernel did not panic");
        vm.qmp("system_reset").await?;
        expect(host, &["RUNNING"]).await?;
        same_connection(host).await
    })
    .await
}

#[tokio::test]
async fn a_rebooted_guest_runs_again() -> Result<()> {
    on_host(async |host| {
        let vm = running(host).await?;
        vm.control("reboot").await?;
        let mut before = Vec::new();
        loop {
            let event = next_event(host).await?;
            if event.name() == "RUNNING" {
                break;
            }
            before.push(event.name());
        }
        // Silence, or, on a fast computer, a new `init` before that was noticed.
        ensure!(before.is_empty() || before == ["STOPPED", "LOSS"], "{before:?}");
        vm.wait_ready().await?;
        same_connection(host).await
    })
    .await
}

#[tokio::test]
async fn a_machine_paused_by_its_monitor_is_lost_and_runs_again_when_it_is_continued() -> Result<()>
{
    on_host(async |host| {
        let vm = running(host).await?;
        vm.qmp("stop").await?;
        expect(host, &["STOPPED", "LOSS"]).await?;
        vm.qmp("cont").await?;
        expect(host, &["RUNNING"]).await?;
        same_connection(host).await?;
        late_answers(host).await
    })
    .await
}

#[tokio::test]
async fn a_machine_stopped_by_a_signal_is_lost_and_runs_again_when_it_is_continued() -> Result<()> {
    on_host(async |host| {
        let vm = running(host).await?;
        vm.sigstop()?;
        expect(host, &["STOPPED", "LOSS"]).await?;
        vm.sigcont()?;
        expect(host, &["RUNNING"]).await?;
        same_connection(host).await?;
        late_answers(host).await
    })
    .await
}

#[tokio::test]
async fn a_frozen_program_is_stopped_but_not_lost_while_reporting_is_disabled() -> Result<()> {
    on_host(async |host| {
        host.controller.add_instance(INSTANCE, false)?;
        let vm = boot(host, INSTANCE, LONG_INTERVAL_MS).await?;
        expect(host, &["RUNNING"]).await?;
        vm.control("freeze").await?;
        expect(host, &["STOPPED"]).await?;
        // Nothing came between, and nothing was counted that could still be on its way.
        vm.control("thaw").await?;
        expect(host, &["RUNNING"]).await?;
        counted(host).await?.ensure_none(&["misses", "losses"])?;
        // The same guest is lost once that is to be reported.
        host.controller.mod_instance(INSTANCE, true)?;
        vm.control("freeze").await?;
        expect(host, &["STOPPED", "LOSS"]).await
    })
    .await
}

/// The guest was silent, but nobody closed the channel.
async fn same_connection(host: &Host) -> Result<()> {
    host.counted("connections", 1).await
}

/// Challenges that had waited were answered in the end, if only the newest of those that came at once, and that counted
/// for nothing.
async fn late_answers(host: &Host) -> Result<()> {
    let counted = counted(host).await?;
    ensure!(counted.of("late_responses")? >= 1, "{counted}");
    ensure!(counted.of("losses")? == 1, "{counted}");
    Ok(())
}
