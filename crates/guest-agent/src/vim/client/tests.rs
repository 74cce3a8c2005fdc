//! The VIM's server, as it really behaves, and as it may.

use heartbeat_proto::InstanceId;
use heartbeat_proto::vim::{EventKind, InstanceEvent};

use super::super::stand_in::{Behaviour, StandIn, answer};
use super::*;

/// Short, for those who never answer; far longer than anything takes here.
const SHORT: Duration = Duration::from_secs(1);

fn request(vim: &VimAddress) -> Request {
    let kind = EventKind::Service { reporting: true, heartbeating: true, restart_secs: 120 };
    let instance = InstanceId::from_u128(1);
    Request::event(vim, &InstanceEvent { instance, hostname: "vm".into(), kind })
}

async fn at(vim: &VimAddress, time_limit: Duration) -> Result<Reply, Failure> {
    let limits = Limits { sent: time_limit, answered: time_limit };
    exchange(vim, &request(vim), 1024, limits).await
}

async fn ask(behaviour: Behaviour) -> Result<Reply, Failure> {
    let vim = StandIn::start([behaviour]).await;
    at(&vim.address, EVENT_LIMITS.answered).await
}

async fn body(behaviour: Behaviour) -> String {
    match ask(behaviour.clone()).await {
        Ok(Reply::Success(Ok(body))) => String::from_utf8(body).unwrap(),
        other => panic!("{behaviour:?}: {other:?}"),
    }
}

#[tokio::test]
async fn the_request_comes_whole_in_one_read() {
    let mut vim = StandIn::start([answer("")]).await;
    let reply = at(&vim.address, EVENT_LIMITS.answered).await;
    assert!(matches!(reply, Ok(Reply::Silence)), "{reply:?}");
    assert_eq!(vim.request().await, request(&vim.address).as_bytes());
}

#[tokio::test]
async fn closed_without_a_byte_is_silence() {
    for silence in [answer(""), Behaviour::HalfClose(Vec::new())] {
        let reply = ask(silence.clone()).await;
        assert!(matches!(reply, Ok(Reply::Silence)), "{silence:?}: {reply:?}");
    }
}

#[tokio::test]
async fn any_2xx_is_a_success() {
    assert_eq!(body(answer("HTTP/1.0 200 OK\r\n\r\n{\"a\":1}")).await, "{\"a\":1}");
    assert_eq!(body(answer("HTTP/1.0 200 OK\r\n\r\n")).await, "");
    assert_eq!(body(answer("HTTP/1.1 204 No Content\r\n\r\n")).await, "");
    let half = Behaviour::HalfClose(b"HTTP/1.0 202 Accepted\r\n\r\nx".to_vec());
    assert_eq!(body(half).await, "x");
    // These two do not wait for the end of the connection.
    let stay = |text: &str| Behaviour::AnswerAndStay(text.as_bytes().to_vec());
    assert_eq!(body(stay("HTTP/1.1 204 No Content\r\n\r\n")).await, "");
    assert_eq!(body(stay("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab")).await, "ab");
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n";
    assert_eq!(body(stay(chunked)).await, "a");
    let early = Behaviour::AnswerUnread(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na".to_vec());
    assert_eq!(body(early).await, "a");
}

#[tokio::test]
async fn a_2xx_that_breaks_off_is_a_success_without_a_body() {
    for rest in [
        Behaviour::Answer(b"HTTP/1.0 200 OK\r\nServ".to_vec()),
        Behaviour::Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na".to_vec()),
        Behaviour::Answer(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\na".to_vec()),
        Behaviour::Answer([b"HTTP/1.0 200 OK\r\n\r\n", [b'x'; 9999].as_slice()].concat()),
        Behaviour::Flood(b"HTTP/1.0 200 OK\r\n\r\n".to_vec()),
    ] {
        let reply = ask(rest.clone()).await;
        assert!(matches!(reply, Ok(Reply::Success(Err(_)))), "{rest:?}: {reply:?}");
    }
}

#[tokio::test]
async fn a_4xx_is_refused_with_what_it_says() {
    for (text, said) in [
        ("HTTP/1.0 404 Not Found\r\n\r\nno such instance", "404 Not Found: no such instance"),
        ("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "400 Bad Request"),
        ("HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", "302 Found"),
        ("HTTP/1.0 403 Forb", "403 "),
    ] {
        match ask(answer(text)).await {
            Ok(Reply::Refused(refusal)) => assert_eq!(refusal.to_string(), said),
            other => panic!("{text:?}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_5xx_failed() {
    for status in [500, 503, 999, 0] {
        let text = format!("HTTP/1.0 {status:03} Oh\r\n\r\nbecause");
        match ask(answer(&text)).await {
            Err(Failure::Server(said)) => {
                assert_eq!(said, Refusal { status, text: "Oh: because".into() });
            }
            other => panic!("{text:?}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn half_an_answer_failed() {
    for text in ["H", "HTTP/1.0 2", "HTTP/1.1 100 Continue\r\n\r\n"] {
        let reply = ask(answer(text)).await;
        assert!(matches!(reply, Err(Failure::Unfinished)), "{text:?}: {reply:?}");
    }
    for text in ["220 mail ESMTP\r\n", "{\"a\":1}", "\0\u{fffd}"] {
        let reply = ask(answer(text)).await;
        assert!(matches!(reply, Err(Failure::Answer(_))), "{text:?}: {reply:?}");
    }
    let flood = ask(Behaviour::Flood(vec![b'\n'; 4096])).await;
    assert!(matches!(flood, Err(Failure::Answer(BadAnswer::LongHead))), "{flood:?}");
}

#[tokio::test]
async fn a_broken_connection_failed() {
    for text in ["", "HTTP/1.0 "] {
        let reply = ask(Behaviour::Break(text.as_bytes().to_vec())).await;
        assert!(matches!(reply, Err(Failure::Broken(_))), "{text:?}: {reply:?}");
    }
}

/// A request over a connection that is there already.
async fn talk(
    mut stream: TcpStream,
    request: &Request,
    answer: &mut Answer,
) -> Result<(), Failure> {
    let sent = stream.write_all(request.as_bytes()).await;
    listen(stream, sent, answer).await
}

#[tokio::test]
async fn a_request_that_was_not_sent_whole_was_not_taken() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (theirs, _) = listener.accept().await.unwrap();
    stream.shutdown().await.unwrap();
    drop(theirs);
    let ended = talk(stream, &request(&VimAddress::default()), &mut Answer::new(9)).await;
    assert!(matches!(ended, Err(Failure::Broken(_))), "{ended:?}");
}

/// Whether the request comes before the server closes or after it, it was not taken.
#[tokio::test]
async fn a_server_that_closes_before_it_has_read_has_not_taken_the_request() {
    for _ in 0..50 {
        let reply = ask(Behaviour::CloseUnread).await;
        assert!(matches!(reply, Err(Failure::Broken(_))), "{reply:?}");
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    for _ in 0..50 {
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        drop(listener.accept().await.unwrap());
        let ended = talk(stream, &request(&VimAddress::default()), &mut Answer::new(9)).await;
        assert!(matches!(ended, Err(Failure::Broken(_))), "{ended:?}");
    }
}

#[tokio::test]
async fn nobody_there_failed() {
    let reply = at(&StandIn::nobody(), EVENT_LIMITS.answered).await;
    assert!(matches!(reply, Err(Failure::Connect(_))), "{reply:?}");
    let nowhere = "http://no-such-host.invalid:1".parse().unwrap();
    let reply = at(&nowhere, EVENT_LIMITS.answered).await;
    assert!(matches!(reply, Err(Failure::Connect(_) | Failure::TimeOut(_))), "{reply:?}");
}

#[tokio::test]
async fn the_limit_holds_for_everything() {
    let cases = [
        (Behaviour::Hang, "TimeOut"),
        (Behaviour::AnswerAndStay(b"HTTP/1.0 ".to_vec()), "TimeOut"),
        (Behaviour::AnswerAndStay(b"HTTP/1.0 500 Oh\r\n\r\n".to_vec()), "Server"),
        (Behaviour::AnswerAndStay(b"HTTP/1.0 404 Oh\r\n\r\n".to_vec()), "Refused"),
        (Behaviour::AnswerAndStay(b"HTTP/1.0 200 OK\r\n\r\n".to_vec()), "Success(Err(TimeOut"),
    ];
    // All at once, for each takes as long as it may.
    let cases = cases.map(|(behaviour, expected)| {
        tokio::spawn(async move {
            let vim = StandIn::start([behaviour.clone()]).await;
            let reply = format!("{:?}", at(&vim.address, SHORT).await);
            assert!(reply.contains(expected), "{behaviour:?}: {reply}");
        })
    });
    for case in cases {
        case.await.unwrap();
    }
    // Taken by the kernel, but by nobody else.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let vim = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let reply = at(&vim, SHORT).await;
    assert!(matches!(reply, Err(Failure::TimeOut(SHORT))), "{reply:?}");
}

#[tokio::test]
async fn a_name_is_resolved() {
    let vim = StandIn::start([answer("")]).await;
    let named = format!("http://localhost:{}", vim.address.port()).parse().unwrap();
    let reply = at(&named, EVENT_LIMITS.answered).await;
    assert!(matches!(reply, Ok(Reply::Silence)), "{reply:?}");
}
