//! A stand-in for guestAgent on the controller: commands out and events in, in the bytes of the C++ daemon.
//!
//! A thread of its own receives, so that the time of an arrival is right however busy the test's runtime is, and
//! nothing is lost in a burst. It ends with the [`Controller`].

use std::fmt;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use heartbeat_proto::control::{AgentCommand, Datagram, Length, MAX_LEN, ServerEvent};
use heartbeat_proto::guest::EventType;
use heartbeat_proto::{HostId, InstanceId};
use nix::sys::socket::{setsockopt, sockopt};

use crate::record::Record;

/// Arrivals that are remembered; of more, the oldest go. Three events each of 10,000 guests fit.
const REMEMBERED: usize = 50_000;
/// More than any datagram, so that one that is too long is seen as that.
const ROOM: usize = 2 * MAX_LEN;
/// Bytes of the kernel's receive buffer: events of thousands of guests may come at once.
const RECEIVE_BUFFER: usize = 16 * 1024 * 1024;
/// How long the receiving thread sleeps at most before it looks whether it is to end.
const LOOK_AROUND: Duration = Duration::from_millis(200);

/// A datagram that arrived.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// When it arrived.
    pub at: Instant,
    /// How long after the controller's start that was.
    pub elapsed: Duration,
    /// Who sent it.
    pub from: SocketAddr,
    /// All of its bytes.
    pub bytes: Vec<u8>,
    /// The `hostname` that it gives; empty if it is no event.
    pub hostname: String,
    /// What it says, or why it says nothing.
    pub event: Result<ServerEvent, String>,
}

impl fmt::Display for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:9.3} ms  {} ", self.elapsed.as_secs_f64() * 1e3, self.from)?;
        match &self.event {
            Ok(event) => write!(f, "{} {event:?}", event.name()),
            Err(error) => write!(f, "{} bytes: {error}", self.bytes.len()),
        }
    }
}

impl Arrival {
    fn new(started: Instant, from: SocketAddr, bytes: &[u8]) -> Self {
        let at = Instant::now();
        let (hostname, event) = match decode(bytes) {
            Ok((hostname, event)) => (hostname, Ok(event)),
            Err(error) => (String::new(), Err(format!("{error:#}"))),
        };
        let elapsed = at.duration_since(started);
        Self { at, elapsed, from, bytes: bytes.to_vec(), hostname, event }
    }

    /// The instance that it is about.
    #[must_use]
    pub fn instance(&self) -> Option<InstanceId> {
        match self.event.as_ref().ok()? {
            ServerEvent::MonitorReady => None,
            ServerEvent::Instance(instance, _)
            | ServerEvent::Running(instance, _)
            | ServerEvent::Stopped(instance, _)
            | ServerEvent::IllHealth(instance, _)
            | ServerEvent::Loss(instance)
            | ServerEvent::VoteNotify(instance, _) => Some(*instance),
        }
    }

    /// The JSON text, to the first zero or the end.
    #[must_use]
    pub fn text(&self) -> String {
        let text = Datagram::decode(&self.bytes).map(|datagram| datagram.text.to_string());
        text.unwrap_or_default()
    }
}

fn decode(bytes: &[u8]) -> Result<(String, ServerEvent)> {
    let datagram = Datagram::decode(bytes)?;
    let hosted = ServerEvent::decode(&datagram)?;
    Ok((hosted.hostname.into_owned(), hosted.event))
}

/// A lab controller.
///
/// It sends to whoever sent the last datagram, as guestServer says MONITOR_READY when it starts; or to the
/// address that [`Controller::set_server`] names.
#[derive(Debug)]
pub struct Controller {
    socket: Arc<UdpSocket>,
    address: SocketAddr,
    inbox: Arc<Inbox>,
    receiver: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Inbox {
    arrivals: Record<Arrival>,
    server: Mutex<Option<SocketAddr>>,
    ending: AtomicBool,
}

impl Inbox {
    fn receive(&self, socket: &UdpSocket) {
        let started = Instant::now();
        let mut buffer = vec![0; ROOM];
        while !self.ending.load(Ordering::Relaxed) {
            // Errors are time-outs, and refusals of what was sent to a server that is gone.
            let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
            if self.ending.load(Ordering::Relaxed) {
                return;
            }
            *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(from);
            self.arrivals.add(|| Arrival::new(started, from, &buffer[..length]));
        }
    }
}

impl Controller {
    /// A controller at `ip`, on any free port: see [`Controller::port`].
    ///
    /// # Errors
    ///
    /// The address is none of this machine's.
    pub fn bind(ip: IpAddr) -> Result<Self> {
        Self::bind_to(SocketAddr::new(ip, 0))
    }

    /// A controller at this address, for instance that of one that was dropped before.
    ///
    /// # Errors
    ///
    /// The address is in use, or none of this machine's.
    pub fn bind_to(address: SocketAddr) -> Result<Self> {
        let socket = UdpSocket::bind(address).with_context(|| format!("cannot bind {address}"))?;
        socket.set_read_timeout(Some(LOOK_AROUND))?;
        // Beyond the system's limit where we may, else as much of it as there is.
        if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
            setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER)?;
        }
        let address = socket.local_addr()?;
        let socket = Arc::new(socket);
        let inbox = Arc::new(Inbox {
            arrivals: Record::new(REMEMBERED),
            server: Mutex::new(None),
            ending: AtomicBool::new(false),
        });
        let receiver = std::thread::Builder::new().name("controller".into()).spawn({
            let (socket, inbox) = (Arc::clone(&socket), Arc::clone(&inbox));
            move || inbox.receive(&socket)
        })?;
        Ok(Self { socket, address, inbox, receiver: Some(receiver) })
    }

    /// Its address; `source` of every command.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        self.address.ip()
    }

    /// Its port, which guestServer is to be told with `--agent-port`.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Sends to this address until somebody else sends something.
    pub fn set_server(&self, server: SocketAddr) {
        *self.inbox.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(server);
    }

    /// Where it sends to.
    #[must_use]
    pub fn server(&self) -> Option<SocketAddr> {
        *self.inbox.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes of a command, as the C++ guestAgent writes them.
    #[must_use]
    pub fn bytes(&self, command: &AgentCommand) -> Vec<u8> {
        let mut bytes = Vec::new();
        let source = self.ip().to_string();
        command.with_datagram(&source, |datagram| datagram.encode(Length::Fitting, &mut bytes));
        bytes
    }

    /// Sends a command.
    ///
    /// # Errors
    ///
    /// It cannot be sent, or there is nobody yet to send it to.
    pub fn send(&self, command: &AgentCommand) -> Result<()> {
        self.send_raw(&self.bytes(command))
    }

    /// Sends these bytes as a datagram.
    ///
    /// # Errors
    /// See [`Controller::send`].
    pub fn send_raw(&self, bytes: &[u8]) -> Result<()> {
        let Some(server) = self.server() else { bail!("the controller knows no guestServer yet") };
        self.socket.send_to(bytes, server).with_context(|| format!("cannot send to {server}"))?;
        Ok(())
    }

    /// ADD_INST
    ///
    /// # Errors
    /// See [`Controller::send`].
    pub fn add_instance(&self, instance: InstanceId, reporting: bool) -> Result<()> {
        self.send(&AgentCommand::AddInstance { instance, reporting })
    }

    /// MOD_INST
    ///
    /// # Errors
    /// See [`Controller::send`].
    pub fn mod_instance(&self, instance: InstanceId, reporting: bool) -> Result<()> {
        self.send(&AgentCommand::ModInstance { instance, reporting })
    }

    /// DEL_INST
    ///
    /// # Errors
    /// See [`Controller::send`].
    pub fn del_instance(&self, instance: InstanceId) -> Result<()> {
        self.send(&AgentCommand::DelInstance { instance })
    }

    /// QRY_INST
    ///
    /// # Errors
    /// See [`Controller::send`].
    pub fn query(&self) -> Result<()> {
        self.send(&AgentCommand::Query)
    }

    /// MOD_HOST
    ///
    /// # Errors
    /// See [`Controller::send`].
    pub fn mod_host(&self, host: HostId, reporting: bool) -> Result<()> {
        self.send(&AgentCommand::ModHost { host, reporting })
    }

    /// VOTE_INST
    ///
    /// # Errors
    /// See [`Controller::send`].
    pub fn vote(&self, instance: InstanceId, event: EventType) -> Result<()> {
        self.send(&AgentCommand::Vote { instance, event })
    }

    /// NOTIFY_INST
    ///
    /// # Errors
    /// See [`Controller::send`].
    pub fn notify(&self, instance: InstanceId, event: EventType) -> Result<()> {
        self.send(&AgentCommand::Notify { instance, event })
    }

    /// LOOPBACK
    ///
    /// # Errors
    /// See [`Controller::send`].
    pub fn loopback(&self) -> Result<()> {
        self.send(&AgentCommand::Loopback)
    }

    /// Waits for an event that `wanted` takes, and consumes all that arrived before: each is waited for once,
    /// in order.
    ///
    /// # Errors
    ///
    /// None arrived within `within`; the error lists what did.
    pub async fn wait_for(
        &self,
        what: &str,
        within: Duration,
        mut wanted: impl FnMut(&ServerEvent) -> bool,
    ) -> Result<Arrival> {
        self.wait_for_arrival(what, within, |arrival| arrival.event.as_ref().is_ok_and(&mut wanted))
            .await
    }

    /// As [`Controller::wait_for`], with all that is known of each arrival; also of what is no event.
    ///
    /// # Errors
    /// See [`Controller::wait_for`].
    pub async fn wait_for_arrival(
        &self,
        what: &str,
        within: Duration,
        wanted: impl FnMut(&Arrival) -> bool,
    ) -> Result<Arrival> {
        let what = format!("{what} at the controller");
        self.inbox.arrivals.wait_for(&what, within, wanted).await
    }

    /// Waits for an arrival about the instance that `wanted` takes. It consumes what came before about the same
    /// instance, and nothing else: instances have no order among each other.
    ///
    /// # Errors
    /// See [`Controller::wait_for`].
    pub async fn wait_about(
        &self,
        instance: InstanceId,
        what: &str,
        within: Duration,
        wanted: impl FnMut(&Arrival) -> bool,
    ) -> Result<Arrival> {
        let what = format!("{what} of {instance} at the controller");
        let about = |arrival: &Arrival| arrival.instance() == Some(instance);
        self.inbox.arrivals.wait_among(&what, within, about, wanted).await
    }

    /// Waits for whatever arrives next.
    ///
    /// # Errors
    /// See [`Controller::wait_for`].
    pub async fn next(&self, within: Duration) -> Result<Arrival> {
        self.wait_for_arrival("datagram", within, |_| true).await
    }

    /// Consumes and returns what arrived and was not waited for.
    #[must_use = "it is gone from what is waited for"]
    pub fn drain(&self) -> Vec<Arrival> {
        self.inbox.arrivals.drain()
    }

    /// All that arrived, waited for or not.
    #[must_use]
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.inbox.arrivals.all()
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.inbox.ending.store(true, Ordering::Relaxed);
        // Wakes the thread; without it, it ends a little later.
        let _ = self.socket.send_to(&[], self.address);
        if let Some(receiver) = self.receiver.take() {
            let _ = receiver.join();
        }
    }
}

#[cfg(test)]
mod tests;
