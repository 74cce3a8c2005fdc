//! What makes a process a daemon: its pidfile, signals, control socket, health file and supervisor,
//! taken in the right order and given back in the right order.
//!
//! The main loop owns the [`Service`] and waits for [`Service::next`] beside everything else. The
//! watchdog is pinged in there: a loop that does not come round is not pinged.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::{debug, error, info, warn};

use crate::{
    ControlRequest, ControlSocket, Failure, HealthFile, Pidfile, PidfileError, Signal, Signals,
    Supervisor, describe, raise_open_files, wait_for_files,
};

/// How often it is looked for a file that is waited for before the start.
const WAIT_FOR_PERIOD: Duration = Duration::from_millis(500);

/// What the machine wants of the daemon.
#[derive(Debug)]
pub enum Happened {
    /// It shall stop.
    Stop,
    /// It shall read its configuration anew; [`Service::reloaded`] when it is done.
    Reload,
    /// It shall say that it is well: [`Service::write_health`].
    Health,
    /// Somebody asks something over the control socket.
    Request(ControlRequest),
}

/// A daemon's hold on the machine.
#[derive(Debug)]
pub struct Service {
    signals: Signals,
    requests: mpsc::Receiver<ControlRequest>,
    supervisor: Supervisor,
    watchdog: Option<Interval>,
    health: HealthFile,
    pidfile: Pidfile,
}

impl Service {
    /// Waits for the files, then takes pidfile and control socket and raises the limit of open
    /// files. `None` when it was told to stop before that.
    ///
    /// # Errors
    ///
    /// Another copy runs, or the run directory cannot be used.
    pub async fn start(
        name: &str,
        run_dir: &Path,
        wait_for: &[PathBuf],
    ) -> Result<Option<Service>, Failure> {
        let mut signals = Signals::install()
            .map_err(|error| Failure::environment(format!("cannot handle signals: {error}")))?;
        tokio::select! {
            () = wait_for_files(wait_for, WAIT_FOR_PERIOD) => {}
            () = async { while signals.recv().await != Signal::Terminate {} } => return Ok(None),
        }
        let run_file = |ending: &str| run_dir.join(format!("{name}.{ending}"));
        let pidfile = Pidfile::acquire(&run_file("pid")).map_err(|error| match &error {
            PidfileError::AlreadyRunning { .. } => Failure::environment(describe(&error)),
            _ => cannot_use(&error),
        })?;
        match raise_open_files() {
            Ok(limit) => debug!(limit, "open files"),
            Err(error) => warn!(%error, "cannot raise the limit of open files"),
        }
        let requests =
            ControlSocket::bind(&run_file("sock")).map_err(|error| cannot_use(&error))?.spawn();
        let supervisor = Supervisor::from_env();
        let watchdog = supervisor.watchdog_interval().map(|period| {
            let mut pings = interval(period);
            pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
            pings
        });
        let health = HealthFile::new(run_file("info"));
        Ok(Some(Service { signals, requests, supervisor, watchdog, health, pidfile }))
    }

    /// Tells the supervisor that everything is in place.
    pub fn ready(&self, status: &str) {
        self.supervisor.ready(status);
    }

    /// Waits for what the machine wants next. May be dropped while it waits.
    pub async fn next(&mut self) -> Happened {
        loop {
            tokio::select! {
                signal = self.signals.recv() => match signal {
                    Signal::Terminate => return Happened::Stop,
                    Signal::Reload => {
                        self.supervisor.reloading();
                        return Happened::Reload;
                    }
                    Signal::Health => return Happened::Health,
                },
                Some(request) = self.requests.recv() => return Happened::Request(request),
                () = tick(&mut self.watchdog) => self.supervisor.watchdog_ping(),
            }
        }
    }

    /// Tells the supervisor that the configuration was read anew, or stays as it was.
    pub fn reloaded(&self, status: &str) {
        self.supervisor.ready(status);
    }

    /// Says in the health file that the daemon is well.
    pub fn write_health(&self, body: &str) {
        if let Err(error) = self.health.write(body) {
            error!(%error, "cannot write the health file");
        }
    }

    /// Gives everything back. The control socket's file goes with the runtime.
    pub fn stop(self) {
        info!("stopping");
        self.supervisor.stopping();
        if let Err(error) = self.health.remove() {
            warn!(%error, "cannot remove the health file");
        }
        if let Err(error) = self.pidfile.remove() {
            warn!(%error, "cannot remove the pidfile");
        }
    }
}

fn cannot_use(error: &dyn std::error::Error) -> Failure {
    let wanted = "expected a run directory (--run-dir) that this user may write to";
    Failure::environment(format!("{}: {wanted}", describe(error)))
}

/// The next ping of the watchdog; never, if nobody waits for one.
async fn tick(watchdog: &mut Option<Interval>) {
    match watchdog {
        Some(pings) => drop(pings.tick().await),
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_service_takes_its_files_and_gives_them_back() {
        let dir = tempfile::tempdir().unwrap();
        let service = Service::start("daemon", dir.path(), &[]).await.unwrap().unwrap();
        service.write_health("instances: 0\n");
        let names = || -> Vec<String> {
            let mut names: Vec<_> = std::fs::read_dir(dir.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        assert_eq!(names(), ["daemon.info", "daemon.pid", "daemon.sock"]);
        let second = Service::start("daemon", dir.path(), &[]).await.unwrap_err();
        assert!(second.message.contains(&std::process::id().to_string()), "{second}");
        service.stop();
        assert!(!names().iter().any(|name| name.ends_with(".pid") || name.ends_with(".info")));
    }
}
