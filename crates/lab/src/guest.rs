//! Stand-ins for virtual machines: a channel's socket as QEMU makes it, and the program at its other end.
//!
//! A [`Guest`] is one tokio task on the runtime that starts it, and can be commanded and observed from any
//! thread. What it costs, in an optimised build: 7 microseconds of processor a heartbeat, 6 KB of memory while it
//! remembers nothing ([`Behaviour::forgetful`]), and two open files. So 1,000 of them at one second take 0.7 % of
//! a processor, and 10,000 take 7 % and a limit of more than 20,000 open files.
//! A flooding guest takes what the host leaves of its thread: give it a runtime of its own when others are to
//! be measured.

mod behaviour;
mod link;
mod observations;
mod profile;
mod program;
mod task;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use heartbeat_proto::InstanceId;
use heartbeat_proto::guest::{GuestMessage, HostMessage};
use tokio::sync::{mpsc, oneshot};

use self::link::Link;
use self::observations::Observations;
use self::task::{Order, Ordered, Task};

pub use self::behaviour::{Behaviour, Flood, Opening, Writing};
pub use self::observations::{Counters, Seen, What};
pub use self::profile::{Answering, Profile, Voting};
pub use self::program::{Observed, Program};
pub use heartbeat_proto::client::{CHALLENGE_PATIENCE, Health, INIT_RETRY, Settings};

/// Orders that may wait for a guest; whoever gives one more waits.
const MAX_ORDERS: usize = 4;

/// A lab guest.
///
/// Each command returns when it has been carried out, and fails only where it says so or when the runtime of the
/// guest is gone. Dropping the handle ends the guest as [`Guest::kill`] does.
#[derive(Debug)]
pub struct Guest {
    instance: InstanceId,
    path: PathBuf,
    seen: Arc<Observations>,
    orders: mpsc::Sender<Ordered>,
}

/// The name of a channel's socket.
#[must_use]
pub fn socket_name(instance: InstanceId, older_name: bool) -> String {
    if older_name {
        format!("wrs.heartbeat.agent.0.{instance}.sock")
    } else {
        format!("cgcs.heartbeat.{instance}.sock")
    }
}

impl Guest {
    /// Makes the socket in `dir` and starts the guest on the current tokio runtime. A file of that name gives
    /// way, as with QEMU.
    ///
    /// # Errors
    ///
    /// The socket cannot be made.
    pub fn start(dir: &Path, instance: InstanceId, behaviour: Behaviour) -> Result<Self> {
        let path = dir.join(socket_name(instance, behaviour.older_name));
        let runtime = tokio::runtime::Handle::try_current().context("no tokio runtime")?;
        let bound = Instant::now();
        let link = Link::bind(path.clone())?;
        let (remembers, times) = (behaviour.remembers, behaviour.times_challenges);
        let seen = Arc::new(Observations::new(bound, remembers, times));
        let (orders, received) = mpsc::channel(MAX_ORDERS);
        let task = Task::new(link, behaviour, Arc::clone(&seen), bound);
        runtime.spawn(task.run(received));
        Ok(Self { instance, path, seen, orders })
    }

    /// The instance that it stands for.
    #[must_use]
    pub fn instance(&self) -> InstanceId {
        self.instance
    }

    /// Its socket.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    async fn order(&self, order: Order) -> Result<()> {
        let (done, carried_out) = oneshot::channel();
        self.orders.send((order, done)).await.ok().context("the guest's runtime is gone")?;
        carried_out.await.context("the guest's runtime is gone")?
    }

    /// Behaves like this from now on.
    ///
    /// # Errors
    /// See [`Guest`].
    pub async fn set(&self, behaviour: Behaviour) -> Result<()> {
        self.change(|current| *current = behaviour).await
    }

    /// Changes something of how it behaves from now on.
    ///
    /// # Errors
    /// See [`Guest`].
    pub async fn change(&self, change: impl FnOnce(&mut Behaviour) + Send + 'static) -> Result<()> {
        self.order(Order::Change(Box::new(change))).await
    }

    /// The program opens its end of the channel; see [`Opening::OnCommand`].
    ///
    /// # Errors
    /// See [`Guest`].
    pub async fn open(&self) -> Result<()> {
        self.order(Order::Open).await
    }

    /// Stops the whole guest: the host sees nothing but silence, what it writes waits.
    ///
    /// # Errors
    /// See [`Guest`].
    pub async fn freeze(&self) -> Result<()> {
        self.order(Order::Freeze).await
    }

    /// Goes on after [`Guest::freeze`]: first with what waited.
    ///
    /// # Errors
    /// See [`Guest`].
    pub async fn thaw(&self) -> Result<()> {
        self.order(Order::Thaw).await
    }

    /// The program says `exit`, and nothing more until [`Guest::restart`].
    ///
    /// # Errors
    /// See [`Guest`].
    pub async fn exit(&self, reason: &str) -> Result<()> {
        self.order(Order::Exit(reason.into())).await
    }

    /// The program is started anew, without a word to the host: next comes an `init` with a new `invocation_id`.
    ///
    /// # Errors
    /// See [`Guest`].
    pub async fn restart(&self) -> Result<()> {
        self.order(Order::Restart).await
    }

    /// Writes these bytes after what was said so far.
    ///
    /// # Errors
    /// See [`Guest`].
    pub async fn send_raw(&self, bytes: impl Into<Vec<u8>>) -> Result<()> {
        self.order(Order::SendRaw(bytes.into())).await
    }

    /// Closes the connection of the host that is served; the socket goes on listening.
    ///
    /// # Errors
    /// See [`Guest`].
    pub async fn close_connection(&self) -> Result<()> {
        self.order(Order::CloseConnection).await
    }

    /// Ends like a QEMU that was killed: the socket's file stays behind, connecting is refused.
    ///
    /// # Errors
    /// See [`Guest`].
    pub async fn kill(&self) -> Result<()> {
        self.order(Order::Kill).await
    }

    /// Ends like a QEMU that exits: the socket's file is gone.
    ///
    /// # Errors
    /// There is no file to remove.
    pub async fn remove(&self) -> Result<()> {
        self.order(Order::Remove).await
    }

    /// After [`Guest::kill`] or [`Guest::remove`]: another QEMU with the same socket. It remembers what the
    /// first one saw.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub async fn start_again(&self) -> Result<()> {
        self.order(Order::StartAgain).await
    }

    /// Everything that it saw and remembers; see [`Behaviour::remembers`].
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.record.all()
    }

    /// The messages of the host among [`Guest::seen`], and when they were read.
    #[must_use]
    pub fn received(&self) -> Vec<(Instant, HostMessage)> {
        let received = |seen: Seen| match seen.what {
            What::Received { message, .. } => Some((seen.at, message)),
            _ => None,
        };
        self.seen().into_iter().filter_map(received).collect()
    }

    /// Waits until it has seen or done something that `wanted` takes, and consumes all that came before: each
    /// thing is waited for once, in order.
    ///
    /// # Errors
    ///
    /// That has not happened within `within`; the error lists what has.
    pub async fn wait_for(
        &self,
        what: &str,
        within: Duration,
        mut wanted: impl FnMut(&What) -> bool,
    ) -> Result<Seen> {
        let what = format!("{what} at guest {}", self.instance);
        self.seen.record.wait_for(&what, within, |seen| wanted(&seen.what)).await
    }

    /// As [`Guest::wait_for`], for the next answer to a challenge.
    ///
    /// # Errors
    /// See [`Guest::wait_for`].
    pub async fn wait_heartbeat(&self, within: Duration) -> Result<Seen> {
        let answer = |what: &What| matches!(what, What::Sent(GuestMessage::ChallengeResponse(_)));
        self.wait_for("heartbeat", within, answer).await
    }

    /// Forgets what has not been waited for yet, and returns it.
    #[must_use = "it is gone from what is waited for"]
    pub fn drain(&self) -> Vec<Seen> {
        self.seen.record.drain()
    }

    /// How often what happened.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.seen.figures().counters
    }

    /// When each challenge was read, as far as [`Behaviour::times_challenges`] was set.
    #[must_use]
    pub fn challenge_times(&self) -> Vec<Instant> {
        self.seen.figures().challenges.clone()
    }

    /// When the socket was made.
    #[must_use]
    pub fn bound_at(&self) -> Instant {
        self.seen.figures().bound
    }

    /// From the socket's making to the first connection, if there was one.
    #[must_use]
    pub fn connect_delay(&self) -> Option<Duration> {
        let figures = self.seen.figures();
        figures.first_connected.map(|connected| connected.duration_since(figures.bound))
    }

    /// From each `init` that the host took to the reading of its `init_ack`, up to 1024 of them.
    #[must_use]
    pub fn ack_delays(&self) -> Vec<Duration> {
        self.seen.figures().ack_delays.clone()
    }
}

#[cfg(test)]
mod tests;
