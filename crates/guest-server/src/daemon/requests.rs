//! What an operator asks through the control socket, and the mutes that come in that way.

use std::time::Instant;

use daemon_kit::mutes::instance_of;
use daemon_kit::{ControlRequest, MuteOrder};
use heartbeat_proto::InstanceId;

use super::Daemon;
use crate::metrics::Observed;
use crate::status::{Controlled, Sources};

impl Daemon {
    pub(super) fn handle_request(&mut self, request: ControlRequest) {
        match request.command() {
            "metrics" => self.exporter.ask(request),
            "status" => {
                let controlled = Controlled {
                    address: self.controller.local_addr().ok(),
                    peer: self.core.desk.peer(),
                    commanded: self.core.desk.is_commanded(),
                    delivery: self.core.desk.delivery(self.common.clock.now()),
                };
                let metrics = serde_json::to_value(&self.common.journal.metrics);
                let status = self.sources().status(&controlled, metrics.unwrap_or_default());
                request.answer_with(status);
            }
            "instance" => match instance_of::<InstanceId>(&request.command) {
                Ok(instance) => match self.sources().detail(instance) {
                    Some(detail) => request.answer_with(detail),
                    None => request.refuse(&no_such(instance)),
                },
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
        self.exporter.render(&Observed {
            metrics: &self.common.journal.metrics,
            instances: &self.core.instances,
            muted: self.mutes.len(),
            commanded: self.core.desk.is_commanded(),
            delivery: self.core.desk.delivery(self.common.clock.now()),
            per_instance: self.config.reloadable.metrics.per_instance,
        });
    }

    fn sources(&self) -> Sources<'_> {
        Sources {
            now: self.common.clock.now(),
            config: &self.config,
            instances: &self.core.instances,
            mutes: &self.mutes,
        }
    }

    fn mute(&mut self, request: &ControlRequest) -> Result<(), String> {
        let order = MuteOrder::<InstanceId>::read(&request.command)?;
        let instance = order.instance;
        let name = self.core.instances.name(instance).ok_or_else(|| no_such(instance))?;
        let MuteOrder { time, reason, .. } = order.clone();
        self.mutes.insert(Instant::now(), order).map_err(|error| error.to_string())?;
        self.common.journal.muted(instance, &name, time, &reason);
        Ok(())
    }

    fn unmute(&mut self, request: &ControlRequest) -> Result<(), String> {
        let instance = instance_of::<InstanceId>(&request.command)?;
        if !self.mutes.remove(instance) {
            return Err(format!("instance {instance} is not muted"));
        }
        self.unmuted(instance, "unmuted");
        Ok(())
    }

    /// The time of some mutes is over.
    pub(super) fn end_mutes(&mut self) {
        while let Some(instance) = self.mutes.poll_ended(Instant::now()) {
            self.unmuted(instance, "time is over");
        }
    }

    fn unmuted(&self, instance: InstanceId, why: &str) {
        let name = self.core.instances.name(instance).unwrap_or_default();
        self.common.journal.unmuted(instance, &name, why);
    }
}

fn no_such(instance: InstanceId) -> String {
    format!("no instance {instance} on this host: `status` shows those that there are")
}
