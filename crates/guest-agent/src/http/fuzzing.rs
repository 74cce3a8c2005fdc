//! Commands over HTTP, for the fuzz targets: on a stream in memory, with a main loop that has an inventory.

use std::sync::Arc;

use heartbeat_proto::MonotonicTime;
use heartbeat_proto::control::{Host, MaintenanceCommand};
use http_body_util::BodyExt as _;
use hyper::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::Builder;
use tokio::sync::{Notify, mpsc};

use super::answer::{Failure, HttpAnswer, of_command};
use super::connection::serve;
use super::exchange::Exchanges;
use super::{Counts, Limits, REQUESTS_DEPTH, Request, decode, route};
use crate::inventory::{Command, Inventory, Output};

/// What came of a command.
#[derive(Debug)]
pub struct Commanded {
    /// The status of the response.
    pub status: u16,
    /// Its body.
    pub body: Vec<u8>,
    /// The texts that are sent to guestServers for it.
    pub datagrams: Vec<String>,
    /// The bodies that are sent to the VIM for it.
    pub events: Vec<String>,
}

/// An inventory of one host, `compute-0`.
fn inventory() -> Inventory {
    let mut inventory = Inventory::default();
    if let Ok(uuid) = "010e7741-1173-4a3b-88fa-c4e5905500ca".parse() {
        inventory.handle_maintenance(&MaintenanceCommand::AddHost(Host {
            hostname: "compute-0".into(),
            uuid,
            ip: "10.0.0.1".into(),
            personality: "worker".into(),
        }));
    }
    while inventory.poll_output().is_some() {}
    inventory
}

fn run<T>(future: impl Future<Output = T>) -> T {
    #[expect(clippy::expect_used, reason = "a fuzz target that cannot run has to say so")]
    let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(future)
}

/// Carries out what a method, a path and a body mean; twice, for the second time is another one.
#[must_use]
pub fn command(method: &str, path: &str, body: &[u8]) -> [Commanded; 2] {
    let mut inventory = inventory();
    [(); 2].map(|()| {
        let response = match command_of(method, path, body) {
            Ok(command) => of_command(inventory.handle_command(MonotonicTime::START, command)),
            Err(failure) => failure.response(),
        };
        commanded(response, &mut inventory)
    })
}

fn command_of(method: &str, path: &str, body: &[u8]) -> Result<Command, Failure> {
    let method = Method::from_bytes(method.as_bytes()).unwrap_or_default();
    let target = route::find(&method, path).map_err(Failure::Miss)?;
    decode::command(target, body)
}

fn commanded(response: HttpAnswer, inventory: &mut Inventory) -> Commanded {
    let status = response.status().as_u16();
    let body = run(response.into_body().collect()).map(|body| body.to_bytes().to_vec());
    let mut commanded = Commanded {
        status,
        body: body.unwrap_or_default(),
        datagrams: Vec::new(),
        events: Vec::new(),
    };
    while let Some(output) = inventory.poll_output() {
        match output {
            Output::Command(_, command) => commanded.datagrams.push(command.text("2001:db8::2")),
            Output::Event(event) => commanded.events.push(event.body()),
            Output::Ask(_)
            | Output::Deleted(_)
            | Output::Moved(_)
            | Output::ReadyForMaintenance
            | Output::Note(_) => {}
        }
    }
    commanded
}

/// Serves a client that says these pieces one after the other and then ends its side. Returns what it was
/// answered, and how many commands the main loop was given.
#[must_use]
pub fn connection(pieces: &[&[u8]]) -> (Vec<u8>, usize) {
    run(async {
        let (client, server) = tokio::io::duplex(64 * 1024);
        let (requests, receiver) = mpsc::channel(REQUESTS_DEPTH);
        let exchanges = Exchanges::new(Limits::default(), Arc::<Counts>::default(), requests);
        let server = serve(server, Arc::new(exchanges), Arc::new(Notify::new()));
        let (mut from_server, mut to_server) = tokio::io::split(client);
        let says = async move {
            for piece in pieces {
                if to_server.write_all(piece).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            let _ = to_server.shutdown().await;
        };
        let hears = async move {
            let mut answers = Vec::new();
            let _ = from_server.read_to_end(&mut answers).await;
            answers
        };
        let ((), (), answers, commands) = tokio::join!(says, server, hears, main_loop(receiver));
        (answers, commands)
    })
}

async fn main_loop(mut requests: mpsc::Receiver<Request>) -> usize {
    let mut inventory = inventory();
    let mut commands = 0;
    while let Some(request) = requests.recv().await {
        commands += 1;
        request.answer_with(|command| inventory.handle_command(MonotonicTime::START, command));
        while inventory.poll_output().is_some() {}
    }
    commands
}
