//! One guest: a stream and a clock around one [`Session`].
//!
//! The task of a guest owns its session and its connection. It waits for an order of the main loop,
//! for bytes, or for the session's deadline, whichever comes first and in this order when several
//! are there; then it carries out what the session wants. What it holds is bounded whatever the
//! guest does: an unfinished line ([`MAX_LINE`](heartbeat_proto::guest::MAX_LINE)), unsent messages
//! ([`link::MAX_UNSENT`]), the outputs of one read, and its seat's orders. Dropping the task closes the channel; nothing else
//! has to be cleaned up.

mod connect;
mod link;

use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::Arc;

use daemon_kit::unpredictable;
use heartbeat_proto::session::{ConnectError, Output, Report, Session};
use heartbeat_proto::{InstanceId, MonotonicTime};
use tokio::sync::mpsc;
use tokio::time::{Sleep, sleep_until};

use crate::clock::Clock;
use crate::history::Cause;
use crate::instances::{Files, Guest, Machine};
use crate::journal::Journal;
use crate::seat::{Order, Seat};
use connect::Refused;
use link::{Input, Link};

/// Reports that wait for the main loop. When it is full, the guests that have something to report
/// wait; the main loop never waits for a guest.
pub(crate) const UPDATES_DEPTH: usize = 1024;

/// The failed attempt that is news: the one after [`MIN_BACKOFF`](heartbeat_proto::session::MIN_BACKOFF).
const FIRST_NEWS: u64 = 3;

/// What all guests' tasks share.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) channel_dir: PathBuf,
    pub(crate) clock: Clock,
    pub(crate) journal: Arc<Journal>,
    pub(crate) updates: mpsc::Sender<Update>,
}

/// The machine that the daemon runs on: there is a task for each guest.
#[derive(Debug)]
pub(crate) struct Tasks(pub(crate) Arc<Common>);

impl Machine for Tasks {
    fn now(&self) -> MonotonicTime {
        self.0.clock.now()
    }

    fn sockets(&self, instance: InstanceId) -> Files {
        Files::find(&self.0.channel_dir, instance)
    }

    fn start(&self, guest: Guest) {
        tokio::spawn(Channel::new(guest, self.0.clone()).run());
    }
}

/// What the task of a guest tells the main loop.
#[derive(Debug)]
pub(crate) enum Update {
    /// The controller has to know this.
    Report(InstanceId, Report),
    /// The session is over. `generation` tells this task from a later one of the same instance.
    Forgotten {
        /// Whose.
        instance: InstanceId,
        /// Which task.
        generation: u64,
    },
}

/// The task of one guest.
struct Channel {
    instance: InstanceId,
    generation: u64,
    common: Arc<Common>,
    seat: Arc<Seat>,
    session: Session,
    link: Option<Link>,
    /// Attempts that failed since the channel was last connected. Those of the first second are no news: QEMU binds a
    /// moment before it listens, and libvirt makes the socket as root and gives it to its group a moment later.
    refusals: u64,
}

/// What ended the wait.
enum Wake {
    Order(Order),
    Input(Input),
    Timeout,
}

/// The session is over.
struct Over;

impl Channel {
    fn new(guest: Guest, common: Arc<Common>) -> Self {
        let Guest { instance, generation, seat, session } = guest;
        Self { instance, generation, common, seat, session, link: None, refusals: 0 }
    }

    /// Runs until the session is over.
    async fn run(mut self) {
        let mut sleep = pin!(sleep_until(tokio::time::Instant::now()));
        let mut now = self.common.clock.now();
        while let Ok(()) = self.carry_out(now).await {
            let wake = self.wait(sleep.as_mut()).await;
            now = self.common.clock.now();
            match wake {
                Wake::Order(order) => self.obey(now, order),
                Wake::Input(Input::Some) => {}
                Wake::Input(Input::Much) => {
                    // There may be more: let the others have their turn first.
                    tokio::task::yield_now().await;
                    now = self.common.clock.now();
                }
                Wake::Input(Input::PutOff) => {
                    self.common.journal.put_off(self.instance, self.session.name());
                }
                Wake::Input(Input::Closed(why)) => self.closed(now, &why),
                Wake::Timeout => self.session.handle_timeout(now, &mut unpredictable),
            }
        }
    }

    async fn wait(&mut self, mut sleep: Pin<&mut Sleep>) -> Wake {
        let Self { common, session, link, seat, .. } = self;
        let resume = link.as_ref().and_then(Link::resumes_at);
        if let Some(deadline) = session.poll_timeout().into_iter().chain(resume).min() {
            let deadline = common.clock.instant(deadline);
            if sleep.deadline() != deadline {
                sleep.as_mut().reset(deadline);
            }
        }
        let armed = session.poll_timeout().is_some() || resume.is_some();
        let input = async {
            match link {
                Some(link) => link.input(common.clock, session, &common.journal.metrics).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            order = seat.next_order() => Wake::Order(order),
            input = input => Wake::Input(input),
            () = sleep, if armed => Wake::Timeout,
        }
    }

    fn obey(&mut self, now: MonotonicTime, order: Order) {
        let connected = self.link.as_ref().map(|link| link.inode);
        order.carry_out(now, &mut self.session, connected, &mut unpredictable);
    }

    fn closed(&mut self, now: MonotonicTime, why: &str) {
        self.common.journal.closed(self.instance, self.session.name(), why);
        self.seat.caused_by(Cause::Closed);
        self.link = None;
        self.session.handle_closed(now);
    }

    /// Does what the session wants until it wants nothing more.
    async fn carry_out(&mut self, now: MonotonicTime) -> Result<(), Over> {
        loop {
            while let Some(output) = self.session.poll_output() {
                self.carry_out_one(now, output).await?;
            }
            match self.link.as_mut().map(Link::flush) {
                Some(Err(error)) => self.closed(now, &error.to_string()),
                Some(Ok(())) | None => break,
            }
        }
        self.seat.publish(now, &self.session);
        Ok(())
    }

    async fn carry_out_one(&mut self, now: MonotonicTime, output: Output) -> Result<(), Over> {
        match output {
            Output::Connect => self.connect(now),
            Output::Close => {
                if self.link.take().is_some() {
                    self.common.journal.closed(self.instance, self.session.name(), "by us");
                }
            }
            Output::Send { sequence, message } => {
                if let Some(link) = &mut self.link {
                    link.send(sequence, &message, &self.common.journal.metrics);
                }
            }
            Output::Report(report) => self.tell(Update::Report(self.instance, report)).await?,
            Output::Note(note) => {
                self.seat.note(now, &note);
                self.common.journal.note(self.instance, self.session.name(), &note);
            }
            Output::Forget => {
                self.link = None;
                let Self { instance, generation, .. } = *self;
                self.common.journal.forgotten(instance, self.session.name());
                self.tell(Update::Forgotten { instance, generation }).await?;
                return Err(Over);
            }
        }
        Ok(())
    }

    fn connect(&mut self, now: MonotonicTime) {
        let outcome = connect::connect(&self.common.channel_dir, self.instance);
        let journal = &self.common.journal;
        match outcome {
            Ok((stream, inode)) => {
                self.refusals = 0;
                self.link = Some(Link::new(stream, inode, now));
                journal.connected(self.instance, self.session.name());
                self.seat.caused_by(Cause::Connected);
                self.session.handle_connected(now);
            }
            Err(Refused { error, why, .. }) => {
                let name = self.session.name();
                match error {
                    ConnectError::NotFound => journal.no_channel(self.instance, name, &why),
                    ConnectError::Unavailable => {
                        self.refusals += 1;
                        journal.unreachable(self.instance, name, &why, self.refusals == FIRST_NEWS);
                    }
                }
                self.session.handle_connect_failed(now, error);
            }
        }
    }

    async fn tell(&self, update: Update) -> Result<(), Over> {
        self.common.updates.send(update).await.map_err(|_| Over)
    }
}

#[cfg(test)]
mod tests;
