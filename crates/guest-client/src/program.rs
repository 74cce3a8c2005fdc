//! The main loop: a port, two scripts, some applications and a clock around one [`Client`].
//!
//! It owns everything but the connections of the applications, and waits for nobody: what takes time runs in tasks and
//! comes back as an event. Each turn takes the time once, reads what the host said, does what is due, and writes what
//! the port takes. The host's words go before the clock: a challenge that has arrived is a challenge.

mod events;
mod port;

use std::collections::BTreeMap;
use std::time::Duration;

use daemon_kit::{Failure, LogHandle, Signal, Signals, Supervisor, describe};
use heartbeat_proto::MonotonicTime;
use heartbeat_proto::client::{Client, Health, Output};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::{error, info, warn};

use crate::applications::{Applications, Id, PUNCTUAL};
use crate::ballot::Ballot;
use crate::cli::Cli;
use crate::clock::Clock;
use crate::condition;
use crate::config::{self, Config};
use crate::device::Port;
use crate::journal::{self, Journal};
use crate::scripts::{Ended, Scripts};
use crate::socket::{Event, Socket};
use crate::unsent::Unsent;

/// When this program had no turn, what its scripts and applications did meanwhile has this long to arrive before the
/// timers look for it. Far less than the second by which a vote ends before the host gives up on it.
const GRACE: Duration = Duration::from_millis(250);

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
    /// The timers are late, and wait until then.
    grace: Option<MonotonicTime>,
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
            retry: port::MIN_RETRY,
            no_port: None,
            host: false,
            grace: None,
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
            if !self.is_held_up(now) {
                self.handle_timeouts(now);
            }
            self.settle();
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

    /// When the first of the timers is due.
    fn due(&self) -> Option<MonotonicTime> {
        let timers = [
            self.client.poll_timeout(),
            self.applications.poll_timeout(),
            self.scripts.poll_timeout(),
        ];
        timers.into_iter().flatten().min()
    }

    /// Whether the timers have to wait, because this program had no turn when they were due.
    fn is_held_up(&mut self, now: MonotonicTime) -> bool {
        match self.grace {
            Some(until) if now < until => true,
            Some(_) => {
                self.grace = None;
                false
            }
            None => {
                let late = self.due().is_some_and(|due| now.since(due) > PUNCTUAL);
                self.grace = late.then(|| now + GRACE);
                late
            }
        }
    }

    /// Waits for whatever comes first.
    async fn next(&mut self) -> Wake {
        let deadline = self.grace.or(self.due()).into_iter().chain(self.retry_at).min();
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

    fn handle_timeouts(&mut self, now: MonotonicTime) {
        if self.client.poll_timeout().is_some_and(|due| due <= now) {
            self.client.handle_timeout(now, daemon_kit::unpredictable());
        }
        self.applications.handle_timeout(now);
        if let Some(checked) = self.scripts.handle_timeout(now) {
            self.tell_checked(&checked);
        }
    }

    /// Passes on what has changed: to the log, to the client, to the host.
    fn settle(&mut self) {
        while let Some((name, news)) = self.applications.poll_news() {
            self.journal.application(&name, &news);
        }
        self.update_health();
        self.carry_out();
        self.flush();
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
