//! The main loop's side of the VIM: what goes to it, and what came of that.

use std::time::Duration;

use daemon_kit::describe;
use tokio::time::Instant;
use tracing::{debug, error};

use super::Daemon;
use crate::vim::{Done, Pushed, Report, VimAnswer};

impl Daemon {
    /// Counts and logs what had to go for a new event.
    pub(super) fn note_pushed(&mut self, pushed: Pushed) {
        let dropped = match pushed {
            Pushed::Queued | Pushed::Replaced => return,
            Pushed::MadeRoom(dropped) | Pushed::Full(dropped) => dropped,
        };
        self.journal.metrics.events.dropped(&dropped.kind);
        self.journal.dropped(&dropped);
    }

    /// Hands the next request over, if the one before is done.
    pub(super) fn next_job(&mut self) {
        if let Some(job) = self.dispatcher.poll_job(self.now()) {
            self.asked_vim_at = Instant::now();
            // There is always room: the former job is done.
            if let Err(error) = self.jobs.try_send(job) {
                error!(%error, "the VIM cannot be told: the transmitter is gone");
            }
        }
    }

    /// Something came of the last request.
    pub(super) fn handle_done(&mut self, done: Done) {
        let now = self.now();
        let metrics = &self.journal.metrics;
        let times = match done {
            Done::Event(_) => &metrics.event_times,
            Done::Question(..) => &metrics.question_times,
        };
        times.observe(self.asked_vim_at.elapsed());
        match self.dispatcher.handle_done(now, done) {
            Report::Nothing => {}
            Report::Delivered { event, waited } => {
                metrics.events.delivered(&event.kind, waited);
                self.vim_is_there();
                debug!(instance = %event.instance, waited_ms = waited.as_millis(), "VIM told");
            }
            Report::Refused { event, refusal } => {
                metrics.events.refused(&event.kind);
                self.vim_is_there();
                self.journal.refused(&event, &refusal.to_string());
            }
            Report::Failed { failure, pause } => {
                metrics.events.retried.increment();
                self.vim_is_away(&describe(&failure), pause);
            }
            Report::Answered { question, answer } => {
                metrics.questions_answered.increment();
                self.vim_is_there();
                match answer {
                    VimAnswer::State(state) => self.inventory.handle_host_state(&question, &state),
                    VimAnswer::Instances(list) => self.inventory.handle_instances(&question, &list),
                }
            }
            Report::Unanswered { question, why } => {
                metrics.questions_failed.increment();
                self.journal.unanswered(&question, &why.text());
            }
        }
    }

    /// One line when the VIM goes, one when it comes back.
    fn vim_is_away(&mut self, why: &str, pause: Duration) {
        if self.vim_failure.replace(why.to_owned()).is_none() {
            let waiting = self.dispatcher.event_count();
            self.journal.vim_away(why, pause, waiting);
        }
    }

    fn vim_is_there(&mut self) {
        self.vim_heard = Some(self.now());
        if self.vim_failure.take().is_some() {
            self.journal.vim_back(self.dispatcher.event_count());
        }
    }
}
