//! Guests that fall silent, each in another way. The channel stays connected through all of it: what the host sees
//! is that no answer comes.

use anyhow::{Result, ensure};
use end_to_end::machines::{Host, INSTANCE, THRESHOLD, on_host};

/// Longer than usual, where a single challenge without an answer stops the guest: it must be what the test does to
/// the guest, not a turn of its processor that came late.
const LONG_INTERVAL_MS: u32 = 3000;

#[tokio::test]
async fn a_frozen_program_is_lost_and_runs_again_when_it_is_thawed() -> Result<()> {
    on_host(async |host| {
        let vm = host.heartbeating_machine().await?;
        vm.control("freeze").await?;
        host.expect(&["STOPPED", "LOSS"]).await?;
        vm.control("thaw").await?;
        host.expect(&["RUNNING"]).await?;
        same_connection(host).await?;
        late_answers(host).await
    })
    .await
}

#[tokio::test]
async fn a_program_that_crashed_is_lost_and_runs_again_when_it_is_started() -> Result<()> {
    on_host(async |host| {
        let vm = host.heartbeating_machine().await?;
        vm.control("kill").await?;
        host.expect(&["STOPPED", "LOSS"]).await?;
        vm.control("start").await?;
        host.expect(&["RUNNING"]).await?;
        same_connection(host).await
    })
    .await
}

#[tokio::test]
async fn a_program_restarted_in_the_middle_of_a_line_goes_on_heartbeating() -> Result<()> {
    const TIMES: u64 = 3;
    on_host(async |host| {
        let vm = host.heartbeating_machine().await?;
        for _ in 0..TIMES {
            vm.control("restart-mid-line").await?;
            // It never was silent for long: the new program's `init` is taken as it comes.
            host.expect(&["RUNNING"]).await?;
        }
        same_connection(host).await?;
        let counted = host.counted().await?;
        // Each half line is one, whether the next program's first newline ends it or its death does.
        ensure!(counted.of("malformed_messages")? == TIMES, "{counted:?}");
        ensure!(counted.of("inits")? == 1 + TIMES, "{counted:?}");
        // No storm follows: the guest is neither told off for it time and again, nor does it start over.
        let meanwhile = host.until_counted_anew("heartbeats", 3).await?;
        meanwhile.ensure_none(&["malformed_messages", "inits", "misses", "wrong_numbers"])
    })
    .await
}

#[tokio::test]
async fn a_guest_whose_kernel_panicked_is_lost_and_runs_again_after_a_reset() -> Result<()> {
    on_host(async |host| {
        let vm = host.heartbeating_machine().await?;
        vm.control("panic").await?;
        host.expect(&["STOPPED", "LOSS"]).await?;
        ensure!(vm.serial_log().contains("Kernel panic"), "the kernel did not panic");
        vm.qmp("system_reset").await?;
        host.expect(&["RUNNING"]).await?;
        same_connection(host).await
    })
    .await
}

#[tokio::test]
async fn a_rebooted_guest_runs_again() -> Result<()> {
    on_host(async |host| {
        let vm = host.heartbeating_machine().await?;
        vm.control("reboot").await?;
        let mut before = Vec::new();
        loop {
            let event = host.next_event().await?;
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
        let vm = host.heartbeating_machine().await?;
        vm.qmp("stop").await?;
        host.expect(&["STOPPED", "LOSS"]).await?;
        vm.qmp("cont").await?;
        host.expect(&["RUNNING"]).await?;
        same_connection(host).await?;
        late_answers(host).await
    })
    .await
}

#[tokio::test]
async fn a_machine_stopped_by_a_signal_is_lost_and_runs_again_when_it_is_continued() -> Result<()> {
    on_host(async |host| {
        let vm = host.heartbeating_machine().await?;
        vm.sigstop()?;
        host.expect(&["STOPPED", "LOSS"]).await?;
        vm.sigcont()?;
        host.expect(&["RUNNING"]).await?;
        same_connection(host).await?;
        late_answers(host).await
    })
    .await
}

#[tokio::test]
async fn a_frozen_program_is_stopped_but_not_lost_while_reporting_is_disabled() -> Result<()> {
    on_host(async |host| {
        host.start_server().await?;
        host.controller().add_instance(INSTANCE, false)?;
        let vm = host.boot(INSTANCE, LONG_INTERVAL_MS).await?;
        host.expect(&["RUNNING"]).await?;
        vm.control("freeze").await?;
        host.expect(&["STOPPED"]).await?;
        // Nothing came between, and nothing was counted that could still be on its way.
        vm.control("thaw").await?;
        host.expect(&["RUNNING"]).await?;
        let counted = host.counted().await?;
        counted.ensure_none(&["misses", "losses"])?;
        // The same guest is lost once that is to be reported.
        host.controller().mod_instance(INSTANCE, true)?;
        vm.control("freeze").await?;
        host.expect(&["STOPPED", "LOSS"]).await
    })
    .await
}

/// The guest was silent, but nobody closed the channel.
async fn same_connection(host: &Host) -> Result<()> {
    let counted = host.counted().await?;
    ensure!(counted.of("connections")? == 1, "{counted:?}");
    Ok(())
}

/// The challenges that had waited were answered in the end, and counted for nothing.
async fn late_answers(host: &Host) -> Result<()> {
    let counted = host.counted().await?;
    let waited = 1 + THRESHOLD;
    ensure!(counted.of("late_responses")? >= waited, "{counted:?}");
    ensure!(counted.of("losses")? == 1, "{counted:?}");
    Ok(())
}
