//! The real binaries as a supervisor starts them: told where to run, waited for, watched, stopped.
//!
//! A [`Daemon`] owns its process and its directory; dropping it kills the one and removes the other. All of its
//! methods may be cancelled.

mod binary;
mod output;
mod proc;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixDatagram, UnixStream};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::timeout;

use self::output::{read_lines, read_notifications, text};
use crate::record::Record;

pub use self::binary::binary;
pub use self::output::Line;

/// Lines of output that are remembered; of more, the oldest go.
const REMEMBERED_LINES: usize = 10_000;
/// Notifications that are remembered.
const REMEMBERED_NOTIFICATIONS: usize = 1000;
/// How long what an ended daemon printed may take to be read.
const PIPE_LIMIT: Duration = Duration::from_millis(500);
/// How long the control socket may take to answer.
const STATUS_LIMIT: Duration = Duration::from_secs(5);

/// A running daemon.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    child: Child,
    pid: Pid,
    dir: TempDir,
    stdout: Arc<Record<Line>>,
    stderr: Arc<Record<Line>>,
    notifications: Arc<Record<Line>>,
    /// Reads the pipes, until the daemon's end.
    output: JoinSet<()>,
    /// Reads the notifications, until this is dropped.
    _supervisor: JoinSet<()>,
}

impl Daemon {
    /// Starts `binary` with `--run-dir` and `args`, and with `env` in its environment; see
    /// [`Daemon::wait_ready`] for its being there.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub fn start<A: AsRef<OsStr>>(
        binary: &Path,
        args: impl IntoIterator<Item = A>,
        env: &[(&str, &str)],
    ) -> Result<Self> {
        let dir = TempDir::with_prefix("lab-daemon-")?;
        Self::start_in(dir, binary, args, env)
    }

    /// As [`Daemon::start`], with the directory of an earlier one: see [`Daemon::into_dir`].
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub fn start_in<A: AsRef<OsStr>>(
        dir: TempDir,
        binary: &Path,
        args: impl IntoIterator<Item = A>,
        env: &[(&str, &str)],
    ) -> Result<Self> {
        let run_dir = run_dir(&dir);
        Self::launch(dir, binary, ["--run-dir".into(), run_dir.into()], args, env)
    }

    /// As [`Daemon::start`], for guestClient, which has a socket and no run directory: it is where the control socket of
    /// a daemon would be, so that [`Daemon::request`] reaches it.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub fn start_guest_client<A: AsRef<OsStr>>(
        binary: &Path,
        args: impl IntoIterator<Item = A>,
        env: &[(&str, &str)],
    ) -> Result<Self> {
        let dir = TempDir::with_prefix("lab-client-")?;
        let socket = run_dir(&dir).join("guestClient.sock");
        Self::launch(dir, binary, ["--socket".into(), socket.into()], args, env)
    }

    fn launch<A: AsRef<OsStr>>(
        dir: TempDir,
        binary: &Path,
        first: [OsString; 2],
        args: impl IntoIterator<Item = A>,
        env: &[(&str, &str)],
    ) -> Result<Self> {
        std::fs::create_dir_all(run_dir(&dir))?;
        let notify_path = dir.path().join("notify");
        let _ = std::fs::remove_file(&notify_path);
        let notify = UnixDatagram::bind(&notify_path)?;
        let arguments =
            first.into_iter().chain(args.into_iter().map(|argument| argument.as_ref().to_owned()));
        let started = Instant::now();
        let mut child = Command::new(binary)
            .args(arguments)
            .env("NOTIFY_SOCKET", &notify_path)
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let pid = Pid::from_raw(child.id().context("no process id")?.try_into()?);
        let record = |limit| Arc::new(Record::new(limit));
        let (stdout, stderr) = (record(REMEMBERED_LINES), record(REMEMBERED_LINES));
        let notifications = record(REMEMBERED_NOTIFICATIONS);
        let mut output = JoinSet::new();
        if let Some(pipe) = child.stdout.take() {
            output.spawn(read_lines(pipe, started, Arc::clone(&stdout)));
        }
        if let Some(pipe) = child.stderr.take() {
            output.spawn(read_lines(pipe, started, Arc::clone(&stderr)));
        }
        let mut supervisor = JoinSet::new();
        supervisor.spawn(read_notifications(notify, started, Arc::clone(&notifications)));
        let name = binary.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self {
            name,
            child,
            pid,
            dir,
            stdout,
            stderr,
            notifications,
            output,
            _supervisor: supervisor,
        })
    }

    /// Waits for the line `READY=1`, and says how long after the start it came.
    ///
    /// # Errors
    ///
    /// It does not come within `within`, or the daemon ends; what it printed is in the error.
    pub async fn wait_ready(&mut self, within: Duration) -> Result<Duration> {
        let ready = self.notifications.wait_for("READY=1", within, |line| line.text == "READY=1");
        let result = tokio::select! {
            biased;
            ready = ready => ready.map(|line| line.elapsed),
            status = self.child.wait() => {
                Err(anyhow::anyhow!("ended before it was ready: {}", status?))
            }
        };
        if result.is_err() {
            self.settle().await;
        }
        result.with_context(|| self.complaint())
    }

    /// Waits for a line of a notification, as [`Daemon::wait_log`] does for one of the log.
    ///
    /// # Errors
    ///
    /// It does not come within `within`.
    pub async fn wait_notification(&self, text: &str, within: Duration) -> Result<Line> {
        let notification = self.notifications.wait_for(text, within, |line| line.text == text);
        notification.await.with_context(|| self.complaint())
    }

    /// Every line of every notification, with the time of each.
    #[must_use]
    pub fn notifications(&self) -> Vec<Line> {
        self.notifications.all()
    }

    /// Waits for a line on standard error that `wanted` takes, and consumes all before it.
    ///
    /// # Errors
    ///
    /// There is none within `within`; the error lists what there was.
    pub async fn wait_log(
        &self,
        what: &str,
        within: Duration,
        mut wanted: impl FnMut(&str) -> bool,
    ) -> Result<Line> {
        let what = format!("{what} in the log of {}", self.name);
        self.stderr.wait_for(&what, within, |line| wanted(&line.text)).await
    }

    /// What came on standard error, up to the last 10,000 lines.
    #[must_use]
    pub fn stderr(&self) -> String {
        text(&self.stderr)
    }

    /// What came on standard output, likewise.
    #[must_use]
    pub fn stdout(&self) -> String {
        text(&self.stdout)
    }

    /// The directory that was given with `--run-dir`.
    #[must_use]
    pub fn run_dir(&self) -> PathBuf {
        run_dir(&self.dir)
    }

    /// The process's id; while the daemon has not been waited for, nobody else's.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Sends a signal.
    ///
    /// # Errors
    ///
    /// The daemon has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        // Once its end was noticed, the id may be somebody else's.
        let Some(_) = self.child.id() else { bail!("{} has ended", self.name) };
        kill(self.pid, signal).with_context(|| format!("cannot send {signal} to {}", self.name))
    }

    /// Waits for its end; all that it printed is there then.
    ///
    /// # Errors
    ///
    /// It still runs when the time is over; what it printed is in the error.
    pub async fn wait_exit(&mut self, within: Duration) -> Result<ExitStatus> {
        let Ok(status) = timeout(within, self.child.wait()).await else {
            bail!("still runs after {within:?}; {}", self.complaint());
        };
        self.settle().await;
        Ok(status?)
    }

    /// Asks it to stop with SIGTERM, and waits for its end.
    ///
    /// # Errors
    ///
    /// It has ended already, or does not end within `within`.
    pub async fn stop(&mut self, within: Duration) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.wait_exit(within).await
    }

    /// Kills it, and waits for its end.
    ///
    /// # Errors
    ///
    /// It does not end.
    pub async fn kill(&mut self) -> Result<()> {
        // One that has ended by itself is as dead.
        let _ = self.child.start_kill();
        self.wait_exit(STATUS_LIMIT).await.map(drop)
    }

    /// Kills it and gives its directory for [`Daemon::start_in`]: what a supervisor does after a crash.
    ///
    /// # Errors
    ///
    /// It does not end.
    pub async fn into_dir(mut self) -> Result<TempDir> {
        self.kill().await?;
        Ok(self.dir)
    }

    /// Sends a line to the control socket and returns the line of JSON that it answers.
    ///
    /// # Errors
    ///
    /// There is no answer within 5 s, or it is no JSON.
    pub async fn request(&self, request: &str) -> Result<Value> {
        let path = self.run_dir().join(format!("{}.sock", self.name));
        let exchange = async {
            let mut stream = UnixStream::connect(&path).await?;
            stream.write_all(format!("{request}\n").as_bytes()).await?;
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line).await?;
            anyhow::Ok(serde_json::from_str(&line).with_context(|| format!("answer {line:?}"))?)
        };
        let answer = timeout(STATUS_LIMIT, exchange).await.context("no answer").flatten();
        answer.with_context(|| format!("{request} at {}; {}", path.display(), self.complaint()))
    }

    /// What it says of itself: the answer to `{"request":"status"}`.
    ///
    /// # Errors
    /// See [`Daemon::request`].
    pub async fn status(&self) -> Result<Value> {
        self.request(r#"{"request":"status"}"#).await
    }

    /// Its resident memory, in KiB.
    ///
    /// # Errors
    ///
    /// It has ended.
    pub fn rss_kib(&self) -> Result<u64> {
        proc::rss_kib(self.pid())
    }

    /// The part of its resident memory that it wrote itself, in KiB: no code, no files.
    ///
    /// # Errors
    ///
    /// It has ended.
    pub fn anonymous_kib(&self) -> Result<u64> {
        proc::anonymous_kib(self.pid())
    }

    /// The time that its threads spent on a processor, to the nanosecond. Of threads that ended nothing is known.
    ///
    /// # Errors
    ///
    /// It has ended.
    pub fn cpu_time(&self) -> Result<Duration> {
        proc::cpu_time(self.pid())
    }

    /// How often its threads went to sleep of their own accord: as often, they were woken.
    ///
    /// # Errors
    ///
    /// It has ended.
    pub fn voluntary_ctxt_switches(&self) -> Result<u64> {
        proc::voluntary_ctxt_switches(self.pid())
    }

    /// How many files it has open.
    ///
    /// # Errors
    ///
    /// It has ended.
    pub fn open_files(&self) -> Result<usize> {
        proc::open_files(self.pid())
    }

    /// Lets the readers finish what an ended daemon left in its pipes.
    async fn settle(&mut self) {
        let rest = async { while self.output.join_next().await.is_some() {} };
        // A child of the daemon's may hold a pipe; then this is all there will be.
        let _ = timeout(PIPE_LIMIT, rest).await;
    }

    fn complaint(&self) -> String {
        format!("{} (process {}) printed lines, {}", self.name, self.pid, self.stderr.list())
    }
}

fn run_dir(dir: &TempDir) -> PathBuf {
    dir.path().join("run")
}

#[cfg(test)]
mod tests;
