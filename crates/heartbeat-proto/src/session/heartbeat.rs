//! Challenges, answers and misses.

use std::time::Duration;

use super::context::{Context, Reporting};
use super::output::{Note, Outputs, Report};
use super::parameters::Parameters;
use crate::control::InstanceInfo;
use crate::guest::{ChallengeResponse, CorrectiveAction, Health, HostMessage, Init, MAX_CHALLENGE};
use crate::{MonotonicTime, TokenBucket};

/// How many `init` are acknowledged at once; a guest in its right mind sends one a second at most.
const INIT_BURST: u32 = 10;

/// How often one more is acknowledged after that.
const INIT_PERIOD: Duration = Duration::from_secs(1);

/// What is awaited from the guest.
///
/// ```text
///                     init: init_ack, challenge
///        +--------------------------------------------+
///        |                                            v
///  [WaitingInit]                               [WaitingResponse] <--+
///        ^  ^                                    |         |        |
///        |  +------- silent for too long --------+   right number   | interval over:
///        |           (STOPPED, LOSS)                       |        | challenge
///        |                                                 v        |
///        +-- exit, reporting off, reconnected ---- [WaitingChallenge]
///
///  [Paused] is WaitingInit for a guest that was told that it is paused: it still counts as
///  heartbeating. A notified `unpause` leads to WaitingResponse.
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    WaitingInit,
    Paused,
    WaitingResponse {
        challenge: u32,
        /// When the challenge was due: the next one is due an interval later.
        scheduled: MonotonicTime,
        /// When it was sent: the guest has an interval from then on.
        sent: MonotonicTime,
        deadline: MonotonicTime,
    },
    WaitingChallenge {
        due: MonotonicTime,
    },
}

/// The heartbeat's side of a session.
#[derive(Debug)]
pub(super) struct Heartbeat {
    pub(super) parameters: Parameters,
    pub(super) invocation_id: u64,
    pub(super) phase: Phase,
    /// Reported as running and not as stopped since.
    pub(super) heartbeating: bool,
    pub(super) misses: u32,
    /// RUNNING went out since the last `init`.
    announced: bool,
    last_challenge: u32,
    /// No miss counts before this.
    grace_until: Option<MonotonicTime>,
    inits: TokenBucket,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self {
            parameters: Parameters::default(),
            invocation_id: 0,
            phase: Phase::WaitingInit,
            heartbeating: false,
            misses: 0,
            announced: false,
            last_challenge: 0,
            grace_until: None,
            inits: TokenBucket::default(),
        }
    }
}

impl Heartbeat {
    pub(super) const fn deadline(&self) -> Option<MonotonicTime> {
        match self.phase {
            Phase::WaitingInit | Phase::Paused => None,
            Phase::WaitingResponse { deadline, .. } => Some(deadline),
            Phase::WaitingChallenge { due } => Some(due),
        }
    }

    pub(super) fn interval(&self, floor: Duration) -> Duration {
        self.parameters.interval.max(floor)
    }

    pub(super) fn info(&self, reporting: bool) -> InstanceInfo {
        self.parameters.info(reporting, self.heartbeating)
    }

    /// Takes the parameters and acknowledges, whatever the phase.
    ///
    /// Returns whether it did: a guest that sends `init` as fast as it can is held to a rate, for
    /// each one may lead to an event for the controller.
    pub(super) fn handle_init(
        &mut self,
        init: &Init,
        context: &mut Context<'_>,
        out: &mut Outputs,
    ) -> bool {
        // Its timer, which would say so, is set anew.
        if let Some(late) = self.lost_time(context) {
            out.note(Note::LostTime { late });
        }
        if !self.inits.take(context.now, INIT_BURST, INIT_PERIOD) {
            out.note(Note::InitRefused);
            self.await_next_init(context);
            return false;
        }
        let floor = context.settings.pulse_floor;
        self.parameters =
            Parameters::from_init(init, floor, |clamped| out.note(Note::Clamped(clamped)));
        self.invocation_id = init.invocation_id;
        self.announced = false;
        self.misses = 0;
        self.grace_until = None;
        out.note(Note::Init {
            name: self.parameters.name.clone(),
            interval: self.interval(floor),
            corrective_action: self.parameters.corrective_action,
        });
        out.send(HostMessage::InitAck { invocation_id: init.invocation_id });
        self.challenge(context.now, context, out);
        true
    }

    /// How late the timer is, where that is more than an interval: this process was not scheduled in time.
    fn lost_time(&self, context: &Context<'_>) -> Option<Duration> {
        let late = context.now.since(self.deadline()?);
        (late > self.interval(context.settings.pulse_floor)).then_some(late)
    }

    /// Whoever says `init` is alive and answers nothing before that is acknowledged: it has until the next one, which may
    /// be again by then. After this process stood still, a healthy guest has said more of them than are acknowledged at
    /// once, and it takes the acknowledgement of the last ones alone.
    fn await_next_init(&mut self, context: &Context<'_>) {
        let interval = self.interval(context.settings.pulse_floor);
        if let Phase::WaitingResponse { deadline, .. } = &mut self.phase {
            *deadline = (*deadline).max(context.now + INIT_PERIOD + interval);
        }
    }

    pub(super) fn handle_response(
        &mut self,
        response: &ChallengeResponse,
        context: &Context<'_>,
        out: &mut Outputs,
    ) {
        let Phase::WaitingResponse { challenge, scheduled, sent, .. } = self.phase else {
            out.note(Note::LateResponse);
            return;
        };
        if response.heartbeat_response != u64::from(challenge) {
            out.note(Note::WrongNumber);
            return;
        }
        let interval = self.interval(context.settings.pulse_floor);
        self.phase = Phase::WaitingChallenge { due: scheduled + interval };
        self.misses = 0;
        let first = !std::mem::replace(&mut self.announced, true);
        out.note(Note::Answered { round_trip: context.now.since(sent), first });
        if first {
            self.heartbeating = true;
            out.report(Report::Running(self.info(context.reporting.instance)));
        }
        match response.heartbeat_health {
            Health::Healthy => {}
            Health::Unhealthy => self.unhealthy(response, context, out),
        }
    }

    fn unhealthy(&self, response: &ChallengeResponse, context: &Context<'_>, out: &mut Outputs) {
        let action = response.corrective_action;
        out.note(Note::Unhealthy { action, log_msg: response.log_msg.clone() });
        match action {
            CorrectiveAction::None | CorrectiveAction::Unknown => {}
            CorrectiveAction::Reboot | CorrectiveAction::Stop | CorrectiveAction::Log => {
                let info = self.info(context.reporting.instance);
                out.report(Report::IllHealth(InstanceInfo { repair_action: action, ..info }));
            }
        }
    }

    pub(super) fn handle_timeout(&mut self, context: &mut Context<'_>, out: &mut Outputs) {
        let now = context.now;
        let Some(deadline) = self.deadline().filter(|deadline| *deadline <= now) else { return };
        if let Some(late) = self.lost_time(context) {
            out.note(Note::LostTime { late });
            self.challenge(now, context, out);
            return;
        }
        let interval = self.interval(context.settings.pulse_floor);
        let late = now.since(deadline);
        match self.phase {
            Phase::WaitingInit | Phase::Paused => {}
            Phase::WaitingChallenge { due } => {
                // A little lateness is made up for, so that the period does not drift; a guest
                // never has less than its interval to answer.
                let scheduled = if late < interval / 10 { due } else { now };
                self.challenge(scheduled, context, out);
            }
            Phase::WaitingResponse { .. } => self.unanswered(context, out),
        }
    }

    fn unanswered(&mut self, context: &mut Context<'_>, out: &mut Outputs) {
        let threshold = context.settings.failure_threshold;
        if self.grace_until.is_some_and(|until| context.now < until) {
            self.challenge(context.now, context, out);
        } else if !context.reporting.enabled() {
            out.note(Note::Silent);
            self.stop(context.reporting, out);
        } else if self.misses < threshold {
            self.misses += 1;
            out.note(Note::Missed { misses: self.misses, threshold });
            self.challenge(context.now, context, out);
        } else {
            out.note(Note::Failed {
                heartbeating: self.heartbeating,
                unanswered: self.misses.saturating_add(1),
            });
            self.stop(context.reporting, out);
            out.report(Report::Loss);
        }
    }

    /// Back to waiting for an `init`; STOPPED if it was heartbeating.
    pub(super) fn stop(&mut self, reporting: Reporting, out: &mut Outputs) {
        self.await_init();
        if std::mem::take(&mut self.heartbeating) {
            out.report(Report::Stopped(self.info(reporting.instance)));
        }
    }

    /// Back to waiting for an `init`, without an event.
    pub(super) fn await_init(&mut self) {
        self.phase = Phase::WaitingInit;
        self.misses = 0;
        self.grace_until = None;
    }

    /// No challenges to a guest that is paused. One that was not heartbeating has to begin anew.
    pub(super) fn pause(&mut self) {
        self.await_init();
        if self.heartbeating {
            self.phase = Phase::Paused;
        }
    }

    /// Asks a guest that is about to go on, and gives it its time to do so.
    pub(super) fn unpause(&mut self, context: &mut Context<'_>, out: &mut Outputs) {
        if self.heartbeating {
            self.misses = 0;
            let notice = Duration::from_secs(self.parameters.resume_notice_secs);
            self.grace_until = Some(context.now + notice);
            self.challenge(context.now, context, out);
        }
    }

    fn challenge(
        &mut self,
        scheduled: MonotonicTime,
        context: &mut Context<'_>,
        out: &mut Outputs,
    ) {
        let mut challenge = context.random.challenge() & MAX_CHALLENGE;
        if challenge == self.last_challenge {
            // Fresh means another one than before, however the dice fall.
            challenge = (challenge + 1) & MAX_CHALLENGE;
        }
        self.last_challenge = challenge;
        self.phase = Phase::WaitingResponse {
            challenge,
            scheduled,
            sent: context.now,
            deadline: context.now + self.interval(context.settings.pulse_floor),
        };
        out.send(HostMessage::Challenge { heartbeat_challenge: challenge });
    }
}
