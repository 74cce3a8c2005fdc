//! The task that talks to the VIM: one job at a time, from a queue to a queue.
//!
//! It owns nothing but the job in its hands, of which the main loop keeps a copy or that may be
//! lost. It ends at once, and breaks off what it is at, when the main loop drops the receiver of
//! what is done; when the main loop drops the sender of jobs, it finishes the one it has.

use daemon_kit::describe;
use heartbeat_proto::vim::{HostState, InstanceEvent, InstanceList};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::address::VimAddress;
use super::client::{EVENT_LIMITS, Failure, Limits, QUESTION_LIMITS, Refusal, Reply, exchange};
use super::request::Request;
use crate::inventory::{Question, Topic};

/// Jobs that wait for the task. The main loop gives the next one when it has seen what came of the
/// one before, so that this one place is always free.
const JOBS_DEPTH: usize = 1;

/// What is done and waits for the main loop. There is at most one.
const DONE_DEPTH: usize = 1;

/// The longest body of an answer to a question, in bytes: room for 25,000 instances on one host.
/// A longer answer is no answer.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// The longest body of an answer to an event that is read, in bytes. It is thrown away.
const MAX_EVENT_ANSWER: usize = 64 * 1024;

/// One request to the VIM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Job {
    /// Tell it of an instance.
    Event(InstanceEvent),
    /// Ask it.
    Question(Question),
}

/// What came of a job.
#[derive(Debug)]
pub(crate) enum Done {
    /// Of an event.
    Event(EventOutcome),
    /// Of this question.
    Question(Question, Result<VimAnswer, Unanswered>),
}

/// What came of an event.
#[derive(Debug)]
pub(crate) enum EventOutcome {
    /// The VIM has it.
    Delivered,
    /// The VIM does not want it.
    Refused(Refusal),
    /// The VIM does not have it, but may take it another time.
    Failed(Failure),
}

/// What the VIM answers to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum VimAnswer {
    /// To [`Topic::State`].
    State(HostState),
    /// To [`Topic::Instances`].
    Instances(InstanceList),
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unanswered {
    /// The VIM is away, or in trouble.
    #[error(transparent)]
    Away(Failure),
    #[error("the VIM refuses: {0}")]
    Refused(Refusal),
    #[error("the VIM closed the connection without an answer")]
    Silent,
    #[error("the answer is not JSON")]
    NotJson(#[source] serde_json::Error),
    #[error("the answer is JSON, but not {wanted}")]
    NotTheAnswer { wanted: &'static str, source: serde_json::Error },
}

/// Carries out jobs.
#[derive(Debug)]
pub(crate) struct Transmitter {
    vim: VimAddress,
    event_limits: Limits,
    question_limits: Limits,
}

impl Transmitter {
    /// Starts the task. Give it one job and wait for what came of it, then the next. Call it inside
    /// the runtime.
    pub(crate) fn spawn(vim: VimAddress) -> (mpsc::Sender<Job>, mpsc::Receiver<Done>) {
        let (event_limits, question_limits) = (EVENT_LIMITS, QUESTION_LIMITS);
        Self { vim, event_limits, question_limits }.start()
    }

    fn start(self) -> (mpsc::Sender<Job>, mpsc::Receiver<Done>) {
        let (jobs, job_queue) = mpsc::channel(JOBS_DEPTH);
        let (done, done_queue) = mpsc::channel(DONE_DEPTH);
        tokio::spawn(async move { self.run(job_queue, done).await });
        (jobs, done_queue)
    }

    async fn run(&self, mut jobs: mpsc::Receiver<Job>, done: mpsc::Sender<Done>) {
        while let Some(job) = jobs.recv().await {
            let outcome = tokio::select! {
                () = done.closed() => return,
                outcome = self.carry_out(job) => outcome,
            };
            if done.send(outcome).await.is_err() {
                return;
            }
        }
    }

    async fn carry_out(&self, job: Job) -> Done {
        let (request, max_body, limits) = match &job {
            Job::Event(event) => {
                (Request::event(&self.vim, event), MAX_EVENT_ANSWER, self.event_limits)
            }
            Job::Question(question) => {
                (Request::question(&self.vim, question), MAX_ANSWER, self.question_limits)
            }
        };
        let reply = exchange(&self.vim, &request, max_body, limits).await;
        conclude(job, reply)
    }
}

/// What the VIM's reply means for the job.
pub(super) fn conclude(job: Job, reply: Result<Reply, Failure>) -> Done {
    match job {
        Job::Event(_) => Done::Event(match reply {
            Ok(Reply::Success(_) | Reply::Silence) => EventOutcome::Delivered,
            Ok(Reply::Refused(refusal)) => EventOutcome::Refused(refusal),
            Err(failure) => EventOutcome::Failed(failure),
        }),
        Job::Question(question) => {
            let answer = match reply {
                Ok(Reply::Success(Ok(body))) => read(question.topic, &body),
                Ok(Reply::Silence) => Err(Unanswered::Silent),
                Ok(Reply::Refused(refusal)) => Err(Unanswered::Refused(refusal)),
                Ok(Reply::Success(Err(failure))) | Err(failure) => Err(Unanswered::Away(failure)),
            };
            Done::Question(question, answer)
        }
    }
}

impl Unanswered {
    /// What is wrong, in one line, not escaped.
    pub(crate) fn text(&self) -> String {
        describe(self)
    }
}

fn read(topic: Topic, body: &[u8]) -> Result<VimAnswer, Unanswered> {
    match topic {
        Topic::State => read_as(body, "the state of a host").map(VimAnswer::State),
        Topic::Instances => read_as(body, "a list of instances").map(VimAnswer::Instances),
    }
}

fn read_as<T: DeserializeOwned>(body: &[u8], wanted: &'static str) -> Result<T, Unanswered> {
    serde_json::from_slice(body).map_err(|source| match source.classify() {
        serde_json::error::Category::Data => Unanswered::NotTheAnswer { wanted, source },
        serde_json::error::Category::Syntax
        | serde_json::error::Category::Eof
        | serde_json::error::Category::Io => Unanswered::NotJson(source),
    })
}

#[cfg(test)]
mod tests;
