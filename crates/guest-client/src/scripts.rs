//! The two scripts: the health script in its turn, the event script when the host asks.

use std::path::{Path, PathBuf};
use std::time::Duration;

use heartbeat_proto::MonotonicTime;
use heartbeat_proto::client::{Action, ActionId};
use heartbeat_proto::guest::CorrectiveAction;
use tokio::task::{AbortHandle, JoinSet};

use crate::applications::PUNCTUAL;
use crate::condition::Trouble;
use crate::script::{Outcome, Start, run};

/// A script that has ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The health script.
    Check(Outcome),
    /// The event script.
    Event(ActionId, Outcome),
}

/// What changed about the health script, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Checked {
    /// It says that the machine is well again.
    Well,
    /// It says that the machine is not well.
    Unwell(String),
    /// It cannot be run: there is no check.
    Impossible(String),
    /// It can be run again.
    Possible,
}

/// Both scripts, and what the health script found. Dropping it kills what runs.
#[derive(Debug)]
pub(crate) struct Scripts {
    tasks: JoinSet<(u64, Ended)>,
    /// Which run of each counts; what an earlier one says comes too late.
    run: u64,
    health: Option<PathBuf>,
    interval: Duration,
    due: Option<MonotonicTime>,
    /// The next check was noticed late, and put off.
    put_off: bool,
    checking: Option<(u64, AbortHandle)>,
    trouble: Option<(MonotonicTime, String)>,
    impossible: Option<String>,
    event: Option<PathBuf>,
    asked: Option<(u64, AbortHandle)>,
    /// Why the event script cannot be run, as was said last.
    unasked: Option<String>,
    health_start: Start,
    event_start: Start,
}

impl Scripts {
    pub(crate) fn new(
        now: MonotonicTime,
        health: Option<PathBuf>,
        interval: Duration,
        event: Option<PathBuf>,
    ) -> Self {
        Self {
            tasks: JoinSet::new(),
            run: 0,
            // What is checked may still be starting: the first check is due after one interval.
            due: health.is_some().then(|| now + interval),
            put_off: false,
            health,
            interval,
            checking: None,
            trouble: None,
            impossible: None,
            event,
            asked: None,
            unasked: None,
            health_start: Start::default(),
            event_start: Start::default(),
        }
    }

    /// The configuration was read anew: what another health script found is forgotten.
    pub(crate) fn configure(
        &mut self,
        now: MonotonicTime,
        health: Option<PathBuf>,
        interval: Duration,
        event: Option<PathBuf>,
    ) {
        if event != self.event {
            (self.event, self.unasked) = (event, None);
        }
        if health != self.health || interval != self.interval {
            stop(&mut self.checking);
            self.put_off = false;
            if health != self.health {
                (self.trouble, self.impossible) = (None, None);
            }
            self.due = health.is_some().then(|| now + interval);
            (self.health, self.interval) = (health, interval);
        }
    }

    /// The time of [`poll_timeout`](Self::poll_timeout) has come: the health script runs. One that still runs is killed
    /// and counts as unhealthy, unless this program was not scheduled in time.
    pub(crate) fn handle_timeout(&mut self, now: MonotonicTime) -> Option<Checked> {
        let (Some(due), Some(path)) = (self.due, self.health.clone()) else { return None };
        if due > now {
            return None;
        }
        let late = now.since(due);
        // This program had no turn, and perhaps the script neither: it gets all its time once more. Not for ever, where
        // every timer is a little late.
        if self.checking.is_some() && late > PUNCTUAL && (!self.put_off || late > self.interval) {
            self.put_off = true;
            self.due = Some(now + self.interval);
            return None;
        }
        self.put_off = false;
        self.due = Some(now + self.interval);
        let mut news = None;
        if self.checking.is_some() {
            stop(&mut self.checking);
            let secs = self.interval.as_secs();
            news = self.found(now, Some(format!("health check still running after {secs} s")));
        }
        let start = self.health_start.clone();
        self.checking =
            Some(self.spawn(async move { Ended::Check(run(&start, &path, &[]).await) }));
        news
    }

    /// When the next health check is due.
    pub(crate) fn poll_timeout(&self) -> Option<MonotonicTime> {
        self.due
    }

    /// Asks the event script, if there is one.
    pub(crate) fn ask(&mut self, action: &Action) -> bool {
        stop(&mut self.asked);
        let Some(path) = self.event.clone() else { return false };
        let (action, start) = (action.clone(), self.event_start.clone());
        self.asked = Some(self.spawn(async move {
            let words = [action.notification_type.as_str(), action.event_type.as_str()];
            Ended::Event(action.id, run(&start, &path, &words).await)
        }));
        true
    }

    /// Nobody waits for the event script any more.
    pub(crate) fn withdraw(&mut self) {
        stop(&mut self.asked);
    }

    /// Takes how the event script ended; gives it and why it cannot be run, when that is news.
    pub(crate) fn handle_event(&mut self, outcome: &Outcome) -> Option<(&Path, &str)> {
        let former = self.unasked.take();
        let Outcome::NotRun(why) = outcome else { return None };
        let news = former.as_ref() != Some(why);
        let why = self.unasked.insert(why.clone());
        news.then_some((self.event.as_deref()?, why))
    }

    /// Waits for a script to end. May be cancelled.
    pub(crate) async fn next(&mut self) -> Ended {
        loop {
            match self.tasks.join_next().await {
                Some(Ok((number, ended))) => {
                    let counts = match ended {
                        Ended::Check(_) => &mut self.checking,
                        Ended::Event(..) => &mut self.asked,
                    };
                    if counts.take_if(|(running, _)| *running == number).is_some() {
                        return ended;
                    }
                }
                // One that was killed.
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Takes what the health script found; says what is new about it.
    pub(crate) fn handle_check(&mut self, now: MonotonicTime, outcome: Outcome) -> Option<Checked> {
        let possible = self.impossible.take();
        match outcome {
            Outcome::NotRun(why) => {
                self.trouble = None;
                let news = possible.as_ref() != Some(&why);
                self.impossible = Some(why.clone());
                news.then_some(Checked::Impossible(why))
            }
            Outcome::Success => self.found(now, None).or(possible.map(|_| Checked::Possible)),
            Outcome::Failure(reason) => self.found(now, Some(reason)),
        }
    }

    fn found(&mut self, now: MonotonicTime, reason: Option<String>) -> Option<Checked> {
        let former = self.trouble.take();
        let Some(reason) = reason else { return former.map(|_| Checked::Well) };
        let news = former.as_ref().is_none_or(|(_, former)| *former != reason);
        let since = former.map_or(now, |(since, _)| since);
        self.trouble = Some((since, reason.clone()));
        news.then_some(Checked::Unwell(reason))
    }

    /// What the health script found wrong.
    pub(crate) fn trouble(&self, corrective_action: CorrectiveAction) -> Option<Trouble> {
        let (since, reason) = self.trouble.clone()?;
        Some(Trouble { since, corrective_action, reason })
    }

    /// The health script, and why it cannot be run.
    pub(crate) fn health(&self) -> (Option<&Path>, Option<&str>) {
        (self.health.as_deref(), self.impossible.as_deref())
    }

    fn spawn(
        &mut self,
        script: impl Future<Output = Ended> + Send + 'static,
    ) -> (u64, AbortHandle) {
        self.run += 1;
        let number = self.run;
        (number, self.tasks.spawn(async move { (number, script.await) }))
    }
}

/// Kills a script that runs.
fn stop(running: &mut Option<(u64, AbortHandle)>) {
    if let Some((_, task)) = running.take() {
        task.abort();
    }
}

#[cfg(test)]
mod tests;
