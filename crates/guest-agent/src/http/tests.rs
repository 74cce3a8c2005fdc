//! A real listener on loopback, a stand-in main loop with a real inventory, and clients that write
//! their own bytes.

mod counts;
mod framing;
mod limits;
mod pressure;
mod routes;

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use heartbeat_proto::MonotonicTime;
use heartbeat_proto::control::{Host, Hosted, InstanceInfo, MaintenanceCommand, ServerEvent};
use heartbeat_proto::guest::CorrectiveAction;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{Counts, Limits, Request, bind};
use crate::inventory::Inventory;

const HOST: &str = "010e7741-1173-4a3b-88fa-c4e5905500ca";
const INSTANCE: &str = "8d80875b-fa73-4ccb-bce3-1cd4df104400";
/// An instance that is heartbeating.
const ALIVE: &str = "8d80875b-fa73-4ccb-bce3-1cd4df10aaaa";
const UNKNOWN: &str = "00000000-0000-4000-8000-000000000000";

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server.
struct Server {
    address: SocketAddr,
    counts: Arc<Counts>,
}

impl Server {
    /// With a main loop.
    async fn start(limits: Limits) -> Self {
        let (server, requests) = Self::start_alone(limits);
        tokio::spawn(main_loop(requests));
        server
    }

    /// With nobody who answers.
    fn start_alone(limits: Limits) -> (Self, mpsc::Receiver<Request>) {
        let listener = bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap().with_limits(limits);
        let server = Self { address: listener.local_addr().unwrap(), counts: listener.counts() };
        (server, listener.spawn())
    }

    async fn connect(&self) -> Client {
        let stream = timeout(PATIENCE, TcpStream::connect(self.address)).await.unwrap().unwrap();
        Client { stream, buffer: Vec::new() }
    }

    /// One request on a connection of its own.
    async fn ask(&self, method: &str, path: &str, body: Option<&str>) -> Reply {
        self.ask_raw(request(method, path, body).as_bytes()).await
    }

    async fn ask_raw(&self, bytes: &[u8]) -> Reply {
        let mut client = self.connect().await;
        client.send(bytes).await;
        client.reply().await
    }

    /// It still answers.
    async fn assert_undisturbed(&self) {
        let reply = self.ask("GET", &format!("/v1/hosts/{HOST}"), None).await;
        assert_eq!(reply.status, 200);
    }
}

async fn main_loop(mut requests: mpsc::Receiver<Request>) {
    let mut inventory = inventory();
    while let Some(request) = requests.recv().await {
        request.answer_with(|command| {
            inventory.handle_command(MonotonicTime::after_start(Duration::ZERO), command)
        });
        while inventory.poll_output().is_some() {}
    }
}

/// Two hosts, and on the first one an instance that is heartbeating.
fn inventory() -> Inventory {
    let mut inventory = Inventory::default();
    for (hostname, uuid, ip) in
        [("compute-0", HOST, "10.0.0.1"), ("compute-1", &HOST.replace('0', "1"), "10.0.0.2")]
    {
        inventory.handle_maintenance(&MaintenanceCommand::AddHost(Host {
            hostname: hostname.into(),
            uuid: uuid.parse().unwrap(),
            ip: ip.into(),
            personality: "worker".into(),
        }));
    }
    let instance = ALIVE.parse().unwrap();
    let add = crate::inventory::Command::AddInstance {
        instance,
        hostname: "compute-0".into(),
        services: vec![heartbeat_proto::vim::command::Service::Name("heartbeat".into())],
    };
    inventory.handle_command(MonotonicTime::after_start(Duration::ZERO), add).unwrap();
    let info = InstanceInfo {
        reporting: false,
        heartbeating: true,
        repair_action: CorrectiveAction::Reboot,
        restart_secs: 121,
        shutdown_secs: 11,
        suspend_secs: 12,
        resume_secs: 13,
        vote_secs: 14,
    };
    let event = ServerEvent::Running(instance, info);
    let running = Hosted { hostname: "compute-0".into(), event };
    inventory.handle_event(MonotonicTime::START, ([10, 0, 0, 1], 2411).into(), &running);
    inventory
}

/// A request as the VIM writes it.
fn request(method: &str, path: &str, body: Option<&str>) -> String {
    let mut text =
        format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: vim/1.0\r\n");
    if let Some(body) = body {
        write!(text, "Content-Type: application/json\r\nContent-Length: {}\r\n", body.len())
            .unwrap();
    }
    text + "\r\n" + body.unwrap_or_default()
}

fn host_path(rest: &str) -> String {
    format!("/v1/hosts/{HOST}{rest}")
}

fn host_body() -> String {
    format!(r#"{{"uuid":"{HOST}","hostname":"compute-0"}}"#)
}

/// A client that sees every byte.
struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// A response.
#[derive(Debug)]
struct Reply {
    status: u16,
    /// The header as it came, in lower case.
    head: String,
    body: Vec<u8>,
}

impl Client {
    async fn send(&mut self, bytes: &[u8]) {
        timeout(PATIENCE, self.stream.write_all(bytes)).await.unwrap().unwrap();
    }

    /// Ends this side of the connection.
    async fn finish(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    async fn fill(&mut self) -> usize {
        timeout(PATIENCE, self.stream.read_buf(&mut self.buffer)).await.unwrap().unwrap()
    }

    async fn head(&mut self) -> String {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let head: Vec<u8> = self.buffer.drain(..end + 4).collect();
                return String::from_utf8(head).unwrap().to_lowercase();
            }
            assert_ne!(self.fill().await, 0, "closed before a whole header");
        }
    }

    async fn reply(&mut self) -> Reply {
        self.reply_to("GET").await
    }

    async fn reply_to(&mut self, method: &str) -> Reply {
        let head = self.head().await;
        let status = head[9..12].parse().unwrap();
        let mut reply = Reply { status, head, body: Vec::new() };
        let length = reply.header("content-length").map_or(0, |length| length.parse().unwrap());
        assert_eq!(reply.header("content-length").is_none(), status == 204 || status < 200);
        if method != "HEAD" {
            while self.buffer.len() < length {
                assert_ne!(self.fill().await, 0, "closed before a whole body");
            }
            reply.body = self.buffer.drain(..length).collect();
        }
        reply
    }

    /// The connection ends, orderly or not, and nothing more comes.
    async fn assert_closed(&mut self) {
        let rest = timeout(PATIENCE, self.stream.read_to_end(&mut self.buffer)).await;
        let _: Result<_, std::io::Error> = rest.expect("still open");
        assert_eq!(String::from_utf8_lossy(&self.buffer), "");
    }
}

impl Reply {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"));
        serde_json::from_slice(&self.body).unwrap()
    }

    #[track_caller]
    fn assert_fails(&self, status: u16, reason: &str) {
        let expected = format!(r#"{{"status":"fail","reason":"{reason}"}}"#);
        assert_eq!((self.status, &*String::from_utf8_lossy(&self.body)), (status, &*expected));
        assert_eq!(self.header("content-type"), Some("application/json"));
    }
}

/// Waits until it is so.
async fn eventually(mut is_so: impl FnMut() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, wait).await.expect("it never was");
}
