//! Sizes and times.

use std::time::Instant;

use super::*;

const SOON: Duration = Duration::from_millis(100);

/// Long enough that a test fails when it is waited for.
const NEVER: Duration = Duration::from_secs(3600);

fn patient() -> Limits {
    Limits {
        header_time: NEVER,
        body_time: NEVER,
        answer_time: NEVER,
        take_time: NEVER,
        idle_time: NEVER,
        ..Limits::default()
    }
}

#[test]
fn the_limits_are_those_of_the_documentation() {
    let limits = Limits::default();
    assert_eq!((limits.body, limits.header, limits.connections), (65_536, 16_384, 512));
    let seconds = [limits.header_time, limits.body_time, limits.answer_time, limits.idle_time];
    assert_eq!(seconds.map(|time| time.as_secs()), [5, 10, 2, 30]);
}

/// A body of this length that is all right.
fn body_of(length: usize) -> String {
    let body = host_body();
    let space = " ".repeat(length - body.len());
    space + &body
}

#[tokio::test]
async fn the_longest_body_and_one_byte_more() {
    let server = Server::start(Limits::default()).await;
    let path = host_path("/enable");
    let head = format!("PUT {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunked = |body: &str| {
        let mut text = head.clone();
        for chunk in body.as_bytes().chunks(1000) {
            let chunk = std::str::from_utf8(chunk).unwrap();
            text += &format!("{:x}\r\n{chunk}\r\n", chunk.len());
        }
        text + "0\r\n\r\n"
    };
    for (length, status) in [(65_536, 200), (65_537, 413), (1_000_000, 413)] {
        for text in [request("PUT", &path, Some(&body_of(length))), chunked(&body_of(length))] {
            let mut client = server.connect().await;
            client.send(text.as_bytes()).await;
            let reply = client.reply().await;
            if status == 413 {
                reply.assert_fails(413, "no buffer");
                assert_eq!(reply.header("connection"), Some("close"));
                client.assert_closed().await;
            } else {
                assert_eq!(reply.status, status);
            }
        }
    }
    // Where a body means nothing it may not be long either.
    for (method, path) in [("GET", host_path("")), ("DELETE", host_path(""))] {
        let reply = server.ask(method, &path, Some(&body_of(70_000))).await;
        reply.assert_fails(413, "no buffer");
    }
    let reply = server.ask("GET", "/nothing", Some(&body_of(70_000))).await;
    reply.assert_fails(404, "entity not found");
    server.assert_undisturbed().await;
}

#[tokio::test]
async fn a_client_that_sends_its_long_body_before_it_reads_still_gets_its_answer() {
    let server = Server::start(Limits::default()).await;
    let mut client = server.connect().await;
    client.send(request("PUT", &host_path("/enable"), Some(&body_of(900_000))).as_bytes()).await;
    tokio::time::sleep(SOON).await;
    client.reply().await.assert_fails(413, "no buffer");
    client.assert_closed().await;
}

#[tokio::test]
async fn the_longest_header_and_one_byte_more() {
    let server = Server::start(Limits::default()).await;
    let head = |length: usize| {
        let start = format!("GET {} HTTP/1.1\r\nHost: x\r\nPadding: ", host_path(""));
        let padding = "x".repeat(length - start.len() - 4);
        start + &padding + "\r\n\r\n"
    };
    assert_eq!(server.ask_raw(head(16_384).as_bytes()).await.status, 200);
    for length in [16_385, 100_000] {
        let mut client = server.connect().await;
        client.send(head(length).as_bytes()).await;
        let reply = client.reply().await;
        assert_eq!((reply.status, reply.body.len()), (431, 0));
        client.assert_closed().await;
    }
    // Many small headers, and a header without an end.
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(101));
    assert_eq!(server.ask_raw(many.as_bytes()).await.status, 431);
    assert_eq!(server.ask_raw("x".repeat(20_000).as_bytes()).await.status, 431);
    server.assert_undisturbed().await;
}

#[tokio::test]
async fn a_slow_header_ends_the_connection() {
    let server = Server::start(Limits { header_time: SOON, ..patient() }).await;
    let mut silent = server.connect().await;
    let mut slow = server.connect().await;
    // A byte now and then does not help.
    let mut ended = false;
    for byte in request("GET", &host_path(""), None).bytes().cycle().take(2000) {
        if slow.stream.write_all(&[byte.max(b' ')]).await.is_err() {
            ended = true;
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(ended);
    silent.assert_closed().await;
    eventually(|| server.counts.connections_late.get() == 2).await;
    server.assert_undisturbed().await;
}

#[tokio::test]
async fn a_slow_header_ends_a_connection_that_had_answers_before() {
    let server = Server::start(Limits { header_time: SOON, ..patient() }).await;
    let mut client = server.connect().await;
    client.send(request("GET", &host_path(""), None).as_bytes()).await;
    assert_eq!(client.reply().await.status, 200);
    tokio::time::sleep(2 * SOON).await;
    client.send(b"GET /").await;
    client.assert_closed().await;
}

#[tokio::test]
async fn a_slow_body_is_answered_408() {
    let server = Server::start(Limits { body_time: SOON, ..patient() }).await;
    for path in [host_path("/enable"), "/nothing".into()] {
        let mut client = server.connect().await;
        let whole = request("PUT", &path, Some(&host_body()));
        client.send(&whole.as_bytes()[..whole.len() - 1]).await;
        let reply = client.reply().await;
        if path == "/nothing" {
            reply.assert_fails(404, "entity not found");
        } else {
            reply.assert_fails(408, "command parse error");
        }
        assert_eq!(reply.header("connection"), Some("close"));
        client.assert_closed().await;
    }
    server.assert_undisturbed().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let server = Server::start(Limits { idle_time: SOON, ..patient() }).await;
    let mut client = server.connect().await;
    for _ in 0..3 {
        client.send(request("GET", &host_path(""), None).as_bytes()).await;
        assert_eq!(client.reply().await.status, 200);
    }
    client.assert_closed().await;
    assert_eq!(server.counts.connections_idle.get(), 1);
    assert_eq!(server.counts.connections_late.get(), 0);
}

#[tokio::test]
async fn a_client_that_takes_no_answers_is_cut_off() {
    let limits = Limits { take_time: SOON, body_time: SOON, answer_time: SOON, ..patient() };
    let server = Server::start(limits).await;
    let client = server.connect().await;
    let all = request("GET", &host_path(""), None).repeat(1000);
    let mut sent = 0;
    let started = Instant::now();
    // Until the buffers of both sides are full, and the server has had enough.
    while server.counts.connections_late.get() == 0 {
        assert!(started.elapsed() < PATIENCE, "still open after {sent} requests");
        let _ = client.stream.try_write(all.as_bytes());
        sent += 1000;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    server.assert_undisturbed().await;
}

#[tokio::test]
async fn a_main_loop_that_is_late_is_answered_for_and_the_command_is_not_carried_out() {
    let limits = Limits { answer_time: SOON, ..patient() };
    let (server, mut requests) = Server::start_alone(limits);
    let mut client = server.connect().await;
    client.send(request("GET", &host_path(""), None).as_bytes()).await;
    client.reply().await.assert_fails(503, "no buffer");
    let request_late = requests.recv().await.unwrap();
    request_late.answer_with(|_| panic!("carried out after 503"));
    // The connection goes on, and a command dropped unanswered is the same.
    client.send(request("GET", &host_path(""), None).as_bytes()).await;
    drop(requests.recv().await.unwrap());
    client.reply().await.assert_fails(503, "no buffer");
    assert_eq!(server.counts.commands_unanswered.get(), 2);
}

#[tokio::test]
async fn commands_of_clients_that_have_left_are_carried_out_while_they_are_wanted() {
    let (server, mut requests) = Server::start_alone(patient());
    let mut client = server.connect().await;
    client.send(request("DELETE", &host_path(""), None).as_bytes()).await;
    drop(client);
    let request = timeout(PATIENCE, requests.recv()).await.unwrap().unwrap();
    let mut carried_out = false;
    request.answer_with(|_| {
        carried_out = true;
        Ok(crate::inventory::Outcome::NoContent)
    });
    assert!(carried_out, "it came whole");
}
