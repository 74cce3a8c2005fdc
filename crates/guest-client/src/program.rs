//! The main loop: a port, two scripts, some applications and a clock around one [`Client`].
//!
//! It owns everything but the connections of the applications, and waits for nobody: what takes time runs in tasks and
//! comes back as an event. Each turn takes the time once, reads what the host said, does what is due, and writes what
//! the port takes. The host's words go before the clock: a challenge that has arrived is a challenge.

mod events;

use std::collections::BTreeMap;
use std::time::Duration;

use daemon_kit::{Failure, LogHandle, Signal, Signals, Supervisor, describe};
use heartbeat_proto::MonotonicTime;
use heartbeat_proto::client::{Client, Health, Output};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::{error, info, warn};

use crate::applications::{Applications, Id};
use crate::ballot::Ballot;
use crate::cli::Cli;
use crate::clock::Clock;
use crate::condition;
use crate::config::{self, Config};
use crate::device::{Port, Read};
use crate::journal::{self, Journal};
use crate::scripts::{Ended, Scripts};
use crate::socket::{Event, Socket};
use crate::unsent::Unsent;

/// How long to wait before it is tried again to open the port: at first, and at most.
const MIN_RETRY: Duration = Duration::from_secs(1);
const MAX_RETRY: Duration = Duration::from_secs(5);

/// What is read from the port at once, and how often before the others have their turn.
const READ_SIZE: usize = 2048;
const READS: usize = 8;

/// How long the host may take to read that we leave.
const LAST_WORD: Duration = Duration::from_millis(300);

/// What the supervisor shows.
const STATUS: &str = "answering the host's heartbeat";

/// The running program.
pub(crate) struct Program {
    cli: Cli,
    config: Config,
    log: LogHandle,
    clock: Clock,
    client: Client,
    port: Option<Port>,
    /// When it is tried again to open the port, after how long a pause, and why it failed.
    retry_at: Option<MonotonicTime>,
    retry: Duration,
    no_port: Option<String>,
    /// Whether a host is at the other end.
    host: bool,
    unsent: Unsent,
    scripts: Scripts,
    applications: Applications,
    answers: BTreeMap<Id, mpsc::Sender<Value>>,
    events: Option<mpsc::Receiver<Event>>,
    ballot: Option<Ballot>,
    /// What the ballots are called towards the applications.
    ballots: u64,
    journal: Journal,
    signals: Signals,
    supervisor: Supervisor,
    watchdog: Option<Interval>,
}

/// What ended the wait.
enum Wake {
    Signal(Signal),
    Port,
    Ended(Ended),
    Application(Event),
    Watchdog,
    Timeout,
}

impl Program {
    /// Takes what the program needs of the machine.
    pub(crate) fn start(cli: Cli, config: Config, log: LogHandle) -> Result<Self, Failure> {
        let signals = Signals::install()
            .map_err(|error| Failure::environment(format!("cannot handle signals: {error}")))?;
        let events = match Socket::open(&config.socket) {
            Ok(socket) => Some(socket.spawn()),
            Err(error) if cli.socket.is_some() => {
                return Err(Failure::environment(format!("--socket: {}", describe(&error))));
            }
            // The heartbeat is what this program is for.
            Err(error) => {
                journal::no_socket(&describe(&error));
                None
            }
        };
        let supervisor = Supervisor::from_env();
        let watchdog = supervisor.watchdog_interval().map(|period| {
            let mut pings = interval(period);
            pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
            pings
        });
        let clock = Clock::start();
        let now = clock.now();
        let reloadable = config.reloadable.clone();
        let scripts = Scripts::new(
            now,
            reloadable.health_script,
            reloadable.check_interval,
            reloadable.event_script,
        );
        Ok(Self {
            cli,
            log,
            clock,
            client: Client::new(reloadable.settings),
            port: None,
            retry_at: Some(now),
            retry: MIN_RETRY,
            no_port: None,
            host: false,
            unsent: Unsent::default(),
            scripts,
            applications: Applications::default(),
            answers: BTreeMap::new(),
            events,
            ballot: None,
            ballots: 0,
            journal: Journal::default(),
            signals,
            supervisor,
            watchdog,
            config,
        })
    }

    /// Runs until it is told to stop.
    pub(crate) async fn run(mut self) {
        journal::ready(&self.config);
        self.supervisor.ready(STATUS);
        loop {
            let now = self.clock.now();
            self.open_port(now);
            let more = self.read_port(now);
            self.handle_timeouts(now);
            self.carry_out();
            self.flush();
            let wake = if more { self.next_if_any().await } else { Some(self.next().await) };
            let now = self.clock.now();
            match wake {
                Some(Wake::Signal(Signal::Terminate)) => break,
                Some(Wake::Signal(Signal::Reload)) => self.reload(now),
                Some(Wake::Ended(ended)) => self.handle_ended(now, ended),
                Some(Wake::Application(event)) => self.handle_application(now, event),
                Some(Wake::Watchdog) => self.supervisor.watchdog_ping(),
                Some(Wake::Signal(Signal::Health) | Wake::Port | Wake::Timeout) | None => {}
            }
        }
        self.stop().await;
    }

    /// Waits for whatever comes first.
    async fn next(&mut self) -> Wake {
        let deadline = [
            self.client.poll_timeout(),
            self.applications.poll_timeout(),
            self.scripts.poll_timeout(),
            self.retry_at,
        ];
        let deadline = deadline.into_iter().flatten().min();
        let Self { signals, port, scripts, events, watchdog, clock, .. } = self;
        let port = async {
            match port {
                // An error here shows again when the port is read.
                Some(port) => drop(port.changed().await),
                None => std::future::pending().await,
            }
        };
        let application = async {
            match events {
                Some(events) => events.recv().await,
                None => std::future::pending().await,
            }
        };
        let watchdog = async {
            match watchdog {
                Some(pings) => drop(pings.tick().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            signal = signals.recv() => Wake::Signal(signal),
            () = port => Wake::Port,
            ended = scripts.next() => Wake::Ended(ended),
            Some(event) = application => Wake::Application(event),
            () = watchdog => Wake::Watchdog,
            () = clock.sleep_until(deadline) => Wake::Timeout,
        }
    }

    /// Whatever is there already: the port has more to read.
    async fn next_if_any(&mut self) -> Option<Wake> {
        tokio::select! {
            biased;
            wake = self.next() => Some(wake),
            () = tokio::task::yield_now() => None,
        }
    }

    fn open_port(&mut self, now: MonotonicTime) {
        if self.retry_at.is_none_or(|at| at > now) {
            return;
        }
        match Port::open(&self.config.device) {
            Ok(port) => {
                self.journal.opened(port.path());
                self.port = Some(port);
                (self.retry_at, self.retry, self.no_port) = (None, MIN_RETRY, None);
            }
            Err(error) => {
                let why = describe(&error);
                if self.no_port.as_ref() != Some(&why) {
                    self.journal.no_port(&self.config.device, &why);
                    self.no_port = Some(why);
                }
                self.retry_at = Some(now + self.retry);
                self.retry = (self.retry * 2).min(MAX_RETRY);
            }
        }
    }

    /// Hands what the host said to the client; says whether there may be more.
    fn read_port(&mut self, now: MonotonicTime) -> bool {
        let mut buffer = [0; READ_SIZE];
        for _ in 0..READS {
            let Some(port) = &mut self.port else { return false };
            match port.read(&mut buffer) {
                Ok(Read::Bytes(length)) => {
                    self.host_is(now, true);
                    self.client.handle_bytes(now, &buffer[..length]);
                    self.carry_out();
                }
                Ok(Read::Nothing) => {
                    self.host_is(now, true);
                    return false;
                }
                Ok(Read::NoHost) => {
                    self.host_is(now, false);
                    return false;
                }
                Err(error) => {
                    self.lose_port(now, &error.to_string());
                    return false;
                }
            }
        }
        true
    }

    fn host_is(&mut self, now: MonotonicTime, there: bool) {
        if std::mem::replace(&mut self.host, there) == there {
            return;
        }
        self.journal.host(there);
        // Half a message that the former host did not take is nothing to the next.
        self.unsent.clear();
        if there {
            self.client.handle_opened(now);
        } else {
            self.client.handle_closed();
        }
    }

    fn lose_port(&mut self, now: MonotonicTime, why: &str) {
        self.journal.lost(why);
        self.host_is(now, false);
        self.port = None;
        self.retry_at = Some(now + MIN_RETRY);
    }

    fn handle_timeouts(&mut self, now: MonotonicTime) {
        if self.client.poll_timeout().is_some_and(|due| due <= now) {
            self.client.handle_timeout(now, daemon_kit::unpredictable());
        }
        self.applications.handle_timeout(now);
        if let Some(checked) = self.scripts.handle_timeout(now) {
            self.tell_checked(&checked);
        }
        while let Some((name, news)) = self.applications.poll_news() {
            self.journal.application(&name, &news);
        }
        self.update_health();
    }

    /// Tells the client how the machine is, if that has changed.
    fn update_health(&mut self) {
        let default = self.config.reloadable.settings.corrective_action;
        let troubles = self.scripts.trouble(default).into_iter();
        let health = condition::told(troubles.chain(self.applications.troubles(default)));
        if *self.client.health() != health {
            match &health {
                Health::Healthy => self.journal.health(None, ""),
                Health::Unhealthy { corrective_action, log_msg } => {
                    self.journal.health(Some(log_msg), corrective_action.as_str());
                }
            }
            self.client.handle_health(health);
        }
    }

    /// Does what the client wants.
    fn carry_out(&mut self) {
        while let Some(output) = self.client.poll_output() {
            match output {
                Output::Send { sequence, message } => {
                    let left_out = self.unsent.push(sequence, &message);
                    self.journal.metrics.messages_skipped.add(left_out);
                }
                Output::Decide(action) => self.decide(action),
                Output::Withdraw(_) => self.withdraw(),
                Output::Note(note) => self.journal.note(&note),
            }
        }
    }

    fn flush(&mut self) {
        let Some(port) = self.port.as_mut().filter(|_| self.host) else { return };
        if let Err(error) = self.unsent.flush(|bytes| port.write(bytes)) {
            let now = self.clock.now();
            self.lose_port(now, &error.to_string());
            self.carry_out();
        }
    }

    fn reload(&mut self, now: MonotonicTime) {
        self.supervisor.reloading();
        match config::load(&self.cli) {
            Err(failure) => error!(%failure, "configuration not reloaded: the former one stays"),
            Ok(loaded) => {
                for warning in loaded.warnings {
                    warn!("{warning}");
                }
                self.log.set_level(loaded.log_level);
                self.config = loaded.config;
                let new = self.config.reloadable.clone();
                self.client.handle_settings(now, new.settings);
                let (health, event) = (new.health_script, new.event_script);
                self.scripts.configure(now, health, new.check_interval, event);
                info!("configuration reloaded");
            }
        }
        self.supervisor.ready(STATUS);
    }

    /// Tells the host that the guest leaves; scripts and sockets go with us.
    async fn stop(mut self) {
        self.supervisor.stopping();
        info!("stopping");
        self.client.handle_exit("guestClient stops");
        self.carry_out();
        let last_word = async {
            loop {
                self.flush();
                match &self.port {
                    Some(port) if self.host && !self.unsent.is_empty() => {
                        drop(port.changed().await);
                    }
                    Some(_) | None => break,
                }
            }
        };
        if tokio::time::timeout(LAST_WORD, last_word).await.is_err() {
            warn!("the host did not take our leave in time");
        }
    }
}
