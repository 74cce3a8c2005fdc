//! The bytes of HTTP: lengths, chunks, pipelines, versions, and what is no HTTP at all.

use super::*;

#[tokio::test]
async fn many_requests_on_one_connection() {
    let server = Server::start(Limits::default()).await;
    let mut client = server.connect().await;
    for _ in 0..3 {
        client.send(request("GET", &host_path(""), None).as_bytes()).await;
        let reply = client.reply().await;
        assert_eq!((reply.status, reply.header("connection")), (200, None));
        client.send(request("PUT", &host_path("/x"), Some("{}")).as_bytes()).await;
        assert_eq!(client.reply().await.status, 404);
        client.send(request("DELETE", &host_path(""), None).as_bytes()).await;
        assert_eq!(client.reply().await.status, 204);
    }
    assert_eq!(server.counts.connections.get(), 1);
}

#[tokio::test]
async fn one_request_a_connection() {
    let server = Server::start(Limits::default()).await;
    let path = host_path("");
    for head in [
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
        format!("GET {path} HTTP/1.0\r\n\r\n"),
    ] {
        let mut client = server.connect().await;
        client.send(head.as_bytes()).await;
        assert_eq!(client.reply().await.status, 200);
        client.assert_closed().await;
    }
}

#[tokio::test]
async fn http_1_0_with_keep_alive() {
    let server = Server::start(Limits::default()).await;
    let mut client = server.connect().await;
    let head = format!("GET {} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", host_path(""));
    for _ in 0..2 {
        client.send(head.as_bytes()).await;
        let reply = client.reply().await;
        assert!(reply.head.starts_with("http/1.0 200 "), "{}", reply.head);
        assert_eq!(reply.header("connection"), Some("keep-alive"));
    }
}

#[tokio::test]
async fn a_pipeline_is_answered_in_order() {
    let server = Server::start(Limits::default()).await;
    let mut client = server.connect().await;
    let mut all = String::new();
    for _ in 0..100 {
        all += &request("PUT", &host_path("/enable"), Some(&host_body()));
        all += &request("GET", &host_path(""), None);
        all += &request("PUT", &host_path("/disable"), Some(&host_body()));
        all += &request("GET", &host_path(""), None);
        all += &request("GET", "/nothing", None);
    }
    client.send(all.as_bytes()).await;
    client.finish().await;
    for _ in 0..100 {
        for state in ["enabled", "disabled"] {
            assert_eq!(client.reply().await.json()["status"], "pass");
            assert_eq!(client.reply().await.json()["state"], state);
        }
        assert_eq!(client.reply().await.status, 404);
    }
    client.assert_closed().await;
}

#[tokio::test]
async fn a_request_may_come_byte_by_byte() {
    let server = Server::start(Limits::default()).await;
    let mut client = server.connect().await;
    client.stream.set_nodelay(true).unwrap();
    for byte in request("PUT", &host_path("/enable"), Some(&host_body())).bytes() {
        client.send(&[byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(client.reply().await.status, 200);
}

fn chunked(path: &str, chunks: &[&str]) -> String {
    let mut text = format!("PUT {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for chunk in chunks {
        text += &format!("{:x};note=1\r\n{chunk}\r\n", chunk.len());
    }
    text
}

#[tokio::test]
async fn chunked_bodies() {
    let server = Server::start(Limits::default()).await;
    let mut client = server.connect().await;
    let body = host_body();
    let (start, end) = body.split_at(20);
    let path = host_path("/enable");
    for trailer in ["", "Checksum: 1\r\n"] {
        let text = chunked(&path, &[start, end]) + "0\r\n" + trailer + "\r\n";
        client.send(text.as_bytes()).await;
        assert_eq!(client.reply().await.status, 200);
    }
    client.send((chunked(&path, &[]) + "0\r\n\r\n").as_bytes()).await;
    client.reply().await.assert_fails(411, "no buffer");

    client.send((chunked(&path, &[start]) + "zz\r\n").as_bytes()).await;
    client.reply().await.assert_fails(400, "command parse error");
    client.assert_closed().await;
    server.assert_undisturbed().await;
}

#[tokio::test]
async fn a_body_that_waits_to_be_called() {
    let server = Server::start(Limits::default()).await;
    let ask = |path: &str, length: usize| {
        format!(
            "PUT {path} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    let mut client = server.connect().await;
    client.send(ask(&host_path("/enable"), host_body().len()).as_bytes()).await;
    assert_eq!(client.head().await, "http/1.1 100 continue\r\n\r\n");
    client.send(host_body().as_bytes()).await;
    assert_eq!(client.reply().await.status, 200);
    // What is refused by its header is not called for.
    for (path, length, status) in
        [(host_path("/enable"), 65_537, 413), ("/nothing".into(), 10, 404)]
    {
        let mut client = server.connect().await;
        client.send(ask(&path, length).as_bytes()).await;
        let reply = client.reply().await;
        assert_eq!((reply.status, reply.header("connection")), (status, Some("close")));
        client.assert_closed().await;
    }
}

#[tokio::test]
async fn truncated_requests() {
    let server = Server::start(Limits::default()).await;
    let whole = request("PUT", &host_path("/enable"), Some(&host_body()));
    let body_at = whole.find("\r\n\r\n").unwrap() + 4;
    for end in [1, 10, body_at - 1] {
        let mut client = server.connect().await;
        client.send(&whole.as_bytes()[..end]).await;
        client.finish().await;
        client.assert_closed().await;
    }
    for end in [body_at, whole.len() - 1] {
        let mut client = server.connect().await;
        client.send(&whole.as_bytes()[..end]).await;
        client.finish().await;
        client.reply().await.assert_fails(400, "command parse error");
        client.assert_closed().await;
    }
    let mut client = server.connect().await;
    client.finish().await;
    client.assert_closed().await;
    let state = server.ask("GET", &host_path(""), None).await;
    assert_eq!(state.json()["state"], "disabled", "nothing was carried out");
}

#[tokio::test]
async fn a_client_that_has_ended_its_side_is_answered() {
    let server = Server::start(Limits::default()).await;
    let mut client = server.connect().await;
    client.send(request("PUT", &host_path("/enable"), Some(&host_body())).as_bytes()).await;
    client.finish().await;
    assert_eq!(client.reply().await.status, 200);
    client.assert_closed().await;
}

#[tokio::test]
async fn bytes_that_are_no_text() {
    let server = Server::start(Limits::default()).await;
    let mut bytes = request("PUT", &host_path("/enable"), Some(&host_body())).into_bytes();
    let at = bytes.len() - 5;
    bytes[at] = 0xff;
    server.ask_raw(&bytes).await.assert_fails(400, "command parse error");

    let (get, end) = (b"GET /v1/hosts/".as_slice(), b" HTTP/1.1\r\nHost: x\r\n\r\n".as_slice());
    let reply = server.ask_raw(&[get, b"\xff\xfe", end].concat()).await;
    assert_eq!(reply.status, 400);
    server.assert_undisturbed().await;
}

#[tokio::test]
async fn what_is_no_http() {
    let server = Server::start(Limits::default()).await;
    let path = host_path("/enable");
    let head = |rest: &str| format!("PUT {path} HTTP/1.1\r\nHost: x\r\n{rest}\r\n\r\n{{}}");
    for text in [
        "hello\r\n\r\n",
        "\u{0}\u{1}\u{2}\r\n\r\n",
        "GET /v1/hosts/x HTTP/3.0\r\n\r\n",
        "GET /v1/hosts/x y HTTP/1.1\r\n\r\n",
        &head("no colon"),
        &head("Content-Length: -1"),
        &head("Content-Length: x"),
        &head("Content-Length: 1\r\nContent-Length: 2"),
        &head("Transfer-Encoding: gzip"),
        "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}",
    ] {
        let mut client = server.connect().await;
        client.send(text.as_bytes()).await;
        let reply = client.reply().await;
        assert_eq!((reply.status, reply.body.len()), (400, 0), "{text:?}");
        client.assert_closed().await;
    }
    // HTTP/2 without asking first: no answer could be understood.
    let mut client = server.connect().await;
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    client.assert_closed().await;
    eventually(|| server.counts.connections_broken.get() == 11).await;
    server.assert_undisturbed().await;
}
