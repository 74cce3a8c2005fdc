//! What takes its time because the daemon's own times are long. Side by side, they take as long as the longest.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use end_to_end::agent::{Site, golden_ready, is_alarm};
use end_to_end::{SOON, id};
use heartbeat_proto::control::ServerEvent;
use lab::vim::Mood;
use lab::wait::until_ok;

/// Every 30 s.
#[tokio::test]
async fn the_maintenance_system_is_asked_until_it_tells_of_a_host() -> Result<()> {
    let site = Site::start().await?;
    let again = site.mtc.wait_asked(2 * SOON).await?;
    ensure!(again.bytes == golden_ready()?, "{again}");
    let gap = again.at - site.mtc.asked()[0].at;
    ensure!(gap > Duration::from_secs(25), "asked again after {gap:?}");
    site.host(1, true).await.map(drop)
}

/// A VIM that says nothing for 20 s does not have the event, as far as anybody knows: it is told again, and what comes
/// after it once.
#[tokio::test]
async fn a_vim_that_hangs_for_longer_than_it_is_waited_for_is_told_again() -> Result<()> {
    let site = Site::start().await?;
    let place = site.host(1, true).await?;
    let server = site.server(&place).await?;
    for number in 1..=3 {
        site.commander.switch_instance(id(number), &place.name, true).await?;
    }
    site.vim.set_mood(Mood::Hanging);
    for number in 1..=3 {
        server.send(&ServerEvent::Loss(id(number))).await?;
    }
    let given_up = async || {
        let status = site.agent.status().await?;
        let failure = status["outbox"]["last_failure"].as_str().context("not yet")?;
        ensure!(failure.contains("20s"), "{failure}");
        ensure!(status["outbox"]["events"] == 3, "{status}");
        Ok(())
    };
    until_ok("the attempt is given up", 2 * SOON, given_up).await?;
    site.commander.get_instance(id(1)).await?;
    site.vim.set_mood(Mood::Normal);
    let status = site.all_told().await?;
    ensure!(status["metrics"]["events_delivered"] == 3, "{status}");
    let alarms: Vec<_> = site.vim.requests();
    let alarms: Vec<_> = alarms.iter().filter(|request| is_alarm(request, "failed")).collect();
    let of = |number| alarms.iter().filter(|one| one.instance() == id(number).to_string()).count();
    ensure!(of(1) >= 2 && of(2) == 1 && of(3) == 1, "{alarms:?}");
    ensure!(alarms.last().is_some_and(|last| last.instance() == id(3).to_string()), "{alarms:?}");
    Ok(())
}
