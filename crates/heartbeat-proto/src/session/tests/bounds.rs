//! What a guest may ask for, and how often.

use super::harness::{Bench, NOTHING, OFF, ON, T, at, init, millis};
use crate::guest::{GuestMessage, Init};
use crate::session::{Clamped, Note, Reporting, Settings, State};

#[test]
fn intervals_and_times_out_of_bounds_are_changed_and_each_is_told() {
    const HOUR_MS: u64 = 3_600_000;
    const DAY_SECS: u64 = 86_400;
    for asked in [HOUR_MS, HOUR_MS + 1, u64::MAX] {
        let mut bench = Bench::connected();
        bench.say(&GuestMessage::Init(Init { heartbeat_interval_ms: asked, ..init() }));
        let clamped = Note::Clamped(Clamped { key: "heartbeat_interval_ms", asked, used: HOUR_MS });
        assert_eq!(bench.notes().contains(&&clamped), asked > HOUR_MS);
        bench.answer();
        assert_eq!(bench.timeline(HOUR_MS), at([(HOUR_MS, "challenge")]));
    }
    for asked in [0, DAY_SECS, DAY_SECS + 1, u64::MAX] {
        let mut bench = Bench::connected();
        bench.say(&GuestMessage::Init(Init {
            vote_secs: asked,
            shutdown_notice_secs: asked,
            suspend_notice_secs: asked,
            resume_notice_secs: asked,
            restart_secs: asked,
            ..init()
        }));
        let used = asked.min(DAY_SECS);
        let keys: Vec<_> = bench
            .notes()
            .into_iter()
            .filter_map(|note| match note {
                Note::Clamped(clamped) => Some((clamped.key, clamped.asked, clamped.used)),
                _ => None,
            })
            .collect();
        let all = [
            "vote_secs",
            "shutdown_notice_secs",
            "suspend_notice_secs",
            "resume_notice_secs",
            "restart_secs",
        ];
        let expected: Vec<_> = all.into_iter().map(|key| (key, asked, used)).collect();
        assert_eq!(keys, if asked > DAY_SECS { expected } else { vec![] });
        let info = bench.session.info();
        let times = [info.vote_secs, info.shutdown_secs, info.suspend_secs, info.resume_secs];
        assert_eq!((times, info.restart_secs), ([used; 4], used));
    }
}

#[test]
fn an_interval_below_the_hosts_floor_is_raised_to_it() {
    let mut bench = Bench::connected();
    bench.say(&GuestMessage::Init(Init { heartbeat_interval_ms: 100, ..init() }));
    let clamped = Clamped { key: "heartbeat_interval_ms", asked: 100, used: 400 };
    assert_eq!(bench.notes()[0], &Note::Clamped(clamped));
    assert!(matches!(bench.notes()[1], Note::Init { interval, .. } if *interval == millis(400)));
    bench.answer();
    assert_eq!(bench.timeline(800), at([(400, "challenge"), (800, "challenge")]));
    bench.answer();
    let raised = Settings { pulse_floor: millis(700), ..Settings::default() };
    bench.input(|session, _, _| session.handle_settings(raised));
    assert_eq!(bench.alive(1100), at([(400, "challenge"), (1100, "challenge")]), "also later on");
    let lowered = Settings { pulse_floor: millis(50), ..Settings::default() };
    bench.input(|session, _, _| session.handle_settings(lowered));
    bench.alive(700);
    assert_eq!(bench.alive(200), at([(100, "challenge"), (200, "challenge")]), "as it asked");
}

#[test]
fn before_any_init_the_info_holds_the_defaults() {
    for reporting in [ON, OFF, Reporting { host: false, instance: true }] {
        let bench = Bench::with(Settings::default(), reporting);
        let info = bench.session.info();
        assert_eq!((info.reporting, info.heartbeating), (reporting.instance, false));
        assert_eq!(info.repair_action.as_str(), "log");
        let times = [info.vote_secs, info.shutdown_secs, info.suspend_secs, info.resume_secs];
        assert_eq!((times, info.restart_secs), ([10; 4], 120));
    }
}

#[test]
fn a_flood_of_broken_lines_is_counted_but_not_answered_line_by_line() {
    let mut bench = Bench::running();
    let mut nacks = 0;
    for _ in 0..1000 {
        nacks += bench.line("{}").len();
        assert_eq!(bench.notes().len(), 1, "each is counted");
    }
    assert_eq!(nacks, 32);
    bench.now = bench.now + millis(250);
    assert_eq!((0..100).map(|_| bench.line("{}").len()).sum::<usize>(), 2, "8 a second");
    assert_eq!(bench.answer(), NOTHING);
    assert_eq!(bench.session.state(), State::WaitingChallenge, "the heartbeat goes on");
}

#[test]
fn a_flood_of_inits_is_held_to_one_a_second() {
    let mut bench = Bench::connected();
    let say = |bench: &mut Bench| bench.say(&GuestMessage::Init(init())).len();
    assert_eq!((0..100).map(|_| say(&mut bench)).sum::<usize>(), 10 * 2);
    assert_eq!(bench.notes(), [&Note::InitRefused]);
    bench.now = bench.now + millis(T);
    assert_eq!((0..100).map(|_| say(&mut bench)).sum::<usize>(), 2);
    assert_eq!(bench.answer(), ["RUNNING"]);
}

/// A host that stood still finds a whole series of them: the last one, which the guest waits for, is beyond the rate.
#[test]
fn a_guest_whose_init_is_refused_has_until_the_next_one() {
    let mut bench = Bench::running();
    for _ in 0..90 {
        bench.say(&GuestMessage::Init(init()));
    }
    assert_eq!(bench.notes(), [&Note::InitRefused]);
    let refused = bench.now;
    assert_eq!(bench.session.poll_timeout(), Some(refused + millis(1000 + T)));
    bench.now = refused + millis(1000);
    assert_eq!(bench.say(&GuestMessage::Init(init())).len(), 2);
    assert_eq!(bench.answer(), ["RUNNING"]);
    // One that says nothing any more is lost all the same.
    let mut bench = Bench::running();
    for _ in 0..90 {
        bench.say(&GuestMessage::Init(init()));
    }
    let told = bench.timeline(1000 + 2 * T);
    let words: Vec<_> = told.iter().map(|(_, word)| word.as_str()).collect();
    assert!(words.ends_with(&["STOPPED", "LOSS"]), "{told:?}");
}
