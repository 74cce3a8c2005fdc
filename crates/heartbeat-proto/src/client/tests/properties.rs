//! Random inputs in a random order, and what must hold whatever happens; see `properties/driver.rs` for that.

mod driver;

use std::time::Duration;

use proptest::prelude::*;

use super::harness::settings;
use crate::client::{Health, Settings};
use crate::guest::{CorrectiveAction, EventType, MAX_LINE, NotificationType, VoteResult};
use driver::Driver;

const DAY: u64 = 86_400_000;

#[derive(Debug, Clone)]
enum Step {
    /// Time passes, and the client is called whenever it wants to be.
    Wait(u64),
    /// Time passes while nobody calls the client, which is then called once.
    Oversleep(u64),
    /// The client is called without need.
    Early,
    Opened,
    Closed,
    /// What the host says, in one stream that is cut at these places and lacks those bytes.
    Hear {
        said: Vec<Said>,
        cuts: Vec<usize>,
        lost: Option<(usize, usize)>,
    },
    /// The guest's answer to the action that is open, or to one that was.
    Verdict(VoteResult, bool),
    Health(Health),
    Settings(Settings),
    Exit,
    /// The next numbers that are drawn.
    Random(u32),
}

#[derive(Debug, Clone)]
enum Said {
    InitAck(Id),
    Challenge(u32),
    Action(Id, EventType, NotificationType, u64),
    Nack(Id),
    Bytes(Vec<u8>),
}

/// The session that the host means.
#[derive(Debug, Clone, Copy)]
enum Id {
    Newest,
    Older,
    /// The one before those: too old.
    Oldest,
    Other(u64),
}

fn one_of<T: Copy + std::fmt::Debug + 'static>(all: &'static [T]) -> impl Strategy<Value = T> {
    prop::sample::select(all)
}

fn id() -> impl Strategy<Value = Id> {
    prop_oneof![
        6 => Just(Id::Newest),
        3 => Just(Id::Older),
        2 => Just(Id::Oldest),
        1 => prop_oneof![Just(0), any::<u64>()].prop_map(Id::Other),
    ]
}

fn event() -> impl Strategy<Value = EventType> {
    prop_oneof![
        6 => prop::sample::select(EventType::ALL),
        1 => Just(EventType::from("defragment")),
    ]
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let line = |text: &'static str| Just(text.as_bytes().to_vec());
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        (0..2 * MAX_LINE).prop_map(|length| vec![b'x'; length]),
        line("\n"),
        line("\n{}\n"),
        line("rest\":1}\n"),
        line(r#"{"version":2,"revision":1,"msg_type":"init_ack","sequence":9,"invocation_id":1}"#),
        line(
            "\n{\"version\":4,\"revision\":1,\"msg_type\":\"challenge\",\"sequence\":9,\
             \"heartbeat_challenge\":7}\n"
        ),
        line(
            "\n{\"version\":3,\"revision\":1,\"msg_type\":\"x\",\"sequence\":18446744073709551615}\n"
        ),
        line("\n{\"version\":3,\"revision\":1,\"msg_type\":\"challenge\",\"sequence\":9}\n"),
    ]
}

fn said() -> impl Strategy<Value = Said> {
    let timeout = prop_oneof![8 => 0..12_000u64, 1 => any::<u64>()];
    prop_oneof![
        6 => id().prop_map(Said::InitAck),
        8 => any::<u32>().prop_map(Said::Challenge),
        5 => (id(), event(), one_of(NotificationType::ALL), timeout)
            .prop_map(|(id, event, notification, timeout)| {
                Said::Action(id, event, notification, timeout)
            }),
        1 => id().prop_map(Said::Nack),
        3 => bytes().prop_map(Said::Bytes),
    ]
}

fn hear() -> impl Strategy<Value = Step> {
    let lost = prop_oneof![4 => Just(None), 1 => (0..400usize, 1..80usize).prop_map(Some)];
    let cuts = prop::collection::vec(0..800usize, 0..4);
    (prop::collection::vec(said(), 1..5), cuts, lost).prop_map(|(said, cuts, lost)| Step::Hear {
        said,
        cuts,
        lost,
    })
}

fn health() -> impl Strategy<Value = Health> {
    prop_oneof![
        Just(Health::Healthy),
        (one_of(CorrectiveAction::ALL), "[a-z é]{0,300}").prop_map(|(corrective_action, log)| {
            Health::Unhealthy { corrective_action, log_msg: log.as_str().into() }
        }),
    ]
}

fn some_settings() -> impl Strategy<Value = Settings> {
    let interval = prop_oneof![8 => 0..4000u64, 1 => any::<u64>()];
    let secs = prop_oneof![8 => 0..100u64, 1 => any::<u64>()];
    (interval, secs, 1..3000u64).prop_map(|(heartbeat_interval_ms, vote_secs, retry)| Settings {
        heartbeat_interval_ms,
        vote_secs,
        init_retry: Duration::from_millis(retry),
        ..settings()
    })
}

fn step() -> impl Strategy<Value = Step> {
    let random = prop_oneof![0..8u32, Just(u32::MAX), any::<u32>()];
    prop_oneof![
        16 => (0..5000u64).prop_map(Step::Wait),
        1 => (0..60_000u64).prop_map(Step::Wait),
        4 => (0..12_000u64).prop_map(Step::Oversleep),
        1 => (0..2 * DAY).prop_map(Step::Oversleep),
        4 => Just(Step::Early),
        6 => Just(Step::Opened),
        3 => Just(Step::Closed),
        40 => hear(),
        8 => (one_of(VoteResult::ALL), prop::bool::weighted(0.7))
            .prop_map(|(result, open)| Step::Verdict(result, open)),
        3 => health().prop_map(Step::Health),
        3 => some_settings().prop_map(Step::Settings),
        1 => Just(Step::Exit),
        2 => random.prop_map(Step::Random),
    ]
}

/// Random steps, most of the time after an acknowledged `init`: that is where things happen.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let begun = prop::bool::weighted(0.8);
    (begun, prop::collection::vec(step(), 0..60)).prop_map(|(begun, steps)| {
        let acknowledged =
            Step::Hear { said: vec![Said::InitAck(Id::Newest)], cuts: Vec::new(), lost: None };
        let beginning = [Step::Opened, Step::Wait(0), acknowledged];
        beginning.into_iter().filter(|_| begun).chain(steps).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(768))]

    #[test]
    fn whatever_happens_what_the_guest_says_makes_sense(steps in steps()) {
        Driver::new().run(steps);
    }
}
