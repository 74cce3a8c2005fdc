//! A real virtual machine: QEMU makes the channel, and Linux in it runs guestClient.
//!
//! ```text
//!  this process        QEMU                                the machine
//!  Vm::control  ---->  WORKDIR/vmN.control  --- port --->  lab.control       /init, the supervisor
//!  Vm::qmp      ---->  WORKDIR/vmN.qmp                                         | starts, stops, kills
//!  guestServer  ---->  CHANNEL_DIR/cgcs.heartbeat.UUID.sock --- port --->  cgcs.heartbeat   guestClient
//!                      WORKDIR/vmN.serial  <-- ttyS0 ----  the kernel's messages, guestClient's log
//! ```
//!
//! A [`Vm`] owns its QEMU: dropping it ends it, and so does the death of this process, however it dies. All of
//! its methods may be cancelled; an answer that comes late is recognised by its number and dropped.

mod assets;
mod control;
mod qemu;
mod qmp;

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::process::Child;
use tokio::sync::Mutex;
use tokio::time::timeout;

pub use self::assets::Assets;
use self::control::Control;
use self::qemu::Files;
use self::qmp::Qmp;

/// How long QEMU may take from its start to its sockets: seen are 15 ms, and seconds on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(20);
/// How long Linux may take to come up: 3 s alone, 12 s with seven others; after a reset 3 to 6 s more, because
/// QEMU has to throw away the code that it translated for the kernel before.
const BOOT_LIMIT: Duration = Duration::from_secs(90);
/// How long a command may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// How much of the serial console goes into an error: all that a panic says.
const SERIAL_LINES: usize = 60;

/// What one machine is.
#[derive(Debug, Clone)]
pub struct VmConfig {
    /// Where the channel's socket appears; the directory must exist.
    pub channel_dir: PathBuf,
    /// The instance, in its canonical form; the socket is named after it.
    pub uuid: String,
    /// The name that the guest gives in its `init`; without white space.
    pub name: String,
    /// The interval that the guest asks for, in milliseconds; from 400.
    pub interval_ms: u32,
    /// Where the other files go (sockets, serial console, QEMU's messages); machines may share it.
    pub workdir: PathBuf,
}

/// A running virtual machine.
#[derive(Debug)]
pub struct Vm {
    child: Child,
    files: Files,
    control: Mutex<Control>,
    qmp: Mutex<Qmp>,
}

impl Vm {
    /// Starts QEMU and waits until its sockets are there; Linux is still to come up then, see [`Vm::wait_ready`].
    ///
    /// A second machine with the `uuid` of a first takes the channel's name from it, as QEMU does.
    ///
    /// # Errors
    ///
    /// QEMU cannot be run or ends at once; its own words are in the error.
    pub async fn start(assets: &Assets, config: &VmConfig) -> Result<Self> {
        let files = Files::new(config)?;
        let mut child = qemu::spawn(assets, config, &files).await?;
        let connecting =
            async { anyhow::Ok((Qmp::connect(&files).await?, Control::connect(&files).await?)) };
        let connected = tokio::select! {
            connected = within(START_LIMIT, connecting) => connected,
            ended = child.wait() => Err(anyhow!("QEMU ended at once: {}", ended?)),
        };
        match connected {
            Ok((qmp, control)) => {
                Ok(Self { child, files, control: Mutex::new(control), qmp: Mutex::new(qmp) })
            }
            Err(error) => {
                let words = std::fs::read_to_string(&files.messages).unwrap_or_default();
                qemu::end(&mut child);
                Err(error.context(format!("QEMU says: {}", words.trim())))
            }
        }
    }

    /// Waits until Linux is up and its supervisor obeys; its program is started then, but may not have said
    /// anything yet. At once if that was so before.
    ///
    /// # Errors
    ///
    /// It takes too long, or QEMU is gone; the end of the serial console is in the error.
    pub async fn wait_ready(&self) -> Result<()> {
        let mut control = self.control.lock().await;
        let done = within(BOOT_LIMIT, control.wait_ready()).await;
        self.with_serial("the guest does not come up", done)
    }

    /// Gives the supervisor in the guest a command and waits until it is done; for a guest that is still coming
    /// up, it waits for that first.
    ///
    /// | command | what happens |
    /// |---|---|
    /// | `freeze`, `thaw` | guestClient is stopped and continued by a signal |
    /// | `kill`, `start`, `restart` | guestClient is killed and stays dead; is started; both |
    /// | `restart-mid-line` | guestClient is killed and started, and half a message is written between |
    /// | `unhealthy TEXT`, `healthy` | what the health script says; it runs once a second |
    /// | `vote accept`, `vote reject TEXT`, `vote never` | what the event script says to a vote; whether it ends in time |
    /// | `clock SECONDS` | the wall clock is moved by so much, forth or back |
    /// | `panic` | the kernel panics and hangs |
    /// | `reboot`, `poweroff` | the kernel does that |
    ///
    /// # Errors
    ///
    /// The supervisor refuses, or gives no answer; the end of the serial console is in the error.
    pub async fn control(&self, command: &str) -> Result<()> {
        self.wait_ready().await?;
        let mut control = self.control.lock().await;
        let done = within(ANSWER_LIMIT, control.command(command)).await;
        self.with_serial(&format!("guest command {command:?}"), done)
    }

    /// Gives QEMU a command without arguments (`stop`, `cont`, `quit`, `system_reset`, `query-status`), and
    /// returns its answer. Before a `system_reset`, [`Vm::wait_ready`]: the word that the guest gave before it
    /// would be taken for that of after it.
    ///
    /// # Errors
    ///
    /// QEMU refuses, or gives no answer.
    pub async fn qmp(&self, command: &str) -> Result<Value> {
        let mut qmp = self.qmp.lock().await;
        let answer = within(ANSWER_LIMIT, qmp.command(command))
            .await
            .with_context(|| format!("QMP command {command:?}"))?;
        if command == "system_reset" {
            self.control.lock().await.restarted();
        }
        Ok(answer)
    }

    /// QEMU's process.
    ///
    /// # Errors
    ///
    /// It has ended, and that was noticed by [`Vm::wait_exit`] or [`Vm::kill`].
    pub fn pid(&self) -> Result<u32> {
        self.child.id().context("QEMU has ended")
    }

    /// Stops QEMU as a whole with a signal: unlike with QMP's `stop`, not even its sockets are served.
    ///
    /// # Errors
    ///
    /// QEMU has ended.
    pub fn sigstop(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Continues what [`Vm::sigstop`] stopped.
    ///
    /// # Errors
    ///
    /// QEMU has ended.
    pub fn sigcont(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// Kills QEMU and waits for its end; the channel's socket file stays behind.
    ///
    /// # Errors
    ///
    /// It does not end.
    pub async fn kill(&mut self) -> Result<()> {
        // A machine that has ended by itself is as dead.
        let _ = self.child.start_kill();
        self.wait_exit(ANSWER_LIMIT).await.map(drop)
    }

    /// Waits until QEMU has ended by itself: after `quit`, or when the guest turned its power off.
    ///
    /// # Errors
    ///
    /// It still runs when the time is over.
    pub async fn wait_exit(&mut self, limit: Duration) -> Result<ExitStatus> {
        within(limit, async { Ok(self.child.wait().await?) }).await.context("QEMU still runs")
    }

    /// The path of the channel's socket.
    #[must_use]
    pub fn channel_path(&self) -> &Path {
        &self.files.channel
    }

    /// What came out of the serial console so far: the kernel's and the supervisor's messages, guestClient's log.
    #[must_use]
    pub fn serial_log(&self) -> String {
        let bytes = std::fs::read(&self.files.serial).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// An error says what the guest's kernel has to say about it.
    fn with_serial(&self, what: &str, done: Result<()>) -> Result<()> {
        done.map_err(|error| anyhow!("{what}: {error:#}\n{}", self.serial_tail()))
    }

    fn serial_tail(&self) -> String {
        let log = self.serial_log();
        let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
        let tail = lines[lines.len().saturating_sub(SERIAL_LINES)..].join("\n");
        format!("the end of the serial console:\n{tail}\n")
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.pid()?)?);
        kill(pid, signal).with_context(|| format!("cannot send {signal} to QEMU"))
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        qemu::end(&mut self.child);
    }
}

async fn within<T>(limit: Duration, done: impl Future<Output = Result<T>>) -> Result<T> {
    match timeout(limit, done).await {
        Ok(done) => done,
        Err(_) => bail!("not done within {limit:?}"),
    }
}
