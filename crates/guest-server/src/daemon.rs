//! The main loop: the one place that decides, and waits for nobody.
//!
//! It owns the instances, the way to the controller and everything the machine has of the daemon
//! (pidfile, sockets, health file). Guests, the watch of the channel directory and the clients of
//! the control socket run in tasks of their own and reach it through bounded queues. All of them
//! share its thread, so a loop that turns is a daemon that works: that is what the watchdog's ping
//! and the health file say.

mod requests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use daemon_kit::metrics::Exporter;
use daemon_kit::pmon::Pmon;
use daemon_kit::reload::Change;
use daemon_kit::security::unix_micros;
use daemon_kit::{Failure, Happened, LogHandle, Mutes, Service, reload, unpredictable};
use heartbeat_proto::control::MAX_LEN;
use heartbeat_proto::session::Report;
use heartbeat_proto::{InstanceId, MonotonicTime};
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use crate::NAME;
use crate::channel::{Common, Tasks, UPDATES_DEPTH, Update};
use crate::cli::Cli;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::controller::{self, Controller, Desk, Occurred};
use crate::core::Core;
use crate::instances::Instances;
use crate::watch::{Sighting, Watcher};

/// How long the first scan may hold up the start: a supervisor gives up on one that takes a second.
const FIRST_SCAN: std::time::Duration = std::time::Duration::from_millis(400);

/// How long the last reports may take when it stops.
const LAST_WORD: std::time::Duration = std::time::Duration::from_millis(200);

/// What the supervisor shows.
const STATUS: &str = "watching the channel directory";

/// The running daemon.
pub(crate) struct Daemon {
    cli: Cli,
    config: Config,
    log: LogHandle,
    common: Arc<Common>,
    core: Core,
    mutes: Mutes<InstanceId>,
    controller: Controller,
    /// The datagram that is being sent.
    letter: Vec<u8>,
    updates: mpsc::Receiver<Update>,
    sightings: mpsc::Receiver<Sighting>,
    exporter: Exporter<InstanceId>,
    pmon: Pmon,
    service: Service,
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
        let controller = bind(&config)?;
        let exporter = Exporter::start(config.reloadable.metrics.listen)?;
        let pmon = Pmon::start(NAME, &config.pmon)?;
        let (updates_sender, updates) = mpsc::channel(UPDATES_DEPTH);
        let common = Arc::new(Common {
            channel_dir: config.channel_dir.clone(),
            clock,
            journal: Arc::default(),
            updates: updates_sender,
        });
        let (hostname, guard) = (config.hostname.clone(), config.guard.clone());
        let desk = Desk::new(hostname, config.agent_port, guard, unpredictable());
        let machine = Box::new(Tasks(common.clone()));
        let journal = common.journal.clone();
        let instances = Instances::new(machine, journal.clone(), config.reloadable.settings);
        let mut daemon = Self {
            core: Core::new(instances, desk, journal),
            mutes: Mutes::default(),
            controller,
            letter: Vec::with_capacity(MAX_LEN),
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
            Ok(Some(sighting)) => self.core.instances.handle_sighting(sighting),
            Ok(None) => {}
            Err(_) => warn!("the channel directory is slow: ready before it was read"),
        }
    }

    fn ready(&self) {
        let address = self.controller.local_addr().ok();
        let instances = self.core.instances.ids().count();
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
            let clock = self.common.clock;
            let ready_at = self.core.desk.ready_at().map(|at| clock.instant(at));
            let send_at = self.core.desk.poll_timeout().map(|at| clock.instant(at));
            let mute_ends = self.mutes.poll_timeout();
            tokio::select! {
                happened = self.service.next() => match happened {
                    Happened::Stop => break,
                    Happened::Reload => self.reload(),
                    Happened::Health => self.write_health(),
                    Happened::Request(request) => self.handle_request(request),
                },
                occurred = self.controller.next(ready_at, send_at) => self.handle_occurred(occurred),
                Some(update) = self.updates.recv() => self.handle_update(update),
                Some(sighting) = self.sightings.recv() => self.core.instances.handle_sighting(sighting),
                () = self.exporter.next() => self.show_metrics(),
                pulse = self.pmon.next() => self.common.journal.metrics.pmon.count(pulse),
                () = tokio::task::yield_now(), if self.core.has_to_answer() => {
                    self.core.answer_query(clock.now());
                }
                () = until(mute_ends) => self.end_mutes(),
            }
            self.flush().await;
        }
        self.stop().await;
    }

    /// What guests have reported goes out, then everything is given back, the pidfile last: who
    /// starts when it is gone finds the port free.
    async fn stop(mut self) {
        let last_word = async {
            while let Ok(update) = self.updates.try_recv() {
                self.handle_update(update);
                self.flush().await;
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
        let count = self.core.instances.ids().count();
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
                    self.core.instances.set_settings(new.settings);
                }
                if let Err(failure) = self.exporter.listen(new.metrics.listen) {
                    error!(%failure, "metrics address not changed: the former one stays");
                    new.metrics.listen = old.metrics.listen;
                }
                self.config.reloadable = new;
                let keys = Change::plain("[security]", &self.config.guard, &loaded.config.guard);
                if keys.is_some() {
                    self.core.desk.set_guard(loaded.config.guard.clone());
                    self.config.guard = loaded.config.guard;
                }
                let levels = (old.log_level, new.log_level);
                let changes: Vec<_> = new.changes(&old).into_iter().chain(keys).collect();
                reload::say(&changes, &need_restart, &self.log, levels);
            }
        }
        self.service.reloaded(STATUS);
    }

    fn handle_occurred(&mut self, occurred: Occurred) {
        let now = self.common.clock.now();
        match occurred {
            Occurred::Received(len, from) => {
                let Self { core, controller, .. } = self;
                let may_command = |ip| controller.may_command(ip);
                let bytes = controller.bytes(len);
                if core.handle_datagram(now, unix_micros(), bytes, from, may_command) {
                    controller.look_again();
                }
            }
            Occurred::Named(ip) => {
                if self.core.desk.handle_named(ip) {
                    self.announce(now);
                }
            }
            Occurred::ReadyDue => self.announce(now),
            Occurred::SendDue => {}
        }
    }

    /// MONITOR_READY is due. The controller's name is looked up anew with it, for it may have moved; when it gets its first
    /// address, this is due at once.
    fn announce(&mut self, now: MonotonicTime) {
        if let Some(ip) = self.controller.look_up() {
            self.core.desk.handle_named(ip);
        }
        self.core.desk.announce(now);
    }

    /// Sends what is to be sent now.
    async fn flush(&mut self) {
        while let Some(letter) =
            self.core.poll_letter(self.common.clock.now(), unix_micros(), &mut self.letter)
        {
            let sent = self.controller.send(&self.letter, letter.to).await;
            self.core.handle_sent(&letter, sent);
        }
    }

    fn handle_update(&mut self, update: Update) {
        match update {
            Update::Report(instance, report) => {
                if !self.is_withheld(instance, &report) {
                    self.core.handle_report(self.common.clock.now(), instance, report);
                }
            }
            Update::Forgotten { instance, generation } => {
                self.core.instances.handle_forgotten(instance, generation);
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
            let name = self.core.instances.name(instance).unwrap_or_default();
            self.common.journal.withheld(instance, &name, fault, &mute.reason);
        }
        mute.is_some()
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

fn bind(config: &Config) -> Result<Controller, Failure> {
    let address = SocketAddr::new(config.bind, config.server_port);
    let settings = controller::Settings {
        address,
        name: config.controller.clone(),
        controllers: config.controllers.clone(),
    };
    Controller::bind(settings).map_err(|error| {
        Failure::environment(format!(
            "cannot bind UDP {address} (--bind, --server-port): {error}: \
             expected an address of this host and a port that is free"
        ))
    })
}
