//! The host's bytes on the channel, and what it makes of the guest's (protocol, "Framing" and "Messages").

use anyhow::{Result, ensure};
use end_to_end::host::{Host, name_of};
use end_to_end::raw::{self, RawChannel, RawHost, response};
use end_to_end::{golden, id};
use heartbeat_proto::control::ServerEvent;

/// An interval that no test lasts for: the first challenge is the only one.
const NEVER_MS: u64 = 600_000;

/// A host and a guest of golden's session 43, which has been challenged once.
async fn session() -> Result<(Host, RawChannel, RawHost, u32)> {
    let host = Host::start().await?;
    let channel = RawChannel::bind(&host.channel_dir(), id(1))?;
    let mut guest = channel.accept().await?;
    let (sequence, number) = guest.init(&raw::init(1, 43, NEVER_MS)).await?;
    assert_eq!(sequence, 3);
    Ok((host, channel, guest, number))
}

/// The message `msg_type` with these further keys.
fn message(msg_type: &str, sequence: u64, keys: &str) -> String {
    format!(
        "\n{{\"version\":3,\"revision\":1,\"msg_type\":\"{msg_type}\",\"sequence\":{sequence}{keys}}}\n"
    )
}

/// The nack with this text.
fn nack(sequence: u64, invocation_id: u64, text: &str) -> String {
    message("nack", sequence, &format!(",\"invocation_id\":{invocation_id},\"log_msg\":\"{text}\""))
}

#[tokio::test]
async fn a_session_begins_with_the_golden_bytes() -> Result<()> {
    let host = Host::start().await?;
    let channel = RawChannel::bind(&host.channel_dir(), id(1))?;
    let mut guest = channel.accept().await?;
    guest.write(golden::line(true, "\"init\"")?).await?;
    assert_eq!(guest.read().await?, golden::line(false, "init_ack")?);
    let challenge = guest.read().await?;
    let number =
        challenge.trim_end_matches("}\n").rsplit(':').next().unwrap_or_default().to_owned();
    let first = golden::line(false, "\"challenge\"")?;
    assert_eq!(challenge, first.replace("1656478042", &number));
    ensure!(number.parse::<u32>()? <= 2_147_483_647, "{number}");
    guest.write(golden::line(true, "\"healthy\"")?.replace("1656478042", &number)).await?;
    host.event("RUNNING", id(1)).await?;
    // The guest said 2, so the next challenge is 3; its number is another one.
    let (sequence, next) = guest.challenge().await?;
    assert_eq!(sequence, 3);
    assert_ne!(next.to_string(), number);
    Ok(())
}

#[tokio::test]
async fn what_is_wrong_with_a_message_is_said_in_the_golden_bytes() -> Result<()> {
    let (host, _channel, mut guest, _) = session().await?;
    for (before, line, answer) in [
        (None, golden::line(true, "whatever")?, "unsupported message type: whatever"),
        (None, golden::line(true, "\"action_response\",\"sequence\":9")?, "Invocation id mismatch"),
        (Some(33), golden::line(true, "xxxx")?, "failed to parse msg_type"),
        (
            Some(31),
            message("exit", 99, ",\"log_msg\":\"\"").replace("\"version\":3", "\"version\":2"),
            "Bad version: 2",
        ),
    ] {
        if let Some(sequence) = before {
            // Moves the number on to where it was when the golden line was seen.
            guest.write(message("odd", sequence, "")).await?;
            let text = "unsupported message type: odd";
            assert_eq!(guest.read().await?, nack(sequence + 1, 43, text));
        }
        guest.write(&line).await?;
        assert_eq!(guest.read().await?, golden::line(false, answer)?, "for {line}");
    }
    host.counted("malformed_messages", 5).await?;
    Ok(())
}

/// Before the first `init` there is no session, and no number was seen.
#[tokio::test]
async fn a_refusal_before_any_init_has_no_session() -> Result<()> {
    let host = Host::start().await?;
    let channel = RawChannel::bind(&host.channel_dir(), id(1))?;
    let mut guest = channel.accept().await?;
    guest.write("\n{\"revision\":1}\n").await?;
    assert_eq!(guest.read().await?, nack(1, 0, "failed to parse version"));
    guest.write(message("action_response", 7, ",\"invocation_id\":5")).await?;
    let mismatch = "Invocation id mismatch. Received: 5 expect: 0";
    assert_eq!(guest.read().await?, nack(8, 0, mismatch));
    Ok(())
}

#[tokio::test]
async fn every_key_that_is_missing_or_ill_typed_is_named() -> Result<()> {
    let (_host, _channel, mut guest, _) = session().await?;
    let init = raw::init(5, 43, 1000);
    let answer = message(
        "action_response",
        5,
        ",\"invocation_id\":43,\"event_type\":\"stop\",\"notification_type\":\"revocable\",\
         \"vote_result\":\"accept\",\"log_msg\":\"\"",
    );
    let common = ["version", "revision", "msg_type", "sequence"];
    for (whole, keys) in [
        (&init, &common[..]),
        (
            &init,
            &[
                "invocation_id",
                "name",
                "heartbeat_interval_ms",
                "vote_secs",
                "shutdown_notice_secs",
                "suspend_notice_secs",
                "resume_notice_secs",
                "restart_secs",
                "corrective_action",
            ],
        ),
        (
            &response(5, 1),
            &["heartbeat_response", "heartbeat_health", "corrective_action", "log_msg"],
        ),
        (&answer, &["invocation_id", "event_type", "notification_type", "vote_result", "log_msg"]),
    ] {
        for key in keys {
            // The first is a missing key: another one has taken its name.
            let renamed = whole.replacen(&format!("\"{key}\":"), "\"other\":", 1);
            guest.write(&renamed).await?;
            let refusal = guest.read().await?;
            assert!(refusal.contains(&format!("\"failed to parse {key}\"")), "{renamed} {refusal}");
        }
    }
    for (from, to, key) in [
        ("\"vote_secs\":10", "\"vote_secs\":-1", "vote_secs"),
        ("\"vote_secs\":10", "\"vote_secs\":1.5", "vote_secs"),
        ("\"name\":\"raw\"", "\"name\":7", "name"),
        ("\"version\":3", "\"version\":\"three\"", "version"),
        ("\"sequence\":5", "\"sequence\":null", "sequence"),
        ("\"restart_secs\":121", "\"restart_secs\":[121]", "restart_secs"),
    ] {
        guest.write(init.replace(from, to)).await?;
        let refusal = guest.read().await?;
        assert!(refusal.contains(&format!("\"failed to parse {key}\"")), "{to}: {refusal}");
    }
    Ok(())
}

#[tokio::test]
async fn digits_in_a_string_newer_versions_and_unknown_keys_are_taken() -> Result<()> {
    let (host, _channel, mut guest, _) = session().await?;
    let odd = raw::init(10, 44, NEVER_MS)
        .replace("\"version\":3", "\"later\":{\"deep\":[1,{}]},\"version\":\"12\"")
        .replace("\"sequence\":10", "\"sequence\":\"10\"")
        .replace("\"restart_secs\":121", "\"restart_secs\":\"77\"");
    guest.write(odd).await?;
    let ack = message("init_ack", 11, ",\"invocation_id\":44");
    assert_eq!(guest.read().await?, ack);
    let (sequence, number) = guest.challenge().await?;
    guest.write(response(sequence, number)).await?;
    let running = host.event("RUNNING", id(1)).await?;
    assert!(running.text().contains(r#""restart-to":"77""#), "{}", running.text());
    Ok(())
}

#[tokio::test]
async fn pieces_are_put_together_and_what_comes_together_is_taken_apart() -> Result<()> {
    let host = Host::start().await?;
    let channel = RawChannel::bind(&host.channel_dir(), id(1))?;
    let mut guest = channel.accept().await?;
    let init = raw::init(1, 43, NEVER_MS);
    for byte in init.as_bytes() {
        guest.write([*byte]).await?;
        tokio::task::yield_now().await;
    }
    assert_eq!(guest.read().await?, message("init_ack", 2, ",\"invocation_id\":43"));
    let (_, number) = guest.challenge().await?;
    // Half a message, a whole one, blank lines, half of the next.
    let joined =
        [response(7, number), "\n\r\n \n".into(), message("odd", 20, ""), message("exit", 30, "")];
    let joined = joined.concat();
    let (one, two) = joined.split_at(joined.len() - 20);
    guest.write(one).await?;
    assert_eq!(guest.read().await?, nack(21, 43, "unsupported message type: odd"));
    host.event("RUNNING", id(1)).await?;
    guest.write(two).await?;
    host.event("STOPPED", id(1)).await?;
    host.counted("malformed_messages", 1).await?;
    Ok(())
}

#[tokio::test]
async fn a_line_that_is_too_long_is_refused_once_and_the_next_one_read() -> Result<()> {
    let (host, _channel, mut guest, _) = session().await?;
    let padded = |length: usize, sequence| {
        let empty = message("odd", sequence, ",\"pad\":\"\"");
        let pad = "x".repeat(length - (empty.len() - 2));
        message("odd", sequence, &format!(",\"pad\":\"{pad}\""))
    };
    guest.write(padded(4096, 10)).await?;
    assert_eq!(guest.read().await?, nack(11, 43, "unsupported message type: odd"));
    guest.write(padded(4097, 20)).await?;
    assert_eq!(guest.read().await?, nack(12, 43, "message too long"));
    // One that goes on and on is one line as well.
    guest.write("\n").await?;
    for _ in 0..6 {
        guest.write([b'{'; 2000]).await?;
    }
    assert_eq!(guest.read().await?, nack(13, 43, "message too long"));
    guest.write(format!("{}{}", "x".repeat(5000), message("odd", 30, ""))).await?;
    assert_eq!(guest.read().await?, nack(31, 43, "unsupported message type: odd"));
    host.counted("long_messages", 2).await?;
    host.counted("malformed_messages", 2).await?;
    host.counted("bytes_too_long", 4097 + 6 * 2000 + 5000).await?;
    let short = message("odd", 30, "").len() as u64 - 2;
    host.counted("bytes_malformed", 4096 + short).await?;
    Ok(())
}

#[tokio::test]
async fn what_is_no_object_is_counted_and_not_answered() -> Result<()> {
    let (host, _channel, mut guest, _) = session().await?;
    for garbage in [
        &b"\n{\"version\":3,\n"[..],
        b"\n[1,2]\n",
        b"\n42\n",
        b"\nnull\n",
        b"\n\"version\"\n",
        b"\nthe quick brown fox\n",
        b"\n\xff\xfe\x00\x1b[2J\n",
        b"\n{} {}\n",
        &[&b"\n"[..], &[b'['; 4000], b"\n"].concat(),
    ] {
        guest.write(garbage).await?;
    }
    guest.write(message("odd", 50, "")).await?;
    // The first thing that is heard is the answer to the last line.
    assert_eq!(guest.read().await?, nack(51, 43, "unsupported message type: odd"));
    host.counted("malformed_messages", 10).await?;
    assert_eq!(host.metric("fragments").await?, 0);
    Ok(())
}

#[tokio::test]
async fn the_rest_of_a_line_from_before_the_connection_is_thrown_away_in_silence() -> Result<()> {
    let host = Host::start().await?;
    let channel = RawChannel::bind(&host.channel_dir(), id(1))?;
    let mut guest = channel.accept().await?;
    guest.write(format!("ence\":7,\"log_msg\":\"\"}}\n{}", raw::init(1, 43, NEVER_MS))).await?;
    assert_eq!(guest.read().await?, message("init_ack", 2, ",\"invocation_id\":43"));
    host.counted("fragments", 1).await?;
    assert_eq!(host.metric("bytes_fragments").await?, "ence\":7,\"log_msg\":\"\"}".len() as u64);
    assert_eq!(host.metric("malformed_messages").await?, 0);
    // So it is on every new connection, and never later on one.
    drop(guest);
    let mut guest = channel.accept().await?;
    guest.write("\"}\n\"}\n").await?;
    guest.write(message("odd", 1, "")).await?;
    assert_eq!(guest.read().await?, nack(2, 43, "unsupported message type: odd"));
    host.counted("fragments", 2).await?;
    host.counted("malformed_messages", 2).await?;
    Ok(())
}

#[tokio::test]
async fn only_the_number_of_the_challenge_is_an_answer_and_only_once() -> Result<()> {
    let (host, _channel, mut guest, number) = session().await?;
    guest.write(response(4, number ^ 1)).await?;
    host.counted("wrong_numbers", 1).await?;
    assert_eq!(host.told(id(1)), [""; 0]);
    guest.write(response(5, number)).await?;
    host.event("RUNNING", id(1)).await?;
    guest.write(response(6, number)).await?;
    host.counted("late_responses", 1).await?;
    host.counted("heartbeats", 1).await?;
    let wanted =
        |event: &&lab::controller::Arrival| matches!(event.event, Ok(ServerEvent::Running(..)));
    assert_eq!(host.controller.arrivals().iter().filter(wanted).map(name_of).count(), 1);
    Ok(())
}
