//! What a monitoring system is shown: the counters, and what the main loop knows.

use daemon_kit::metrics::{Exposition, Rows, Source};
use heartbeat_proto::InstanceId;
use heartbeat_proto::session::State;

use super::Metrics;
use super::families::{
    BUILD, CHALLENGES, CLAMPED, COMMANDED, CONNECTS, DROPPED, FAULTS_MUTED, GIVEN_UP, HEARTBEATING,
    HEARTBEATS, HOST_REPORTING, INITS, INSTANCES, LATE, LEFT_OUT, LOSSES, MISSES, MUTED,
    ONE_HEARTBEATING, ONE_MISSES, ONE_REPORTING, ONE_STATE, PMON, PROVISIONED, PUT_OFF, RECEIVED,
    RECEIVED_BYTES, REFUSED, REFUSED_BYTES, REPORTING, ROUND_TRIP, SENT, SILENCE, UNACKNOWLEDGED,
    UNHEALTHY, VOTES, VOTES_ASKED,
};
use crate::controller::Delivery;
use crate::instances::Instances;

/// What is shown, lent by the main loop.
pub(crate) struct Observed<'a> {
    pub(crate) metrics: &'a Metrics,
    pub(crate) instances: &'a Instances,
    /// How many instances are muted.
    pub(crate) muted: usize,
    pub(crate) commanded: bool,
    pub(crate) delivery: Delivery,
    pub(crate) per_instance: bool,
}

impl Source for Observed<'_> {
    type Id = InstanceId;

    fn render(&self, out: &mut Exposition) {
        out.family(&BUILD).put(&[env!("CARGO_PKG_VERSION")], true);
        self.render_instances(out);
        out.one(&MUTED, u64::try_from(self.muted).unwrap_or(u64::MAX));
        out.one(&HOST_REPORTING, self.instances.host_reporting());
        out.one(&COMMANDED, self.commanded);
        render_guests(self.metrics, out);
        render_messages(self.metrics, out);
        render_datagrams(self.metrics, out);
        self.render_delivery(out);
    }

    fn instances(&self) -> Vec<InstanceId> {
        if self.per_instance { self.instances.ids().collect() } else { Vec::new() }
    }

    fn render_instance(&self, id: &InstanceId, rows: &mut Rows) {
        let Some(summary) = self.instances.summary(*id) else { return };
        let uuid = id.to_string();
        rows.put(&ONE_STATE, &[&uuid, summary.state.as_str()], true);
        rows.put(&ONE_HEARTBEATING, &[&uuid], summary.heartbeating);
        rows.put(&ONE_REPORTING, &[&uuid], summary.reporting);
        rows.put(&ONE_MISSES, &[&uuid], u64::from(summary.misses));
    }
}

impl Observed<'_> {
    fn render_delivery(&self, out: &mut Exposition) {
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let Delivery { pending, reports, silence, .. } = self.delivery;
        let mut unacknowledged = out.family(&UNACKNOWLEDGED);
        unacknowledged.put(&["report"], count(reports));
        unacknowledged.put(&["state"], count(pending - reports));
        out.one(&SILENCE, silence.unwrap_or_default().as_secs_f64());
        out.one(&GIVEN_UP, self.metrics.datagrams.given_up.get());
    }

    fn render_instances(&self, out: &mut Exposition) {
        let mut states = [0_u64; State::ALL.len()];
        let (mut heartbeating, mut reporting, mut provisioned) = (0_u64, 0_u64, 0_u64);
        for summary in self.instances.summaries() {
            let state = State::ALL.iter().position(|state| *state == summary.state);
            if let Some(count) = state.and_then(|state| states.get_mut(state)) {
                *count += 1;
            }
            heartbeating += u64::from(summary.heartbeating);
            reporting += u64::from(summary.reporting);
            provisioned += u64::from(summary.provisioned);
        }
        let mut instances = out.family(&INSTANCES);
        for (state, count) in State::ALL.into_iter().zip(states) {
            instances.put(&[state.as_str()], count);
        }
        out.one(&HEARTBEATING, heartbeating);
        out.one(&REPORTING, reporting);
        out.one(&PROVISIONED, provisioned);
    }
}

fn render_guests(metrics: &Metrics, out: &mut Exposition) {
    let mut connects = out.family(&CONNECTS);
    connects.put(&["connected"], metrics.connections.get());
    connects.put(&["failed"], metrics.connection_failures.get());
    connects.put(&["missing"], metrics.channels_missing.get());
    out.one(&CHALLENGES, metrics.challenges.get());
    let mut left_out = out.family(&LEFT_OUT);
    left_out.put(&["challenge"], metrics.challenges_skipped.get());
    left_out.put(&["other"], metrics.messages_skipped.get());
    out.one(&HEARTBEATS, metrics.heartbeats.get());
    out.family(&ROUND_TRIP).histogram(&[], &metrics.round_trips);
    out.one(&MISSES, metrics.misses.get());
    out.one(&LOSSES, metrics.losses.get());
    out.one(&FAULTS_MUTED, metrics.faults_muted.get());
    out.one(&UNHEALTHY, metrics.unhealthy_responses.get());
    out.one(&LATE, metrics.late_timers.get());
    out.one(&VOTES_ASKED, metrics.votes_asked.get());
    let mut votes = out.family(&VOTES);
    votes.put(&["answered"], metrics.votes.answered.get());
    votes.put(&["timed_out"], metrics.votes.timed_out.get());
    votes.put(&["replaced"], metrics.votes.replaced.get());
    votes.put(&["not_connected"], metrics.votes.not_connected.get());
    votes.put(&["gone"], metrics.votes.gone.get());
}

fn render_messages(metrics: &Metrics, out: &mut Exposition) {
    out.one(&INITS, metrics.inits.get());
    out.one(&CLAMPED, metrics.values_clamped.get());
    let mut refused = out.family(&REFUSED);
    refused.put(&["malformed"], metrics.malformed_messages.get());
    refused.put(&["too_long"], metrics.long_messages.get());
    refused.put(&["fragment"], metrics.fragments.get());
    refused.put(&["init_too_often"], metrics.inits_refused.get());
    refused.put(&["wrong_number"], metrics.wrong_numbers.get());
    refused.put(&["not_awaited"], metrics.late_responses.get());
    refused.put(&["vote_not_open"], metrics.votes_unexpected.get());
    let mut bytes = out.family(&REFUSED_BYTES);
    bytes.put(&["malformed"], metrics.bytes_malformed.get());
    bytes.put(&["too_long"], metrics.bytes_too_long.get());
    bytes.put(&["fragment"], metrics.bytes_fragments.get());
    out.one(&RECEIVED_BYTES, metrics.bytes_received.get());
    out.one(&PUT_OFF, metrics.reads_put_off.get());
}

fn render_datagrams(metrics: &Metrics, out: &mut Exposition) {
    let datagrams = &metrics.datagrams;
    for (family, table) in [(&RECEIVED, &datagrams.received), (&SENT, &datagrams.sent)] {
        let mut samples = out.family(family);
        for (command, fate, count) in table.iter() {
            samples.put(&[command, fate], count);
        }
    }
    out.one(&DROPPED, datagrams.actions_dropped.get());
    let mut pulses = out.family(&PMON);
    pulses.put(&["answered"], metrics.pmon.answered.get());
    pulses.put(&["ignored"], metrics.pmon.ignored.get());
    pulses.put(&["failed"], metrics.pmon.failed.get());
}
