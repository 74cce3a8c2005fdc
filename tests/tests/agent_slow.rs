//! What takes its time because the daemon's own times are long. Side by side, they take as long as the longest.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use end_to_end::agent::{Site, golden_ready, is_alarm};
use end_to_end::{SOON, id};
use heartbeat_proto::control::ServerEvent;
use lab::vim::Mood;
use lab::wait::until_ok;

/// Longer than the 20 s after which a question is given up.
const HANG: Duration = Duration::from_secs(25);

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

/// A VIM that hangs has the event in its hands and reads it when it goes on: to tell it again meanwhile would double it.
#[tokio::test]
async fn a_vim_that_hangs_for_long_is_told_everything_once_when_it_goes_on() -> Result<()> {
    let site = Site::start().await?;
    let place = site.host(1, true).await?;
    let server = site.server(&place).await?;
    for number in 1..=3 {
        site.commander.switch_instance(id(number), &place.name, true).await?;
    }
    site.vim.set_mood(Mood::Hanging);
    let since = Instant::now();
    for number in 1..=3 {
        server.send(&ServerEvent::Loss(id(number))).await?;
    }
    let hangs = async || {
        let age = since.elapsed();
        site.commander.get_instance(id(1)).await?;
        ensure!(age > HANG, "it has hung for {age:?}");
        Ok(())
    };
    until_ok("the VIM has hung for long", 2 * HANG, hangs).await?;
    let waiting = site.agent.status().await?;
    ensure!(waiting["outbox"]["events"] == 3, "{waiting}");
    ensure!(waiting["outbox"]["oldest_secs"].as_f64() > Some(20.0), "{waiting}");
    site.vim.set_mood(Mood::Normal);
    let status = site.all_told().await?;
    ensure!(status["metrics"]["events_delivered"] == 3, "{status}");
    ensure!(status["metrics"]["events_retried"] == 0, "{status}");
    let alarms: Vec<_> = site.vim.requests();
    let alarms = alarms.iter().filter(|request| is_alarm(request, "failed"));
    let told: Vec<_> = alarms.map(|alarm| alarm.instance().to_owned()).collect();
    ensure!(told == [1, 2, 3].map(|number| id(number).to_string()), "{told:?}");
    Ok(())
}
