//! One resource: directories, ports and parameters of its own for the OCF agent and the real guestAgent.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use end_to_end::SOON;
use lab::wait::until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::timeout;

/// SM kills an action after this time.
const SM_TIMEOUT: Duration = Duration::from_secs(20);

/// Nobody is at the other end of anything.
const OPTIONS: &str = "--bind 127.0.0.1 --floating-ip 127.0.0.1 --mtc 127.0.0.1 --mtc-command-port 0 \
                       --mtc-config /dev/null --vim-config /dev/null --vim http://127.0.0.1:9";

/// How an action ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

pub(crate) struct Resource {
    home: TempDir,
    /// What is set, by name.
    pub(crate) parameters: Vec<(&'static str, String)>,
}

/// The script, where it is in the repository.
pub(crate) fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/ocf/guestAgent")
}

impl Resource {
    pub(crate) fn new() -> Result<Self> {
        let home = TempDir::with_prefix("ocf-")?;
        // For a daemon of another user.
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755))?;
        let binary = lab::daemon::binary("guestAgent")?.display().to_string();
        let mut resource = Self { home, parameters: vec![("binary", binary)] };
        resource.configure("[agent]\nrx_port = 0\nvim_cmd_port = 0\n")?;
        resource.set("config", &resource.path("guestAgent.ini"));
        resource.set("pid", &resource.path("guestAgent.pid"));
        resource.set("defaults", &resource.path("defaults"));
        // The account guest-agent may be there, and may not be able to reach the binary.
        resource.set("user", "root");
        resource.options("")?;
        Ok(resource)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// A file of the run directory.
    pub(crate) fn run_file(&self, name: &str) -> PathBuf {
        self.path("guest-agent").join(name)
    }

    pub(crate) fn set(&mut self, name: &'static str, value: &(impl AsRef<Path> + ?Sized)) {
        self.parameters.retain(|(known, _)| *known != name);
        self.parameters.push((name, value.as_ref().display().to_string()));
    }

    pub(crate) fn configure(&self, ini: &str) -> Result<()> {
        Ok(fs::write(self.path("guestAgent.ini"), ini)?)
    }

    /// Further options, in the file that would be /etc/default/guestAgent.
    pub(crate) fn options(&self, further: &str) -> Result<()> {
        let log = self.path("log");
        let text = format!("OPTIONS=\"{OPTIONS} {further}\"\nLOG={}\n", log.display());
        Ok(fs::write(self.path("defaults"), text)?)
    }

    /// A program in place of the binary, which checks a configuration as that does, and for all else runs `script`.
    pub(crate) fn replace_binary(&mut self, script: &str) -> Result<()> {
        let binary = lab::daemon::binary("guestAgent")?;
        let wrapper = self.path("wrapper");
        let text = format!(
            "#!/bin/sh\ncase \"$*\" in *--check-config*) exec {} \"$@\" ;; esac\n{script}\n",
            binary.display()
        );
        fs::write(&wrapper, text)?;
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755))?;
        self.set("binary", &wrapper);
        Ok(())
    }

    /// The environment that SM and Pacemaker set.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env("OCF_ROOT", "/usr/lib/ocf")
            .env("OCF_RESOURCE_INSTANCE", "guest-agent")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .process_group(0);
        for (name, value) in &self.parameters {
            command.env(format!("OCF_RESKEY_{name}"), value);
        }
        command
    }

    /// An action of the script, as SM runs it.
    pub(crate) async fn run(&self, action: &str) -> Result<Outcome> {
        let mut command = self.command(script());
        command.arg(action);
        run(&mut command).await
    }

    /// Runs an action, and fails if it ends otherwise than `code`.
    pub(crate) async fn expect(&self, action: &str, code: i32) -> Result<Outcome> {
        let outcome = self.run(action).await?;
        let log = fs::read_to_string(self.path("log")).unwrap_or_default();
        ensure!(outcome.code == Some(code), "{action}: not {code}: {outcome:?}\nlog:\n{log}");
        Ok(outcome)
    }

    /// The pid in a pidfile.
    pub(crate) fn pid_in(&self, name: &str) -> Result<Pid> {
        let text = fs::read_to_string(self.run_file(name)).with_context(|| name.to_owned())?;
        Ok(Pid::from_raw(text.trim().parse()?))
    }

    /// The daemon's pid, as its pidfile says.
    pub(crate) fn pid(&self) -> Result<Pid> {
        self.pid_in("guestAgent.pid")
    }

    /// Every process that was started with this resource's run directory and is not over.
    pub(crate) fn processes(&self) -> Vec<Pid> {
        let wanted = format!("--run-dir\0{}\0", self.path("guest-agent").display());
        let of = |entry: fs::DirEntry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let command = fs::read(entry.path().join("cmdline")).ok()?;
            String::from_utf8_lossy(&command).contains(&wanted).then_some(Pid::from_raw(pid))
        };
        fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| of(entry.ok()?)).collect()
    }

    /// Waits until the script has begun a daemon that gets no further, and says which process that is.
    pub(crate) async fn hanging(&self) -> Result<Pid> {
        let begun = || {
            self.pid_in("guestAgent.started").is_ok_and(|pid| {
                let command = fs::read_to_string(format!("/proc/{pid}/cmdline"));
                command.is_ok_and(|command| !command.contains("flock") && !command.is_empty())
            })
        };
        until("the daemon has begun", SOON, begun).await?;
        self.pid_in("guestAgent.started")
    }
}

impl Drop for Resource {
    fn drop(&mut self) {
        for pid in self.processes() {
            // It may have ended meanwhile.
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}

/// Runs a command that may take as long as SM lets it.
pub(crate) async fn run(command: &mut Command) -> Result<Outcome> {
    let began = Instant::now();
    let output = timeout(SM_TIMEOUT, command.stderr(Stdio::piped()).output());
    let output = output.await.with_context(|| format!("not within SM's time: {command:?}"))??;
    Ok(Outcome {
        code: output.status.code(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        took: began.elapsed(),
    })
}

/// Whether a process is there and not over.
pub(crate) fn lives(pid: Pid) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|command| !command.is_empty())
}
