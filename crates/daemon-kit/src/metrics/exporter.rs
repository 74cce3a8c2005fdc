//! The main loop's side of the metrics: who asks for them, and the text.
//!
//! The main loop owns the [`Exporter`] and waits for [`Exporter::next`] beside everything else; when that returns, it
//! lends what is shown to [`Exporter::render`]. What all instances add up to is written at once, series of instances
//! (if they are wanted) [`BATCH`] at a time, one batch a turn of the loop, so that many of them hold up nobody.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::sleep_until;
use tracing::info;

use super::endpoint::{self, Endpoint, Limits, MAX_CONNECTIONS};
use super::process::Sample;
use super::{Exposition, Rows};
use crate::{ControlRequest, Failure, RateLimit, limited};

/// Instances whose series are written in one turn of the main loop.
pub const BATCH: usize = 128;

/// Those who ask that wait for the main loop. There are no more: connections here and on the control socket are bounded.
const ASKERS_DEPTH: usize = MAX_CONNECTIONS + crate::control::MAX_CONNECTIONS;

/// The pause after a failed accept. Out of file descriptors, the next one fails as fast.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a daemon shows.
pub trait Source {
    /// What an instance is known by.
    type Id;

    /// Writes what is not about single instances.
    fn render(&self, out: &mut Exposition);

    /// Those that series are wanted of; none if they are off.
    fn instances(&self) -> Vec<Self::Id>;

    /// Writes the series of one; nothing if it is gone.
    fn render_instance(&self, id: &Self::Id, rows: &mut Rows);
}

/// Where the text goes.
#[derive(Debug)]
pub(super) enum Reply {
    Http(oneshot::Sender<Bytes>),
    Control(ControlRequest),
}

/// Somebody who wants the text.
#[derive(Debug)]
pub(super) struct Asker {
    process: Sample,
    reply: Reply,
}

impl Asker {
    /// Looks at the process, in a thread of its own, and asks the main loop. None when that is gone.
    pub(super) async fn ask(reply: Reply, askers: &mpsc::Sender<Asker>) -> Option<()> {
        let process = tokio::task::spawn_blocking(Sample::take).await.unwrap_or_default();
        askers.send(Asker { process, reply }).await.ok()
    }
}

/// A text in the making.
#[derive(Debug)]
struct Rendering<K> {
    askers: Vec<Asker>,
    out: Exposition,
    rows: Rows,
    left: std::vec::IntoIter<K>,
}

/// Serves the metrics. Dropping it closes its socket and all connections.
#[derive(Debug)]
pub struct Exporter<K> {
    endpoint: Option<Endpoint>,
    connections: JoinSet<()>,
    sender: mpsc::Sender<Asker>,
    receiver: mpsc::Receiver<Asker>,
    askers: Vec<Asker>,
    rendering: Option<Rendering<K>>,
    /// The others had their turn since the last batch.
    yielded: bool,
    failures: RateLimit,
    limits: Limits,
}

impl<K> Exporter<K> {
    /// Listens, if it shall. Call it inside the runtime.
    ///
    /// # Errors
    ///
    /// The address cannot be bound; the text names the key.
    pub fn start(listen: Option<SocketAddr>) -> Result<Self, Failure> {
        let endpoint = listen.map(bind).transpose()?;
        let (sender, receiver) = mpsc::channel(ASKERS_DEPTH);
        Ok(Self {
            endpoint,
            connections: JoinSet::new(),
            sender,
            receiver,
            askers: Vec::new(),
            rendering: None,
            yielded: false,
            failures: RateLimit::new(3, Duration::from_secs(60)),
            limits: Limits::default(),
        })
    }

    /// Where it listens, if it does.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.endpoint.as_ref().map(|endpoint| endpoint.address)
    }

    /// Listens elsewhere, or no longer; connections that are there go on. The same address again is left alone.
    ///
    /// # Errors
    ///
    /// The new address cannot be bound; the former one is listened on as before.
    pub fn listen(&mut self, listen: Option<SocketAddr>) -> Result<(), Failure> {
        let former = self.endpoint.as_ref().map(|endpoint| endpoint.asked);
        if listen == former {
            return Ok(());
        }
        let Some(new) = listen else {
            self.endpoint = None;
            return Ok(());
        };
        let mut bound = Endpoint::bind(new);
        let former = self.address();
        if let (Err(error), Some(former)) = (&bound, former)
            && error.kind() == io::ErrorKind::AddrInUse
            && former.port() == new.port()
        {
            // It may be we who are in the way: any address and one of them exclude each other.
            self.endpoint = None;
            bound = Endpoint::bind(new);
            if bound.is_err() {
                self.endpoint = Some(bind(former)?);
            }
        }
        let bound = bound.map_err(|error| cannot_bind(new, &error))?;
        info!(address = %bound.address, "metrics are served here from now on");
        self.endpoint = Some(bound);
        Ok(())
    }

    /// Somebody asks over the control socket; the answer is `{"openmetrics": "..."}`.
    pub fn ask(&self, request: ControlRequest) {
        let sender = self.sender.clone();
        tokio::spawn(async move { Asker::ask(Reply::Control(request), &sender).await });
    }

    /// Waits until [`render`](Self::render) has something to do. May be dropped while it waits.
    pub async fn next(&mut self) {
        if self.rendering.is_some() || !self.askers.is_empty() {
            if !std::mem::replace(&mut self.yielded, true) {
                tokio::task::yield_now().await;
            }
            self.yielded = false;
            return;
        }
        loop {
            let resumes_at = self.endpoint.as_ref().and_then(Endpoint::resumes_at);
            let room = self.connections.len() < MAX_CONNECTIONS && resumes_at.is_none();
            let accepted = tokio::select! {
                Some(asker) = self.receiver.recv() => {
                    self.askers.push(asker);
                    return;
                }
                Some(_) = self.connections.join_next() => continue,
                () = async { match resumes_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                } } => continue,
                accepted = accept(self.endpoint.as_ref()), if room => accepted,
            };
            let Some(endpoint) = &mut self.endpoint else { continue };
            match accepted {
                Ok(stream) => {
                    endpoint.pay();
                    let sender = self.sender.clone();
                    self.connections.spawn(endpoint::serve(stream, sender, self.limits));
                }
                Err(error) => {
                    endpoint.pause(ACCEPT_PAUSE);
                    let allowed = self.failures.allow(Instant::now());
                    limited!(allowed, warn, %error, "cannot accept connections for metrics");
                }
            }
        }
    }

    /// Writes the text for those who ask, or the next piece of it.
    pub fn render(&mut self, source: &impl Source<Id = K>) {
        let mut rendering = match self.rendering.take() {
            Some(mut rendering) => {
                for id in rendering.left.by_ref().take(BATCH) {
                    source.render_instance(&id, &mut rendering.rows);
                }
                rendering
            }
            None => {
                let mut askers = std::mem::take(&mut self.askers);
                while let Ok(asker) = self.receiver.try_recv() {
                    askers.push(asker);
                }
                let Some(process) = askers.last().map(|asker| asker.process) else { return };
                let mut out = Exposition::default();
                source.render(&mut out);
                process.render(&mut out);
                let left = source.instances().into_iter();
                Rendering { askers, out, rows: Rows::default(), left }
            }
        };
        if !rendering.left.as_slice().is_empty() {
            self.rendering = Some(rendering);
            return;
        }
        rendering.out.rows(&rendering.rows);
        let text = Bytes::from(rendering.out.finish());
        for asker in rendering.askers {
            match asker.reply {
                // Whoever has gone meanwhile does not need it.
                Reply::Http(reply) => drop(reply.send(text.clone())),
                Reply::Control(request) => {
                    let text = String::from_utf8_lossy(&text);
                    request.answer(json!({ "openmetrics": text }).to_string().into_bytes());
                }
            }
        }
    }
}

async fn accept(endpoint: Option<&Endpoint>) -> io::Result<tokio::net::TcpStream> {
    match endpoint {
        Some(endpoint) => endpoint.accept().await,
        None => std::future::pending().await,
    }
}

fn bind(address: SocketAddr) -> Result<Endpoint, Failure> {
    Endpoint::bind(address).map_err(|error| cannot_bind(address, &error))
}

fn cannot_bind(address: SocketAddr, error: &io::Error) -> Failure {
    Failure::environment(format!(
        "cannot bind TCP {address} ([metrics] listen): {error}: \
         expected an address of this host and a port that is free"
    ))
}

#[cfg(test)]
mod tests;
