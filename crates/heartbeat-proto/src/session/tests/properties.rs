//! Random inputs in a random order, and what must hold whatever happens; see `properties/driver.rs`
//! for that.

mod driver;

use proptest::prelude::*;

use super::harness::{DAY, ON, millis};
use crate::guest::{
    ActionResponse, CorrectiveAction, EventType, Health, Init, NotificationType, VoteResult,
};
use crate::session::{ConnectError, Reporting, Settings};
use driver::Driver;

#[derive(Debug, Clone)]
enum Step {
    /// Time passes, and the session is called whenever it wants to be.
    Wait(u64),
    /// Time passes while nobody calls the session, which is then called once.
    Oversleep(u64),
    Init(Init),
    /// An answer to the newest challenge.
    Answer(Health, CorrectiveAction),
    WrongAnswer(u64),
    Vote(ActionResponse),
    Exit,
    Line(Vec<u8>, bool),
    TooLong,
    Action(EventType, NotificationType),
    Reporting(Reporting),
    Settings(Settings),
    Connected,
    ConnectFailed(ConnectError),
    Closed,
    ChannelSeen,
    ChannelChanged,
    ChannelGone,
    Provisioned,
    Deleted,
}

fn event() -> impl Strategy<Value = EventType> {
    prop_oneof![
        6 => prop::sample::select(EventType::ALL),
        3 => prop::sample::select(vec![EventType::Pause, EventType::Unpause]),
        3 => prop::sample::select(vec![EventType::Suspend, EventType::Resume]),
        1 => Just(EventType::from("defragment")),
    ]
}

fn one_of<T: Copy + std::fmt::Debug + 'static>(all: &'static [T]) -> impl Strategy<Value = T> {
    prop::sample::select(all)
}

fn init_step() -> impl Strategy<Value = Step> {
    let interval = prop_oneof![8 => 0..3000u64, 1 => any::<u64>()];
    let secs = prop_oneof![8 => 0..100u64, 1 => any::<u64>()];
    (40..44u64, interval, prop::array::uniform5(secs), one_of(CorrectiveAction::ALL)).prop_map(
        |(invocation_id, heartbeat_interval_ms, secs, corrective_action)| {
            let [vote, shutdown, suspend, resume, restart] = secs;
            Step::Init(Init {
                invocation_id,
                name: "".into(),
                heartbeat_interval_ms,
                vote_secs: vote,
                shutdown_notice_secs: shutdown,
                suspend_notice_secs: suspend,
                resume_notice_secs: resume,
                restart_secs: restart,
                corrective_action,
            })
        },
    )
}

fn vote_step() -> impl Strategy<Value = Step> {
    (40..44u64, event(), one_of(NotificationType::ALL), one_of(VoteResult::ALL)).prop_map(
        |(invocation_id, event_type, notification_type, vote_result)| {
            let log_msg = "".into();
            let answer = (invocation_id, event_type, notification_type, vote_result);
            let (invocation_id, event_type, notification_type, vote_result) = answer;
            Step::Vote(ActionResponse {
                invocation_id,
                event_type,
                notification_type,
                vote_result,
                log_msg,
            })
        },
    )
}

fn line_step() -> impl Strategy<Value = Step> {
    let bytes = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        Just(b"{}".to_vec()),
        Just(br#"{"version":2,"revision":1,"msg_type":"init","sequence":9}"#.to_vec()),
        Just(br#"{"version":3,"revision":1,"msg_type":"whatever","sequence":18446744073709551615}"#.to_vec()),
        Just(br#"{"version":3,"revision":1,"msg_type":"action_response","sequence":9,"invocation_id":1}"#.to_vec()),
    ];
    (bytes, any::<bool>()).prop_map(|(bytes, leading)| Step::Line(bytes, leading))
}

/// What may happen to a guest that does as it should, and to its host.
fn quiet_step() -> impl Strategy<Value = Step> {
    let settings = (400..1500u64, 0..3u32).prop_map(|(floor, failure_threshold)| {
        Step::Settings(Settings { pulse_floor: millis(floor), failure_threshold })
    });
    prop_oneof![
        20 => (0..5000u64).prop_map(Step::Wait),
        1 => (0..130_000u64).prop_map(Step::Wait),
        6 => init_step(),
        2 => any::<u64>().prop_map(Step::WrongAnswer),
        6 => vote_step(),
        2 => Just(Step::Exit),
        2 => line_step(),
        1 => Just(Step::TooLong),
        12 => (event(), one_of(NotificationType::ALL)).prop_map(|(e, n)| Step::Action(e, n)),
        4 => (any::<bool>(), any::<bool>())
            .prop_map(|(host, instance)| Step::Reporting(Reporting { host, instance })),
        4 => Just(Step::Reporting(ON)),
        2 => settings,
        12 => Just(Step::Connected),
        3 => Just(Step::ConnectFailed(ConnectError::Unavailable)),
        3 => Just(Step::Closed),
        2 => Just(Step::ChannelSeen),
        2 => Just(Step::ChannelChanged),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        60 => quiet_step(),
        15 => (one_of(Health::ALL), one_of(CorrectiveAction::ALL))
            .prop_map(|(health, action)| Step::Answer(health, action)),
        6 => (0..5000u64).prop_map(Step::Oversleep),
        1 => (0..2 * DAY).prop_map(Step::Oversleep),
        1 => Just(Step::ConnectFailed(ConnectError::NotFound)),
        1 => Just(Step::ChannelGone),
        1 => Just(Step::Provisioned),
        1 => Just(Step::Deleted),
    ]
}

/// Random steps, most of the time after a connection and an `init`: that is where things happen.
fn steps(step: impl Strategy<Value = Step>) -> impl Strategy<Value = Vec<Step>> {
    let begun = prop::bool::weighted(0.8);
    (begun, init_step(), prop::collection::vec(step, 0..50)).prop_map(|(begun, init, steps)| {
        let beginning = [Step::Connected, init].into_iter().filter(|_| begun);
        beginning.chain(steps).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(768))]

    #[test]
    fn whatever_happens_what_comes_out_makes_sense(
        provisioned: bool,
        steps in steps(any_step()),
    ) {
        Driver::new(provisioned, None).run(steps);
    }

    #[test]
    fn a_guest_that_answers_in_time_is_never_lost_whatever_else_happens(
        percent in 0..=100u32,
        steps in steps(quiet_step()),
    ) {
        let mut driver = Driver::new(true, Some(percent));
        driver.run(steps);
        prop_assert_eq!(driver.losses, 0);
    }
}
