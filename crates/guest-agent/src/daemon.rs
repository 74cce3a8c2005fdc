//! The main loop: the one place that decides, and waits for nobody.
//!
//! It owns the inventory, the queues towards the VIM and the sockets. The VIM, slow or away, is
//! talked to by a task of its own, one request at a time; HTTP clients are served by tasks that put
//! their commands into a bounded queue and wait for the answer. All share one thread, so a loop that
//! turns is a daemon that works.

mod requests;
mod servers;
mod vim;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use daemon_kit::metrics::Exporter;
use daemon_kit::reload::Change;
use daemon_kit::{Failure, Happened, LogHandle, Mutes, Service, describe, reload, unpredictable};
use heartbeat_proto::control::Ack;
use heartbeat_proto::{InstanceId, MonotonicTime};
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until};
use tracing::{debug, error, info, warn};

use crate::NAME;
use crate::cli::Cli;
use crate::config::{self, Config};
use crate::courier::Courier;
use crate::fleet::Fleet;
use crate::floating;
use crate::history::Histories;
use crate::http;
use crate::inventory::{AUDIT_PERIOD, AUDIT_STEPS, FIRST_AUDIT, Inventory, Output};
use crate::journal::Journal;
use crate::maintenance::Maintenance;
use crate::metrics::Fate;
use crate::vim::{Dispatcher, Done, Job, Transmitter};

/// How often the maintenance system is asked for the hosts until it tells of the first one.
const READY_PERIOD: Duration = Duration::from_secs(30);

const STATUS: &str = "serving the VIM";

/// The running daemon.
pub(crate) struct Daemon {
    cli: Cli,
    config: Config,
    log: LogHandle,
    service: Service,
    start: Instant,
    inventory: Inventory,
    histories: Histories,
    mutes: Mutes<InstanceId>,
    journal: Journal,
    fleet: Fleet,
    /// What is on its way to and from guestServers.
    courier: Courier,
    /// The event of a guestServer's that this turn deals with.
    open: Option<servers::Open>,
    /// What is acknowledged at the end of the turn.
    acks: Vec<(SocketAddr, Ack)>,
    maintenance: Maintenance,
    http: SocketAddr,
    requests: mpsc::Receiver<http::Request>,
    counts: Arc<http::Counts>,
    dispatcher: Dispatcher,
    jobs: mpsc::Sender<Job>,
    done: mpsc::Receiver<Done>,
    /// Why the VIM could not be told the last time; none since it could.
    vim_failure: Option<String>,
    /// When the VIM last took an event or answered a question.
    vim_heard: Option<MonotonicTime>,
    /// When the maintenance system last told of a host.
    maintenance_heard: Option<MonotonicTime>,
    /// When the job that is with the transmitter was handed over.
    asked_vim_at: Instant,
    audit: Interval,
    ready: Interval,
    floating: mpsc::Receiver<IpAddr>,
    exporter: Exporter<InstanceId>,
}

/// What ended the wait of one turn.
enum Turn {
    Machine(Happened),
    Request(http::Request),
    Done(Done),
    Audit,
    Ready,
    Floating(IpAddr),
    MuteEnds,
    Metrics,
    /// Something was handled in place, or it is time for the next request to the VIM.
    Nothing,
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
        let fleet_address = SocketAddr::new(config.bind, config.agent_port);
        let (hostname, guard) = (config.hostname.clone(), config.guard.clone());
        let mut courier = Courier::default();
        courier.set_always_numbered(guard.seals());
        let fleet = Fleet::bind(fleet_address, config.server_port, hostname, guard)
            .map_err(|error| cannot_bind("UDP", fleet_address, "--bind, --agent-port", &error))?;
        let mtc_address = SocketAddr::new(config.mtc_bind, config.mtc_command_port);
        let maintenance = Maintenance::bind(mtc_address, &config.mtc, config.mtc_event_port)
            .map_err(|error| {
                cannot_bind("UDP", mtc_address, "--bind, --mtc-command-port", &error)
            })?;
        let listener = http::bind(config.listen)
            .map_err(|error| cannot_bind("TCP", config.listen, "--listen", &error))?;
        let http = listener
            .local_addr()
            .map_err(|error| cannot_bind("TCP", config.listen, "--listen", &error))?;
        let counts = listener.counts();
        let exporter = Exporter::start(config.reloadable.metrics.listen)?;
        let (jobs, done) = Transmitter::spawn(config.vim.clone());
        let daemon = Self {
            start: Instant::now(),
            inventory: Inventory::default(),
            histories: Histories::default(),
            mutes: Mutes::default(),
            journal: Journal::default(),
            fleet,
            courier,
            open: None,
            acks: Vec::new(),
            maintenance,
            http,
            requests: listener.spawn(),
            counts,
            dispatcher: Dispatcher::default(),
            jobs,
            done,
            vim_failure: None,
            vim_heard: None,
            maintenance_heard: None,
            asked_vim_at: Instant::now(),
            audit: every(AUDIT_PERIOD / AUDIT_STEPS, FIRST_AUDIT),
            ready: every(READY_PERIOD, Duration::ZERO),
            floating: floating::look_up(config.floating_ip),
            exporter,
            cli,
            config,
            log,
            service,
        };
        daemon.ready();
        Ok(Some(daemon))
    }

    fn ready(&self) {
        let shown =
            |address: std::io::Result<SocketAddr>| address.ok().map(tracing::field::display);
        info!(
            version = env!("CARGO_PKG_VERSION"),
            hostname = self.config.hostname,
            address = shown(self.fleet.local_addr()),
            http = %self.http,
            maintenance = shown(self.maintenance.local_addr()),
            vim = %self.config.vim,
            metrics = self.exporter.address().map(tracing::field::display),
            "ready"
        );
        self.service.ready(STATUS);
        self.write_health();
    }

    /// Runs until it is told to stop.
    pub(crate) async fn run(mut self) {
        loop {
            match self.turn().await {
                Turn::Machine(Happened::Stop) => break,
                Turn::Machine(Happened::Reload) => self.reload(),
                Turn::Machine(Happened::Health) => self.write_health(),
                Turn::Machine(Happened::Request(request)) => self.handle_request(request),
                Turn::Request(request) => {
                    let now = self.now();
                    request.answer_with(|command| self.inventory.handle_command(now, command));
                }
                Turn::Done(done) => self.handle_done(done),
                Turn::Audit => self.inventory.handle_audit_step(),
                Turn::Ready => {
                    let now = self.now();
                    self.inventory.request_hosts(now);
                }
                Turn::MuteEnds => self.end_mutes(),
                Turn::Floating(ip) => self.fleet.adopt_floating(ip),
                Turn::Metrics => self.show_metrics(),
                Turn::Nothing => {}
            }
            self.carry_out();
            self.next_job();
            self.answer_servers().await;
        }
        let waiting = self.dispatcher.event_count();
        if waiting > 0 {
            warn!(
                waiting,
                "stopping before the VIM was told everything; states are found anew, alarms and votes are not"
            );
        }
        // The pidfile last: who starts when it is gone finds the ports free.
        let Self { service, fleet, maintenance, requests, exporter, .. } = self;
        drop((fleet, maintenance, requests, exporter));
        service.stop();
    }

    fn now(&self) -> MonotonicTime {
        MonotonicTime::after_start(self.start.elapsed())
    }

    /// Waits for the next thing. A datagram is handled in place, for it lies in its socket's room.
    async fn turn(&mut self) -> Turn {
        let hosts_known = self.inventory.host_count() > 0;
        let start = self.start;
        let now = move || MonotonicTime::after_start(start.elapsed());
        let mute_ends = self.mutes.poll_timeout().map(Instant::from_std);
        let send_again = self.courier.poll_timeout().map(|at| self.start + at.since_start());
        let retry = self.dispatcher.poll_timeout().map(|at| self.start + at.since_start());
        tokio::select! {
            happened = self.service.next() => Turn::Machine(happened),
            Some(request) = self.requests.recv() => Turn::Request(request),
            received = self.fleet.receive() => {
                let (courier, inventory) = (&mut self.courier, &mut self.inventory);
                let heeded = servers::hear(now(), &received, courier, inventory, &mut self.journal);
                self.heed(heeded);
                Turn::Nothing
            }
            received = self.maintenance.receive() => {
                let datagrams = &self.journal.metrics.datagrams;
                match received.command() {
                    Ok(command) => {
                        self.maintenance_heard = Some(now());
                        datagrams.maintenance_sent(Some(command.name()), Fate::Taken);
                        self.inventory.handle_maintenance(&command);
                    }
                    Err(rejected) => {
                        datagrams.maintenance_sent(rejected.command(), rejected.fate());
                        self.journal.bad_datagram(received.from, &describe(&rejected));
                    }
                }
                Turn::Nothing
            }
            Some(done) = self.done.recv() => Turn::Done(done),
            _ = self.audit.tick(), if hosts_known => Turn::Audit,
            _ = self.ready.tick(), if !hosts_known => Turn::Ready,
            () = until(mute_ends) => Turn::MuteEnds,
            Some(ip) = self.floating.recv() => Turn::Floating(ip),
            () = self.exporter.next() => Turn::Metrics,
            () = until(retry) => Turn::Nothing,
            () = until(send_again) => Turn::Nothing,
        }
    }

    /// Does what the inventory wants.
    fn carry_out(&mut self) {
        let now = self.now();
        while let Some(output) = self.inventory.poll_output() {
            match output {
                Output::Command(to, command) => self.courier.push(now, to, command, unpredictable),
                Output::Event(event) => self.push_event(now, event),
                Output::Ask(question) => {
                    if self.dispatcher.push_question(question) {
                        self.journal.metrics.questions_failed.increment();
                    }
                }
                Output::Deleted(instance) => {
                    let dropped = self.dispatcher.handle_deleted(instance);
                    self.journal.metrics.events.outdated.add(dropped as u64);
                    if dropped > 0 {
                        debug!(%instance, dropped, "events of a deleted instance dropped");
                    }
                }
                Output::Moved(instance) => {
                    let dropped = self.dispatcher.handle_moved(instance);
                    self.journal.metrics.events.outdated.add(dropped as u64);
                    if dropped > 0 {
                        let host = self.inventory.host_of(instance).unwrap_or_default();
                        self.journal.outdated(instance, &host, dropped);
                    }
                }
                Output::ReadyForMaintenance => {
                    self.journal.metrics.hosts_asked.increment();
                    self.maintenance.announce();
                }
                Output::Note(note) => {
                    self.histories.note(now, &note);
                    self.journal.note(&note);
                }
            }
        }
    }

    fn write_health(&self) {
        let (hosts, instances) = (self.inventory.host_count(), self.inventory.instance_count());
        self.service.write_health(&format!("hosts: {hosts}\ninstances: {instances}\n"));
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
                if let Err(failure) = self.exporter.listen(new.metrics.listen) {
                    error!(%failure, "metrics address not changed: the former one stays");
                    new.metrics.listen = old.metrics.listen;
                }
                self.config.reloadable = new;
                let keys = Change::plain("[security]", &self.config.guard, &loaded.config.guard);
                if keys.is_some() {
                    self.courier.set_always_numbered(loaded.config.guard.seals());
                    self.fleet.set_guard(loaded.config.guard.clone());
                    self.config.guard = loaded.config.guard;
                }
                let levels = (old.log_level, new.log_level);
                let changes: Vec<_> = new.changes(&old).into_iter().chain(keys).collect();
                reload::say(&changes, &need_restart, &self.log, levels);
            }
        }
        self.service.reloaded(STATUS);
    }
}

fn cannot_bind(what: &str, address: SocketAddr, options: &str, error: &std::io::Error) -> Failure {
    Failure::environment(format!(
        "cannot bind {what} {address} ({options}): {error}: \
         expected an address of this host and a port that is free"
    ))
}

/// Waits for a moment; for ever, if there is none.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Ticks after `first` and then every `period`, without catching up.
fn every(period: Duration, first: Duration) -> Interval {
    let mut ticks = interval_at(Instant::now() + first, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
