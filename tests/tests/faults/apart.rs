//! Every fault has a thread with a network and a file system of its own, so that whatever is done to them reaches nobody
//! else, and is gone with the thread and the processes that it started.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use tokio::time::timeout;

/// How long a fault may take altogether; the longest stop takes 100 s of it.
const LIMIT: Duration = Duration::from_secs(200);

const NEEDS: &str = "the fault matrix is tested as root, in namespaces of its own: run it as root, or leave it out with \
                     `cargo xtask test --no-faults`";

/// Runs a test in a network of its own, of which only loopback is up, and with mounts of its own.
pub(crate) fn apart<F: Future<Output = Result<()>>>(
    test: impl FnOnce() -> F + Send + 'static,
) -> Result<()> {
    let thread = std::thread::Builder::new().name("fault".into()).spawn(move || {
        // Here hundreds of guests are.
        daemon_kit::raise_open_files()?;
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).context(NEEDS)?;
        // What is mounted here is not to be seen outside.
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>)?;
        ip("link set lo up")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let outcome = runtime.block_on(async { timeout(LIMIT, test()).await });
        outcome.context("it takes too long")?
    })?;
    thread.join().map_err(|panic| match panic.downcast_ref::<String>() {
        Some(text) => anyhow::anyhow!("{text}"),
        None => anyhow::anyhow!("panicked"),
    })?
}

/// Runs `ip` in the network of this thread.
pub(crate) fn ip(arguments: &str) -> Result<()> {
    run(Command::new("ip").args(arguments.split(' ')))
}

fn run(command: &mut Command) -> Result<()> {
    let output =
        command.output().with_context(|| format!("{command:?}: is iproute2 installed?"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {said}");
    Ok(())
}

/// A file system of this size over a directory.
pub(crate) fn small_disk(over: &Path, kib: usize) -> Result<()> {
    let size = format!("size={kib}k,mode=755");
    mount(Some("tmpfs"), over, Some("tmpfs"), MsFlags::empty(), Some(size.as_str()))
        .with_context(|| format!("a small disk at {}", over.display()))
}

/// Makes a directory read-only, or writable again.
pub(crate) fn read_only(dir: &Path, yes: bool) -> Result<()> {
    let bind = MsFlags::MS_BIND;
    if yes {
        mount(Some(dir), dir, None::<&str>, bind, None::<&str>)?;
        let remount = bind | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(None::<&str>, dir, None::<&str>, remount, None::<&str>)?;
    } else {
        nix::mount::umount2(dir, nix::mount::MntFlags::MNT_DETACH)?;
    }
    Ok(())
}

/// An `/etc` of this thread's own, where names are looked up in `/etc/hosts` and nowhere else.
pub(crate) fn own_etc() -> Result<()> {
    let resolv = fs::canonicalize("/etc").context("/etc")?;
    small_disk(&resolv, 64)?;
    fs::write("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n")?;
    fs::write("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")?;
    hosts("")
}

/// What `/etc/hosts` says besides `localhost`.
pub(crate) fn hosts(lines: &str) -> Result<()> {
    Ok(fs::write("/etc/hosts", format!("127.0.0.1 localhost\n{lines}"))?)
}

/// Another computer: a network of its own, in which daemons can be started.
#[derive(Debug)]
pub(crate) struct Elsewhere {
    network: File,
}

/// The network of this thread.
fn here() -> Result<File> {
    File::open("/proc/thread-self/ns/net").context("/proc/thread-self/ns/net")
}

impl Elsewhere {
    pub(crate) fn new() -> Result<Self> {
        let here = here()?;
        unshare(CloneFlags::CLONE_NEWNET)?;
        let elsewhere = Self { network: self::here()? };
        let up = ip("link set lo up");
        setns(&here, CloneFlags::CLONE_NEWNET)?;
        up.map(|()| elsewhere)
    }

    /// The command that runs another one there.
    pub(crate) fn command(&self) -> String {
        format!("nsenter --net=/proc/{}/fd/{}", std::process::id(), self.network.as_raw_fd())
    }

    /// Runs `ip` there.
    pub(crate) fn ip(&self, arguments: &str) -> Result<()> {
        let command = self.command();
        run(Command::new("sh").args(["-c", &format!("exec {command} ip {arguments}")]))
    }

    /// Does something there; nothing else of this thread may run meanwhile that makes sockets.
    pub(crate) async fn visit<T>(&self, what: impl Future<Output = Result<T>>) -> Result<T> {
        let here = here()?;
        setns(&self.network, CloneFlags::CLONE_NEWNET)?;
        let done = what.await;
        setns(here, CloneFlags::CLONE_NEWNET)?;
        done
    }

    /// A cable to this thread's network: `NAME` here, `there` there. Both are up.
    pub(crate) fn cable(&self, name: &str, ours: Ipv4Addr, theirs: Option<Ipv4Addr>) -> Result<()> {
        let pid = std::process::id();
        // `ip` takes a process or a file for the network; the file is ours, and `ip` asks for it by our process.
        let netns = format!("/proc/{pid}/fd/{}", self.network.as_raw_fd());
        ip(&format!("link add {name} type veth peer name there netns {netns}"))?;
        ip(&format!("addr add {ours}/24 dev {name}"))?;
        ip(&format!("link set {name} up"))?;
        if let Some(theirs) = theirs {
            self.ip(&format!("addr add {theirs}/24 dev there"))?;
        }
        self.ip("link set there up")
    }
}
