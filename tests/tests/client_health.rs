//! How guestClient finds out how its machine is, and what it says to votes: scripts and local applications.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::Result;
use end_to_end::client::{CONF, Client};
use end_to_end::host::Host;
use end_to_end::{SOON, id};
use heartbeat_proto::control::{ServerEvent, VoteNotify};
use heartbeat_proto::guest::{CorrectiveAction, EventType, NotificationType, VoteResult};
use serde_json::{Value, json};

/// A host that reports what is wrong with its one instance, and a client with both scripts.
async fn start() -> Result<(Host, Client)> {
    let host = Host::start().await?;
    host.controller.add_instance(id(1), true)?;
    host.instance("it is provisioned", id(1), |status| status["reporting"] == true).await?;
    let conf = format!(
        "{CONF}VOTE=2\nSHUTDOWN_NOTICE=1\nHEALTH_CHECK_SCRIPT=\"@/health\"\n\
         EVENT_NOTIFICATION_SCRIPT=\"@/event\"\n"
    );
    let client = Client::start(&host, id(1), &conf).await?;
    host.event("RUNNING", id(1)).await?;
    Ok((host, client))
}

fn healthy(status: &Value) -> bool {
    status["health"] == "healthy"
}

async fn verdict(host: &Host) -> Result<VoteNotify> {
    let arrival = host.event("VOTE_NOTIFY", id(1)).await?;
    match arrival.event {
        Ok(ServerEvent::VoteNotify(_, vote)) => Ok(vote),
        other => anyhow::bail!("{other:?}"),
    }
}

fn said(vote: VoteResult, event_type: EventType, reason: &str) -> VoteNotify {
    let notification_type = match vote {
        VoteResult::Complete => NotificationType::Irrevocable,
        _ => NotificationType::Revocable,
    };
    VoteNotify { notification_type, event_type, vote, reason: reason.into() }
}

#[tokio::test]
async fn the_health_script_turns_bad_and_good_again() -> Result<()> {
    let (host, client) = start().await?;
    client.script("health", "echo the disk is full; echo more; exit 1")?;
    let ill = host.event("ILLHEALTH", id(1)).await?;
    let Ok(ServerEvent::IllHealth(_, info)) = ill.event else { panic!("{ill}") };
    assert_eq!((info.repair_action, info.heartbeating), (CorrectiveAction::Log, true));
    let status = client.status().await?;
    assert_eq!(
        (&status["health"], &status["reason"]),
        (&"unhealthy".into(), &"the disk is full".into())
    );
    client.script("health", "exit 0")?;
    client.until("it is well", healthy).await?;
    let before = host.metric("unhealthy_responses").await?;
    client.heartbeats(3).await?;
    // One answer may have been on its way.
    assert!(host.metric("unhealthy_responses").await? <= before + 1);
    assert_eq!(host.metric("misses").await?, 0);
    let log = client.program.stderr();
    assert_eq!(log.matches("health script: not well").count(), 1, "{log}");
    assert_eq!(log.matches("health script: well again").count(), 1, "{log}");
    Ok(())
}

#[tokio::test]
async fn a_health_script_that_hangs_prints_a_flood_or_cannot_be_run() -> Result<()> {
    let (_host, client) = start().await?;
    client.script("health", "exec sleep 1000")?;
    let hangs = |status: &Value| status["reason"] == "health check still running after 1 s";
    client.until("it hangs", hangs).await?;
    client.script("health", "printf '\\377\\000\\n'; head -c 10000000 /dev/zero; exit 1")?;
    client.until("binary", |status| status["reason"] == "\u{fffd}").await?;
    let path = client.script("health", "exit 1")?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
    // It is no check then, and no reason to reboot a machine.
    client.until("it cannot be run", |status| status["health_script_error"].is_string()).await?;
    let status = client.until("it is well", healthy).await?;
    assert_eq!(status["health_script_error"], "it is not executable for this user");
    client.heartbeats(8).await?;
    let told = client.program.stderr().matches("it is not executable for this user").count();
    assert_eq!(told, 1, "said once");
    Ok(())
}

#[tokio::test]
async fn the_event_script_accepts_rejects_prepares_and_is_out_of_time() -> Result<()> {
    let (host, client) = start().await?;
    client.script("event", "exit 0")?;
    host.controller.vote(id(1), EventType::Reboot)?;
    assert_eq!(verdict(&host).await?, said(VoteResult::Accept, EventType::Reboot, ""));
    client.script("event", "echo \"$1 $2: a \\\"backup\\\" runs\"; exit 1")?;
    host.controller.vote(id(1), EventType::Stop)?;
    let rejected = said(VoteResult::Reject, EventType::Stop, "revocable stop: a \"backup\" runs");
    assert_eq!(verdict(&host).await?, rejected);
    // What is only announced cannot be rejected: that is an error, which stops nothing.
    host.controller.notify(id(1), EventType::Stop)?;
    let reason = "irrevocable stop: a \"backup\" runs";
    let notification_type = NotificationType::Irrevocable;
    let failed =
        VoteNotify { notification_type, ..said(VoteResult::Error, EventType::Stop, reason) };
    assert_eq!(verdict(&host).await?, failed);
    client.script("event", "exit 0")?;
    host.controller.notify(id(1), EventType::Stop)?;
    assert_eq!(verdict(&host).await?, said(VoteResult::Complete, EventType::Stop, ""));
    // Out of time, killed with all that it started; challenges are answered meanwhile.
    client.script(
        "event",
        &format!("sleep 1000 & echo $! > {}; wait", client.file("pid").display()),
    )?;
    host.controller.vote(id(1), EventType::Pause)?;
    let late = said(VoteResult::Timeout, EventType::Pause, "no answer within 2000 ms");
    assert_eq!(verdict(&host).await?, late);
    let left = format!("/proc/{}/stat", fs::read_to_string(client.file("pid"))?.trim());
    lab::wait::until("its child is gone", SOON, || {
        fs::read_to_string(&left).map_or(true, |stat| stat.contains(") Z "))
    })
    .await?;
    client.heartbeats(2).await?;
    assert_eq!((host.metric("misses").await?, host.metric("votes_unanswered").await?), (0, 0));
    Ok(())
}

#[tokio::test]
async fn an_event_script_that_cannot_be_run_stops_nothing() -> Result<()> {
    let (host, client) = start().await?;
    for _ in 0..2 {
        host.controller.vote(id(1), EventType::Stop)?;
        let reason = "event script: there is no such file, or its interpreter";
        assert_eq!(verdict(&host).await?, said(VoteResult::Error, EventType::Stop, reason));
    }
    client.configure(CONF)?;
    client.program.signal(nix::sys::signal::Signal::SIGHUP)?;
    host.event("RUNNING", id(1)).await?;
    // Without a script there is nobody to ask.
    host.controller.vote(id(1), EventType::Stop)?;
    assert_eq!(verdict(&host).await?, said(VoteResult::Accept, EventType::Stop, ""));
    Ok(())
}

#[tokio::test]
async fn an_application_that_freezes_or_dies_is_named_in_the_log_and_to_the_host() -> Result<()> {
    let (host, client) = start().await?;
    let mut application = client.application().await?;
    let keys = json!({ "interval_ms": 200, "corrective_action": "stop" });
    application.register("database", keys.clone()).await?;
    // From now on it says nothing: it is frozen.
    let ill = host.event("ILLHEALTH", id(1)).await?;
    let Ok(ServerEvent::IllHealth(_, info)) = ill.event else { panic!("{ill}") };
    assert_eq!(info.repair_action, CorrectiveAction::Stop);
    let reason = "database: no beat for 300 ms";
    let told = |line: &str| line.contains("not well") && line.contains(reason);
    host.daemon.wait_log("the guest's reason", SOON, told).await?;
    let named = |line: &str| line.contains("application missed its beat name=database");
    client.program.wait_log("the application", SOON, named).await?;
    // It goes on, for as long as the host needs to see it.
    application.say(&json!({ "type": "beat" })).await?;
    client.until("it is well", healthy).await?;
    application.say(&json!({ "type": "unhealthy", "reason": "no \"space\"" })).await?;
    client.until("it is not", |status| status["reason"] == "database: no \"space\"").await?;
    drop(application);
    let gone = "database: gone without deregistering";
    client.until("it is gone", |status| status["reason"] == gone).await?;
    let mut next = client.application().await?;
    next.register("database", json!({})).await?;
    client.until("it is well", healthy).await?;
    next.say(&json!({ "type": "deregister" })).await?;
    assert_eq!(next.hear().await?["type"], "deregistered");
    drop(next);
    let status =
        client.until("nobody is left", |status| status["applications"] == json!([])).await?;
    assert!(healthy(&status));
    assert_eq!(host.metric("misses").await?, 0);
    Ok(())
}

#[tokio::test]
async fn applications_vote_and_one_rejection_is_enough() -> Result<()> {
    let (host, client) = start().await?;
    client.script("event", "exit 0")?;
    let (mut one, mut two) = (client.application().await?, client.application().await?);
    one.register("one", json!({ "votes": true })).await?;
    two.register("two", json!({ "votes": true })).await?;
    let vote = |event: &Value, result: &str| json!({ "type": "vote", "id": event["id"], "result": result, "reason": "busy" });

    host.controller.vote(id(1), EventType::LiveMigrateBegin)?;
    let (to_one, to_two) = (one.hear().await?, two.hear().await?);
    assert_eq!(to_one, to_two);
    let id_of = &to_one["id"];
    let event = json!({ "type": "event", "id": id_of, "event_type": "live_migrate_begin",
        "notification_type": "revocable", "timeout_ms": 2000 });
    assert_eq!(to_one, event);
    one.say(&vote(&to_one, "accept")).await?;
    two.say(&vote(&to_two, "accept")).await?;
    let accepted = said(VoteResult::Accept, EventType::LiveMigrateBegin, "");
    assert_eq!(verdict(&host).await?, accepted);

    host.controller.vote(id(1), EventType::Stop)?;
    let (to_one, to_two) = (one.hear().await?, two.hear().await?);
    two.say(&vote(&to_two, "reject")).await?;
    assert_eq!(verdict(&host).await?, said(VoteResult::Reject, EventType::Stop, "two: busy"));
    assert_eq!(one.hear().await?, json!({ "type": "withdrawn", "id": to_one["id"] }));
    one.say(&vote(&to_one, "accept")).await?;
    assert_eq!(one.hear().await?["type"], "error");

    // One that does not answer is out of time, and named in the log.
    host.controller.vote(id(1), EventType::Stop)?;
    let to_one = one.hear().await?;
    one.say(&vote(&to_one, "accept")).await?;
    let late = said(VoteResult::Timeout, EventType::Stop, "no answer within 2000 ms");
    assert_eq!(verdict(&host).await?, late);
    client
        .program
        .wait_log("who", SOON, |line| line.contains("no answer from them voters=two"))
        .await?;
    Ok(())
}

#[tokio::test]
async fn what_an_application_gets_wrong_is_answered_and_harms_nobody() -> Result<()> {
    let (host, client) = start().await?;
    let mut application = client.application().await?;
    for (message, wanted) in [
        (json!({ "type": "beat" }), "not registered"),
        (json!({ "type": "hello" }), "expected one of `register`"),
        (json!({ "type": "register", "name": "a b" }), "name: expected 1 to 64"),
        (json!({ "type": "register", "name": "x".repeat(4200) }), "a line of more than 4096 bytes"),
        (json!({ "type": "vote", "id": 1, "result": "accept" }), "not registered"),
    ] {
        application.say(&message).await?;
        let answer = application.hear().await?;
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(error.contains(wanted), "{message}: {answer}");
    }
    // What is asked all at once is answered one by one.
    let all = vec![json!({ "type": "status" }).to_string(); 50].join("\n");
    application.say_text(&all).await?;
    for _ in 0..50 {
        assert_eq!(application.hear().await?["type"], "status");
    }
    client.heartbeats(3).await?;
    assert!(host.told(id(1)).iter().all(|name| *name == "RUNNING"), "{:?}", host.told(id(1)));
    assert_eq!(host.metric("misses").await?, 0);
    Ok(())
}
