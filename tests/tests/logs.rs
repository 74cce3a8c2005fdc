//! The log: what guests say never gets out of its place, in either format.

use anyhow::{Context, Result};
use end_to_end::host::{Host, Setup};
use end_to_end::raw::{self, RawChannel};
use end_to_end::{SOON, id};
use heartbeat_proto::guest::{CorrectiveAction, EventType, VoteResult};
use lab::guest::{Behaviour, Health, Profile, Settings, Voting};
use serde_json::Value;

/// Clears a screen, rings a bell, begins lines, ends fields: all that a terminal or a reader of logs would obey.
const EVIL: &str =
    "\u{1b}[2J\u{7}\u{9b}31m\u{7f}\r\n2026-01-01T00:00:00Z ERROR forged=\"yes\" \\\" x=y é";

/// Says it wherever a guest can say anything, and waits until the host has heard it all.
async fn say_it_everywhere(host: &Host) -> Result<()> {
    let corrective_action = CorrectiveAction::Log;
    let profile = Profile {
        settings: Settings { name: EVIL.into(), ..Settings::default() },
        health: Health::Unhealthy { corrective_action, log_msg: EVIL.into() },
        voting: Voting::Say(VoteResult::Reject, EVIL.into()),
        ..Profile::default()
    };
    let guest = host.running(id(1), Behaviour { profile, ..Behaviour::normal() }, true).await?;
    host.event("ILLHEALTH", id(1)).await?;
    host.controller.vote(id(1), EVIL.into())?;
    host.controller.vote(id(1), EventType::Stop)?;
    host.event("VOTE_NOTIFY", id(1)).await?;
    guest.exit(EVIL).await?;
    host.event("STOPPED", id(1)).await?;
    let channel = RawChannel::bind(&host.channel_dir(), id(2))?;
    let mut raw = channel.accept().await?;
    raw.init(&raw::init(1, 43, 600_000)).await?;
    let odd = serde_json::json!({ "version": 3, "revision": 1, "msg_type": EVIL, "sequence": 9 });
    raw.write(format!("\n{odd}\n")).await?;
    let nack = raw.read().await?;
    assert_eq!(nack.matches('\n').count(), 2, "one line: {nack:?}");
    assert!(!nack.contains('\u{1b}'), "{nack:?}");
    raw.write(format!("\n{EVIL}\n")).await?;
    host.counted("malformed_messages", 3).await?;
    host.controller.send_raw(EVIL.as_bytes())?;
    host.counted("datagrams_malformed", 1).await?;
    Ok(())
}

#[tokio::test]
async fn nothing_that_a_guest_says_reaches_the_text_log_as_it_is() -> Result<()> {
    let host = Setup::default().args(&["--log-level", "debug"]).start().await?;
    say_it_everywhere(&host).await?;
    host.daemon.wait_log("the guest's end", SOON, |line| line.contains("guest leaves")).await?;
    let log = host.daemon.stderr();
    let control = log.chars().find(|c| c.is_control() && *c != '\n');
    assert_eq!(control, None, "{log:?}");
    assert!(log.contains("\\x1b[2J"), "it is there, escaped: {log}");
    for line in log.lines() {
        let level = line.split_whitespace().nth(1).with_context(|| line.to_owned())?;
        assert!(["INFO", "WARN", "DEBUG"].contains(&level), "a forged line: {line}");
    }
    Ok(())
}

#[tokio::test]
async fn every_line_of_the_json_log_is_an_object() -> Result<()> {
    let args = ["--log-format", "json", "--log-level", "debug"];
    let mut host = Setup::default().args(&args).start().await?;
    say_it_everywhere(&host).await?;
    host.daemon.stop(SOON).await?;
    let log = host.daemon.stderr();
    let control = log.chars().find(|c| c.is_control() && *c != '\n');
    assert_eq!(control, None, "{log:?}");
    let mut messages = Vec::new();
    let mut names = Vec::new();
    for line in log.lines() {
        let entry: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        for key in ["timestamp", "level", "message"] {
            assert!(entry[key].is_string(), "no {key} in {line}");
        }
        messages.push(entry["message"].as_str().unwrap_or_default().to_owned());
        names.extend(entry["fields"]["name"].as_str().map(ToString::to_string));
    }
    for wanted in ["ready", "channel connected", "heartbeating", "guest leaves", "stopping"] {
        assert!(messages.iter().any(|message| message == wanted), "no {wanted} in {messages:?}");
    }
    // The guest's name, as far as names go, and unharmed.
    assert!(
        names.iter().any(|name| !name.is_empty() && EVIL.starts_with(name.as_str())),
        "{names:?}"
    );
    Ok(())
}

#[tokio::test]
async fn the_level_decides_what_is_logged() -> Result<()> {
    let host = Setup::default().args(&["--log-level", "error"]).start().await?;
    let _guest = host.running(id(1), Behaviour::normal(), true).await?;
    host.controller.send_raw(b"junk")?;
    host.counted("datagrams_malformed", 1).await?;
    assert_eq!(host.daemon.stderr(), "");
    Ok(())
}
