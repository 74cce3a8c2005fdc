use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use heartbeat_proto::guest::NotificationType;
use tempfile::TempDir;
use tokio::time::timeout;

use super::*;
use crate::ballot::tests::action;

/// Only what goes wrong takes that long.
const LONG: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_secs(30);

fn at(secs: u64) -> MonotonicTime {
    MonotonicTime::after_start(Duration::from_secs(secs))
}

struct Bench {
    dir: TempDir,
    scripts: Scripts,
}

impl Bench {
    fn new(body: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let health = Some(dir.path().join("health"));
        let scripts = Scripts::new(at(0), health, INTERVAL, None);
        let bench = Self { dir, scripts };
        bench.write(body);
        bench
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("health")
    }

    fn write(&self, body: &str) {
        let new = self.dir.path().join("new");
        fs::write(&new, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(new, self.path()).unwrap();
    }

    /// Lets a check that is due run to its end.
    async fn check(&mut self, secs: u64) -> Option<Checked> {
        assert_eq!(self.scripts.handle_timeout(at(secs)), None);
        let ended = timeout(LONG, self.scripts.next()).await.unwrap();
        let Ended::Check(outcome) = ended else { panic!("{ended:?}") };
        self.scripts.handle_check(at(secs), outcome)
    }

    fn reason(&self) -> Option<String> {
        self.scripts.trouble(CorrectiveAction::Log).map(|trouble| trouble.reason)
    }
}

#[tokio::test]
async fn the_first_check_comes_after_an_interval_and_a_change_is_told_once() {
    let mut bench = Bench::new("exit 0");
    assert_eq!(bench.scripts.poll_timeout(), Some(at(30)));
    assert_eq!(bench.scripts.handle_timeout(at(29)), None);
    assert!(bench.scripts.checking.is_none());
    assert_eq!(bench.check(30).await, None);
    bench.write("echo no disk; exit 1");
    assert_eq!(bench.check(60).await, Some(Checked::Unwell("no disk".into())));
    assert_eq!(bench.check(90).await, None);
    let trouble = bench.scripts.trouble(CorrectiveAction::Stop).unwrap();
    assert_eq!((trouble.since, trouble.reason.as_str()), (at(60), "no disk"));
    bench.write("echo no net; exit 1");
    assert_eq!(bench.check(120).await, Some(Checked::Unwell("no net".into())));
    assert_eq!(bench.scripts.trouble(CorrectiveAction::Stop).unwrap().since, at(60));
    bench.write("exit 0");
    assert_eq!(bench.check(150).await, Some(Checked::Well));
    assert_eq!(bench.reason(), None);
}

#[tokio::test]
async fn one_that_still_runs_when_the_next_is_due_is_killed_and_unhealthy() {
    let mut bench = Bench::new("sleep 1000");
    assert_eq!(bench.scripts.handle_timeout(at(30)), None);
    let unwell = Checked::Unwell("health check still running after 30 s".into());
    assert_eq!(bench.scripts.handle_timeout(at(60)), Some(unwell));
    assert_eq!(bench.scripts.handle_timeout(at(90)), None, "told once");
    bench.write("exit 0");
    assert_eq!(bench.check(120).await, Some(Checked::Well));
}

#[tokio::test]
async fn one_that_had_no_time_to_run_is_not_blamed() {
    for late in [Duration::from_millis(21), Duration::from_millis(500), Duration::from_secs(31)] {
        let mut bench = Bench::new("sleep 1000");
        assert_eq!(bench.scripts.handle_timeout(at(30)), None);
        // The next one was due at 60 s, and nobody was scheduled until now.
        let now = at(60) + late;
        assert_eq!(bench.scripts.handle_timeout(now), None);
        assert_eq!((bench.reason(), bench.scripts.poll_timeout()), (None, Some(now + INTERVAL)));
        assert!(bench.scripts.handle_timeout(now + INTERVAL + late / 2).is_some(), "once");
    }
}

#[tokio::test]
async fn one_that_cannot_be_run_is_no_check_and_said_once() {
    let mut bench = Bench::new("echo no disk; exit 1");
    assert!(bench.check(30).await.is_some());
    fs::remove_file(bench.path()).unwrap();
    let Some(Checked::Impossible(why)) = bench.check(60).await else { panic!("not told") };
    assert_eq!(bench.scripts.health().1, Some(why.as_str()));
    assert_eq!((bench.check(90).await, bench.reason()), (None, None));
    bench.write("exit 0");
    assert_eq!(bench.check(120).await, Some(Checked::Possible));
    assert_eq!(bench.scripts.health().1, None);
}

#[tokio::test]
async fn another_script_begins_anew_and_the_same_one_goes_on() {
    let mut bench = Bench::new("echo no disk; exit 1");
    assert!(bench.check(30).await.is_some());
    bench.scripts.configure(at(40), Some(bench.path()), INTERVAL, None);
    assert_eq!(bench.scripts.poll_timeout(), Some(at(60)));
    let shorter = Duration::from_secs(5);
    bench.scripts.configure(at(40), Some(bench.path()), shorter, None);
    assert_eq!((bench.scripts.poll_timeout(), bench.reason().is_some()), (Some(at(45)), true));
    bench.scripts.configure(at(40), None, INTERVAL, None);
    assert_eq!((bench.scripts.poll_timeout(), bench.reason()), (None, None));
}

#[tokio::test]
async fn an_event_that_follows_another_at_once_is_put_to_the_script_all_the_same() {
    let mut bench = Bench::new("exit 0");
    bench.scripts.configure(at(0), None, INTERVAL, Some(bench.path()));
    let action = action(NotificationType::Revocable);
    for _ in 0..3 {
        assert!(bench.scripts.ask(&action));
        // The first of them may be in the middle of its start.
        tokio::task::yield_now().await;
    }
    let ended = timeout(LONG, bench.scripts.next()).await.unwrap();
    let Ended::Event(id, outcome) = ended else { panic!("{ended:?}") };
    assert_eq!((id, outcome), (action.id, Outcome::Success));
}
