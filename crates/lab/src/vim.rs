//! A stand-in for the VIM's event server, with its ways: one thread, one connection at a time, HTTP/1.0; a
//! success without a body and every refusal come back as a closed connection with no byte, an alarm is answered
//! with a body that has no length. It can hang, refuse, break, and answer with errors.
//!
//! A thread of its own serves, so that it is as slow as it is told to be and no slower. It ends with the [`Vim`].

mod answer;
mod commander;
mod request;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::AsFd as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use heartbeat_proto::{HostId, InstanceId};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::record::Record;

pub use self::commander::{Commander, Reply};
pub use self::request::VimRequest;

/// Requests that are remembered; of more, the oldest go.
const REMEMBERED: usize = 200_000;

/// How long the thread waits at most before it looks whether it is to end.
const LOOK_AROUND: u16 = 100;

/// How the VIM takes what it is told and asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// As the real one.
    Normal,
    /// Takes the request and says nothing, for as long as it is in this mood.
    Hanging,
    /// Takes the request and answers after this long.
    Slow(Duration),
    /// Answers everything with this status and a body.
    Status(u16),
    /// Begins an answer and breaks off.
    HalfAnswer,
    /// Closes before it has read the request.
    Breaking,
}

#[derive(Debug, Clone)]
struct HostEntry {
    hostname: String,
    enabled: bool,
    instances: BTreeMap<InstanceId, bool>,
}

#[derive(Debug)]
struct State {
    mood: Mood,
    /// Nobody listens: connections are refused.
    away: bool,
    ending: bool,
    hosts: BTreeMap<HostId, HostEntry>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    requests: Record<VimRequest>,
    started: Instant,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the state changes, or for a while.
    fn wait(&self, at_most: Duration) {
        let state = self.lock();
        drop(self.changed.wait_timeout(state, at_most));
    }
}

/// A lab VIM.
#[derive(Debug)]
pub struct Vim {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: Option<JoinHandle<()>>,
}

impl Vim {
    /// A VIM at `ip`, on any free port: see [`Vim::url`].
    ///
    /// # Errors
    ///
    /// The address cannot be bound.
    pub fn start(ip: IpAddr) -> Result<Self> {
        let listener = TcpListener::bind((ip, 0)).context("cannot bind the VIM")?;
        let address = listener.local_addr()?;
        let state =
            State { mood: Mood::Normal, away: false, ending: false, hosts: BTreeMap::new() };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
            requests: Record::new(REMEMBERED),
            started: Instant::now(),
        });
        let theirs = Arc::clone(&shared);
        let server = std::thread::Builder::new()
            .name("lab-vim".into())
            .spawn(move || serve(&theirs, address, Some(listener)))?;
        Ok(Self { address, shared, server: Some(server) })
    }

    /// What `--vim` takes.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes how it takes what it is told from now on, also for the request that it hangs over.
    pub fn set_mood(&self, mood: Mood) {
        self.shared.lock().mood = mood;
        self.shared.changed.notify_all();
    }

    /// Nobody listens from now on: connections are refused.
    pub fn leave(&self) {
        self.shared.lock().away = true;
        self.shared.changed.notify_all();
    }

    /// Listens again.
    pub fn come_back(&self) {
        self.shared.lock().away = false;
        self.shared.changed.notify_all();
    }

    /// What it answers when it is asked for this host's state.
    pub fn set_host(&self, host: HostId, hostname: &str, enabled: bool) {
        let mut state = self.shared.lock();
        let entry = state.hosts.entry(host).or_insert_with(|| HostEntry {
            hostname: hostname.into(),
            enabled,
            instances: BTreeMap::new(),
        });
        entry.hostname = hostname.into();
        entry.enabled = enabled;
    }

    /// An instance that it lists for this host, and whether its faults are reported.
    pub fn set_instance(&self, host: HostId, instance: InstanceId, enabled: bool) {
        if let Some(entry) = self.shared.lock().hosts.get_mut(&host) {
            entry.instances.insert(instance, enabled);
        }
    }

    /// It no longer lists this instance.
    pub fn remove_instance(&self, host: HostId, instance: InstanceId) {
        if let Some(entry) = self.shared.lock().hosts.get_mut(&host) {
            entry.instances.remove(&instance);
        }
    }

    /// Waits for a request that `wanted` takes, and consumes all that came before.
    ///
    /// # Errors
    ///
    /// None came within `within`; the error lists what did.
    pub async fn wait_for(
        &self,
        what: &str,
        within: Duration,
        wanted: impl FnMut(&VimRequest) -> bool,
    ) -> Result<VimRequest> {
        self.shared.requests.wait_for(&format!("{what} at the VIM"), within, wanted).await
    }

    /// Every request that it has read whole, waited for or not.
    #[must_use]
    pub fn requests(&self) -> Vec<VimRequest> {
        self.shared.requests.all()
    }

    /// Consumes and returns what came and was not waited for.
    #[must_use = "it is gone from what is waited for"]
    pub fn drain(&self) -> Vec<VimRequest> {
        self.shared.requests.drain()
    }
}

impl Drop for Vim {
    fn drop(&mut self) {
        self.shared.lock().ending = true;
        self.shared.changed.notify_all();
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

impl fmt::Display for VimRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let elapsed = self.elapsed.as_secs_f64() * 1e3;
        write!(f, "{elapsed:9.3} ms  {} {} {}", self.method, self.path, self.body)
    }
}

/// Serves one connection after the other until it is told to end.
fn serve(shared: &Shared, address: SocketAddr, mut listener: Option<TcpListener>) {
    loop {
        let (ending, away) = {
            let state = shared.lock();
            (state.ending, state.away)
        };
        if ending {
            return;
        }
        if away {
            listener = None;
            shared.wait(Duration::from_millis(LOOK_AROUND.into()));
            continue;
        }
        let Some(listening) = &listener else {
            listener = TcpListener::bind(address).ok();
            if listener.is_none() {
                shared.wait(Duration::from_millis(5));
            }
            continue;
        };
        let mut ready = [PollFd::new(listening.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ready, PollTimeout::from(LOOK_AROUND)).is_ok_and(|count| count > 0)
            && let Ok((stream, _)) = listening.accept()
        {
            answer::serve(shared, stream);
        }
    }
}

#[cfg(test)]
mod tests;
