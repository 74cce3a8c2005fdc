//! Whose faults are reported: the switches of the host and of the instance.

use std::time::Duration;

use anyhow::Result;
use end_to_end::SOON;
use end_to_end::host::{Host, beats};
use end_to_end::id;
use lab::guest::{Behaviour, Guest};

const INTERVAL: Duration = Duration::from_millis(500);

fn normal() -> Behaviour {
    Behaviour::normal().every(INTERVAL)
}

/// Freezes a guest whose faults are reported and waits until it is lost: the other frozen ones have had as long.
async fn time_for_a_loss(host: &Host, witness: &Guest) -> Result<()> {
    witness.freeze().await?;
    host.event("LOSS", witness.instance()).await?;
    Ok(())
}

#[tokio::test]
async fn an_instance_whose_faults_are_not_reported_is_stopped_and_not_lost() -> Result<()> {
    let host = Host::start().await?;
    let unnamed = host.guest(id(1), normal())?;
    host.event("RUNNING", id(1)).await?;
    let disabled = host.running(id(2), normal(), false).await?;
    let witness = host.running(id(3), normal(), true).await?;
    unnamed.freeze().await?;
    disabled.freeze().await?;
    time_for_a_loss(&host, &witness).await?;
    for n in [1, 2] {
        host.has_told(id(n), &["RUNNING", "STOPPED"]).await?;
    }
    assert_eq!(host.metric("losses").await?, 1);
    host.daemon.wait_log("the line", SOON, |line| line.contains("heartbeat lost")).await?;
    let log = host.daemon.stderr();
    let missed: Vec<_> = log.lines().filter(|line| line.contains("heartbeat missed")).collect();
    let of_witness = |line: &&str| line.contains(&id(3).to_string());
    assert!(!missed.is_empty() && missed.iter().all(of_witness), "{missed:?}");
    Ok(())
}

#[tokio::test]
async fn switching_an_instance_off_stops_it_and_switching_it_on_does_not_bring_it_back()
-> Result<()> {
    let host = Host::start().await?;
    let guest = host.running(id(1), normal(), true).await?;
    host.controller.mod_instance(id(1), false)?;
    let stopped = host.event("STOPPED", id(1)).await?;
    assert!(stopped.text().contains(r#""reporting":"disabled","heartbeating":"disabled""#));
    let off = host.instance("it waits", id(1), |one| one["state"] == "waiting_init").await?;
    assert_eq!(off["reporting"], false);
    host.controller.mod_instance(id(1), true)?;
    let answer = host.query(id(1)).await?;
    assert!(answer.text().contains(r#""reporting":"enabled","heartbeating":"disabled""#));
    assert_eq!(host.told(id(1)), ["RUNNING", "STOPPED", "QRY_INST"]);
    guest.restart().await?;
    let running = host.event("RUNNING", id(1)).await?;
    assert!(running.text().contains(r#""reporting":"enabled","heartbeating":"enabled""#));
    // The same again changes nothing.
    host.controller.mod_instance(id(1), true)?;
    host.query(id(1)).await?;
    beats(&guest, 1).await?;
    assert_eq!(host.told(id(1)), ["RUNNING", "STOPPED", "QRY_INST", "RUNNING", "QRY_INST"]);
    Ok(())
}

#[tokio::test]
async fn switching_the_host_off_stops_what_is_reported_and_nothing_is_lost() -> Result<()> {
    let host = Host::start().await?;
    let _reported = host.running(id(1), normal(), true).await?;
    let unreported = host.running(id(2), normal(), false).await?;
    host.set_host_reporting(false).await?;
    let stopped = host.event("STOPPED", id(1)).await?;
    // The instance's own switch is still on.
    assert!(stopped.text().contains(r#""reporting":"enabled""#), "{}", stopped.text());
    beats(&unreported, 1).await?;
    assert_eq!(host.told(id(2)), ["RUNNING"], "nothing has changed for this one");

    let frozen = host.running(id(3), normal(), true).await?;
    frozen.freeze().await?;
    host.event("STOPPED", id(3)).await?;
    host.set_host_reporting(true).await?;
    let witness = host.running(id(4), normal(), true).await?;
    time_for_a_loss(&host, &witness).await?;
    assert_eq!(host.told(id(3)), ["RUNNING", "STOPPED"]);
    Ok(())
}

#[tokio::test]
async fn a_new_instance_takes_the_switch_of_the_host() -> Result<()> {
    let host = Host::start().await?;
    host.set_host_reporting(false).await?;
    let guest = host.running(id(1), normal(), true).await?;
    guest.freeze().await?;
    host.event("STOPPED", id(1)).await?;
    assert_eq!(host.metric("misses").await?, 0, "not reported, not counted");
    assert_eq!(host.metric("losses").await?, 0);
    Ok(())
}
