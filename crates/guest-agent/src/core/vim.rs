//! The VIM's side of it: what goes to it, and what came of that.

use std::time::Duration;

use daemon_kit::describe;
use heartbeat_proto::MonotonicTime;
use tracing::debug;

use super::Core;
use crate::vim::{Done, Job, Pushed, Report, VimAnswer};

impl Core {
    /// Counts and logs what had to go for a new event.
    pub(super) fn note_pushed(&mut self, pushed: Pushed) {
        let dropped = match pushed {
            Pushed::Queued | Pushed::Replaced => return,
            Pushed::MadeRoom(dropped) | Pushed::Full(dropped) => dropped,
        };
        self.journal.metrics.events.dropped(&dropped.kind);
        self.journal.dropped(&dropped);
    }

    /// The next request to the VIM, if the one before is done.
    pub(crate) fn poll_job(&mut self, now: MonotonicTime) -> Option<Job> {
        let job = self.dispatcher.poll_job(now)?;
        self.asked_vim_at = now;
        Some(job)
    }

    /// Something came of the last request.
    pub(crate) fn handle_done(&mut self, now: MonotonicTime, done: Done) {
        let metrics = &self.journal.metrics;
        let times = match done {
            Done::Event(_) => &metrics.event_times,
            Done::Question(..) => &metrics.question_times,
        };
        times.observe(now.since(self.asked_vim_at));
        match self.dispatcher.handle_done(now, done) {
            Report::Nothing => {}
            Report::Delivered { event, waited } => {
                metrics.events.delivered(&event.kind, waited);
                self.vim_is_there(now);
                debug!(instance = %event.instance, waited_ms = waited.as_millis(), "VIM told");
            }
            Report::Refused { event, refusal } => {
                metrics.events.refused(&event.kind);
                self.vim_is_there(now);
                self.journal.refused(&event, &refusal.to_string());
            }
            Report::Failed { failure, pause } => {
                metrics.events.retried.increment();
                self.vim_is_away(&describe(&failure), pause);
            }
            Report::Answered { question, answer } => {
                metrics.questions_answered.increment();
                self.vim_is_there(now);
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

    fn vim_is_there(&mut self, now: MonotonicTime) {
        self.vim_heard = Some(now);
        if self.vim_failure.take().is_some() {
            self.journal.vim_back(self.dispatcher.event_count());
        }
    }
}
