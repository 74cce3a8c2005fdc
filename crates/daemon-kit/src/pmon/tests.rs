//! Sockets on loopback play pmon.

use super::*;

#[test]
fn a_question_is_answered_with_its_number_turned_over_and_its_sequence() {
    for (question, wanted) in [
        ("guestServer 12345678 1", "guestServer edcba987 1"),
        ("guestServer 12345678 4294967295", "guestServer edcba987 4294967295"),
        ("guestServer 12345678 7\0", "guestServer edcba987 7"),
        ("guestServer  12345678\t7\n", "guestServer edcba987 7"),
    ] {
        assert_eq!(answer("guestServer", question.as_bytes()).as_deref(), Some(wanted));
    }
}

#[test]
fn what_is_no_question_has_no_answer() {
    for question in [
        &b""[..],
        b"guestServer",
        b"guestServer 12345678",
        b"guestServer 12345678 ",
        b"guestServer 12345679 1",
        b"guestServer edcba987 1",
        b"guestServer +12345678 1",
        b"guestServer 112345678 1",
        b"guestServer 12345678 -1",
        b"guestServer 12345678 +1",
        b"guestServer 12345678 a",
        b"guestServer 12345678 4294967296",
        b"guestServer 12345678 1 1",
        b"guestserver 12345678 1",
        b"guestAgent 12345678 1",
        b"\xff 12345678 1",
        b"guestServer 12345678 1\0\0 2",
        &[b'9'; 4096],
    ] {
        assert_eq!(answer("guestServer", question), None, "{question:?}");
    }
}

#[tokio::test]
async fn each_question_has_one_answer_and_it_goes_to_pmon() {
    let pmon = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let asker = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = pmon.local_addr().unwrap().port();
    let mut asked = Line::bind("guestServer", 0, port).unwrap();
    let to = asked.socket.local_addr().unwrap();
    assert!(to.ip().is_loopback());
    let settings = PmonSettings { active_port: Some(to.port()), pmon_port: port };
    let taken = Pmon::start("guestServer", &settings).unwrap_err().message;
    assert!(taken.contains("[pmon] active_port"), "{taken}");

    for (question, wanted) in [
        ("guestServer 12345678 1", Pulse::Answered),
        ("guestServer 87654321 2", Pulse::Ignored),
        ("", Pulse::Ignored),
        ("guestServer 12345678 3", Pulse::Answered),
    ] {
        asker.send_to(question.as_bytes(), to).await.unwrap();
        assert_eq!(asked.next().await, wanted, "{question}");
    }
    let mut room = [0; 64];
    for sequence in [1, 3] {
        let length = pmon.recv(&mut room).await.unwrap();
        assert_eq!(&room[..length], format!("guestServer edcba987 {sequence}").as_bytes());
    }
    assert!(pmon.try_recv(&mut room).is_err(), "one answer a question");
    assert!(asker.try_recv(&mut room).is_err(), "none to the asker");
}

#[tokio::test]
async fn a_pmon_that_is_not_there_does_no_harm() {
    let port = {
        let gone = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        gone.local_addr().unwrap().port()
    };
    let mut asked = Line::bind("guestServer", 0, port).unwrap();
    let to = asked.socket.local_addr().unwrap();
    let asker = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    for _ in 0..3 {
        asker.send_to(b"guestServer 12345678 1", to).await.unwrap();
        assert_eq!(asked.next().await, Pulse::Answered);
    }
}

fn read(ini: &str) -> Result<PmonSettings, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("daemon.ini");
    std::fs::write(&path, ini).unwrap();
    let sources = Sources::read(Some(&path), "", &PmonSettings::KEYS).unwrap();
    assert_eq!(sources.warnings, Vec::<String>::new());
    PmonSettings::read(&sources).map_err(|failure| failure.message)
}

#[tokio::test]
async fn it_is_off_unless_told() {
    let off = PmonSettings { active_port: None, pmon_port: 2200 };
    assert_eq!(read("").unwrap(), off);
    assert_eq!(read("[pmon]\nactive_port = 0\n").unwrap(), off);
    assert_eq!(off.to_string(), "pmon-active-port = off\npmon-port = 2200\n");
    let mut nobody = Pmon::start("guestServer", &off).unwrap();
    assert_eq!(nobody.address(), None);
    assert!(tokio::time::timeout(Duration::ZERO, nobody.next()).await.is_err());
}

#[test]
fn the_keys_are_checked_and_their_changes_named() {
    let on = read("[pmon]\nactive_port = 2412\npmon_port = 2201\n").unwrap();
    assert_eq!(on, PmonSettings { active_port: Some(2412), pmon_port: 2201 });
    let changes: Vec<Change> = on.changes(&read("").unwrap()).collect();
    assert_eq!(changes.len(), 2, "{changes:?}");
    assert_eq!((&*changes[0].old, &*changes[0].new), ("off", "2412"));
    assert_eq!(on.changes(&on).count(), 0);
    for (ini, wanted) in [
        (
            "[pmon]\nactive_port = 65536\n",
            "[pmon] active_port = 65536: expected a whole number from 0",
        ),
        (
            "[pmon]\npmon_port = 0\n",
            "[pmon] pmon_port = 0: expected a whole number from 1 to 65535",
        ),
    ] {
        let message = read(ini).unwrap_err();
        assert!(message.contains(wanted), "{message}");
    }
}
