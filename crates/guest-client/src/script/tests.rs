use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::timeout;

use super::*;

/// Only what goes wrong takes that long.
const LONG: Duration = Duration::from_secs(60);

fn script(dir: &TempDir, body: &str) -> PathBuf {
    let path = dir.path().join("script");
    fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

async fn outcome(body: &str) -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    let path = script(&dir, body);
    timeout(LONG, run(&Start::default(), &path, &["revocable", "stop"])).await.unwrap()
}

fn failure(line: &str) -> Outcome {
    Outcome::Failure(line.into())
}

#[tokio::test]
async fn the_exit_status_and_the_first_line_count() {
    assert_eq!(outcome("exit 0").await, Outcome::Success);
    assert_eq!(outcome("echo fine; exit 0").await, Outcome::Success);
    assert_eq!(outcome("echo; echo no disk; echo more; exit 3").await, failure("no disk"));
    assert_eq!(outcome("echo no disk >&2; exit 3").await, failure("no disk"));
    assert_eq!(outcome("exit 3").await, failure("exit status 3"));
    assert_eq!(outcome("kill -9 $$").await, failure("killed by signal 9"));
    assert_eq!(outcome("printf 'no newline'; exit 1").await, failure("no newline"));
    assert_eq!(outcome("echo \"$1 $2 $#\"; exit 1").await, failure("revocable stop 2"));
}

#[tokio::test]
async fn it_may_print_binary_and_a_hundred_megabytes() {
    let long =
        outcome("printf '\\377\\000\\033[2Jx\\n'; head -c 100000000 /dev/zero; exit 1").await;
    assert_eq!(long, failure("\u{fffd}  [2Jx"));
    let line = "head -c 100000000 /dev/zero | tr '\\0' x; exit 1";
    assert_eq!(outcome(line).await, failure(&"x".repeat(223)));
}

#[tokio::test]
async fn one_that_cannot_be_run_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let not_run = |why: &str| Outcome::NotRun(why.into());
    let missing = dir.path().join("missing");
    assert_eq!(
        run(&Start::default(), &missing, &[]).await,
        not_run("there is no such file, or its interpreter")
    );
    let path = script(&dir, "exit 0");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(
        run(&Start::default(), &path, &[]).await,
        not_run("it is not executable for this user")
    );
    fs::write(&path, b"\x00\x01\x02\x03").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let Outcome::NotRun(why) = run(&Start::default(), &path, &[]).await else { panic!("it ran") };
    assert!(why.contains("format"), "{why}");
    assert!(matches!(run(&Start::default(), dir.path(), &[]).await, Outcome::NotRun(_)));
}

#[tokio::test]
async fn one_that_is_being_written_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = script(&dir, "exit 0");
    let writer = fs::OpenOptions::new().append(true).open(&path).unwrap();
    let written = async {
        tokio::time::sleep(BUSY_PAUSE).await;
        drop(writer);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        outcome = outcome_of(&path) => assert_eq!(outcome, Outcome::Success),
        () = written => {}
    }
}

async fn outcome_of(path: &std::path::Path) -> Outcome {
    timeout(LONG, run(&Start::default(), path, &[])).await.unwrap()
}

#[tokio::test]
async fn what_it_leaves_running_does_not_hold_up_the_answer() {
    let answer = outcome("sleep 1000 & echo $!; exit 1").await;
    let Outcome::Failure(pid) = answer else { panic!("{answer:?}") };
    let left = Pid::from_raw(pid.parse().unwrap());
    nix::sys::signal::kill(left, Signal::SIGKILL).unwrap();
}

#[tokio::test]
async fn dropping_it_kills_all_that_it_started() {
    let dir = tempfile::tempdir().unwrap();
    let pids = dir.path().join("pids");
    let body = format!("sleep 1000 & echo $! > {0}.new; mv {0}.new {0}; wait", pids.display());
    let path = script(&dir, &body);
    let started = async {
        while !pids.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let start = Start::default();
    tokio::select! {
        outcome = run(&start, &path, &[]) => panic!("it ended: {outcome:?}"),
        started = timeout(LONG, started) => started.unwrap(),
    }
    let child = Pid::from_raw(fs::read_to_string(&pids).unwrap().trim().parse().unwrap());
    let gone = async {
        // A zombie that nobody has buried yet is gone too.
        let stat = PathBuf::from(format!("/proc/{child}/stat"));
        while fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, gone).await.unwrap();
}

#[tokio::test]
async fn it_has_no_part_in_what_systemd_gave_us() {
    // The variables of this very test would show: cargo sets none of them.
    assert_eq!(outcome("echo \"<$NOTIFY_SOCKET$LISTEN_FDS>\"; exit 1").await, failure("<>"));
}

#[tokio::test]
async fn while_a_start_hangs_the_next_waits_and_then_runs() {
    let dir = tempfile::tempdir().unwrap();
    let path = script(&dir, "exit 0");
    let start = Start::default();
    let hanging = Arc::clone(&start.0).try_acquire_owned().unwrap();
    // One that nobody waits for any more leaves no trace.
    let waits = timeout(Duration::from_millis(20), run(&start, &path, &[])).await;
    assert!(waits.is_err(), "{waits:?}");
    drop(hanging);
    assert_eq!(timeout(LONG, run(&start, &path, &[])).await.unwrap(), Outcome::Success);
}

#[test]
fn blank_lines_are_skipped_however_many() {
    let mut line = FirstLine::default();
    for _ in 0..100 {
        line.push(&[b' '; 900]);
        line.push(b"\n\t\r\n");
    }
    line.push(b"  found\nmore");
    assert_eq!(line.bytes, b"  found");
}
