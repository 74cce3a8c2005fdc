//! Lab guests against a tiny host: a UNIX socket and the codec.

use std::io;

use heartbeat_proto::guest::{
    CorrectiveAction, EventType, Frame, LineFramer, NotificationType, VoteResult,
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::*;

const LONG: Duration = Duration::from_secs(10);
const ID: &str = "8d80875b-fa73-4ccb-bce3-1cd4df104400";

struct Host {
    stream: UnixStream,
    framer: LineFramer,
    /// What was read and not yet taken: messages, or lines that are none.
    read: std::collections::VecDeque<Result<GuestMessage, usize>>,
}

impl Host {
    async fn connect(guest: &Guest) -> Self {
        let stream = UnixStream::connect(guest.path()).await.unwrap();
        Self { stream, framer: LineFramer::default(), read: Default::default() }
    }

    async fn say(&mut self, message: HostMessage) {
        let mut line = Vec::new();
        message.encode(1, &mut line);
        self.stream.write_all(&line).await.unwrap();
    }

    /// The next message, or the length of the next line that is none; `None` at the end of the stream.
    async fn hear(&mut self) -> Option<Result<GuestMessage, usize>> {
        let mut buffer = [0; 4096];
        while self.read.is_empty() {
            let length = timeout(LONG, self.stream.read(&mut buffer)).await.unwrap().unwrap_or(0);
            if length == 0 {
                return None;
            }
            let read = &mut self.read;
            self.framer.push(&buffer[..length], |frame| {
                read.push_back(match frame {
                    Frame::Line { bytes, .. } => {
                        GuestMessage::decode(bytes).map(|got| got.message).map_err(|_| bytes.len())
                    }
                    Frame::TooLong => Err(usize::MAX),
                });
            });
        }
        self.read.pop_front()
    }

    async fn hear_init(&mut self) -> u64 {
        match self.hear().await {
            Some(Ok(GuestMessage::Init(init))) => init.invocation_id,
            other => panic!("{other:?} instead of init"),
        }
    }

    /// Acknowledges the guest.
    async fn welcome(&mut self) -> u64 {
        let invocation_id = self.hear_init().await;
        self.say(HostMessage::InitAck { invocation_id }).await;
        invocation_id
    }

    async fn challenge(&mut self, number: u32) {
        self.say(HostMessage::Challenge { heartbeat_challenge: number }).await;
    }

    async fn hear_response(&mut self) -> heartbeat_proto::guest::ChallengeResponse {
        match self.hear().await {
            Some(Ok(GuestMessage::ChallengeResponse(response))) => response,
            other => panic!("{other:?} instead of an answer"),
        }
    }

    async fn heartbeat(&mut self, number: u32) {
        self.challenge(number).await;
        assert_eq!(self.hear_response().await.heartbeat_response, u64::from(number));
    }

    /// Nothing comes for a little while. Only good to notice what must not be, now and then.
    async fn hear_nothing(&mut self) {
        let heard = timeout(Duration::from_millis(30), self.hear()).await;
        assert!(heard.is_err(), "{heard:?}");
    }
}

fn start(behaviour: Behaviour) -> (TempDir, Guest) {
    let dir = TempDir::new().unwrap();
    let guest = Guest::start(dir.path(), ID.parse().unwrap(), behaviour).unwrap();
    (dir, guest)
}

async fn welcomed(behaviour: Behaviour) -> (TempDir, Guest, Host) {
    let (dir, guest) = start(behaviour);
    let mut host = Host::connect(&guest).await;
    host.welcome().await;
    (dir, guest, host)
}

#[tokio::test]
async fn a_normal_guest_heartbeats_and_is_observed() {
    let behaviour = Behaviour { times_challenges: true, ..Behaviour::normal() };
    let (_dir, guest, mut host) = welcomed(behaviour).await;
    for number in 0..3 {
        host.heartbeat(number).await;
    }
    host.say(HostMessage::Nack { invocation_id: 1, log_msg: "no".into() }).await;
    host.stream.write_all(b"\nnonsense\n").await.unwrap();
    guest.wait_for("nonsense", LONG, |what| matches!(what, What::Malformed(_))).await.unwrap();
    let expected = Counters {
        connections: 1,
        inits: 1,
        init_acks: 1,
        challenges: 3,
        responses: 3,
        nacks: 1,
        malformed: 1,
        ..Counters::default()
    };
    assert_eq!(guest.counters(), expected);
    assert_eq!(guest.received().len(), 5);
    assert_eq!(guest.challenge_times().len(), 3);
    assert_eq!(guest.ack_delays().len(), 1);
    assert!(guest.connect_delay().unwrap() < LONG && guest.ack_delays()[0] < LONG);
    assert_eq!(guest.seen()[1].what, What::Connected);
    let error = guest.wait_heartbeat(Duration::from_millis(5)).await.unwrap_err().to_string();
    assert!(error.contains("no heartbeat at guest 8d80875b") && error.contains("Nack"), "{error}");
}

#[tokio::test]
async fn a_forgetful_guest_only_counts() {
    let (_dir, guest, mut host) = welcomed(Behaviour::forgetful()).await;
    host.heartbeat(1).await;
    assert_eq!((guest.counters().responses, guest.seen().len()), (1, 0));
}

#[tokio::test]
async fn names_are_the_newer_or_the_older() {
    for (older_name, name) in [
        (false, format!("cgcs.heartbeat.{ID}.sock")),
        (true, format!("wrs.heartbeat.agent.0.{ID}.sock")),
    ] {
        let (dir, guest) = start(Behaviour { older_name, ..Behaviour::normal() });
        assert_eq!(guest.path(), dir.path().join(name));
        Host::connect(&guest).await.hear_init().await;
    }
}

#[tokio::test]
async fn guests_may_be_silent() {
    let (_dir, guest) = start(Behaviour::silent());
    let mut host = Host::connect(&guest).await;
    host.challenge(1).await;
    guest.wait_for("it", LONG, |what| matches!(what, What::Received { .. })).await.unwrap();
    host.hear_nothing().await;
    guest.set(Behaviour::normal()).await.unwrap();
    host.hear_init().await;

    let (_dir, guest, mut host) = welcomed(Behaviour::init_then_silent()).await;
    host.challenge(1).await;
    guest.wait_for("it", LONG, |what| matches!(what, What::Received { .. })).await.unwrap();
    host.hear_nothing().await;
}

#[tokio::test]
async fn answers_may_be_late_wrong_or_unhealthy_and_change() {
    let (_dir, guest, mut host) = welcomed(Behaviour::wrong_number()).await;
    host.challenge(4).await;
    assert_eq!(host.hear_response().await.heartbeat_response, 5);
    guest.set(Behaviour::unhealthy(CorrectiveAction::Stop, "sick")).await.unwrap();
    host.challenge(4).await;
    let response = host.hear_response().await;
    assert_eq!((response.corrective_action, &*response.log_msg), (CorrectiveAction::Stop, "sick"));
    let delay = Duration::from_millis(50);
    guest.set(Behaviour::late(delay)).await.unwrap();
    let asked = Instant::now();
    host.challenge(4).await;
    host.hear_response().await;
    assert!(asked.elapsed() >= delay);
    guest.change(|behaviour| behaviour.profile.answering = Answering::Never).await.unwrap();
    host.challenge(4).await;
    host.hear_nothing().await;
}

#[tokio::test]
async fn votes_are_answered_as_told() {
    let (_dir, guest) = start(Behaviour::voting(Voting::Reject("not now".into())));
    let mut host = Host::connect(&guest).await;
    let invocation_id = host.welcome().await;
    let ask = |timeout_ms| HostMessage::ActionNotify {
        invocation_id,
        event_type: EventType::Stop,
        notification_type: NotificationType::Revocable,
        timeout_ms,
    };
    host.say(ask(1)).await;
    let Some(Ok(GuestMessage::ActionResponse(vote))) = host.hear().await else { panic!("no vote") };
    assert_eq!((vote.vote_result, &*vote.log_msg), (VoteResult::Reject, "not now"));
    guest.change(|behaviour| behaviour.profile.voting = Voting::Never).await.unwrap();
    host.say(ask(2)).await;
    let asked = || guest.counters().actions == 2;
    crate::wait::until("the vote is read", LONG, asked).await.unwrap();
    host.hear_nothing().await;
}

#[tokio::test]
async fn messages_may_be_fragmented_or_joined() {
    let (_dir, guest) = start(Behaviour::fragmenting());
    let mut host = Host::connect(&guest).await;
    host.welcome().await;
    host.heartbeat(1).await;
    let pause = Writing::Fragmented(Duration::from_millis(1));
    guest.change(move |behaviour| behaviour.writing = pause).await.unwrap();
    host.challenge(2).await;
    let mut buffer = [0; 4096];
    let (mut reads, mut line) = (0, Vec::new());
    while line.len() < 100 {
        let length = host.stream.read(&mut buffer).await.unwrap();
        line.extend_from_slice(&buffer[..length]);
        reads += 1;
    }
    assert!(reads > 20, "{reads} reads");

    let (_dir, guest) = start(Behaviour::joining(3));
    guest.wait_for("init", LONG, |what| matches!(what, What::Sent(_))).await.unwrap();
    let mut host = Host::connect(&guest).await;
    let mut lines = vec![0; 4096];
    let length = host.stream.read(&mut lines).await.unwrap();
    let inits = lines[..length].split(|&byte| byte == b'\n').filter(|line| line.len() > 100);
    assert_eq!(inits.count(), 3, "in one read");
}

#[tokio::test]
async fn floods_flow_and_the_heartbeat_goes_on() {
    for flood in [Flood::Responses, Flood::Inits, Flood::Garbage, Flood::Unsupported] {
        let (_dir, _guest, mut host) = welcomed(Behaviour::flooding(flood)).await;
        host.challenge(7).await;
        let (mut lines, mut beats) = (0, 0);
        while lines < 1000 || beats == 0 {
            match host.hear().await.unwrap() {
                Ok(GuestMessage::ChallengeResponse(response))
                    if response.heartbeat_response == 7 =>
                {
                    beats += 1;
                }
                Ok(GuestMessage::ChallengeResponse(_)) => assert_eq!(flood, Flood::Responses),
                Ok(GuestMessage::Init(_)) => assert_eq!(flood, Flood::Inits),
                Err(_) => assert!(matches!(flood, Flood::Garbage | Flood::Unsupported)),
                other => panic!("{other:?}"),
            }
            lines += 1;
        }
    }
}

#[tokio::test]
async fn an_endless_line_does_not_end() {
    let (_dir, _guest, mut host) = welcomed(Behaviour::flooding(Flood::EndlessLine)).await;
    assert_eq!(host.hear().await, Some(Err(usize::MAX)));
    let mut buffer = vec![0; 1_000_000];
    host.stream.read_exact(&mut buffer).await.unwrap();
    assert!(buffer.iter().all(|&byte| byte == b'x'));
}

/// Writes until nothing more is taken.
fn fill(stream: &UnixStream) -> usize {
    let mut taken = 0;
    loop {
        match stream.try_write(&[b'\n'; 100]) {
            Ok(length) => taken += length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return taken,
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn a_stalled_guest_reads_nothing_and_says_init_all_the_same() {
    let (_dir, guest) = start(Behaviour::stalled());
    let mut host = Host::connect(&guest).await;
    host.welcome().await;
    assert!(fill(&host.stream) > 10_000);
    host.hear_init().await;
    assert_eq!((guest.counters().init_acks, guest.received().len()), (0, 0));
    drop(host);
    // It notices that the host is gone nevertheless.
    Host::connect(&guest).await.hear_init().await;
}

#[tokio::test]
async fn what_is_written_before_the_program_opens_waits() {
    let (_dir, guest) = start(Behaviour { opening: Opening::OnCommand, ..Behaviour::normal() });
    let lost = Host::connect(&guest).await;
    fill(&lost.stream);
    drop(lost);
    let mut host = Host::connect(&guest).await;
    for _ in 0..2 {
        guest.wait_for("host", LONG, |what| *what == What::Connected).await.unwrap();
    }
    host.challenge(5).await;
    host.hear_nothing().await;
    assert_eq!(guest.counters(), Counters { connections: 2, ..Counters::default() });
    guest.open().await.unwrap();
    let received = |what: &What| matches!(what, What::Received { .. });
    guest.wait_for("what waited", LONG, received).await.unwrap();
    host.welcome().await;
    host.heartbeat(6).await;

    let opening = Opening::After(Duration::from_millis(20));
    let (_dir, guest) = start(Behaviour { opening, ..Behaviour::normal() });
    Host::connect(&guest).await.hear_init().await;
    assert!(guest.bound_at().elapsed() >= Duration::from_millis(20));
}

#[tokio::test]
async fn a_frozen_guest_is_silent_and_answers_afterwards() {
    let (_dir, guest, mut host) = welcomed(Behaviour::normal()).await;
    host.heartbeat(1).await;
    guest.freeze().await.unwrap();
    host.challenge(2).await;
    host.challenge(3).await;
    host.hear_nothing().await;
    guest.thaw().await.unwrap();
    assert_eq!(host.hear_response().await.heartbeat_response, 2);
    assert_eq!(host.hear_response().await.heartbeat_response, 3);
}

#[tokio::test]
async fn one_host_is_served_after_the_other() {
    let (_dir, guest) = start(Behaviour::normal());
    let mut first = Host::connect(&guest).await;
    first.welcome().await;
    let mut second = Host::connect(&guest).await;
    let _third = Host::connect(&guest).await;
    let fourth = UnixStream::connect(guest.path()).await.unwrap_err();
    assert_eq!(fourth.kind(), io::ErrorKind::WouldBlock, "two wait, no more");
    second.challenge(1).await;
    second.hear_nothing().await;
    drop(first);
    assert_eq!(second.hear_response().await.heartbeat_response, 1);
    guest.close_connection().await.unwrap();
    assert_eq!(second.hear().await, None);
}

#[tokio::test]
async fn it_leaves_restarts_and_speaks_raw() {
    let (_dir, guest, mut host) = welcomed(Behaviour::normal()).await;
    guest.exit("bye").await.unwrap();
    assert_eq!(host.hear().await, Some(Ok(GuestMessage::Exit { log_msg: "bye".into() })));
    host.challenge(1).await;
    host.hear_nothing().await;
    guest.send_raw("\n{\"version\":3,\"rev").await.unwrap();
    guest.restart().await.unwrap();
    // The message breaks off, and the next one begins on a line of its own.
    assert_eq!(host.hear().await, Some(Err(17)));
    host.welcome().await;
    host.heartbeat(2).await;
}

#[tokio::test]
async fn it_ends_as_qemu_does_and_starts_again() {
    let (_dir, guest, mut host) = welcomed(Behaviour::normal()).await;
    guest.kill().await.unwrap();
    assert_eq!(host.hear().await, None);
    let refused = UnixStream::connect(guest.path()).await.unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    guest.start_again().await.unwrap();
    let mut host = Host::connect(&guest).await;
    host.welcome().await;
    host.heartbeat(1).await;
    guest.remove().await.unwrap();
    assert_eq!(host.hear().await, None);
    assert!(!guest.path().exists());
    assert!(guest.remove().await.is_err());
}

#[tokio::test]
async fn a_dropped_guest_leaves_its_file() {
    let (_dir, guest, mut host) = welcomed(Behaviour::normal()).await;
    let path = guest.path().to_owned();
    drop(guest);
    assert_eq!(host.hear().await, None);
    assert!(path.exists());
}
