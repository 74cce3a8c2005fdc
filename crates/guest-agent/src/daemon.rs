//! The main loop: the one place that decides, and waits for nobody.
//!
//! It owns the inventory, the queues towards the VIM and the sockets. The VIM, slow or away, is
//! talked to by a task of its own, one request at a time; HTTP clients are served by tasks that put
//! their commands into a bounded queue and wait for the answer. All share one thread, so a loop that
//! turns is a daemon that works.

mod requests;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use daemon_kit::metrics::Exporter;
use daemon_kit::reload::Change;
use daemon_kit::security::unix_micros;
use daemon_kit::{Failure, Happened, LogHandle, Mutes, Service, describe, reload, unpredictable};
use heartbeat_proto::control::MAX_LEN;
use heartbeat_proto::{InstanceId, MonotonicTime};
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until};
use tracing::{error, info, warn};

use crate::NAME;
use crate::cli::Cli;
use crate::config::{self, Config};
use crate::core::Core;
use crate::fleet::{Desk, Fleet};
use crate::floating;
use crate::http;
use crate::inventory::{AUDIT_PERIOD, AUDIT_STEPS, FIRST_AUDIT};
use crate::maintenance::Maintenance;
use crate::metrics::Fate;
use crate::vim::{Done, Job, Transmitter};

/// How often the maintenance system is asked for the hosts until it tells of the first one.
pub(crate) const READY_PERIOD: Duration = Duration::from_secs(30);

const STATUS: &str = "serving the VIM";

/// The running daemon.
pub(crate) struct Daemon {
    cli: Cli,
    config: Config,
    log: LogHandle,
    service: Service,
    start: Instant,
    core: Core,
    mutes: Mutes<InstanceId>,
    fleet: Fleet,
    /// The datagram that is being sent.
    letter: Vec<u8>,
    maintenance: Maintenance,
    http: SocketAddr,
    requests: mpsc::Receiver<http::Request>,
    counts: Arc<http::Counts>,
    jobs: mpsc::Sender<Job>,
    done: mpsc::Receiver<Done>,
    /// When the maintenance system last told of a host.
    maintenance_heard: Option<MonotonicTime>,
    audit: Interval,
    ready: Interval,
    floating: mpsc::Receiver<IpAddr>,
    exporter: Exporter<InstanceId>,
}

/// What ended the wait of one turn.
enum Turn {
    Machine(Happened),
    Request(http::Request),
    /// A datagram of this length is in the fleet's room.
    Datagram(usize, SocketAddr),
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
        let seals = guard.seals();
        let desk = Desk::new(config.bind, config.server_port, hostname, guard);
        let fleet = Fleet::bind(fleet_address)
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
            core: Core::new(desk, seals, Box::new(unpredictable)),
            mutes: Mutes::default(),
            fleet,
            letter: Vec::with_capacity(MAX_LEN),
            maintenance,
            http,
            requests: listener.spawn(),
            counts,
            jobs,
            done,
            maintenance_heard: None,
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
                    request.answer_with(|command| self.core.inventory.handle_command(now, command));
                }
                Turn::Datagram(len, from) => {
                    let (now, bytes) = (self.now(), self.fleet.bytes(len));
                    self.core.handle_datagram(now, unix_micros(), bytes, from);
                }
                Turn::Done(done) => {
                    let now = self.now();
                    self.core.handle_done(now, done);
                }
                Turn::Audit => self.core.inventory.handle_audit_step(),
                Turn::Ready => {
                    let now = self.now();
                    self.core.inventory.request_hosts(now);
                }
                Turn::MuteEnds => self.end_mutes(),
                Turn::Floating(ip) => {
                    self.core.desk.set_source(ip);
                    self.fleet.adopt_floating(ip);
                }
                Turn::Metrics => self.show_metrics(),
                Turn::Nothing => {}
            }
            self.carry_out().await;
        }
        let waiting = self.core.dispatcher.event_count();
        if waiting > 0 {
            warn!(
                waiting,
                "stopping before the VIM was told everything; guestServers that acknowledge tell alarms and votes again"
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

    /// Waits for the next thing. One of the maintenance system's datagrams is handled in place, for it lies in its socket's room.
    async fn turn(&mut self) -> Turn {
        let hosts_known = self.core.inventory.host_count() > 0;
        let start = self.start;
        let now = move || MonotonicTime::after_start(start.elapsed());
        let mute_ends = self.mutes.poll_timeout().map(Instant::from_std);
        let timeout = self.core.poll_timeout().map(|at| self.start + at.since_start());
        tokio::select! {
            happened = self.service.next() => Turn::Machine(happened),
            Some(request) = self.requests.recv() => Turn::Request(request),
            (len, from) = self.fleet.receive() => Turn::Datagram(len, from),
            received = self.maintenance.receive() => {
                let datagrams = &self.core.journal.metrics.datagrams;
                match received.command() {
                    Ok(command) => {
                        self.maintenance_heard = Some(now());
                        datagrams.maintenance_sent(Some(command.name()), Fate::Taken);
                        self.core.inventory.handle_maintenance(&command);
                    }
                    Err(rejected) => {
                        datagrams.maintenance_sent(rejected.command(), rejected.fate());
                        self.core.journal.bad_datagram(received.from, &describe(&rejected));
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
            () = until(timeout) => Turn::Nothing,
        }
    }

    /// Does what the core wants.
    async fn carry_out(&mut self) {
        let now = self.now();
        self.core.carry_out(now);
        if self.core.poll_hosts_wanted() {
            self.maintenance.announce();
        }
        if let Some(job) = self.core.poll_job(now)
            // There is always room: the former job is done.
            && let Err(error) = self.jobs.try_send(job)
        {
            error!(%error, "the VIM cannot be told: the transmitter is gone");
        }
        while let Some(letter) = self.core.poll_letter(now, unix_micros(), &mut self.letter) {
            let sent = self.fleet.send(&self.letter, letter.to).await;
            self.core.handle_sent(&letter, sent);
        }
    }

    fn write_health(&self) {
        let (hosts, instances) =
            (self.core.inventory.host_count(), self.core.inventory.instance_count());
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
                    self.core.courier.set_always_numbered(loaded.config.guard.seals());
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
