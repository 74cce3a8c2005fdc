//! A stand-in for guestServer, in the bytes of the C++ one: it says MONITOR_READY, keeps the instances that it is
//! told of, answers queries, and sends what it is told to. Thousands fit into one process.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use heartbeat_proto::InstanceId;
use heartbeat_proto::control::{
    AgentCommand, Datagram, InstanceInfo, Length, MAX_LEN, ServerEvent,
};
use heartbeat_proto::guest::CorrectiveAction;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use crate::record::Record;

/// Commands that are remembered unless it is told otherwise; of more, the oldest go.
const REMEMBERED: usize = 10_000;

/// A command that arrived.
#[derive(Debug, Clone)]
pub struct Commanded {
    /// When.
    pub at: Instant,
    /// Who sent it.
    pub from: SocketAddr,
    /// All of its bytes.
    pub bytes: Vec<u8>,
    /// What it says, or why it says nothing.
    pub command: Result<AgentCommand, String>,
}

impl fmt::Display for Commanded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {}", describe(&self.command), self.from)
    }
}

fn describe(command: &Result<AgentCommand, String>) -> String {
    match command {
        Ok(command) => format!("{command:?}"),
        Err(error) => error.clone(),
    }
}

#[derive(Debug)]
struct Shared {
    hostname: String,
    socket: UdpSocket,
    agent: SocketAddr,
    instances: Mutex<BTreeMap<InstanceId, InstanceInfo>>,
    host_reporting: Mutex<Option<bool>>,
    commands: Record<Commanded>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A lab guestServer; it ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    _task: JoinSet<()>,
}

impl Server {
    /// A guestServer of the host `hostname` at `address`, for the guestAgent at `agent`. Says MONITOR_READY.
    ///
    /// # Errors
    ///
    /// The address cannot be bound.
    pub async fn start(hostname: &str, address: SocketAddr, agent: SocketAddr) -> Result<Self> {
        let socket =
            UdpSocket::bind(address).await.with_context(|| format!("cannot bind {address}"))?;
        let shared = Arc::new(Shared {
            hostname: hostname.into(),
            socket,
            agent,
            instances: Mutex::default(),
            host_reporting: Mutex::default(),
            commands: Record::new(REMEMBERED),
        });
        let mut task = JoinSet::new();
        task.spawn(serve(Arc::clone(&shared)));
        let server = Self { shared, _task: task };
        server.send(&ServerEvent::MonitorReady).await?;
        Ok(server)
    }

    /// Changes how many commands are remembered from now on.
    pub fn remember(&self, commands: usize) {
        self.shared.commands.set_limit(commands);
    }

    /// Its address.
    ///
    /// # Errors
    ///
    /// The socket is broken.
    pub fn address(&self) -> Result<SocketAddr> {
        Ok(self.shared.socket.local_addr()?)
    }

    /// Sends an event.
    ///
    /// # Errors
    ///
    /// It cannot be sent.
    pub async fn send(&self, event: &ServerEvent) -> Result<()> {
        self.shared.send(event).await
    }

    /// An instance begins or stops heartbeating, and that is told.
    ///
    /// # Errors
    ///
    /// It cannot be sent.
    pub async fn set_heartbeating(&self, instance: InstanceId, heartbeating: bool) -> Result<()> {
        let info = {
            let mut instances = lock(&self.shared.instances);
            let info = instances.entry(instance).or_insert_with(|| info(false));
            info.heartbeating = heartbeating;
            *info
        };
        let event = match heartbeating {
            true => ServerEvent::Running(instance, info),
            false => ServerEvent::Stopped(instance, info),
        };
        self.send(&event).await
    }

    /// Changes what it knows of an instance without telling, as if the telling was lost.
    pub fn change(&self, instance: InstanceId, change: impl FnOnce(&mut InstanceInfo)) {
        change(lock(&self.shared.instances).entry(instance).or_insert_with(|| info(false)));
    }

    /// What it knows of its instances.
    #[must_use]
    pub fn instances(&self) -> BTreeMap<InstanceId, InstanceInfo> {
        lock(&self.shared.instances).clone()
    }

    /// The host's reporting, once it was told.
    #[must_use]
    pub fn host_reporting(&self) -> Option<bool> {
        *lock(&self.shared.host_reporting)
    }

    /// Waits for a command that `wanted` takes, and consumes all that came before.
    ///
    /// # Errors
    ///
    /// None came within `within`; the error lists what did.
    pub async fn wait_for(
        &self,
        what: &str,
        within: Duration,
        mut wanted: impl FnMut(&AgentCommand) -> bool,
    ) -> Result<Commanded> {
        let what = format!("{what} at {}", self.shared.hostname);
        let taken = |entry: &Commanded| entry.command.as_ref().is_ok_and(&mut wanted);
        self.shared.commands.wait_for(&what, within, taken).await
    }

    /// Every command that is remembered.
    #[must_use]
    pub fn commands(&self) -> Vec<Commanded> {
        self.shared.commands.all()
    }
}

/// An instance before any `init`, as guestServer tells of it, with the times of the golden `init`.
fn info(reporting: bool) -> InstanceInfo {
    InstanceInfo {
        reporting,
        heartbeating: false,
        repair_action: CorrectiveAction::Reboot,
        restart_secs: 121,
        shutdown_secs: 11,
        suspend_secs: 12,
        resume_secs: 13,
        vote_secs: 10,
    }
}

impl Shared {
    async fn send(&self, event: &ServerEvent) -> Result<()> {
        let mut bytes = Vec::new();
        event.with_datagram(&self.hostname, |datagram| datagram.encode(Length::Full, &mut bytes));
        self.socket.send_to(&bytes, self.agent).await?;
        Ok(())
    }

    async fn obey(&self, command: &AgentCommand) {
        match command {
            AgentCommand::ModHost { reporting, .. } => {
                *lock(&self.host_reporting) = Some(*reporting);
            }
            AgentCommand::AddInstance { instance, reporting }
            | AgentCommand::ModInstance { instance, reporting } => {
                let mut instances = lock(&self.instances);
                instances.entry(*instance).or_insert_with(|| info(false)).reporting = *reporting;
            }
            AgentCommand::DelInstance { instance } => {
                lock(&self.instances).remove(instance);
            }
            AgentCommand::Query => {
                let instances = lock(&self.instances).clone();
                for (instance, info) in instances {
                    // What is lost is asked for again.
                    let _ = self.send(&ServerEvent::Instance(instance, info)).await;
                }
            }
            AgentCommand::Vote { .. } | AgentCommand::Notify { .. } | AgentCommand::Loopback => {}
        }
    }
}

async fn serve(shared: Arc<Shared>) {
    let mut room = vec![0; 2 * MAX_LEN];
    loop {
        // An error is the answer to a datagram that nobody took.
        let Ok((length, from)) = shared.socket.recv_from(&mut room).await else { continue };
        let bytes = &room[..length];
        let command = Datagram::decode(bytes)
            .map_err(|error| error.to_string())
            .and_then(|d| AgentCommand::decode(&d).map_err(|error| error.to_string()));
        if let Ok(command) = &command {
            shared.obey(command).await;
        }
        let bytes = bytes.to_vec();
        shared.commands.add(|| Commanded { at: Instant::now(), from, bytes, command });
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::controller::Controller;

    const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn it_says_that_it_is_ready_keeps_instances_and_answers_queries() {
        let agent = Controller::bind(LOCALHOST).unwrap();
        let at = SocketAddr::new(LOCALHOST, agent.port());
        let server = Server::start("compute-9", SocketAddr::new(LOCALHOST, 0), at).await.unwrap();
        agent.wait_for("ready", PATIENCE, |e| *e == ServerEvent::MonitorReady).await.unwrap();
        let instance = InstanceId::from_u128(1);
        agent.add_instance(instance, true).unwrap();
        let added = |command: &AgentCommand| matches!(command, AgentCommand::AddInstance { .. });
        server.wait_for("ADD_INST", PATIENCE, added).await.unwrap();
        agent.query().unwrap();
        let answer = |event: &ServerEvent| matches!(event, ServerEvent::Instance(id, info) if *id == instance && info.reporting);
        let arrival = agent.wait_for("QRY_INST", PATIENCE, answer).await.unwrap();
        assert_eq!((arrival.bytes.len(), arrival.hostname.as_str()), (MAX_LEN, "compute-9"));
        server.set_heartbeating(instance, true).await.unwrap();
        let running = |event: &ServerEvent| matches!(event, ServerEvent::Running(..));
        agent.wait_for("RUNNING", PATIENCE, running).await.unwrap();
    }
}
