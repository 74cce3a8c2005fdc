//! HTTP requests for single instances, a new connection each, from threads of their own.
//!
//! At a rate, each request has a planned time, and how long it takes counts from then: a daemon that
//! holds up one request does not get fewer to answer. By how much the load itself missed the planned
//! time is noted beside it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::super::figure::{Figure, Unit, largest, median, quantile};
use super::super::lateness::Own;
use super::super::site::{PATIENCE, millis};
use super::fleet::instance_id;

/// Requests at once, at most. At 2,000 a second, a daemon that answers within 16 ms is given each
/// of them in time.
const AT_ONCE: u32 = 32;
/// Connections at once where as many requests are sent as are answered.
const GREEDY: u32 = 8;
/// Neighbours in time are strangers in the inventory: a prime that divides no number of instances.
const STRIDE: u64 = 7919;
/// What takes no longer, in milliseconds, was not held up by a stall.
const STALLED: f64 = 1.0;

/// How requests are sent.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pace {
    /// So many a second.
    Rate(u32),
    /// The next one once the one before was answered.
    Greedy,
}

/// What is asked of whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) agent: SocketAddr,
    /// How many instances there are.
    pub(super) instances: u32,
    pub(super) pace: Pace,
    pub(super) time: Duration,
}

/// One request that was answered, in milliseconds.
#[derive(Debug, Clone, Copy)]
struct Sample {
    /// From the planned time to the connection's beginning.
    late: f64,
    /// From there to the answer's end.
    took: f64,
    /// The answer's end.
    end: Instant,
}

impl Sample {
    fn delay(&self) -> f64 {
        self.late + self.took
    }
}

/// What came of all requests.
#[derive(Debug)]
pub(super) struct Answers {
    samples: Vec<Sample>,
    failures: u32,
    first_failure: Option<String>,
    time: Duration,
}

impl Load {
    /// Sends all requests and waits for their answers.
    pub(super) async fn run(self) -> Result<Answers> {
        tokio::task::spawn_blocking(move || self.send_all()).await?
    }

    fn send_all(self) -> Result<Answers> {
        let next = Arc::new(AtomicU32::new(0));
        let begin = Instant::now();
        let threads = match self.pace {
            Pace::Rate(_) => AT_ONCE,
            Pace::Greedy => GREEDY,
        };
        let work = |_| {
            let next = Arc::clone(&next);
            let name = "requests".into();
            std::thread::Builder::new().name(name).spawn(move || self.send(begin, &next))
        };
        let threads: Vec<_> = (0..threads).map(work).collect::<std::io::Result<_>>()?;
        let (samples, failures) = (Vec::new(), 0);
        let mut answers = Answers { samples, failures, first_failure: None, time: self.time };
        for thread in threads {
            let theirs = thread.join().ok().context("a thread that sends requests panicked")?;
            for result in theirs {
                match result {
                    Ok(sample) => answers.samples.push(sample),
                    Err(error) => {
                        answers.failures += 1;
                        answers.first_failure.get_or_insert(format!("{error:#}"));
                    }
                }
            }
        }
        answers.time = begin.elapsed();
        Ok(answers)
    }

    /// One thread's part: whichever requests are next.
    fn send(self, begin: Instant, next: &AtomicU32) -> Vec<Result<Sample>> {
        let mut samples = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let after = match self.pace {
                Pace::Rate(rate) => Duration::from_secs(number.into()) / rate,
                Pace::Greedy => begin.elapsed(),
            };
            if after >= self.time {
                return samples;
            }
            let planned = begin + after;
            std::thread::sleep(planned.saturating_duration_since(Instant::now()));
            let started = Instant::now();
            let late = millis(started.saturating_duration_since(planned));
            let answered = get(self.agent, self.instance(number));
            let end = Instant::now();
            let took = millis(end.duration_since(started));
            samples.push(answered.map(|()| Sample { late, took, end }));
        }
    }

    fn instance(&self, request: u32) -> u32 {
        let at = u64::from(request) * STRIDE % u64::from(self.instances);
        u32::try_from(at).unwrap_or_default()
    }
}

/// Asks for an instance as the VIM does, and reads to the end of the connection.
fn get(agent: SocketAddr, instance: u32) -> Result<()> {
    let request = format!(
        "GET /v1/instances/{} HTTP/1.1\r\nHost: {agent}\r\nUser-Agent: vim/1.0\r\n\
         Content-Type: application/json\r\nConnection: close\r\n\r\n",
        instance_id(instance)
    );
    let mut stream = TcpStream::connect(agent).context("cannot connect")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes()).context("cannot send")?;
    let mut answer = Vec::with_capacity(1024);
    stream.read_to_end(&mut answer).context("no answer")?;
    anyhow::ensure!(
        answer.starts_with(b"HTTP/1.1 200 ") && answer.ends_with(b"}"),
        "answered {:?}",
        String::from_utf8_lossy(&answer)
    );
    Ok(())
}

impl Answers {
    fn each(&self, value: impl Fn(&Sample) -> f64) -> Vec<f64> {
        self.samples.iter().map(value).collect()
    }

    /// From the planned time to the answer's end, of each request.
    pub(super) fn delays(&self) -> Vec<f64> {
        self.each(Sample::delay)
    }

    /// The same without those during which machine or load stalled, and how many these were.
    pub(super) fn delays_without_stalls(&self, own: &Own) -> (Vec<f64>, usize) {
        let stalled = |sample: &&Sample| {
            let delay = sample.delay();
            delay > STALLED && own.stalled(delay, sample.end)
        };
        let judged = self.samples.iter().filter(|sample| !stalled(sample));
        let judged: Vec<f64> = judged.map(Sample::delay).collect();
        let left_out = self.samples.len() - judged.len();
        (judged, left_out)
    }

    /// How fast they were answered.
    pub(super) fn rate(&self) -> Figure {
        let rate = self.samples.len() as f64 / self.time.as_secs_f64();
        Figure::new("GET, a new connection each, as fast as it goes", Unit::PerSecond, rate)
    }

    /// What any other answer than the right one is: none may be.
    pub(super) fn failures(&self, what: &str) -> Figure {
        if let Some(failure) = &self.first_failure {
            eprintln!("   {} requests failed, the first one: {failure}", self.failures);
        }
        let what = format!("{what}, not answered or wrongly");
        Figure::new(what, Unit::Count, self.failures.into()).at_most(0.0).every()
    }

    /// What is to be shown beside the delays.
    pub(super) fn comparisons(&self) -> Vec<Figure> {
        let figure =
            |what: &str, value| Figure::new(format!("for comparison: {what}"), Unit::Millis, value);
        let (took, late) = (self.each(|sample| sample.took), self.each(|sample| sample.late));
        vec![
            figure("from connect, median", median(&took)),
            figure("from connect, p99", quantile(&took, 0.99)),
            figure("from connect, largest", largest(&took)),
            figure("requests sent late by, p99", quantile(&late, 0.99)),
            figure("requests sent late by, largest", largest(&late)),
        ]
    }
}
