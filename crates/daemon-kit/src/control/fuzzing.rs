//! A door for the fuzz targets: one connection, without a socket.

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::Builder;
use tokio::sync::mpsc;

use super::server::serve;
use super::{ControlRequest, QUEUE_DEPTH};

/// Serves a client that says `bytes` and nothing more. Returns what it was answered, and what reached
/// the main loop; that one answers with the question.
///
/// # Panics
/// Without a runtime.
#[expect(clippy::expect_used, reason = "a fuzz target that cannot run has to say so")]
pub fn ask(bytes: &[u8]) -> (Vec<u8>, Option<Value>) {
    let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        let (mut client, server) = tokio::io::duplex(bytes.len().max(1));
        let (requests, mut receiver) = mpsc::channel::<ControlRequest>(QUEUE_DEPTH);
        let client = async move {
            // All of it fits, be it read or not.
            let _ = client.write_all(bytes).await;
            let _ = client.shutdown().await;
            let mut answer = Vec::new();
            let _ = client.read_to_end(&mut answer).await;
            answer
        };
        let main_loop = async {
            let request = receiver.recv().await?;
            let command = request.command.clone();
            request.answer(command.to_string().into_bytes());
            Some(command)
        };
        let (answer, (), command) = tokio::join!(client, serve(server, requests), main_loop);
        (answer, command)
    })
}
