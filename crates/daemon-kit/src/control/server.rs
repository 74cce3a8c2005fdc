//! The daemon's side of the control socket.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::stat::Mode;
use nix::unistd::geteuid;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::debug;

use super::{
    ANSWER_TIMEOUT, MAX_CONNECTIONS, MAX_REQUEST, QUEUE_DEPTH, REPLY_TIMEOUT, REQUEST_TIMEOUT,
};
use crate::exit::describe;
use crate::limited;
use crate::rate_limit::RateLimit;
use crate::socket_file::{BindError, SocketFile};

/// The pause after a failed accept. Out of file descriptors, the next one fails as fast.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// One question for the main loop. Dropping it unanswered tells the client so.
#[derive(Debug)]
pub struct ControlRequest {
    /// The whole question: an object with the text `request`, and whatever else the client put in.
    pub command: Value,
    reply: oneshot::Sender<Vec<u8>>,
}

impl ControlRequest {
    /// What is asked for: the text of `request`.
    pub fn command(&self) -> &str {
        self.command.get("request").and_then(Value::as_str).unwrap_or_default()
    }

    /// Answers with one JSON document; the newline is added. Never waits; a client that has gone is
    /// no error.
    pub fn answer(self, document: Vec<u8>) {
        let _ = self.reply.send(document);
    }

    /// Answers with this document, written in a thread of its own: of ten thousand guests it is several megabytes, and the
    /// main loop has other things to do. Call it inside the runtime.
    pub fn answer_with(self, document: impl Serialize + Send + 'static) {
        tokio::task::spawn_blocking(move || match serde_json::to_vec(&document) {
            Ok(document) => self.answer(document),
            Err(error) => self.refuse(&error.to_string()),
        });
    }

    /// Answers `{"done": true}`, or says why it was not done.
    pub fn settle(self, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => self.answer(json!({ "done": true }).to_string().into_bytes()),
            Err(why) => self.refuse(&why),
        }
    }

    /// Answers `{"error": "<reason>"}`.
    pub fn refuse(self, reason: &str) {
        self.answer(error_document(reason));
    }
}

/// The listening socket. Dropping it removes its file, unless another one has taken its place.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    _file: SocketFile,
}

impl ControlSocket {
    /// Listens on `path`, mode 0600. Hold the pidfile before: a socket that is there is taken for
    /// one left behind and replaced. Call it inside the runtime.
    ///
    /// # Errors
    ///
    /// See [`SocketFile::bind`].
    pub fn bind(path: &Path) -> Result<ControlSocket, BindError> {
        let (listener, file) = SocketFile::bind(path, Mode::S_IRUSR | Mode::S_IWUSR)?;
        Ok(ControlSocket { listener, _file: file })
    }

    /// Serves the socket from a task of its own and returns where the main loop receives the
    /// questions.
    ///
    /// The socket is closed and its file removed once the receiver has been dropped, or with the
    /// runtime.
    pub fn spawn(self) -> mpsc::Receiver<ControlRequest> {
        let (requests, receiver) = mpsc::channel(QUEUE_DEPTH);
        tokio::spawn(self.run(requests));
        receiver
    }

    async fn run(self, requests: mpsc::Sender<ControlRequest>) {
        // Dropped with this future, and all connections with it.
        let mut connections = JoinSet::new();
        let mut failures = RateLimit::new(3, Duration::from_secs(60));
        let mut strangers = RateLimit::new(3, Duration::from_secs(60));
        loop {
            tokio::select! {
                () = requests.closed() => return,
                Some(_) = connections.join_next() => {}
                accepted = self.listener.accept(), if connections.len() < MAX_CONNECTIONS => {
                    match accepted {
                        Ok((stream, _)) if is_allowed(&stream) => {
                            connections.spawn(serve(stream, requests.clone()));
                        }
                        Ok(_) => {
                            limited!(
                                strangers.allow(Instant::now()), warn,
                                "closed another user's control connection"
                            );
                        }
                        Err(error) => {
                            limited!(
                                failures.allow(Instant::now()), warn, %error,
                                "cannot accept on the control socket"
                            );
                            tokio::time::sleep(ACCEPT_PAUSE).await;
                        }
                    }
                }
            }
        }
    }
}

/// The mode of the file keeps strangers out already, except those who were let in by a change of
/// it.
fn is_allowed(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| may_ask(peer.uid(), geteuid().as_raw()))
}

pub(super) fn may_ask(peer: u32, own: u32) -> bool {
    peer == own || peer == 0
}

/// One connection from its question to its answer.
pub(super) async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    requests: mpsc::Sender<ControlRequest>,
) {
    let mut answer = match read_request(&mut stream).await {
        Ok(command) => put_to_main_loop(command, &requests).await,
        Err(reason) => error_document(&reason),
    };
    answer.push(b'\n');
    let written = timeout(ANSWER_TIMEOUT, async {
        stream.write_all(&answer).await?;
        stream.shutdown().await
    });
    match written.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "a control client left before its answer"),
        Err(_) => debug!("a control client did not read its answer in time"),
    }
}

/// The question, or what is wrong with it.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Result<Value, String> {
    let mut line = Vec::new();
    // One byte for the newline. What a client sends after it is not read.
    let mut reader = BufReader::new(stream).take(MAX_REQUEST + 1);
    match timeout(REQUEST_TIMEOUT, reader.read_until(b'\n', &mut line)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => return Err(format!("cannot read the request: {error}")),
        Err(_) => {
            return Err(format!("no whole line within {} s", REQUEST_TIMEOUT.as_secs()));
        }
    }
    if line.pop_if(|last| *last == b'\n').is_none() && line.len() as u64 > MAX_REQUEST {
        return Err(format!("the request is longer than {MAX_REQUEST} bytes"));
    }
    let command: Value = serde_json::from_slice(&line)
        .map_err(|error| format!("the request is not JSON: {}", describe(&error)))?;
    match &command {
        Value::Object(object) => match object.get("request") {
            Some(Value::String(_)) => Ok(command),
            Some(_) => Err("the value of \"request\" is not a text".to_owned()),
            None => Err("the key \"request\" is missing".to_owned()),
        },
        _ => Err("the request is not a JSON object".to_owned()),
    }
}

async fn put_to_main_loop(command: Value, requests: &mpsc::Sender<ControlRequest>) -> Vec<u8> {
    let (reply, answer) = oneshot::channel();
    let exchange = async {
        requests.send(ControlRequest { command, reply }).await.ok()?;
        answer.await.ok()
    };
    match timeout(REPLY_TIMEOUT, exchange).await {
        Ok(Some(document)) => document,
        Ok(None) => error_document("the daemon gave no answer"),
        Err(_) => error_document(&format!(
            "the daemon did not answer within {} s",
            REPLY_TIMEOUT.as_secs()
        )),
    }
}

fn error_document(reason: &str) -> Vec<u8> {
    json!({ "error": reason }).to_string().into_bytes()
}
