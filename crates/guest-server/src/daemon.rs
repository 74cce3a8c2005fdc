//! The main loop: the one place that decides, and waits for nobody.
//!
//! It owns the instances, the way to the controller and everything the machine has of the daemon
//! (pidfile, sockets, health file). Guests, the watch of the channel directory and the clients of
//! the control socket run in tasks of their own and reach it through bounded queues. All of them
//! share its thread, so a loop that turns is a daemon that works: that is what the watchdog's ping
//! and the health file say.

mod requests;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use daemon_kit::metrics::Exporter;
use daemon_kit::pmon::Pmon;
use daemon_kit::reload::Change;
use daemon_kit::{Failure, Happened, LogHandle, Mutes, Service, describe, reload};
use heartbeat_proto::InstanceId;
use heartbeat_proto::control::{AgentCommand, ServerEvent};
use heartbeat_proto::guest::NotificationType;
use heartbeat_proto::session::Report;
use tokio::sync::mpsc;
use tracing::{debug, error, info, warn};

use crate::NAME;
use crate::channel::{Common, UPDATES_DEPTH, Update};
use crate::cli::Cli;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::controller::{self, Controller, Incoming, Occurred, Outcome, Rejected};
use crate::instances::{Instances, Refused};
use crate::journal::Journal;
use crate::metrics::{ACK, Fate};
use crate::watch::{Sighting, Watcher};

/// How long the first scan may hold up the start: a supervisor gives up on one that takes a second.
const FIRST_SCAN: std::time::Duration = std::time::Duration::from_millis(400);

/// How long the last reports may take when it stops.
const LAST_WORD: std::time::Duration = std::time::Duration::from_millis(200);

/// What the supervisor shows.
const STATUS: &str = "watching the channel directory";

/// Instances told of in one turn of the loop while a query is answered.
const QUERY_BATCH: usize = 32;

/// The running daemon.
pub(crate) struct Daemon {
    cli: Cli,
    config: Config,
    log: LogHandle,
    common: Arc<Common>,
    instances: Instances,
    mutes: Mutes<InstanceId>,
    controller: Controller,
    query: Query,
    updates: mpsc::Receiver<Update>,
    sightings: mpsc::Receiver<Sighting>,
    exporter: Exporter<InstanceId>,
    pmon: Pmon,
    service: Service,
}

/// The answer to QRY_INST, one instance after the other.
#[derive(Default)]
struct Query {
    waiting: VecDeque<InstanceId>,
    /// Another query came meanwhile: answer that too, once.
    again: bool,
}

impl Query {
    fn ask(&mut self, instances: &Instances) {
        if self.waiting.is_empty() {
            self.waiting.extend(instances.ids());
        } else {
            self.again = true;
        }
    }
}

impl Daemon {
    /// Takes everything the daemon needs of the machine, and returns when it is ready; `None` when
    /// it was told to stop before that.
    pub(crate) async fn start(
        cli: Cli,
        config: Config,
        log: LogHandle,
    ) -> Result<Option<Self>, Failure> {
        let Some(service) = Service::start(NAME, &config.run_dir, &config.wait_for).await? else {
            return Ok(None);
        };
        check_channel_dir(&config)?;
        let clock = Clock::start();
        let controller = bind(&config, clock)?;
        let exporter = Exporter::start(config.reloadable.metrics.listen)?;
        let pmon = Pmon::start(NAME, &config.pmon)?;
        let (updates_sender, updates) = mpsc::channel(UPDATES_DEPTH);
        let common = Arc::new(Common {
            channel_dir: config.channel_dir.clone(),
            clock,
            journal: Journal::default(),
            updates: updates_sender,
        });
        let mut daemon = Self {
            instances: Instances::new(common.clone(), config.reloadable.settings),
            mutes: Mutes::default(),
            controller,
            query: Query::default(),
            updates,
            sightings: Watcher::spawn(config.channel_dir.clone()),
            cli,
            config,
            log,
            common,
            exporter,
            pmon,
            service,
        };
        daemon.first_scan().await;
        daemon.ready();
        Ok(Some(daemon))
    }

    /// The first sighting is a listing of all channels that are there.
    async fn first_scan(&mut self) {
        match tokio::time::timeout(FIRST_SCAN, self.sightings.recv()).await {
            Ok(Some(sighting)) => self.instances.handle_sighting(sighting),
            Ok(None) => {}
            Err(_) => warn!("the channel directory is slow: ready before it was read"),
        }
    }

    fn ready(&self) {
        let address = self.controller.local_addr().ok();
        let instances = self.instances.ids().count();
        info!(
            version = env!("CARGO_PKG_VERSION"),
            hostname = self.config.hostname,
            address = address.map(tracing::field::display),
            agent_port = self.config.agent_port,
            channel_dir = %self.config.channel_dir.display(),
            metrics = self.exporter.address().map(tracing::field::display),
            pmon = self.pmon.address().map(tracing::field::display),
            instances,
            "ready"
        );
        self.service.ready(STATUS);
        self.write_health();
    }

    /// Runs until it is told to stop.
    pub(crate) async fn run(mut self) {
        loop {
            let more_to_tell = !self.query.waiting.is_empty();
            let mute_ends = self.mutes.poll_timeout();
            tokio::select! {
                happened = self.service.next() => match happened {
                    Happened::Stop => break,
                    Happened::Reload => self.reload(),
                    Happened::Health => self.write_health(),
                    Happened::Request(request) => self.handle_request(request),
                },
                occurred = self.controller.next() => {
                    match occurred {
                        Occurred::Received(incoming) => self.handle_datagram(incoming),
                        Occurred::ReadyDue => {
                            let (journal, instances) = (&self.common.journal, &self.instances);
                            self.controller.announce(journal, instances).await;
                        }
                        Occurred::SendDue => {}
                    }
                    self.controller.flush(&self.common.journal, &self.instances).await;
                },
                Some(update) = self.updates.recv() => self.handle_update(update).await,
                Some(sighting) = self.sightings.recv() => self.instances.handle_sighting(sighting),
                () = self.exporter.next() => self.show_metrics(),
                pulse = self.pmon.next() => self.common.journal.metrics.pmon.count(pulse),
                () = tokio::task::yield_now(), if more_to_tell => self.answer_query().await,
                () = until(mute_ends) => self.end_mutes(),
            }
        }
        self.stop().await;
    }

    /// What guests have reported goes out, then everything is given back, the pidfile last: who
    /// starts when it is gone finds the port free.
    async fn stop(mut self) {
        let last_word = async {
            while let Ok(update) = self.updates.try_recv() {
                self.handle_update(update).await;
            }
        };
        if tokio::time::timeout(LAST_WORD, last_word).await.is_err() {
            warn!("stopping before everything was reported");
        }
        let Self { service, controller, sightings, exporter, pmon, .. } = self;
        drop((controller, sightings, exporter, pmon));
        service.stop();
    }

    fn write_health(&self) {
        let count = self.instances.ids().count();
        self.service.write_health(&format!("instances: {count}\n"));
    }

    fn reload(&mut self) {
        match config::load(&self.cli) {
            Err(failure) => error!(%failure, "configuration not reloaded: the former one stays"),
            Ok(loaded) => {
                for warning in loaded.warnings {
                    warn!("{warning}");
                }
                let need_restart = loaded.config.needs_restart(&self.config);
                let (old, mut new) = (self.config.reloadable, loaded.config.reloadable);
                if new.settings != old.settings {
                    self.instances.set_settings(new.settings);
                }
                if let Err(failure) = self.exporter.listen(new.metrics.listen) {
                    error!(%failure, "metrics address not changed: the former one stays");
                    new.metrics.listen = old.metrics.listen;
                }
                self.config.reloadable = new;
                let keys = Change::plain("[security]", &self.config.guard, &loaded.config.guard);
                if keys.is_some() {
                    self.controller.set_guard(loaded.config.guard.clone());
                    self.config.guard = loaded.config.guard;
                }
                let levels = (old.log_level, new.log_level);
                let changes: Vec<_> = new.changes(&old).into_iter().chain(keys).collect();
                reload::say(&changes, &need_restart, &self.log, levels);
            }
        }
        self.service.reloaded(STATUS);
    }

    fn handle_datagram(&mut self, incoming: Incoming) {
        let journal = &self.common.journal;
        if let Some(commander) = incoming.new_commander {
            journal.commanded(commander);
        }
        let datagrams = &journal.metrics.datagrams;
        match incoming.outcome {
            Ok(Outcome::Command(command)) => {
                let name = command.name();
                let fate = self.handle_command(command);
                self.common.journal.metrics.datagrams.received(Some(name), fate);
            }
            Ok(Outcome::Acknowledged) => datagrams.received(Some(ACK), Fate::Obeyed),
            Ok(Outcome::Double) => datagrams.received(None, Fate::Double),
            Ok(Outcome::OldNews(what)) => {
                datagrams.received(None, Fate::OldNews);
                debug!(from = %incoming.from, what, "old news");
            }
            Err(rejected) => {
                let fate = match rejected {
                    Rejected::Unsigned => Fate::Unsigned,
                    Rejected::Seal(_) => Fate::BadSeal,
                    Rejected::Stranger => Fate::Stranger,
                    Rejected::Datagram(_) | Rejected::Payload(_) => Fate::Malformed,
                };
                datagrams.received(rejected.command(), fate);
                journal.bad_datagram(incoming.from, &describe(&rejected));
            }
        }
    }

    fn handle_command(&mut self, command: AgentCommand) -> Fate {
        debug!(?command, "command");
        let name = command.name();
        let (instance, done) = match command {
            AgentCommand::ModHost { host, reporting } => {
                if self.instances.host_reporting() != reporting {
                    self.common.journal.host_reporting(host, reporting);
                }
                self.instances.set_host_reporting(reporting);
                return Fate::Obeyed;
            }
            AgentCommand::Query => {
                self.query.ask(&self.instances);
                return Fate::Obeyed;
            }
            AgentCommand::Loopback => return Fate::Obeyed,
            AgentCommand::AddInstance { instance, reporting }
            | AgentCommand::ModInstance { instance, reporting } => {
                (instance, self.instances.provision(instance, reporting))
            }
            AgentCommand::DelInstance { instance } => (instance, self.instances.delete(instance)),
            AgentCommand::Vote { instance, event } => {
                (instance, self.instances.act(instance, event, NotificationType::Revocable))
            }
            AgentCommand::Notify { instance, event } => {
                (instance, self.instances.act(instance, event, NotificationType::Irrevocable))
            }
        };
        let (fate, why) = match done {
            Ok(()) => return Fate::Obeyed,
            Err(Refused::UnknownInstance) => (Fate::UnknownInstance, "no such instance"),
            Err(Refused::TooManyOrders) => (Fate::Refused, "too many wait for it"),
            Err(Refused::TooManyInstances) => {
                (Fate::Refused, "too many instances without a channel")
            }
        };
        let guest = self.instances.name(instance);
        self.common.journal.bad_command(instance, guest.as_deref(), name, why);
        fate
    }

    async fn handle_update(&mut self, update: Update) {
        match update {
            Update::Report(instance, report) => {
                if self.is_withheld(instance, &report) {
                    return;
                }
                let event = match report {
                    Report::Running(info) => ServerEvent::Running(instance, info),
                    Report::Stopped(info) => ServerEvent::Stopped(instance, info),
                    Report::IllHealth(info) => ServerEvent::IllHealth(instance, info),
                    Report::Loss => ServerEvent::Loss(instance),
                    Report::Vote(vote) => ServerEvent::VoteNotify(instance, vote),
                };
                self.tell(&event).await;
            }
            Update::Forgotten { instance, generation } => {
                self.instances.handle_forgotten(instance, generation);
            }
        }
    }

    /// A fault of an instance that an operator has muted is not reported.
    fn is_withheld(&self, instance: InstanceId, report: &Report) -> bool {
        let fault = match report {
            Report::Loss => "LOSS",
            Report::IllHealth(_) => "ILLHEALTH",
            Report::Running(_) | Report::Stopped(_) | Report::Vote(_) => return false,
        };
        let mute = self.mutes.get(Instant::now(), instance);
        if let Some(mute) = mute {
            let name = self.instances.name(instance).unwrap_or_default();
            self.common.journal.withheld(instance, &name, fault, &mute.reason);
        }
        mute.is_some()
    }

    async fn answer_query(&mut self) {
        for _ in 0..QUERY_BATCH {
            let Some(instance) = self.query.waiting.pop_front() else { break };
            if let Some(info) = self.instances.info(instance) {
                self.tell(&ServerEvent::Instance(instance, info)).await;
            }
        }
        if self.query.waiting.is_empty() && std::mem::take(&mut self.query.again) {
            self.query.ask(&self.instances);
        }
    }

    async fn tell(&mut self, event: &ServerEvent) {
        let journal = &self.common.journal;
        if let Err(why) = self.controller.send(event, journal, &self.instances).await {
            let name = event.instance().and_then(|instance| self.instances.name(instance));
            journal.unsent(event, name.as_deref(), &why);
        }
    }
}

/// Waits for a moment; for ever, if there is none.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

/// A channel directory that is missing is waited for; one that we may not read is an error.
fn check_channel_dir(config: &Config) -> Result<(), Failure> {
    let path = config.channel_dir.display();
    match std::fs::read_dir(&config.channel_dir) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Failure::environment(format!(
            "cannot read the channel directory {path} (--channel-dir): {error}: \
             expected a directory that this user may read and search"
        ))),
    }
}

fn bind(config: &Config, clock: Clock) -> Result<Controller, Failure> {
    let address = SocketAddr::new(config.bind, config.server_port);
    let settings = controller::Settings {
        address,
        hostname: config.hostname.clone(),
        name: config.controller.clone(),
        agent_port: config.agent_port,
        controllers: config.controllers.clone(),
        guard: config.guard.clone(),
    };
    Controller::bind(settings, clock).map_err(|error| {
        Failure::environment(format!(
            "cannot bind UDP {address} (--bind, --server-port): {error}: \
             expected an address of this host and a port that is free"
        ))
    })
}
