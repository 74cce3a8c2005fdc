//! The local applications that take part, without any I/O: who registered, whose beat is missed, and what is wrong.
//!
//! ```text
//!  register --> well -- no beat for 1.5 intervals --> missed --+
//!               ^  |                                           |
//!               |  +-- unhealthy REASON --> unwell ----+       |
//!               +------------ beat --------------------+-------+
//!
//!  deregister, from any: forgotten        connection closed without it: gone, until the name registers again
//! ```

pub(crate) mod message;

use std::collections::BTreeMap;
use std::time::Duration;

use heartbeat_proto::MonotonicTime;
use heartbeat_proto::guest::CorrectiveAction;

use crate::condition::{Trouble, safe};
use message::Registration;

/// Applications that may take part, those that are gone without a word included.
pub(crate) const MAX_APPLICATIONS: usize = 64;

/// A timer that fires later than this was held up, and who is waited for may have been, too. How long, nobody can tell.
pub(crate) const PUNCTUAL: Duration = Duration::from_millis(20);

/// One connection of an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id(pub(crate) u64);

/// What happened, for the log; each with the application's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum News {
    /// It takes part from now on.
    Registered,
    /// It takes part no longer.
    Left,
    /// It is gone without a word.
    Gone,
    /// Its beat is missed.
    Missed,
    /// It says that it is not well.
    Unwell(String),
    /// It is well again.
    Well,
    /// This program was not scheduled in time: not held against the application.
    LostTime(Duration),
}

#[derive(Debug)]
struct Application {
    name: String,
    interval: Option<Duration>,
    /// `None`: the configured one.
    corrective_action: Option<CorrectiveAction>,
    votes: bool,
    /// When its beat is missed.
    deadline: Option<MonotonicTime>,
    /// The deadline was noticed late, and put off.
    put_off: bool,
    trouble: Option<(MonotonicTime, String)>,
}

#[derive(Debug)]
struct Gone {
    since: MonotonicTime,
    corrective_action: Option<CorrectiveAction>,
}

/// All applications.
#[derive(Debug, Default)]
pub(crate) struct Applications {
    here: BTreeMap<Id, Application>,
    gone: BTreeMap<String, Gone>,
    news: Vec<(String, News)>,
}

/// How long a beat may be late.
fn allowed(interval: Duration) -> Duration {
    interval + interval / 2
}

impl Applications {
    /// An application takes part from now on, or changes how.
    ///
    /// # Errors
    ///
    /// The name is taken, or there are too many.
    pub(crate) fn register(
        &mut self,
        now: MonotonicTime,
        id: Id,
        registration: Registration,
    ) -> Result<(), String> {
        let Registration { name, interval, corrective_action, votes } = registration;
        let holder = self.here.iter().find(|(other, there)| **other != id && there.name == name);
        if let Some((&other, holder)) = holder {
            // One that beats no more gives way: its connection may be kept open by a child that outlived it.
            if !holder.is_silent() {
                return Err(format!("the name {name} is registered by another connection"));
            }
            self.here.remove(&other);
        }
        let known = self.here.contains_key(&id) || self.gone.contains_key(&name);
        if !known && self.here.len() + self.gone.len() >= MAX_APPLICATIONS {
            return Err(format!("there are {MAX_APPLICATIONS} applications already"));
        }
        self.gone.remove(&name);
        let deadline = interval.map(|interval| now + allowed(interval));
        let (put_off, trouble) = (false, None);
        self.news.push((name.clone(), News::Registered));
        let application =
            Application { name, interval, corrective_action, votes, deadline, put_off, trouble };
        self.here.insert(id, application);
        Ok(())
    }

    /// An application is well.
    pub(crate) fn beat(&mut self, now: MonotonicTime, id: Id) -> Result<(), String> {
        let application = self.here.get_mut(&id).ok_or_else(unregistered)?;
        application.postpone(now);
        if application.trouble.take().is_some() {
            self.news.push((application.name.clone(), News::Well));
        }
        Ok(())
    }

    /// An application is there, but not well.
    pub(crate) fn unhealthy(
        &mut self,
        now: MonotonicTime,
        id: Id,
        reason: &str,
    ) -> Result<(), String> {
        let application = self.here.get_mut(&id).ok_or_else(unregistered)?;
        application.postpone(now);
        let reason = safe(format!("{}: {reason}", application.name).as_bytes());
        if application.trouble.as_ref().is_none_or(|(_, former)| *former != reason) {
            self.news.push((application.name.clone(), News::Unwell(reason.clone())));
            let since = application.trouble.as_ref().map_or(now, |(since, _)| *since);
            application.trouble = Some((since, reason));
        }
        Ok(())
    }

    /// An application takes part no longer.
    pub(crate) fn deregister(&mut self, id: Id) -> Result<(), String> {
        let application = self.here.remove(&id).ok_or_else(unregistered)?;
        self.news.push((application.name, News::Left));
        Ok(())
    }

    /// The connection is closed. Whoever had not said goodbye has died.
    pub(crate) fn closed(&mut self, now: MonotonicTime, id: Id) {
        if let Some(Application { name, corrective_action, trouble, .. }) = self.here.remove(&id) {
            let since = trouble.map_or(now, |(since, _)| since);
            self.news.push((name.clone(), News::Gone));
            self.gone.insert(name, Gone { since, corrective_action });
        }
    }

    /// The time of [`poll_timeout`](Self::poll_timeout) has come, or a later one.
    pub(crate) fn handle_timeout(&mut self, now: MonotonicTime) {
        for application in self.here.values_mut() {
            let (Some(interval), Some(deadline)) = (application.interval, application.deadline)
            else {
                continue;
            };
            if deadline > now {
                continue;
            }
            let late = now.since(deadline);
            // This program had no turn, and perhaps the application neither: it gets all its time once more. Not for ever,
            // where every timer is a little late.
            if late > PUNCTUAL && (!application.put_off || late > interval) {
                self.news.push((application.name.clone(), News::LostTime(late)));
                application.postpone(now);
                application.put_off = true;
                continue;
            }
            application.deadline = None;
            if application.trouble.is_none() {
                let limit = allowed(interval).as_millis();
                let reason = format!("{}: no beat for {limit} ms", application.name);
                application.trouble = Some((now, safe(reason.as_bytes())));
            }
            self.news.push((application.name.clone(), News::Missed));
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    pub(crate) fn poll_timeout(&self) -> Option<MonotonicTime> {
        self.here.values().filter_map(|application| application.deadline).min()
    }

    /// The next thing for the log, with the application's name.
    pub(crate) fn poll_news(&mut self) -> Option<(String, News)> {
        (!self.news.is_empty()).then(|| self.news.remove(0))
    }

    /// What is wrong, with `default` where an application has no action of its own.
    pub(crate) fn troubles(&self, default: CorrectiveAction) -> impl Iterator<Item = Trouble> {
        let here = self.here.values().filter_map(move |application| {
            let (since, reason) = application.trouble.clone()?;
            let corrective_action = application.corrective_action.unwrap_or(default);
            Some(Trouble { since, corrective_action, reason })
        });
        let gone = self.gone.iter().map(move |(name, gone)| Trouble {
            since: gone.since,
            corrective_action: gone.corrective_action.unwrap_or(default),
            reason: safe(format!("{name}: gone without deregistering").as_bytes()),
        });
        here.chain(gone)
    }

    /// Those that want to be asked about events.
    pub(crate) fn voters(&self) -> impl Iterator<Item = Id> {
        self.here.iter().filter(|(_, application)| application.votes).map(|(id, _)| *id)
    }

    /// The name of one that is registered.
    pub(crate) fn name(&self, id: Id) -> Option<&str> {
        self.here.get(&id).map(|application| application.name.as_str())
    }

    /// Each application's name and how it is: nothing if it is well.
    pub(crate) fn known(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let here = self.here.values().map(|application| {
            let trouble = application.trouble.as_ref().map(|(_, reason)| reason.as_str());
            (application.name.as_str(), trouble)
        });
        here.chain(self.gone.keys().map(|name| (name.as_str(), Some("gone without deregistering"))))
    }
}

impl Application {
    /// Whether its beat is missed.
    fn is_silent(&self) -> bool {
        self.interval.is_some() && self.deadline.is_none()
    }

    fn postpone(&mut self, now: MonotonicTime) {
        self.put_off = false;
        self.deadline = self.interval.map(|interval| now + allowed(interval));
    }
}

fn unregistered() -> String {
    "not registered: expected {\"type\":\"register\",...} first".to_owned()
}

#[cfg(test)]
mod tests;
