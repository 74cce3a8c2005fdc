//! Both real daemons with a thousand guests whose faults are reported: whichever is restarted, in whatever way, nobody
//! cries wolf.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use end_to_end::agent::{RealServer, Site, is_alarm};
use end_to_end::host::all_beat;
use end_to_end::id;
use lab::guest::{Behaviour, Guest};
use lab::wait::until_ok;
use serde_json::Value;

const GUESTS: u128 = 1000;

/// Long enough for two cores that others use too, and short enough that a false alarm would come while the test looks.
const INTERVAL: Duration = Duration::from_secs(2);

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn count(status: &Value, wanted: impl Fn(&Value) -> bool) -> usize {
    status["instances"].as_array().into_iter().flatten().filter(|one| wanted(one)).count()
}

fn well(one: &Value) -> bool {
    one["heartbeating"] == true && one["reporting"] == true
}

/// Waits until both daemons know all guests to be heartbeating and their faults to be reported, and every guest has
/// answered two more challenges: longer than a failure needs to be noticed.
async fn all_well(site: &Site, server: &RealServer, guests: &[Guest], when: &str) -> Result<()> {
    let look = async || {
        for (daemon, status) in [
            ("guestServer", server.daemon.status().await?),
            ("guestAgent", site.agent.status().await?),
        ] {
            let well = count(&status, well);
            ensure!(well == guests.len(), "{daemon}: {well} are well");
        }
        Ok(())
    };
    until_ok(&format!("all are well {when}"), PATIENCE, look).await?;
    all_beat(guests, 3).await.with_context(|| when.to_owned())?;
    let server = server.daemon.status().await?;
    ensure!(server["metrics"]["losses"] == 0, "{when}: {}", server["metrics"]);
    ensure!(count(&server, well) == guests.len(), "{when}: some are no longer well");
    let agent = site.agent.status().await?;
    ensure!(agent["metrics"]["alarms"] == 0, "{when}: {}", agent["metrics"]);
    let alarms = site.vim.requests().iter().filter(|one| one.event_type() == "alarm").count();
    ensure!(alarms == 0, "{when}: {alarms} alarms at the VIM");
    Ok(())
}

#[tokio::test]
async fn a_restart_under_a_thousand_guests_is_no_loss_and_no_alarm() -> Result<()> {
    let site = Site::start().await?;
    let place = site.place(1);
    site.vim.set_host(place.id, &place.name, true);
    for number in 1..=GUESTS {
        site.vim.set_instance(place.id, id(number), true);
    }
    site.mtc.add_host(place.id, &place.name, &place.ip.to_string())?;
    site.known(&place, true).await?;
    let mut server = site.real_server(&place).await?;
    let behaviour = || Behaviour::forgetful().every(INTERVAL);
    let guests: Vec<Guest> =
        (1..=GUESTS).map(|number| server.guest(id(number), behaviour())).collect::<Result<_>>()?;
    all_well(&site, &server, &guests, "at the beginning").await?;

    ensure!(server.daemon.stop(PATIENCE).await?.success());
    let server = server.restart(async || Ok(())).await?;
    all_well(&site, &server, &guests, "after guestServer was stopped and started").await?;
    let server = server.restart(async || Ok(())).await?;
    all_well(&site, &server, &guests, "after guestServer was killed and started").await?;

    let mut site = site;
    ensure!(site.agent.stop(PATIENCE).await?.success());
    let site = site.restart_agent(async || Ok(())).await?;
    all_well(&site, &server, &guests, "after guestAgent was stopped and started").await?;
    let site = site.restart_agent(async || Ok(())).await?;
    all_well(&site, &server, &guests, "after guestAgent was killed and started").await?;

    // And one that does die is told.
    guests[499].freeze().await?;
    let dead = id(500).to_string();
    let wanted = |one: &lab::vim::VimRequest| one.instance() == dead && is_alarm(one, "failed");
    site.vim.wait_for("the alarm", PATIENCE, wanted).await?;
    let status = server.daemon.status().await?;
    ensure!(status["metrics"]["losses"] == 1, "{}", status["metrics"]);
    Ok(())
}
