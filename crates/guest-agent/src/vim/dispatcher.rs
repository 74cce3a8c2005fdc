//! What waits for the VIM, and which request is the next.
//!
//! Pure. The main loop owns it and the way to the [`Transmitter`](super::transmitter::Transmitter).

use std::time::Duration;

use heartbeat_proto::vim::InstanceEvent;
use heartbeat_proto::{InstanceId, MonotonicTime};

use super::client::{Failure, Refusal};
use super::outbox::{Outbox, Pushed};
use super::questions::Questions;
use super::transmitter::{Done, EventOutcome, Job, Unanswered, VimAnswer};
use crate::courier::Receipt;
use crate::inventory::Question;

/// What came of a request, for the inventory, the log and the metrics.
#[derive(Debug)]
pub(crate) enum Report {
    /// The VIM has the event, so long after it was pushed.
    Delivered { event: InstanceEvent, waited: Duration },
    /// The VIM does not want the event; it was dropped.
    Refused { event: InstanceEvent, refusal: Refusal },
    /// The VIM could not be told; it is tried again after this pause.
    Failed { failure: Failure, pause: Duration },
    /// The VIM answered.
    Answered { question: Question, answer: VimAnswer },
    /// The VIM did not answer; the next audit asks again.
    Unanswered { question: Question, why: Unanswered },
    /// Something was done that nobody wanted.
    Nothing,
}

/// Events and questions for the VIM, taking turns, one request at a time.
///
/// At any time: [`push_event`](Self::push_event), [`push_question`](Self::push_question),
/// [`handle_deleted`](Self::handle_deleted). Then, and when [`poll_timeout`](Self::poll_timeout) has
/// come: [`poll_job`](Self::poll_job), whose job goes to the transmitter. What comes back from there
/// goes to [`handle_done`](Self::handle_done), and then it is [`poll_job`](Self::poll_job) again.
///
/// While events wait for a VIM that is away to come back, questions wait too. Questions that find it
/// away make further questions wait, but never an event: an alarm is always tried at once.
#[derive(Debug, Default)]
pub(crate) struct Dispatcher {
    outbox: Outbox,
    questions: Questions,
    /// Whether a job is with the transmitter.
    busy: bool,
    /// Whether it is a question's turn, if both wait.
    question_is_next: bool,
}

impl Dispatcher {
    /// The VIM has to know this.
    pub(crate) fn push_event(&mut self, now: MonotonicTime, event: InstanceEvent) -> Pushed {
        self.outbox.push(now, event)
    }

    /// The same, with the receipt of the message that it came in.
    pub(crate) fn push_held_event(
        &mut self,
        now: MonotonicTime,
        event: InstanceEvent,
        receipt: Receipt,
    ) -> Pushed {
        self.outbox.push_held(now, event, Some(receipt))
    }

    /// The receipt of a message that nothing more is to be done about.
    pub(crate) fn poll_released(&mut self) -> Option<Receipt> {
        self.outbox.poll_released()
    }

    /// The VIM has to be asked this. Says whether it was dropped because too many questions wait.
    pub(crate) fn push_question(&mut self, question: Question) -> bool {
        self.questions.push(question)
    }

    /// An instance is gone, and with it what waits of it. Says how many events that were.
    pub(crate) fn handle_deleted(&mut self, instance: InstanceId) -> usize {
        self.outbox.handle_deleted(instance)
    }

    /// An instance is on another host. Says how many events that outdated.
    pub(crate) fn handle_moved(&mut self, instance: InstanceId) -> usize {
        self.outbox.handle_moved(instance)
    }

    /// The next request, if there is one and the VIM may be talked to.
    pub(crate) fn poll_job(&mut self, now: MonotonicTime) -> Option<Job> {
        if self.busy || self.outbox.pauses(now) {
            return None;
        }
        let job = if self.question_is_next {
            self.poll_question(now).or_else(|| self.poll_event(now))
        } else {
            self.poll_event(now).or_else(|| self.poll_question(now))
        }?;
        self.busy = true;
        self.question_is_next = matches!(job, Job::Event(_));
        Some(job)
    }

    /// Something came of the job.
    pub(crate) fn handle_done(&mut self, now: MonotonicTime, done: Done) -> Report {
        self.busy = false;
        match done {
            Done::Event(EventOutcome::Delivered) => {
                self.questions.handle_vim_seen();
                match self.outbox.handle_delivered(now) {
                    Some((event, waited)) => Report::Delivered { event, waited },
                    None => Report::Nothing,
                }
            }
            Done::Event(EventOutcome::Refused(refusal)) => {
                self.questions.handle_vim_seen();
                match self.outbox.handle_refused() {
                    Some(event) => Report::Refused { event, refusal },
                    None => Report::Nothing,
                }
            }
            Done::Event(EventOutcome::Failed(failure)) => {
                let pause = self.outbox.handle_failed(now, failure.is_about_the_request());
                Report::Failed { failure, pause }
            }
            Done::Question(question, Ok(answer)) => {
                self.questions.handle_answered();
                self.outbox.handle_vim_seen();
                Report::Answered { question, answer }
            }
            Done::Question(question, Err(why)) => {
                match why {
                    Unanswered::Away(_) => self.questions.handle_failed(now),
                    Unanswered::Refused(_)
                    | Unanswered::Silent
                    | Unanswered::NotJson(_)
                    | Unanswered::NotTheAnswer { .. } => {
                        self.questions.handle_answered();
                        self.outbox.handle_vim_seen();
                    }
                }
                Report::Unanswered { question, why }
            }
        }
    }

    /// When [`poll_job`](Self::poll_job) has to be called although nothing has happened.
    pub(crate) fn poll_timeout(&self) -> Option<MonotonicTime> {
        if self.busy {
            return None;
        }
        let questions = self.questions.ready_at().map(|at| at.max(self.outbox_pauses_until()));
        match (self.outbox.poll_timeout(), questions) {
            (Some(events), Some(questions)) => Some(events.min(questions)),
            (events, questions) => events.or(questions),
        }
    }

    /// How many events the VIM does not have yet.
    pub(crate) fn event_count(&self) -> usize {
        self.outbox.len()
    }

    /// How long the first of them has waited.
    pub(crate) fn oldest_event(&self, now: MonotonicTime) -> Option<Duration> {
        self.outbox.oldest(now)
    }

    /// How many questions are open, as far as the VIM.
    pub(crate) fn question_count(&self) -> usize {
        self.questions.len()
    }

    fn outbox_pauses_until(&self) -> MonotonicTime {
        self.outbox.pauses_until().unwrap_or(MonotonicTime::START)
    }

    fn poll_event(&mut self, now: MonotonicTime) -> Option<Job> {
        self.outbox.poll_event(now).map(Job::Event)
    }

    fn poll_question(&mut self, now: MonotonicTime) -> Option<Job> {
        self.questions.poll_question(now).map(Job::Question)
    }
}

#[cfg(test)]
mod tests;
