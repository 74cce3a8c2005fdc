//! Shell scripts play the daemon.

use std::os::unix::fs::PermissionsExt;

use super::*;

const LONG: Duration = Duration::from_secs(10);

/// A script in a directory of its own.
fn script(body: &str) -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("someDaemon");
    // Written by another process: one that is forked meanwhile must not hold it open for writing.
    let status = std::process::Command::new("sh")
        .args(["-c", "printf '#!/bin/sh\\n%s\\n' \"$2\" > \"$1\"", "sh"])
        .arg(&path)
        .arg(body)
        .status()
        .unwrap();
    assert!(status.success());
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    (dir, path)
}

#[tokio::test]
async fn it_is_told_where_to_run_and_its_output_is_kept() {
    let (_dir, path) = script("echo \"$@\"; echo \"$COLOUR\" >&2; exit 3");
    let mut daemon = Daemon::start(&path, ["--bind", "::1"], &[("COLOUR", "green")]).unwrap();
    assert_eq!(daemon.wait_exit(LONG).await.unwrap().code(), Some(3));
    assert_eq!(daemon.stdout(), format!("--run-dir {} --bind ::1\n", daemon.run_dir().display()));
    assert_eq!(daemon.stderr(), "green\n");
    assert!(daemon.signal(Signal::SIGTERM).is_err());
    assert!(daemon.rss_kib().is_err());
}

#[tokio::test]
async fn a_daemon_that_ends_before_it_is_ready_is_quoted() {
    let (_dir, path) = script("echo 'no such address' >&2; exit 3");
    let mut daemon = Daemon::start(&path, [""; 0], &[]).unwrap();
    let error = format!("{:#}", daemon.wait_ready(LONG).await.unwrap_err());
    assert!(error.contains("no such address"), "{error}");
    assert!(error.contains("ended before it was ready: exit status: 3"), "{error}");
}

#[tokio::test]
async fn it_is_watched_and_stopped() {
    let (_dir, path) =
        script("trap 'echo bye >&2; exit 0' TERM; echo up >&2; while :; do sleep 0.01; done");
    let mut daemon = Daemon::start(&path, [""; 0], &[]).unwrap();
    daemon.wait_log("up", LONG, |line| line == "up").await.unwrap();
    assert!(daemon.rss_kib().unwrap() > 100);
    assert!(daemon.cpu_time().unwrap() > Duration::ZERO);
    crate::wait::until("it slept", LONG, || daemon.voluntary_ctxt_switches().unwrap() > 0)
        .await
        .unwrap();
    assert!(daemon.open_files().unwrap() >= 3);
    assert!(daemon.stop(LONG).await.unwrap().success());
    assert_eq!(daemon.stderr(), "up\nbye\n");
}

#[tokio::test]
async fn it_is_killed_and_its_directory_outlives_it() {
    let (_dir, path) = script("touch \"$2/mark\"; echo up >&2; exec sleep 1000");
    let daemon = Daemon::start(&path, [""; 0], &[]).unwrap();
    daemon.wait_log("up", LONG, |line| line == "up").await.unwrap();
    let pid = daemon.pid();
    let dir = daemon.into_dir().await.unwrap();
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    let daemon = Daemon::start_in(dir, &path, [""; 0], &[]).unwrap();
    assert!(daemon.run_dir().join("mark").exists());
}

#[tokio::test]
async fn ready_is_a_line_of_a_notification() {
    let (_dir, path) = script("exec sleep 1000");
    let mut daemon = Daemon::start(&path, [""; 0], &[]).unwrap();
    let supervisor = daemon.dir.path().join("notify");
    let socket = std::os::unix::net::UnixDatagram::unbound().unwrap();
    socket.send_to(b"STATUS=READY=1", &supervisor).unwrap();
    assert!(daemon.wait_ready(Duration::from_millis(20)).await.is_err());
    socket.send_to(b"READY=1\nSTATUS=up", &supervisor).unwrap();
    assert!(daemon.wait_ready(LONG).await.unwrap() < LONG);
    daemon.wait_notification("STATUS=up", LONG).await.unwrap();
}

#[tokio::test]
async fn the_control_socket_is_asked() {
    let (_dir, path) = script("exec sleep 1000");
    let daemon = Daemon::start(&path, [""; 0], &[]).unwrap();
    let listener =
        tokio::net::UnixListener::bind(daemon.run_dir().join("someDaemon.sock")).unwrap();
    let answer = async {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        stream.write_all(b"{\"guests\":3}\n").await.unwrap();
        line
    };
    let (status, asked) = tokio::join!(daemon.status(), answer);
    assert_eq!(status.unwrap()["guests"], 3);
    assert_eq!(asked, "{\"request\":\"status\"}\n");
}
