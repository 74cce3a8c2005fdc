//! Commands as a C++ guestAgent sends them, and events byte for byte as a C++ guestServer does.

use std::time::Duration;

use anyhow::{Context, Result};
use end_to_end::golden::{self, event, event_bytes};
use end_to_end::host::{Host, Setup, name_of};
use end_to_end::{SOON, id};
use heartbeat_proto::InstanceId;
use heartbeat_proto::guest::CorrectiveAction;
use lab::controller::Arrival;
use lab::guest::{Behaviour, Health, Voting};
use lab::wait::until;

const INTERVAL: Duration = Duration::from_millis(500);

/// The golden host, whose controller is the golden one.
async fn golden_host() -> Result<Host> {
    Setup::default().controller(golden::CONTROLLER.parse()?).start().await
}

/// Sends a golden command, with reporting switched on where it says `disabled`.
fn send(host: &Host, name: &str, enabled: bool) -> Result<()> {
    let command = golden::command(name)?;
    if !enabled {
        return host.controller.send_raw(&command.bytes);
    }
    let text = command.text.replace("\"disabled\"", "\"enabled\"");
    let code = u32::from_le_bytes(command.bytes[72..76].try_into()?);
    host.controller.send_raw(&golden::command_bytes(code, &text))
}

/// Waits for an event of this name about the golden instance, which has to be this golden one to the last byte.
async fn expect(host: &Host, name: &str, with: &str) -> Result<Arrival> {
    let arrival = host.event(name, golden::instance()?).await?;
    let wanted = event(name, with)?;
    assert_eq!(arrival.text(), wanted.text);
    assert_eq!(arrival.bytes, wanted.bytes, "{name}");
    assert_eq!(arrival.from, host.address().await?, "from the port that commands go to");
    Ok(arrival)
}

/// The life of one instance, told by a C++ guestAgent's commands.
#[tokio::test]
async fn every_event_is_the_golden_one() -> Result<()> {
    let host = golden_host().await?;
    let ready = host.controller.arrivals().into_iter().next().context("MONITOR_READY")?;
    assert_eq!(golden::without_numbering(&ready.bytes), event("MONITOR_READY", "")?.bytes);
    let instance = golden::instance()?;
    send(&host, "ADD_INST", true)?;
    host.instance("it is provisioned", instance, |one| one["reporting"] == true).await?;
    let guest = host.guest(instance, Behaviour::normal().every(INTERVAL))?;
    expect(&host, "RUNNING", "").await?;

    guest
        .change(|behaviour| {
            let (corrective_action, log_msg) = (CorrectiveAction::Reboot, "app is sick".into());
            behaviour.profile.health = Health::Unhealthy { corrective_action, log_msg };
        })
        .await?;
    expect(&host, "ILLHEALTH", "").await?;
    guest.change(|behaviour| behaviour.profile.health = Health::Healthy).await?;

    send(&host, "VOTE_INST", false)?;
    expect(&host, "VOTE_NOTIFY", "\"stop\", \"vote\": \"accept\"").await?;
    guest.change(|behaviour| behaviour.profile.voting = Voting::Reject("not now".into())).await?;
    let reboot = golden::command("VOTE_INST")?.text.replace("stop", "reboot");
    host.controller.send_raw(&golden::command_bytes(0x1111_0024, &reboot))?;
    expect(&host, "VOTE_NOTIFY", "\"reject\"").await?;

    guest.freeze().await?;
    expect(&host, "STOPPED", "").await?;
    expect(&host, "LOSS", "").await?;
    guest.thaw().await?;
    guest.restart().await?;
    expect(&host, "RUNNING", "").await?;
    // Reporting goes off: it is stopped, starts over, and is then running without being reported.
    send(&host, "MOD_INST", false)?;
    host.event("STOPPED", instance).await?;
    guest.restart().await?;
    host.event("RUNNING", instance).await?;
    send(&host, "QRY_INST", false)?;
    expect(&host, "QRY_INST", "").await?;
    send(&host, "NOTIFY_INST", false)?;
    expect(&host, "VOTE_NOTIFY", "\"pause\"").await?;
    Ok(())
}

/// The golden commands besides: those that need another state of things.
#[tokio::test]
async fn the_golden_commands_are_obeyed() -> Result<()> {
    let host = golden_host().await?;
    let deleted: InstanceId = "8d80875b-fa73-4ccb-bce3-1cd4df104401".parse()?;
    let _guest = host.guest(deleted, Behaviour::normal())?;
    host.event("RUNNING", deleted).await?;
    send(&host, "DEL_INST", false)?;
    host.forgotten(deleted).await?;

    host.set_host_reporting(false).await?;
    send(&host, "MOD_HOST", false)?;
    let status = async || {
        let status = host.daemon.status().await?;
        anyhow::ensure!(status["host_reporting"] == true, "{status}");
        Ok(())
    };
    lab::wait::until_ok("MOD_HOST is obeyed", SOON, status).await?;

    send(&host, "ADD_INST", false)?;
    let added = host.instance("it is added", golden::instance()?, |_| true).await?;
    assert_eq!((&added["reporting"], &added["provisioned"]), (&false.into(), &true.into()));
    assert_eq!(host.metric("datagrams_malformed").await?, 0);
    assert_eq!(host.metric("datagrams_unsigned").await?, 0);
    Ok(())
}

/// A vote that is answered with a word of another kind goes out as the golden one with that word.
#[tokio::test]
async fn an_odd_vote_goes_out_as_the_golden_one() -> Result<()> {
    let host = golden_host().await?;
    let odd = event("VOTE_NOTIFY", "\"unknown\"")?;
    let instance: InstanceId = "8d80875b-fa73-4ccb-bce3-1cd4df10aaaa".parse()?;
    let mut behaviour = Behaviour::normal();
    behaviour.profile.voting =
        Voting::Say(heartbeat_proto::guest::VoteResult::Unknown, String::new());
    let _guest = host.running(instance, behaviour, false).await?;
    host.controller.vote(instance, heartbeat_proto::guest::EventType::Stop)?;
    let vote = host.event("VOTE_NOTIFY", instance).await?;
    assert_eq!(vote.text(), odd.text);
    assert_eq!(vote.bytes, odd.bytes);
    Ok(())
}

#[tokio::test]
async fn an_instance_without_a_guest_is_told_of_with_the_defaults() -> Result<()> {
    let host = golden_host().await?;
    host.controller.add_instance(id(1), true)?;
    let answer = host.query(id(1)).await?;
    let text = format!(
        "{{\"hostname\":\"vm\",\"uuid\":\"{}\",\"reporting\":\"enabled\",\"heartbeating\":\"disabled\",\
         \"repair-action\":\"log\",\"restart-to\":\"120\",\"shutdown-to\":\"10\",\"suspend-to\":\"10\",\
         \"resume-to\":\"10\",\"vote-to\":\"10\"}}",
        id(1)
    );
    assert_eq!(answer.bytes, event_bytes(0x1111_0023, &text)?);
    Ok(())
}

/// The first time after 5 s, so this is among the slowest tests.
#[tokio::test]
async fn monitor_ready_is_said_again_until_the_first_command() -> Result<()> {
    let commanded = golden_host().await?;
    send(&commanded, "QRY_INST", false)?;
    let taken = |line: &str| line.contains("commanded by this controller");
    commanded.daemon.wait_log("the command", SOON, taken).await?;
    assert_eq!(commanded.daemon.status().await?["commanded"], true);

    let host = golden_host().await?;
    let ready = |host: &Host| {
        let arrivals = host.controller.arrivals();
        arrivals.into_iter().filter(|one| name_of(one) == "MONITOR_READY").collect::<Vec<_>>()
    };
    assert_eq!(ready(&host).len(), 1);
    until("it is said again", SOON, || ready(&host).len() == 2).await?;
    assert_eq!(host.daemon.status().await?["commanded"], false);
    let said = ready(&host);
    let gap = said[1].at - said[0].at;
    assert!(gap > Duration::from_secs(4), "said again after {gap:?}");
    let bytes = said.iter().map(|said| golden::without_numbering(&said.bytes));
    let golden = event("MONITOR_READY", "")?.bytes;
    assert!(bytes.into_iter().all(|bytes| bytes == golden));
    // The other one had as much time, and somebody who commands it.
    assert_eq!(ready(&commanded).len(), 1);
    Ok(())
}
