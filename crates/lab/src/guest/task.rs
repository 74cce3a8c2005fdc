//! The task that runs a lab guest: a [`Link`] and a clock around a [`Program`].
//!
//! It owns everything but the observations. Each turn it takes the time once, does what is due, writes, and
//! waits for the first of: an order, something on the link, the next deadline.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use heartbeat_proto::MonotonicTime;
use heartbeat_proto::guest::{CorrectiveAction, GuestMessage, Init};
use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;
use tokio::time::{Sleep, sleep_until};

use super::behaviour::{Behaviour, Opening, Writing};
use super::link::{Input, Link};
use super::observations::{Observations, What};
use super::program::{Observed, Program};

/// After a thaw, what waits to be read goes before what was due meanwhile.
const GRACE: Duration = Duration::from_millis(10);
/// Two messages of the host fit; more take more reads.
const READ_BYTES: usize = 512;

/// Something that the guest is told to do.
pub(super) enum Order {
    Change(Box<dyn FnOnce(&mut Behaviour) + Send>),
    Open,
    Freeze,
    Thaw,
    Exit(String),
    Restart,
    SendRaw(Vec<u8>),
    CloseConnection,
    Kill,
    Remove,
    StartAgain,
}

/// An order and where to tell how it went.
pub(super) type Ordered = (Order, oneshot::Sender<Result<()>>);

pub(super) struct Task {
    link: Link,
    program: Program,
    behaviour: Behaviour,
    seen: Arc<Observations>,
    /// What the program's clock begins with.
    started: Instant,
    /// When the program opens its end, if that is a matter of time.
    opens: Option<Instant>,
    open: bool,
    frozen: bool,
    alive: bool,
    /// Nothing is due before.
    not_before: Instant,
}

impl Task {
    pub(super) fn new(
        link: Link,
        behaviour: Behaviour,
        seen: Arc<Observations>,
        started: Instant,
    ) -> Self {
        let mut task = Self {
            link,
            program: Program::new(behaviour.profile.clone()),
            behaviour,
            seen,
            started,
            opens: None,
            open: false,
            frozen: false,
            alive: true,
            not_before: started,
        };
        task.boot(started);
        task
    }

    /// Runs until the handle is dropped; the socket's file stays then.
    pub(super) async fn run(mut self, mut orders: mpsc::Receiver<Ordered>) {
        let mut buffer = [0; READ_BYTES];
        let mut alarm = pin!(sleep_until(self.started.into()));
        let mut armed = None;
        loop {
            let now = Instant::now();
            if self.due().is_some_and(|due| due <= now) {
                self.handle_timeout(now);
            }
            self.write_out().await;
            arm(alarm.as_mut(), &mut armed, self.due());
            let reading = self.running() && self.behaviour.reads;
            let writing = self.behaviour.writing;
            tokio::select! {
                ordered = orders.recv() => {
                    let Some((order, done)) = ordered else { return };
                    let result = self.obey(order);
                    // Whoever gave the order may have stopped waiting.
                    let _ = done.send(result);
                }
                input = self.link.next(reading, writing, &mut buffer) => match input {
                    Ok(input) => self.handle_input(&input, &buffer),
                    Err(error) => {
                        self.seen.note(now, self.started, || What::Failed(error.to_string()));
                        self.link.kill();
                        self.alive = false;
                    }
                },
                () = alarm.as_mut(), if armed.is_some() => armed = None,
            }
        }
    }

    /// Whether the program runs and has its end of the channel open.
    fn running(&self) -> bool {
        self.alive && self.open && !self.frozen
    }

    /// What the program's clock says.
    fn since_start(&self, now: Instant) -> MonotonicTime {
        MonotonicTime::after_start(now.duration_since(self.started))
    }

    fn due(&self) -> Option<Instant> {
        if !self.alive || self.frozen {
            return None;
        }
        let due = match self.open {
            false => self.opens?,
            true if self.behaviour.speaks => {
                self.started + self.program.poll_timeout()?.since_start()
            }
            true => return None,
        };
        Some(due.max(self.not_before))
    }

    fn handle_timeout(&mut self, now: Instant) {
        if !self.open {
            self.open_port();
            return;
        }
        // An id is only to be another one each time: without random numbers, zero will do once.
        let random = || getrandom::u32().unwrap_or_default();
        self.drive(now, |program, at, out, observe| {
            program.handle_timeout(at, random, out, observe);
        });
    }

    fn handle_input(&mut self, input: &Input, buffer: &[u8]) {
        let now = Instant::now();
        match *input {
            Input::Connected => self.seen.connected(now, self.started),
            Input::Bytes(length) => self.drive(now, |program, at, out, observe| {
                program.handle_bytes(at, &buffer[..length], out, observe);
            }),
            Input::Wrote => {}
            Input::Closed => self.seen.note(now, self.started, || What::Disconnected),
        }
    }

    /// Lets the program do something; what it says goes to the link, unless it has been struck dumb.
    fn drive(
        &mut self,
        now: Instant,
        step: impl FnOnce(&mut Program, MonotonicTime, &mut Vec<u8>, &mut dyn FnMut(Observed<'_>)),
    ) {
        let at = self.since_start(now);
        let Self { link, program, behaviour, seen, started, .. } = self;
        let speaks = behaviour.speaks;
        let mut observe = |observed: Observed<'_>| {
            if speaks || !matches!(observed, Observed::Sent(_)) {
                seen.program(now, *started, &observed);
            }
        };
        if !speaks {
            step(program, at, &mut Vec::new(), &mut observe);
            return;
        }
        let (room, ()) = link.write(behaviour.writing, |out| step(program, at, out, &mut observe));
        if !room {
            seen.figures().counters.lost += 1;
        }
    }

    /// Hands over what waits, and keeps a flood flowing.
    async fn write_out(&mut self) {
        let writing = self.behaviour.writing;
        self.link.flush(writing);
        if !self.link.connected() {
            return;
        }
        if self.link.flushed() {
            self.seen.flushed();
            if let Some(flood) = self.behaviour.flood
                && self.running()
            {
                let init = some_init();
                self.link.write(Writing::Whole, |out| flood.pour(&init, out));
            }
        }
        if self.behaviour.flood.is_some() || matches!(writing, Writing::Fragmented(_)) {
            // These could go on for long without ever having to wait.
            yield_now().await;
        }
    }

    fn obey(&mut self, order: Order) -> Result<()> {
        let now = Instant::now();
        match order {
            Order::Change(change) => {
                change(&mut self.behaviour);
                let profile = self.behaviour.profile.clone();
                self.program.set_profile(self.since_start(now), profile);
                self.seen.keep(self.behaviour.remembers, self.behaviour.times_challenges);
                self.link.refresh();
            }
            Order::Open => self.open_port(),
            Order::Freeze => self.frozen = true,
            Order::Thaw => {
                self.frozen = false;
                self.not_before = now + GRACE;
                self.link.refresh();
            }
            Order::Exit(reason) => self.drive(now, |program, at, out, observe| {
                program.exit(at, &reason, out, observe);
            }),
            Order::Restart => self.program.restart(),
            Order::SendRaw(bytes) => {
                self.link.write(Writing::Whole, |out| out.extend_from_slice(&bytes));
            }
            Order::CloseConnection => {
                self.link.close();
                self.seen.note(now, self.started, || What::Disconnected);
            }
            Order::Kill => {
                self.alive = false;
                self.link.kill();
            }
            Order::Remove => {
                self.alive = false;
                self.link.remove()?;
            }
            Order::StartAgain => {
                let bound = Instant::now();
                self.link.listen()?;
                self.seen.bound_again(bound);
                self.program.restart();
                self.boot(bound);
            }
        }
        Ok(())
    }

    /// QEMU is there; the program opens its end as the behaviour says.
    fn boot(&mut self, now: Instant) {
        self.alive = true;
        self.frozen = false;
        self.open = self.behaviour.opening == Opening::AtOnce;
        self.opens = match self.behaviour.opening {
            Opening::After(delay) => Some(now + delay),
            Opening::AtOnce | Opening::OnCommand => None,
        };
    }

    fn open_port(&mut self) {
        self.open = true;
        self.link.refresh();
    }
}

/// Sets the alarm only where it would come too late: one that comes early costs less than setting it anew with
/// every challenge.
fn arm(alarm: Pin<&mut Sleep>, armed: &mut Option<Instant>, due: Option<Instant>) {
    if let Some(due) = due
        && armed.is_none_or(|at| due < at)
    {
        alarm.reset(due.into());
        *armed = Some(due);
    }
}

/// What a flood of `init` says.
fn some_init() -> GuestMessage {
    GuestMessage::Init(Init {
        invocation_id: 1,
        name: "flood".into(),
        heartbeat_interval_ms: 1000,
        vote_secs: 10,
        shutdown_notice_secs: 10,
        suspend_notice_secs: 10,
        resume_notice_secs: 10,
        restart_secs: 120,
        corrective_action: CorrectiveAction::Log,
    })
}
