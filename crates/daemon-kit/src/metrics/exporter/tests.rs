use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::*;
use crate::metrics::{Family, Kind};

static COUNT: Family = Family { name: "x_things", kind: Kind::Gauge, help: "Things", labels: &[] };

static THING: Family =
    Family { name: "x_thing", kind: Kind::Gauge, help: "A thing", labels: &[("id", "any")] };

/// So many things.
struct Things(u32);

impl Source for Things {
    type Id = u32;

    fn render(&self, out: &mut Exposition) {
        out.one(&COUNT, u64::from(self.0));
    }

    fn instances(&self) -> Vec<u32> {
        (0..self.0).collect()
    }

    fn render_instance(&self, id: &u32, rows: &mut Rows) {
        rows.put(&THING, &[&id.to_string()], true);
    }
}

fn any_port() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

fn exporter() -> Exporter<u32> {
    Exporter::start(Some(any_port())).unwrap()
}

/// Plays the main loop until the future is done, and says how many turns it took.
async fn served<T>(
    exporter: &mut Exporter<u32>,
    things: u32,
    client: impl Future<Output = T>,
) -> (T, usize) {
    let mut client = std::pin::pin!(client);
    let mut turns = 0;
    let all = async {
        loop {
            tokio::select! {
                done = client.as_mut() => return done,
                () = exporter.next() => {
                    turns += 1;
                    exporter.render(&Things(things));
                }
            }
        }
    };
    let done = timeout(Duration::from_secs(20), all).await.expect("nothing happens");
    (done, turns)
}

/// Sends this and reads to the end.
async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

const GET: &str = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";

#[tokio::test]
async fn a_scrape_is_answered_whole_and_with_its_type() {
    let mut exporter = exporter();
    let address = exporter.address().unwrap();
    for request in [GET, "GET /metrics?a=b HTTP/1.0\r\n\r\n"] {
        let (answer, turns) = served(&mut exporter, 0, exchange(address, request)).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let head = head.to_lowercase();
        assert!(head.starts_with("http/1.1 200") || head.starts_with("http/1.0 200"), "{head}");
        let content = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8";
        assert!(head.contains(content), "{head}");
        assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
        assert!(body.contains("\nx_things 0\n") && body.contains("\nprocess_open_fds "), "{body}");
        assert!(body.ends_with("\n# EOF\n") && !body.contains("x_thing{"), "{body}");
        assert_eq!(turns, 1);
    }
}

#[tokio::test]
async fn what_is_no_request_for_metrics_is_refused_without_the_main_loop() {
    let mut exporter = exporter();
    let address = exporter.address().unwrap();
    let long = format!("GET /metrics HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(2 * 8192));
    for (request, wanted) in [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
        ("GET /metrics/ HTTP/1.1\r\nHost: x\r\n\r\n", "404"),
        ("HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "405"),
        ("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab", "405"),
        ("\0\u{1}garbage\r\n\r\n", "400"),
        (long.as_str(), "431"),
    ] {
        let (answer, turns) = served(&mut exporter, 0, exchange(address, request)).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {wanted}")), "{request:?}: {answer:?}");
        assert_eq!(turns, 0, "{request:?}");
        assert!(wanted != "405" || answer.contains("allow: GET\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn many_instances_are_written_a_batch_a_turn() {
    let mut exporter = exporter();
    let address = exporter.address().unwrap();
    let (answer, turns) = served(&mut exporter, 1000, exchange(address, GET)).await;
    assert_eq!(answer.matches("\nx_thing{").count(), 1000);
    assert_eq!(answer.matches("# TYPE x_thing gauge").count(), 1);
    assert_eq!(turns, 1 + 1000_usize.div_ceil(BATCH));
}

#[tokio::test]
async fn a_batch_comes_even_if_something_else_happens_all_the_time() {
    let mut exporter = exporter();
    let address = exporter.address().unwrap();
    let mut client = std::pin::pin!(exchange(address, GET));
    let answer = timeout(Duration::from_secs(20), async {
        loop {
            tokio::select! {
                answer = client.as_mut() => return answer,
                () = exporter.next() => exporter.render(&Things(5 * 128)),
                () = std::future::ready(()) => tokio::task::yield_now().await,
            }
        }
    });
    assert!(answer.await.unwrap().ends_with("# EOF\n"));
}

#[tokio::test]
async fn slow_clients_are_cut_off_and_hold_up_nobody_for_long() {
    let mut exporter = exporter();
    exporter.limits.header_time = Duration::from_millis(200);
    let address = exporter.address().unwrap();
    let mut slow = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /metr").await.unwrap();
        slow.push(stream);
    }
    let (answer, _) = served(&mut exporter, 0, exchange(address, GET)).await;
    assert!(answer.contains(" 200 OK"), "{answer}");
    let mut rest = Vec::new();
    for stream in &mut slow {
        let _ = stream.read_to_end(&mut rest).await;
    }
    assert!(!String::from_utf8_lossy(&rest).contains(" 200 "));
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off() {
    let mut exporter = exporter();
    exporter.limits.connection_time = Duration::from_millis(300);
    let address = exporter.address().unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(GET.as_bytes()).await.unwrap();
    // More than the kernel keeps for it: some 10 MB.
    let first_bytes = async { stream.readable().await.unwrap() };
    served(&mut exporter, 500_000, first_bytes).await;
    assert_eq!(exporter.connections.len(), 1);
    let look = async {
        while !exporter.connections.is_empty() {
            exporter.connections.join_next().await;
        }
    };
    timeout(Duration::from_secs(20), look).await.expect("the connection stays");
}

#[tokio::test]
async fn a_main_loop_that_does_not_answer_is_said() {
    let mut exporter = exporter();
    exporter.limits.answer_time = Duration::from_millis(100);
    let address = exporter.address().unwrap();
    let mut client = std::pin::pin!(exchange(address, GET));
    let answer = loop {
        tokio::select! {
            answer = client.as_mut() => break answer,
            () = exporter.next() => {}
        }
    };
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
}

#[tokio::test]
async fn connections_are_taken_at_a_pace() {
    let mut exporter = exporter();
    let address = exporter.address().unwrap();
    let start = Instant::now();
    let more = 3;
    for _ in 0..endpoint::BURST + more {
        let (answer, _) = served(&mut exporter, 0, exchange(address, GET)).await;
        assert!(answer.contains(" 200 OK"), "{answer}");
    }
    assert!(start.elapsed() >= endpoint::PERIOD * (more - 1), "{:?}", start.elapsed());
}

#[tokio::test]
async fn an_address_that_cannot_be_bound_leaves_the_former_one() {
    let mut exporter = exporter();
    let address = exporter.address().unwrap();
    let taken = std::net::TcpListener::bind(any_port()).unwrap();
    // 192.0.2.0/24 is nobody's.
    for bad in [taken.local_addr().unwrap(), ([192, 0, 2, 1], 9464).into()] {
        let failure = exporter.listen(Some(bad)).unwrap_err();
        let wanted = format!("cannot bind TCP {bad} ([metrics] listen): ");
        assert!(failure.message.starts_with(&wanted), "{failure}");
        assert_eq!(exporter.address(), Some(address));
    }
    assert!(served(&mut exporter, 0, exchange(address, GET)).await.0.contains(" 200 OK"));
}

#[tokio::test]
async fn it_moves_to_another_address_of_the_same_port_and_away() {
    let mut exporter = exporter();
    let one = exporter.address().unwrap();
    exporter.listen(Some(any_port())).unwrap();
    assert_eq!(exporter.address(), Some(one), "port 0 again is the same port");
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, one.port()));
    for address in [any, one] {
        exporter.listen(Some(address)).unwrap();
        assert_eq!(exporter.address(), Some(address));
        assert!(served(&mut exporter, 0, exchange(one, GET)).await.0.contains(" 200 OK"));
    }
    // Somebody else is on another address of that port, which is in the way of any address.
    let other = SocketAddr::from(([127, 0, 0, 2], one.port()));
    let _taken = std::net::TcpListener::bind(other).unwrap();
    exporter.listen(Some(any)).unwrap_err();
    assert_eq!(exporter.address(), Some(one));
    assert!(served(&mut exporter, 0, exchange(one, GET)).await.0.contains(" 200 OK"));
    exporter.listen(None).unwrap();
    assert_eq!(exporter.address(), None);
    assert!(TcpStream::connect(one).await.is_err());
}
