use std::os::unix::net::UnixDatagram;
use std::process::{Command, Output};

use super::*;

/// The environment of a running process cannot be changed safely, so this is also run as a child
/// with its own. Alone, without `NOTIFY_SOCKET`, it shows that nothing fails then.
#[test]
fn speaks_to_its_supervisor() {
    let supervisor = Supervisor::from_env();
    supervisor.ready("serving\nREADY=0");
    supervisor.reloading();
    supervisor.watchdog_ping();
    supervisor.stopping();
    println!("interval {:?}", supervisor.watchdog_interval());
}

fn child(variables: &[(&str, &str)]) -> Output {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "supervisor::tests::speaks_to_its_supervisor"])
        .env_remove("NOTIFY_SOCKET")
        .env_remove("WATCHDOG_USEC")
        .env_remove("WATCHDOG_PID")
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

fn interval_of(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    let (_, rest) = text.split_once("interval ").expect("the child's line");
    rest.lines().next().unwrap().to_owned()
}

#[test]
fn messages_as_systemd_expects_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let output = child(&[("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "3000000")]);
    assert_eq!(interval_of(&output), "Some(1.5s)");

    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut buffer = [0; 256];
    let mut next = || {
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    assert_eq!(next(), "READY=1\nSTATUS=serving READY=0\n");
    let reload = next();
    let time = reload.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect("a reload");
    assert!(time.trim_end().parse::<u64>().unwrap() > 0);
    assert_eq!(next(), "WATCHDOG=1\n");
    assert_eq!(next(), "STOPPING=1\n");
}

#[test]
fn the_watchdog_is_for_the_process_it_names() {
    let socket = ("NOTIFY_SOCKET", "/nonexistent/notify");
    let usec = ("WATCHDOG_USEC", "3000000");
    assert_eq!(interval_of(&child(&[socket, usec, ("WATCHDOG_PID", "1")])), "None");
    assert_eq!(interval_of(&child(&[usec])), "None", "nobody to send it to");
    assert_eq!(interval_of(&child(&[socket])), "None");
    assert_eq!(interval_of(&child(&[socket, ("WATCHDOG_USEC", "soon")])), "None");
}

#[test]
fn the_interval_is_half_within_reason() {
    let interval = |usec| ping_interval(Duration::from_micros(usec));
    assert_eq!(interval(0), None);
    assert_eq!(interval(u64::MAX), None);
    assert_eq!(interval(1), Some(MIN_WATCHDOG_INTERVAL));
    assert_eq!(interval(10_000_000), Some(Duration::from_secs(5)));
}

/// Run as a child: tells a supervisor that does not read more than its queue holds, and ends.
#[test]
fn pings_a_supervisor_that_does_not_read() {
    let supervisor = Supervisor::from_env();
    for _ in 0..1000 {
        supervisor.watchdog_ping();
    }
    supervisor.ready("serving");
}

#[test]
fn a_supervisor_that_does_not_read_does_not_hold_up_the_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let _unread = UnixDatagram::bind(&path).unwrap();
    let status = Command::new(env::current_exe().unwrap())
        .args(["--exact", "supervisor::tests::pings_a_supervisor_that_does_not_read"])
        .env("NOTIFY_SOCKET", &path)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
}
