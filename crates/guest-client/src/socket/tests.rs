use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::*;

/// Only what goes wrong takes that long.
const LONG: Duration = Duration::from_secs(60);

struct Bench {
    dir: TempDir,
    events: mpsc::Receiver<Event>,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let events = Socket::open(&dir.path().join("sock")).unwrap().spawn();
        Self { dir, events }
    }

    async fn connect(&mut self) -> (UnixStream, Id, mpsc::Sender<Value>) {
        let stream = UnixStream::connect(self.dir.path().join("sock")).await.unwrap();
        match self.next().await {
            Event { id, what: What::Connected(answers) } => (stream, id, answers),
            other => panic!("{other:?}"),
        }
    }

    async fn next(&mut self) -> Event {
        timeout(LONG, self.events.recv()).await.unwrap().unwrap()
    }
}

#[tokio::test]
async fn lines_come_as_messages_and_what_is_none_is_answered() {
    let mut bench = Bench::new();
    let (mut stream, id, answers) = bench.connect().await;
    let long = "x".repeat(5000);
    let said = format!("{{\"type\":\"beat\"}}\nwhat\n{long}\n{{\"type\":\"status\"}}\n");
    stream.write_all(said.as_bytes()).await.unwrap();
    for wanted in [Said::Beat, Said::Status] {
        let event = bench.next().await;
        assert_eq!(event.id, id);
        assert!(matches!(event.what, What::Said(said) if said == wanted));
    }
    answers.send(message::deregistered()).await.unwrap();
    let mut lines = BufReader::new(&mut stream).lines();
    for wanted in ["expected value", "a line of more than 4096 bytes", "deregistered"] {
        let line = timeout(LONG, lines.next_line()).await.unwrap().unwrap().unwrap();
        assert!(line.contains(wanted), "{line}");
    }
    drop(stream);
    assert!(matches!(bench.next().await.what, What::Closed));
}

#[tokio::test]
async fn one_that_has_nothing_more_to_say_still_gets_its_answer() {
    let mut bench = Bench::new();
    let (mut stream, id, answers) = bench.connect().await;
    stream.write_all(b"{\"type\":\"status\"}\n").await.unwrap();
    stream.shutdown().await.unwrap();
    assert!(
        matches!(bench.next().await, Event { id: of, what: What::Said(Said::Status) } if of == id)
    );
    assert!(matches!(bench.next().await.what, What::Closed));
    // As the main loop may: it answers what was asked before the end.
    answers.send(message::registered("late")).await.unwrap();
    drop(answers);
    let mut told = String::new();
    timeout(LONG, stream.read_to_string(&mut told)).await.unwrap().unwrap();
    assert_eq!(told, "{\"name\":\"late\",\"type\":\"registered\"}\n");
}

#[tokio::test]
async fn an_application_that_floods_or_does_not_read_holds_up_only_itself() {
    let mut bench = Bench::new();
    let (mut flooding, _, _answers) = bench.connect().await;
    let flood = tokio::spawn(async move {
        while flooding.write_all(&b"{\"type\":\"beat\"}\nx\n".repeat(100)).await.is_ok() {}
    });
    let (mut stream, id, _kept) = bench.connect_beside_others().await;
    stream.write_all(b"{\"type\":\"status\"}\n").await.unwrap();
    let mut beats = 0;
    loop {
        let event = bench.next().await;
        if event.id == id {
            break;
        }
        beats += 1;
    }
    assert!(beats < 1000, "{beats} before another one was heard");
    flood.abort();
}

impl Bench {
    /// As [`Bench::connect`], while others say something.
    async fn connect_beside_others(&mut self) -> (UnixStream, Id, mpsc::Sender<Value>) {
        let stream = UnixStream::connect(self.dir.path().join("sock")).await.unwrap();
        loop {
            if let Event { id, what: What::Connected(answers) } = self.next().await {
                return (stream, id, answers);
            }
        }
    }
}

#[tokio::test]
async fn the_file_is_for_the_group_is_taken_over_and_goes_with_the_socket() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sock");
    // Left behind by one that was killed.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    // A script that another test starts at this moment holds it until its exec.
    let refused = async {
        while UnixStream::connect(&path).await.is_ok() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LONG, refused).await.unwrap();
    let socket = Socket::open(&path).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660, "{mode:o}, whatever the umask");
    let error = Socket::open(&path).unwrap_err();
    assert!(matches!(error, SocketError::InUse(_)), "{error}");
    // Nor does it wait for one who accepts nobody and has no place left.
    let full = dir.path().join("full");
    let busy = std::os::unix::net::UnixListener::bind(&full).unwrap();
    nix::sys::socket::listen(&busy, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
    let _waiting = std::os::unix::net::UnixStream::connect(&full).unwrap();
    assert!(matches!(Socket::open(&full), Err(SocketError::InUse(_))));
    drop(socket);
    assert!(!path.exists());
    std::fs::write(&path, "").unwrap();
    let error = Socket::open(&path).unwrap_err();
    assert!(matches!(error, SocketError::Bind(BindError::NotASocket { .. })), "{error}");
}
