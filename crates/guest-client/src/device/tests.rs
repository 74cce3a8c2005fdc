//! With a terminal for a port, which is a character device that hangs up too. What only a virtio port does is tried in
//! a real virtual machine.

use std::fs;
use std::os::fd::AsFd as _;
use std::time::Duration;

use nix::pty::{OpenptyResult, openpty};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use tokio::time::timeout;

use super::*;

/// Only what goes wrong takes that long.
const LONG: Duration = Duration::from_secs(60);

/// A port and the host's end of it.
fn pair() -> (Port, File) {
    let OpenptyResult { master, slave } = openpty(None, None).unwrap();
    let mut raw = tcgetattr(&slave).unwrap();
    cfmakeraw(&mut raw);
    tcsetattr(&slave, SetArg::TCSANOW, &raw).unwrap();
    let path = fs::read_link(format!("/proc/self/fd/{}", slave.as_fd().as_raw_fd())).unwrap();
    (Port::open(&path).unwrap(), File::from(master))
}

#[tokio::test]
async fn what_the_host_writes_is_noticed_and_read() {
    let (mut port, mut host) = pair();
    let mut buffer = [0; 16];
    assert_eq!(port.read(&mut buffer).unwrap(), Read::Nothing);
    for text in [&b"one"[..], b"two"] {
        host.write_all(text).unwrap();
        let found = loop {
            match port.read(&mut buffer).unwrap() {
                Read::Bytes(length) => break &buffer[..length],
                Read::Nothing => timeout(LONG, port.changed()).await.unwrap().unwrap(),
                Read::NoHost => panic!("the host is there"),
            }
        };
        assert_eq!(found, text);
    }
    assert_eq!(port.write(b"three").unwrap(), 5);
    let mut found = [0; 5];
    host.read_exact(&mut found).unwrap();
    assert_eq!(&found, b"three");
}

#[tokio::test]
async fn a_host_that_does_not_read_never_holds_up_the_writer_and_is_noticed_when_it_reads() {
    let (mut port, mut host) = pair();
    let full = loop {
        if let Err(error) = port.write(&[b'x'; 1000]) {
            break error;
        }
    };
    assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    // A terminal takes more only when nearly all is read; its end is an error.
    let reader = std::thread::spawn(move || while host.read(&mut [0; 10_000]).is_ok() {});
    while port.write(b"x").is_err() {
        timeout(LONG, port.changed()).await.unwrap().unwrap();
    }
    drop(port);
    reader.join().unwrap();
}

#[tokio::test]
async fn a_port_that_goes_away_fails_to_be_read() {
    let (mut port, host) = pair();
    let mut buffer = [0; 16];
    drop(host);
    while port.read(&mut buffer).is_ok() {
        timeout(LONG, port.changed()).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn what_is_no_port_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let open = |path: &Path| Port::open(path).unwrap_err().to_string();
    assert_eq!(open(&dir.path().join("cgcs.heartbeat")), "no such port");
    fs::write(dir.path().join("file"), "").unwrap();
    assert_eq!(open(&dir.path().join("file")), "not a character device");
    assert_eq!(open(dir.path()), "not a character device");
}

#[test]
fn a_port_is_found_by_its_name() {
    let ports = tempfile::tempdir().unwrap();
    // The names of devices that are there on every machine.
    for (device, name) in [("null", "com.redhat.spice.0"), ("zero", "cgcs.heartbeat")] {
        fs::create_dir(ports.path().join(device)).unwrap();
        fs::write(ports.path().join(device).join("name"), format!("{name}\n")).unwrap();
    }
    let find = |path: &str| find(Path::new(path), ports.path());
    assert_eq!(find("/dev/virtio-ports/cgcs.heartbeat"), Some("/dev/zero".into()));
    assert_eq!(find("/dev/virtio-ports/other"), None);
}
