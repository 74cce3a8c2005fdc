//! What an operator asks through the control socket, and the mutes that come in that way.

use std::time::{Duration, Instant};

use daemon_kit::mutes::instance_of;
use daemon_kit::query::clock_time;
use daemon_kit::{ControlRequest, MuteOrder};
use heartbeat_proto::{InstanceId, MonotonicTime};

use super::Daemon;
use crate::NAME;
use crate::history::{Change, History};
use crate::metrics::{Delivered, Observed, Outbox};
use crate::status::{Delivery, Detail, Happening, InstanceStatus, Past, Status, Waiting};

/// A guestServer that has acknowledged nothing for so long, although it should, is counted as silent.
const SILENT: Duration = Duration::from_secs(10);

impl Daemon {
    pub(super) fn handle_request(&mut self, request: ControlRequest) {
        match request.command() {
            "metrics" => self.exporter.ask(request),
            "status" => request.answer_with(self.status()),
            "instance" => match instance_of(&request.command).and_then(|id| self.detail(id)) {
                Ok(detail) => request.answer_with(detail),
                Err(why) => request.refuse(&why),
            },
            "mute" => {
                let outcome = self.mute(&request);
                request.settle(outcome);
            }
            "unmute" => {
                let outcome = self.unmute(&request);
                request.settle(outcome);
            }
            _ => request
                .refuse("unknown request: expected status, instance, metrics, mute or unmute"),
        }
    }

    /// The metrics for those who ask, or the next piece of them.
    pub(super) fn show_metrics(&mut self) {
        let outbox = Outbox {
            events: self.core.dispatcher.event_count(),
            oldest: self.core.dispatcher.oldest_event(self.now()),
            questions: self.core.dispatcher.question_count(),
            vim_up: self.core.vim_failure.is_none(),
        };
        let (unacknowledged, silent) = self.core.courier.unacknowledged(self.now(), SILENT);
        let delivery = Delivered { unacknowledged, silent, held: self.core.courier.held() };
        self.exporter.render(&Observed {
            delivery,
            metrics: &self.core.journal.metrics,
            http: &self.counts,
            inventory: &self.core.inventory,
            muted: self.mutes.len(),
            outbox,
            per_instance: self.config.reloadable.metrics.per_instance,
        });
    }

    fn status(&self) -> Status {
        let now = self.now();
        let secs = |at: MonotonicTime| now.since(at).as_secs_f64();
        let mut hosts: Vec<_> = self.core.inventory.hosts(now).collect();
        for host in &mut hosts {
            let (acknowledges, unacknowledged, silence) = self.core.courier.delivery(now, host.ip);
            let silent_secs = silence.map(|silence| silence.as_secs_f64());
            host.delivery = Delivery { acknowledges, unacknowledged, silent_secs };
        }
        hosts.sort_unstable_by(|a, b| a.hostname.cmp(&b.hostname));
        let mut instances: Vec<_> = self.core.inventory.instances().collect();
        instances.sort_unstable_by_key(|instance| instance.uuid);
        for instance in &mut instances {
            instance.past = self.past(now, instance.uuid);
        }
        Status {
            daemon: NAME.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            up_secs: now.since_start().as_secs_f64(),
            hostname: self.config.hostname.clone(),
            address: self.fleet.local_addr().ok(),
            http: self.http,
            maintenance: self.maintenance.local_addr().ok(),
            maintenance_heard_secs: self.maintenance_heard.map(secs),
            vim: self.config.vim.to_string(),
            vim_heard_secs: self.core.vim_heard.map(secs),
            outbox: Waiting {
                events: self.core.dispatcher.event_count(),
                oldest_secs: self.core.dispatcher.oldest_event(now).map(|age| age.as_secs_f64()),
                questions: self.core.dispatcher.question_count(),
                last_failure: self.core.vim_failure.clone(),
            },
            security: self.config.guard.to_string(),
            unacknowledged: self.core.courier.unacknowledged(now, SILENT).0,
            held: self.core.courier.held(),
            hosts,
            instances,
            metrics: serde_json::to_value(&self.core.journal.metrics).unwrap_or_default(),
            http_counts: serde_json::to_value(&*self.counts).unwrap_or_default(),
        }
    }

    fn detail(&self, instance: InstanceId) -> Result<Detail, String> {
        let now = self.now();
        let (known, host_reporting) =
            self.core.inventory.instance(instance).ok_or_else(|| no_such(instance))?;
        let past = self.past(now, instance);
        let transitions = self.core.histories.get(instance).into_iter();
        Ok(Detail {
            instance: InstanceStatus { past, ..known },
            host_reporting,
            transitions: transitions
                .flat_map(|history| history.changes.iter())
                .map(|change| happening(now, *change))
                .collect(),
        })
    }

    fn past(&self, now: MonotonicTime, instance: InstanceId) -> Past {
        let muted = self.mutes.status(Instant::now(), instance);
        let Some(History { fault, since, .. }) = self.core.histories.get(instance) else {
            return Past { muted, ..Past::default() };
        };
        Past {
            since_secs: Some(now.since(*since).as_secs_f64()),
            last_fault: fault.map(|fault| happening(now, fault)),
            muted,
        }
    }

    fn mute(&mut self, request: &ControlRequest) -> Result<(), String> {
        let order = MuteOrder::<InstanceId>::read(&request.command)?;
        let instance = order.instance;
        let host = self.core.inventory.host_of(instance).ok_or_else(|| no_such(instance))?;
        let MuteOrder { time, reason, .. } = order.clone();
        self.mutes.insert(Instant::now(), order).map_err(|error| error.to_string())?;
        self.core.inventory.mute(instance);
        self.core.journal.muted(instance, &host, time, &reason);
        Ok(())
    }

    fn unmute(&mut self, request: &ControlRequest) -> Result<(), String> {
        let instance = instance_of::<InstanceId>(&request.command)?;
        if !self.mutes.remove(instance) {
            return Err(format!("instance {instance} is not muted"));
        }
        self.no_longer_muted(instance, "unmuted");
        Ok(())
    }

    /// The time of some mutes is over.
    pub(super) fn end_mutes(&mut self) {
        while let Some(instance) = self.mutes.poll_ended(Instant::now()) {
            self.no_longer_muted(instance, "time is over");
        }
    }

    fn no_longer_muted(&mut self, instance: InstanceId, why: &str) {
        self.core.inventory.unmute(instance);
        let host = self.core.inventory.host_of(instance);
        self.core.journal.unmuted(instance, host.as_deref(), why);
    }
}

fn no_such(instance: InstanceId) -> String {
    format!("no instance {instance}: `status` shows those that there are")
}

fn happening(now: MonotonicTime, (at, change): (MonotonicTime, Change)) -> Happening {
    let ago = now.since(at);
    Happening { time: clock_time(ago), secs_ago: ago.as_secs_f64(), what: change.text() }
}
