use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use nix::sys::stat::{Mode, umask};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::client::ask_within;
use super::server::{may_ask, serve};
use super::*;
use crate::BindError;

const DEADLINE: Duration = Duration::from_secs(20);

fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("guestServer.sock");
    (dir, path)
}

/// `ask` blocks; the daemon's runtime must go on meanwhile.
async fn ask_from_thread(path: &std::path::Path, request: Value) -> Result<Value, ControlError> {
    let path = path.to_owned();
    let asked = tokio::task::spawn_blocking(move || ask(&path, &request));
    let answer = timeout(DEADLINE, asked).await.expect("in time").unwrap()?;
    Ok(serde_json::from_slice(&answer).unwrap())
}

/// A main loop that answers `status` and refuses the rest.
async fn answer_all(mut requests: mpsc::Receiver<ControlRequest>) {
    while let Some(request) = requests.recv().await {
        match request.command() {
            "status" => request.answer(b"{\"instances\":3}".to_vec()),
            "silence" => drop(request),
            other => {
                let reason = format!("unknown request: {other}");
                request.refuse(&reason);
            }
        }
    }
}

#[tokio::test]
async fn questions_reach_the_main_loop_and_answers_the_client() {
    let (_dir, path) = place();
    let requests = ControlSocket::bind(&path).unwrap().spawn();
    let main_loop = tokio::spawn(answer_all(requests));
    for _ in 0..3 * MAX_CONNECTIONS {
        let answer = ask_from_thread(&path, json!({"request": "status"})).await.unwrap();
        assert_eq!(answer, json!({"instances": 3}));
    }
    let answer = ask_from_thread(&path, json!({"request": "dance"})).await.unwrap();
    assert_eq!(answer, json!({"error": "unknown request: dance"}));
    let answer = ask_from_thread(&path, json!({"request": "silence"})).await.unwrap();
    assert_eq!(answer, json!({"error": "the daemon gave no answer"}));
    let answer = ask_from_thread(&path, json!({"request": "x".repeat(70_000)})).await.unwrap();
    assert_eq!(answer, json!({"error": "the request is longer than 4096 bytes"}));

    main_loop.abort();
    let gone = async {
        while path.exists() {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, gone).await.expect("the file is removed with the receiver");
    let error = ask_from_thread(&path, json!({"request": "status"})).await.unwrap_err();
    assert!(matches!(error, ControlError::NotRunning { .. }), "{error:?}");
}

/// What the daemon answers to `bytes`, which are all that it gets.
async fn answer_to(bytes: &[u8]) -> Value {
    let (requests, receiver) = mpsc::channel(QUEUE_DEPTH);
    let main_loop = tokio::spawn(answer_all(receiver));
    let (mut client, stream) = tokio::io::duplex(64);
    let served = tokio::spawn(serve(stream, requests));
    // It need not read all of what is wrong.
    let _ = client.write_all(bytes).await;
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    served.await.unwrap();
    main_loop.await.unwrap();
    assert!(answer.ends_with('\n'), "{answer}");
    serde_json::from_str(&answer).unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_a_question_is_named() {
    for (bytes, reason) in [
        (&b"\n"[..], "the request is not JSON: EOF while parsing a value at line 1 column 0"),
        (b"status\n", "the request is not JSON: expected value at line 1 column 1"),
        (b"[1]\n", "the request is not a JSON object"),
        (b"{\"command\":\"status\"}\n", "the key \"request\" is missing"),
        (b"{\"request\":1}\n", "the value of \"request\" is not a text"),
        (b"{\"request\":", "no whole line within 2 s"),
        (b"", "no whole line within 2 s"),
    ] {
        assert_eq!(answer_to(bytes).await, json!({"error": reason}));
    }
    let question = b"{\"request\":\"status\"}";
    let filled = |length: usize| {
        let mut bytes = question.to_vec();
        bytes.resize(length, b' ');
        bytes.push(b'\n');
        bytes
    };
    assert_eq!(answer_to(&filled(4096)).await, json!({"instances": 3}));
    let too_long = json!({"error": "the request is longer than 4096 bytes"});
    assert_eq!(answer_to(&filled(4097)).await, too_long);
    let not_utf8 = answer_to(b"{\"request\":\"\xff\"}\n").await;
    assert!(not_utf8["error"].as_str().unwrap().contains("invalid unicode"), "{not_utf8}");
    let deep = answer_to(&[vec![b'['; 4000], b"\n".to_vec()].concat()).await;
    assert!(
        deep["error"].as_str().unwrap().starts_with("the request is not JSON: recursion"),
        "{deep}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_main_loop_that_does_not_answer_and_a_client_that_does_not_read() {
    let (requests, mut receiver) = mpsc::channel(QUEUE_DEPTH);
    let (mut client, stream) = tokio::io::duplex(64);
    let served = tokio::spawn(serve(stream, requests.clone()));
    client.write_all(b"{\"request\":\"status\"}\n").await.unwrap();
    let kept = receiver.recv().await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "{\"error\":\"the daemon did not answer within 5 s\"}\n");
    kept.answer(b"too late".to_vec());
    served.await.unwrap();

    let start = tokio::time::Instant::now();
    let (mut client, stream) = tokio::io::duplex(64);
    let served = tokio::spawn(serve(stream, requests));
    client.write_all(b"{\"request\":\"status\"}\n").await.unwrap();
    receiver.recv().await.unwrap().answer(vec![b'x'; 1000]);
    served.await.unwrap();
    let waited = start.elapsed();
    assert!(waited >= ANSWER_TIMEOUT && waited < ANSWER_TIMEOUT * 2, "{waited:?}");
}

#[tokio::test]
async fn no_more_connections_at_once_than_allowed() {
    let (_dir, path) = place();
    let mut requests = ControlSocket::bind(&path).unwrap().spawn();
    let mut clients = Vec::new();
    for _ in 0..2 * MAX_CONNECTIONS {
        let mut client = tokio::net::UnixStream::connect(&path).await.unwrap();
        client.write_all(b"{\"request\":\"status\"}\n").await.unwrap();
        clients.push(client);
    }
    let mut held = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        held.push(timeout(DEADLINE, requests.recv()).await.unwrap().unwrap());
    }
    // Every connection but the eight has a question ready; the task has had many turns to take one
    // more.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert!(requests.try_recv().is_err());
    for request in held {
        request.answer(b"{}".to_vec());
    }
    for _ in 0..MAX_CONNECTIONS {
        timeout(DEADLINE, requests.recv()).await.unwrap().unwrap().answer(b"{}".to_vec());
    }
    for mut client in clients {
        let mut answer = String::new();
        timeout(DEADLINE, client.read_to_string(&mut answer)).await.unwrap().unwrap();
        assert_eq!(answer, "{}\n");
    }
}

#[tokio::test]
async fn the_file_is_private_from_the_start_and_ours_alone_to_remove() {
    let (dir, path) = place();
    // The widest umask there is. It holds for the whole process, but other tests do not depend on
    // it.
    let before = umask(Mode::empty());
    let socket = ControlSocket::bind(&path);
    umask(before);
    let socket = socket.unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);

    // Left behind by a daemon that was killed: replaced.
    fs::rename(&path, dir.path().join("kept")).unwrap();
    drop(UnixListener::bind(&path).unwrap());
    let newer = ControlSocket::bind(&path).unwrap();
    drop(socket);
    assert!(path.exists(), "the newer one's");
    drop(newer);
    assert!(!path.exists());
}

#[tokio::test]
async fn what_is_not_a_socket_is_refused() {
    let (dir, path) = place();
    fs::write(&path, "precious").unwrap();
    let error = ControlSocket::bind(&path).unwrap_err();
    assert_eq!(error.to_string(), format!("{} is there and is not a socket", path.display()));
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    fs::remove_file(&path).unwrap();

    let other = dir.path().join("other.sock");
    let _listener = UnixListener::bind(&other).unwrap();
    symlink(&other, &path).unwrap();
    assert!(matches!(ControlSocket::bind(&path), Err(BindError::NotASocket { .. })));

    let long = dir.path().join("x".repeat(120));
    assert!(matches!(ControlSocket::bind(&long), Err(BindError::Io { .. })));
}

#[test]
fn who_may_ask() {
    assert!(may_ask(1000, 1000) && may_ask(0, 1000) && may_ask(0, 0));
    assert!(!may_ask(1001, 1000) && !may_ask(1000, 0));
}

#[test]
fn the_client_tells_not_running_from_not_answering() {
    let (dir, path) = place();
    let status = json!({"request": "status"});
    let error = ask(&path, &status).unwrap_err();
    assert_eq!(error.to_string(), format!("not running (nobody listens on {})", path.display()));

    let listener = UnixListener::bind(&path).unwrap();
    let server = std::thread::spawn(move || {
        // Closed each time before the answer has its newline, with the question perhaps unread.
        for answer in ["", "{\"half\":"] {
            let (mut stream, _) = listener.accept().unwrap();
            std::io::Write::write_all(&mut stream, answer.as_bytes()).unwrap();
        }
    });
    for _ in 0..2 {
        let error = ask(&path, &status).unwrap_err();
        assert!(matches!(error, ControlError::Truncated { .. }), "{error:?}");
    }
    server.join().unwrap();
    assert!(matches!(ask(&path, &status), Err(ControlError::NotRunning { .. })), "refused");

    let plain = dir.path().join("plain");
    fs::write(&plain, "").unwrap();
    assert!(matches!(ask(&plain, &status), Err(ControlError::NotRunning { .. })));
}

/// A stuck daemon accepts nothing, and at some time its queue is full.
#[test]
fn the_client_gives_up_on_a_stuck_daemon_also_when_its_queue_is_full() {
    let (_dir, path) = place();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _guard = runtime.enter();
    let _stuck = ControlSocket::bind(&path).unwrap();
    // More than BACKLOG: the kernel keeps a connection that its client has given up.
    for _ in 0..20 {
        let limit = Duration::from_millis(20);
        let error = ask_within(&path, &json!({"request": "status"}), limit).unwrap_err();
        assert!(matches!(error, ControlError::Timeout { .. }), "{error:?}");
    }
}
