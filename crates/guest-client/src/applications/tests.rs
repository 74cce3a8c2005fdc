use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn at(millis: u64) -> MonotonicTime {
    MonotonicTime::after_start(Duration::from_millis(millis))
}

fn registration(name: &str, interval: Option<Duration>) -> Registration {
    let corrective_action = Some(CorrectiveAction::Stop);
    Registration { name: name.into(), interval, corrective_action, votes: false }
}

fn one() -> Applications {
    let mut applications = Applications::default();
    applications.register(at(0), Id(1), registration("db", Some(SECOND))).unwrap();
    assert_eq!(news(&mut applications), [("db", News::Registered)]);
    applications
}

fn news(applications: &mut Applications) -> Vec<(&'static str, News)> {
    std::iter::from_fn(|| applications.poll_news())
        .map(|(name, news)| (&*Box::leak(name.into_boxed_str()), news))
        .collect()
}

fn reasons(applications: &Applications) -> Vec<String> {
    applications.troubles(CorrectiveAction::Log).map(|trouble| trouble.reason).collect()
}

#[test]
fn a_beat_in_time_is_no_news_and_one_missed_beat_is_trouble_until_the_next() {
    let mut applications = one();
    for n in 1..10 {
        applications.beat(at(n * 1000), Id(1)).unwrap();
        applications.handle_timeout(at(n * 1000 + 999));
    }
    assert_eq!(applications.poll_timeout(), Some(at(10_500)));
    assert!(news(&mut applications).is_empty() && reasons(&applications).is_empty());
    applications.handle_timeout(at(10_500));
    assert_eq!(news(&mut applications), [("db", News::Missed)]);
    assert_eq!(applications.poll_timeout(), None, "told once");
    let troubles: Vec<Trouble> = applications.troubles(CorrectiveAction::Log).collect();
    let reason = "db: no beat for 1500 ms".to_owned();
    let corrective_action = CorrectiveAction::Stop;
    assert_eq!(troubles, [Trouble { since: at(10_500), corrective_action, reason }]);
    applications.beat(at(20_000), Id(1)).unwrap();
    assert_eq!(news(&mut applications), [("db", News::Well)]);
    assert_eq!(applications.poll_timeout(), Some(at(21_500)));
}

#[test]
fn time_that_this_program_lost_is_not_held_against_an_application() {
    for late in [21, 400, 1001] {
        let mut applications = one();
        applications.handle_timeout(at(1500 + late));
        let lost = News::LostTime(Duration::from_millis(late));
        assert_eq!(news(&mut applications), [("db", lost)]);
        assert_eq!(applications.poll_timeout(), Some(at(1500 + late + 1500)));
        assert!(reasons(&applications).is_empty());
    }
}

#[test]
fn where_every_timer_is_a_little_late_a_missed_beat_is_noticed_all_the_same() {
    let mut applications = one();
    applications.handle_timeout(at(1600));
    applications.handle_timeout(at(3200));
    assert_eq!(news(&mut applications).last(), Some(&("db", News::Missed)));
    // Each beat gives it back.
    applications.beat(at(4000), Id(1)).unwrap();
    applications.handle_timeout(at(5600));
    assert!(reasons(&applications).is_empty());
}

#[test]
fn one_that_says_that_it_is_not_well_stays_so_until_it_beats() {
    let mut applications = one();
    applications.unhealthy(at(100), Id(1), "no\ndisk").unwrap();
    applications.unhealthy(at(200), Id(1), "no\ndisk").unwrap();
    assert_eq!(news(&mut applications), [("db", News::Unwell("db: no disk".into()))]);
    assert_eq!(applications.poll_timeout(), Some(at(1700)), "it counts as a beat");
    applications.unhealthy(at(300), Id(1), "no net").unwrap();
    let since = applications.troubles(CorrectiveAction::Log).next().unwrap().since;
    assert_eq!((since, reasons(&applications)), (at(100), vec!["db: no net".to_owned()]));
    // Falling silent on top of it is told, and changes nothing else.
    applications.handle_timeout(at(1810));
    assert_eq!(reasons(&applications), ["db: no net"]);
    applications.beat(at(1900), Id(1)).unwrap();
    assert!(reasons(&applications).is_empty());
}

#[test]
fn one_that_dies_is_trouble_until_its_name_registers_again() {
    let mut applications = one();
    applications.closed(at(700), Id(1));
    assert_eq!(news(&mut applications), [("db", News::Gone)]);
    assert_eq!(reasons(&applications), ["db: gone without deregistering"]);
    assert_eq!(applications.poll_timeout(), None);
    assert!(applications.beat(at(800), Id(1)).is_err());
    applications.register(at(900), Id(2), registration("db", None)).unwrap();
    assert!(reasons(&applications).is_empty());
    applications.deregister(Id(2)).unwrap();
    applications.closed(at(1000), Id(2));
    assert_eq!(news(&mut applications), [("db", News::Registered), ("db", News::Left)]);
    assert_eq!(applications.known().count(), 0);
}

#[test]
fn a_name_belongs_to_one_connection_and_a_connection_may_register_anew() {
    let mut applications = one();
    let error = applications.register(at(1), Id(2), registration("db", None)).unwrap_err();
    assert_eq!(error, "the name db is registered by another connection");
    let asks = Registration { votes: true, ..registration("db", None) };
    applications.register(at(2), Id(1), asks).unwrap();
    assert_eq!(applications.poll_timeout(), None);
    assert_eq!(applications.voters().collect::<Vec<_>>(), [Id(1)]);
    assert_eq!(applications.name(Id(1)), Some("db"));
}

#[test]
fn one_that_is_silent_gives_its_name_to_the_next() {
    let mut applications = one();
    applications.handle_timeout(at(1500));
    applications.register(at(1600), Id(2), registration("db", Some(SECOND))).unwrap();
    assert!(reasons(&applications).is_empty());
    assert!(applications.beat(at(1700), Id(1)).is_err());
    // The end of the former one means nothing.
    applications.closed(at(1800), Id(1));
    assert!(reasons(&applications).is_empty());
}

#[test]
fn what_they_hold_is_bounded() {
    let mut applications = Applications::default();
    for n in 0..200 {
        let taken = applications.register(at(n), Id(n), registration(&format!("a{n}"), None));
        assert_eq!(taken.is_ok(), n < 64, "{n}: {taken:?}");
        applications.closed(at(n), Id(n));
    }
    assert_eq!(applications.known().count(), MAX_APPLICATIONS);
    applications.register(at(300), Id(300), registration("a7", None)).unwrap();
}
