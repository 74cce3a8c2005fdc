//! One request, from its header to its response.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use daemon_kit::{RateLimit, limited};
use heartbeat_proto::vim::VIM_USER_AGENT;
use hyper::body::{Body as _, Incoming};
use hyper::header::{EXPECT, HeaderMap, USER_AGENT};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::answer::{Failure, HttpAnswer, closing, of_command};
use super::counts::Counts;
use super::route::{self, Target};
use super::{Limits, Request, decode};
use crate::inventory::{Command, Outcome, Refusal};

/// The most of a path that the log repeats, in characters.
const LOGGED_PATH: usize = 100;

/// What every request needs.
#[derive(Debug)]
pub(super) struct Exchanges {
    pub(super) limits: Limits,
    pub(super) counts: Arc<Counts>,
    requests: mpsc::Sender<Request>,
    complaints: Mutex<RateLimit>,
}

impl Exchanges {
    pub(super) fn new(
        limits: Limits,
        counts: Arc<Counts>,
        requests: mpsc::Sender<Request>,
    ) -> Self {
        let complaints = Mutex::new(RateLimit::new(20, Duration::from_secs(1)));
        Self { limits, counts, requests, complaints }
    }

    /// Completes when the main loop takes no more commands.
    pub(super) async fn closed(&self) {
        self.requests.closed().await;
    }

    /// Answers a request.
    pub(super) async fn handle(&self, request: hyper::Request<Incoming>) -> HttpAnswer {
        let (head, body) = request.into_parts();
        let target = if is_stranger(&head.headers) {
            Err(Failure::Stranger)
        } else {
            route::find(&head.method, head.uri.path()).map_err(Failure::Miss)
        };
        let response = match target {
            Ok(target) => self.answer(target, body).await.unwrap_or_else(|failure| {
                self.complain(&head, failure);
                failure.response()
            }),
            Err(failure) => {
                self.complain(&head, failure);
                self.refuse(failure, &head.headers, body).await
            }
        };
        self.counts.requests.count(target.ok().map(|target| target.route), response.status());
        response
    }

    async fn answer(&self, target: Target<'_>, body: Incoming) -> Result<HttpAnswer, Failure> {
        let body = decode::read_body(body, &self.limits).await?;
        let command = decode::command(target, &body)?;
        drop(body);
        self.put_to_main_loop(command).await.map(of_command)
    }

    /// Refuses what is wrong by its header alone. The body is read first where it can be, so that
    /// the connection can go on.
    async fn refuse(&self, failure: Failure, headers: &HeaderMap, body: Incoming) -> HttpAnswer {
        let response = failure.response();
        let unread = !body.is_end_stream()
            && (headers.contains_key(EXPECT)
                || decode::read_body(body, &self.limits).await.is_err());
        if unread { closing(response) } else { response }
    }

    async fn put_to_main_loop(
        &self,
        command: Command,
    ) -> Result<Result<Outcome, Refusal>, Failure> {
        let (reply, answer) = oneshot::channel();
        let exchange = async {
            self.requests.send(Request { command, reply }).await.ok()?;
            answer.await.ok()
        };
        // An answer that is there counts, even if it came late.
        match timeout(self.limits.answer_time, exchange).await {
            Ok(Some(result)) => Ok(result),
            Ok(None) | Err(_) => {
                self.counts.commands_unanswered.increment();
                Err(Failure::NoAnswer)
            }
        }
    }

    /// Says in the log that a request never became a command, or got no answer.
    fn complain(&self, head: &hyper::http::request::Parts, failure: Failure) {
        let now = Instant::now();
        let allowed = self.complaints.lock().unwrap_or_else(PoisonError::into_inner).allow(now);
        let path: String = head.uri.path().chars().take(LOGGED_PATH).collect();
        limited!(allowed, warn, method = %head.method, path, ?failure, "request refused");
    }
}

/// Whether it says that it is from somebody else than the VIM. It may say nothing.
fn is_stranger(headers: &HeaderMap) -> bool {
    headers.get_all(USER_AGENT).iter().any(|agent| agent.as_bytes() != VIM_USER_AGENT.as_bytes())
}
