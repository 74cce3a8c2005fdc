//! A VIM for tests: takes one connection after the other, and does with each what it was told.

use std::io;

use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::address::VimAddress;

/// What it does with a connection.
#[derive(Debug, Clone)]
pub(super) enum Behaviour {
    /// Reads the request, answers this, closes. Without a byte, that is what the VIM's server does
    /// when it has nothing to say.
    Answer(Vec<u8>),
    /// The same, and leaves the connection open.
    AnswerAndStay(Vec<u8>),
    /// Reads the request, answers this, closes its half, and waits for the other one to close.
    HalfClose(Vec<u8>),
    /// Answers this without reading, and closes when the other one has.
    AnswerUnread(Vec<u8>),
    /// Reads the request, answers this, and breaks the connection.
    Break(Vec<u8>),
    /// Reads the request, and nothing more.
    Hang,
    /// Closes without reading.
    CloseUnread,
    /// Answers this again and again.
    Flood(Vec<u8>),
}

pub(super) fn answer(text: &str) -> Behaviour {
    Behaviour::Answer(text.as_bytes().to_vec())
}

pub(super) struct StandIn {
    pub(super) address: VimAddress,
    /// What one read of each connection gave.
    requests: mpsc::UnboundedReceiver<Vec<u8>>,
}

impl StandIn {
    /// Serves as many connections as there are behaviours; refuses any further one.
    pub(super) async fn start(behaviours: impl IntoIterator<Item = Behaviour>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let behaviours: Vec<Behaviour> = behaviours.into_iter().collect();
        let (sender, requests) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            for behaviour in behaviours {
                let (stream, _) = listener.accept().await.unwrap();
                // A client that leaves is part of the tests.
                let _ = serve(stream, behaviour, &sender).await;
            }
        });
        Self { address, requests }
    }

    /// An address at which nobody listens.
    pub(super) fn nobody() -> VimAddress {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap()).parse().unwrap()
    }

    /// The next request.
    pub(super) async fn request(&mut self) -> Vec<u8> {
        self.requests.recv().await.unwrap()
    }

    /// Whether there was no request that has not been taken yet.
    pub(super) fn is_unasked(&mut self) -> bool {
        self.requests.try_recv().is_err()
    }
}

async fn serve(
    mut stream: TcpStream,
    behaviour: Behaviour,
    requests: &mpsc::UnboundedSender<Vec<u8>>,
) -> io::Result<()> {
    let unread = matches!(behaviour, Behaviour::AnswerUnread(_) | Behaviour::CloseUnread);
    if !unread {
        let mut room = vec![0; 64 * 1024];
        let length = stream.read(&mut room).await?;
        room.truncate(length);
        let _ = requests.send(room);
    }
    match behaviour {
        Behaviour::Answer(bytes) => stream.write_all(&bytes).await,
        Behaviour::AnswerAndStay(bytes) | Behaviour::AnswerUnread(bytes) => {
            stream.write_all(&bytes).await?;
            until_closed(stream).await
        }
        Behaviour::HalfClose(bytes) => {
            stream.write_all(&bytes).await?;
            stream.shutdown().await?;
            until_closed(stream).await
        }
        Behaviour::Break(bytes) => {
            stream.write_all(&bytes).await?;
            SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO))
        }
        Behaviour::Hang => until_closed(stream).await,
        Behaviour::CloseUnread => Ok(()),
        Behaviour::Flood(bytes) => loop {
            stream.write_all(&bytes).await?;
        },
    }
}

async fn until_closed(mut stream: TcpStream) -> io::Result<()> {
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.map(drop)
}
