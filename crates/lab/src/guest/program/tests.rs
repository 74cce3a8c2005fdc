//! The guest's side on a clock of the test's.

use heartbeat_proto::client::{CHALLENGE_PATIENCE, Health, Settings};
use heartbeat_proto::guest::{
    ActionResponse, ChallengeResponse, CorrectiveAction, EventType, Health as Word, MAX_CHALLENGE,
};

use NotificationType::{Irrevocable, Revocable};

use super::*;

/// A program, its clock, and what it said.
struct Bench {
    program: Program,
    now: MonotonicTime,
    ids: u32,
    /// The last sequence number of either side.
    sequence: u64,
}

impl Bench {
    fn new(profile: Profile) -> Self {
        Self { program: Program::new(profile), now: MonotonicTime::START, ids: 100, sequence: 0 }
    }

    /// A program that was acknowledged.
    fn watched(profile: Profile) -> Self {
        let mut bench = Self::new(profile);
        assert_eq!(bench.ids_asked(0), [101]);
        assert_eq!(bench.hear(&HostMessage::InitAck { invocation_id: 101 }), []);
        assert_eq!(bench.program.invocation_id(), Some(101));
        bench
    }

    /// Lets time pass, up to each deadline; gives what was said then.
    fn pass(&mut self, millis: u64) -> Vec<GuestMessage> {
        let end = self.now + Duration::from_millis(millis);
        let mut out = Vec::new();
        while let Some(due) = self.program.poll_timeout().filter(|&due| due <= end) {
            self.now = self.now.max(due);
            let ids = &mut self.ids;
            let random = || {
                *ids += 1;
                // The client halves it: its numbers are those that the C++ daemons print.
                *ids << 1
            };
            self.program.handle_timeout(self.now, random, &mut out, |_| {});
        }
        self.now = end;
        self.read(&out)
    }

    fn hear(&mut self, message: &HostMessage) -> Vec<GuestMessage> {
        self.sequence += 1;
        let (mut line, mut out) = (Vec::new(), Vec::new());
        message.encode(self.sequence, &mut line);
        self.program.handle_bytes(self.now, &line, &mut out, |_| {});
        self.read(&out)
    }

    /// What was said, with the sequence numbers checked.
    fn read(&mut self, out: &[u8]) -> Vec<GuestMessage> {
        let late = matches!(self.program.profile.answering, Answering::Late(_));
        let lines = out.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        let read = |line| {
            let received = GuestMessage::decode(line).unwrap();
            self.sequence += 1;
            // What is said late was numbered when it should have been said.
            if !late {
                assert_eq!(received.sequence, self.sequence, "one more than the last seen or sent");
            }
            received.message
        };
        lines.map(read).collect()
    }

    fn set(&mut self, change: impl FnOnce(&mut Profile)) {
        let mut profile = self.program.profile.clone();
        change(&mut profile);
        self.program.set_profile(self.now, profile);
    }

    fn ids_asked(&mut self, millis: u64) -> Vec<u64> {
        let id = |message| match message {
            GuestMessage::Init(init) => init.invocation_id,
            other => panic!("{other:?} instead of init"),
        };
        self.pass(millis).into_iter().map(id).collect()
    }

    fn challenge(&mut self, number: u32) -> Vec<GuestMessage> {
        self.hear(&HostMessage::Challenge { heartbeat_challenge: number })
    }

    fn ask(&mut self, notification_type: NotificationType) -> Vec<GuestMessage> {
        self.hear(&HostMessage::ActionNotify {
            invocation_id: 101,
            event_type: EventType::Reboot,
            notification_type,
            timeout_ms: 10_000,
        })
    }
}

fn response(number: u64) -> GuestMessage {
    GuestMessage::ChallengeResponse(ChallengeResponse {
        heartbeat_response: number,
        heartbeat_health: Word::Healthy,
        corrective_action: CorrectiveAction::None,
        log_msg: "".into(),
    })
}

fn vote(notification_type: NotificationType, result: VoteResult, text: &str) -> GuestMessage {
    GuestMessage::ActionResponse(ActionResponse {
        invocation_id: 101,
        event_type: EventType::Reboot,
        notification_type,
        vote_result: result,
        log_msg: text.into(),
    })
}

fn answering(answering: Answering) -> Profile {
    Profile { answering, ..Profile::default() }
}

fn voting(voting: Voting) -> Profile {
    Profile { voting, ..Profile::default() }
}

#[test]
fn init_goes_out_at_once_and_each_second_with_a_fresh_id() {
    let mut bench = Bench::new(Profile::default());
    assert_eq!(bench.ids_asked(0), [101]);
    assert_eq!(bench.pass(999), []);
    assert_eq!(bench.ids_asked(2001), [102, 103, 104]);
}

#[test]
fn init_says_what_the_profile_says() {
    let mut profile = Profile::default();
    profile.settings.name = "vm-one".into();
    let mut bench = Bench::new(profile);
    let mut written = Vec::new();
    bench.program.handle_timeout(bench.now, || 84, &mut written, |_| {});
    let golden = concat!(
        "\n{\"version\":3,\"revision\":1,\"msg_type\":\"init\",\"sequence\":1,\"invocation_id\":42,",
        "\"name\":\"vm-one\",\"heartbeat_interval_ms\":1000,\"vote_secs\":10,",
        "\"shutdown_notice_secs\":11,\"suspend_notice_secs\":12,\"resume_notice_secs\":13,",
        "\"restart_secs\":121,\"corrective_action\":\"reboot\"}\n"
    );
    assert_eq!(String::from_utf8(written).unwrap(), golden);
}

#[test]
fn of_several_acknowledgements_the_last_counts() {
    let mut bench = Bench::new(Profile::default());
    assert_eq!(bench.ids_asked(2000), [101, 102, 103]);
    for (acknowledged, session) in [(101, None), (102, Some(102)), (103, Some(103))] {
        bench.hear(&HostMessage::InitAck { invocation_id: acknowledged });
        assert_eq!(bench.program.invocation_id(), session);
    }
}

#[test]
fn either_of_the_last_two_ids_is_accepted_and_no_older_one() {
    for (acknowledged, accepted) in [(101, false), (102, true), (103, true), (9, false)] {
        let mut bench = Bench::new(Profile::default());
        assert_eq!(bench.ids_asked(2000), [101, 102, 103]);
        bench.hear(&HostMessage::InitAck { invocation_id: acknowledged });
        assert_eq!(bench.program.invocation_id(), accepted.then_some(acknowledged));
        let quiet = if accepted { vec![] } else { vec![104] };
        assert_eq!(bench.ids_asked(1000), quiet);
    }
}

#[test]
fn each_challenge_is_answered_at_once() {
    let mut bench = Bench::watched(Profile::default());
    for number in [0, 7, MAX_CHALLENGE] {
        assert_eq!(bench.challenge(number), [response(u64::from(number))]);
        assert_eq!(bench.pass(1000), []);
    }
}

#[test]
fn a_challenge_from_before_the_session_is_not_answered() {
    let mut bench = Bench::new(Profile::default());
    bench.pass(0);
    assert_eq!(bench.challenge(7), []);
}

#[test]
fn several_messages_in_pieces_are_all_answered() {
    let mut bench = Bench::watched(Profile::default());
    let (mut lines, mut out) = (Vec::new(), Vec::new());
    for number in [1, 2] {
        HostMessage::Challenge { heartbeat_challenge: number }.encode(9, &mut lines);
    }
    for byte in lines {
        bench.program.handle_bytes(bench.now, &[byte], &mut out, |_| {});
    }
    bench.sequence = 9;
    let said: Vec<_> = out.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).collect();
    let said: Vec<_> =
        said.iter().map(|line| GuestMessage::decode(line).unwrap().message).collect();
    assert_eq!(said, [response(1), response(2)]);
}

#[test]
fn without_challenges_it_starts_over() {
    for (interval, patience) in [(1000, 5000), (2500, 5000), (4000, 8000)] {
        let settings = Settings { heartbeat_interval_ms: interval, ..Settings::default() };
        let mut bench = Bench::watched(Profile { settings, ..Profile::default() });
        bench.pass(100);
        bench.challenge(1);
        assert_eq!(bench.pass(patience - 1), []);
        assert_eq!(bench.ids_asked(1), [102]);
        assert_eq!(bench.program.invocation_id(), None);
        assert_eq!(bench.ids_asked(1000), [103]);
    }
}

#[test]
fn answers_may_be_late_wrong_or_missing() {
    let mut bench = Bench::watched(answering(Answering::Late(Duration::from_millis(1500))));
    assert_eq!(bench.challenge(1), []);
    assert_eq!(bench.pass(1000), []);
    assert_eq!(bench.challenge(2), []);
    assert_eq!(bench.pass(500), [response(1)]);
    assert_eq!(bench.pass(1000), [response(2)]);

    let mut bench = Bench::watched(answering(Answering::WrongNumber));
    assert_eq!(bench.challenge(6), [response(7)]);
    assert_eq!(bench.challenge(MAX_CHALLENGE), [response(u64::from(MAX_CHALLENGE) - 1)]);

    let mut bench = Bench::watched(answering(Answering::Never));
    assert_eq!(bench.challenge(6), []);
    assert_eq!(bench.pass(3_600_000), [], "it does not start over either");
}

#[test]
fn late_answers_are_bounded() {
    let mut bench = Bench::watched(answering(Answering::Late(Duration::from_secs(1))));
    for number in 0..100 {
        bench.challenge(number);
    }
    assert_eq!(bench.pass(1000), (68..100).map(response).collect::<Vec<_>>());
}

#[test]
fn an_unhealthy_guest_says_so() {
    let corrective_action = CorrectiveAction::Reboot;
    let mut bench = Bench::watched(Profile::default());
    bench.set(|profile| {
        profile.health = Health::Unhealthy { corrective_action, log_msg: "app is sick".into() };
    });
    let expected = GuestMessage::ChallengeResponse(ChallengeResponse {
        heartbeat_response: 5,
        heartbeat_health: Word::Unhealthy,
        corrective_action,
        log_msg: "app is sick".into(),
    });
    assert_eq!(bench.challenge(5), [expected]);
    assert_eq!(bench.pass(1000), [], "that is nothing new for an init");
}

#[test]
fn it_votes_as_the_profile_says() {
    use VoteResult::{Accept, Complete, Error, Reject};
    let late = Duration::from_secs(3);
    for (how, asked, told) in [
        (Voting::Accept, Some((Accept, "")), Some((Complete, ""))),
        (Voting::Reject("not now".into()), Some((Reject, "not now")), Some((Complete, ""))),
        (Voting::Say(Error, "?".into()), Some((Error, "?")), Some((Error, "?"))),
        (Voting::Late(late), Some((Accept, "")), Some((Complete, ""))),
        (Voting::Never, None, None),
    ] {
        for (kind, expected) in [(Revocable, asked), (Irrevocable, told)] {
            let mut bench = Bench::watched(voting(how.clone()));
            let mut said = bench.ask(kind);
            if matches!(how, Voting::Late(_)) {
                assert_eq!(said, []);
                assert_eq!(bench.pass(2999), []);
                said = bench.pass(1);
            }
            let expected: Vec<_> =
                expected.into_iter().map(|(result, text)| vote(kind, result, text)).collect();
            assert_eq!(said, expected, "{how:?} {kind}");
            // Nor does a vote that is missing make it say that its time is over.
            bench.set(|profile| profile.answering = Answering::Never);
            assert_eq!(bench.pass(60_000), []);
        }
    }
}

#[test]
fn init_goes_out_at_once_when_it_has_something_new_to_say() {
    let mut bench = Bench::watched(Profile::default());
    bench.set(|profile| profile.voting = Voting::Never);
    assert_eq!(bench.pass(0), []);
    bench.set(|profile| profile.settings.vote_secs = 29);
    let [GuestMessage::Init(init)] = &bench.pass(0)[..] else { panic!("no init") };
    assert_eq!((init.vote_secs, init.invocation_id), (30, 102));
}

#[test]
fn another_sessions_action_is_not_answered() {
    let mut bench = Bench::watched(Profile::default());
    let action = HostMessage::ActionNotify {
        invocation_id: 7,
        event_type: EventType::Stop,
        notification_type: Revocable,
        timeout_ms: 1,
    };
    assert_eq!(bench.hear(&action), []);
}

#[test]
fn after_exit_there_is_silence_until_a_restart() {
    let mut bench = Bench::watched(Profile::default());
    let mut out = Vec::new();
    bench.program.exit(bench.now, "bye", &mut out, |_| {});
    assert_eq!(bench.read(&out), [GuestMessage::Exit { log_msg: "bye".into() }]);
    assert_eq!(bench.challenge(1), []);
    assert_eq!(bench.pass(3_600_000), []);
    bench.program.restart();
    bench.sequence = 0;
    assert_eq!(bench.ids_asked(0), [102]);
}

#[test]
fn whoever_watches_sees_everything() {
    let mut program = Program::new(Profile::default());
    let (mut seen, mut out, mut line) = (Vec::new(), Vec::new(), Vec::new());
    let mut observe = |observed: Observed<'_>| {
        seen.push(match observed {
            Observed::Sent(_) => "sent",
            Observed::Received(_) => "received",
            Observed::Malformed(_) => "malformed",
            Observed::TooLong => "too long",
            Observed::StartedOver => "started over",
        });
    };
    let start = MonotonicTime::START;
    program.handle_timeout(start, || 2, &mut out, &mut observe);
    HostMessage::InitAck { invocation_id: 1 }.encode(2, &mut line);
    line.extend_from_slice(b"\nnonsense\n");
    line.resize(10_000, b'x');
    program.handle_bytes(start, &line, &mut out, &mut observe);
    program.handle_timeout(start + CHALLENGE_PATIENCE, || 2, &mut out, &mut observe);
    assert_eq!(seen, ["sent", "received", "malformed", "too long", "started over", "sent"]);
}
