//! QEMU as a process: its files, its command line, and that it never outlives us.
//!
//! Three things end it: [`end`] when its machine is dropped, tokio when the start of a machine is cancelled, and
//! the kernel when this process dies without a word. The last is asked for by `setpriv`, which then becomes
//! QEMU. The kernel goes by the thread that started a child, not by its process, and a runtime's threads come
//! and go; so all machines are started by one thread that stays.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::assets::find_program;
use super::{Assets, VmConfig};

/// The port with the heartbeat, as the guest's programs look for it.
const HEARTBEAT_PORT: &str = "cgcs.heartbeat";
/// The port with the supervisor.
const CONTROL_PORT: &str = "lab.control";
/// The most bytes in the path of a UNIX socket.
const SOCKET_PATH_LIMIT: usize = 107;
/// 64 is too little for Debian's kernel.
const MEMORY_MIB: &str = "128";
/// How long a killed QEMU may take to be gone; a few milliseconds are usual.
const END_LIMIT: Duration = Duration::from_secs(5);

/// The files of one machine.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) channel: PathBuf,
    pub(super) control: PathBuf,
    pub(super) qmp: PathBuf,
    pub(super) serial: PathBuf,
    pub(super) messages: PathBuf,
}

impl Files {
    /// Names that no other machine of this process has, but for the channel's.
    pub(super) fn new(config: &VmConfig) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let in_workdir = |what: &str| config.workdir.join(format!("vm{number}.{what}"));
        let files = Self {
            channel: config.channel_dir.join(format!("{HEARTBEAT_PORT}.{}.sock", config.uuid)),
            control: in_workdir("control"),
            qmp: in_workdir("qmp"),
            serial: in_workdir("serial"),
            messages: in_workdir("messages"),
        };
        for path in [&files.channel, &files.control, &files.qmp, &files.serial] {
            let text = path.to_str().context("QEMU wants its paths in UTF-8")?;
            ensure!(!text.contains(','), "QEMU takes the comma in {text} for its own");
            ensure!(text.len() <= SOCKET_PATH_LIMIT, "too long for a socket: {text}");
        }
        Ok(files)
    }
}

/// Starts QEMU; it has no sockets yet.
pub(super) async fn spawn(assets: &Assets, config: &VmConfig, files: &Files) -> Result<Child> {
    let bare = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"')
    };
    ensure!(bare(&config.name), "a name goes on the kernel's command line: {:?}", config.name);
    let messages = File::create(&files.messages)
        .with_context(|| format!("cannot write {}", files.messages.display()))?;
    let mut command = match find_program("setpriv") {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL", "--"]).arg(&assets.qemu);
            command
        }
        None => Command::new(&assets.qemu),
    };
    command
        .args(arguments(assets, config, files))
        .stdin(Stdio::null())
        .stdout(messages.try_clone()?)
        .stderr(messages)
        .kill_on_drop(true);
    spawn_on_lasting_thread(command)
        .await
        .with_context(|| format!("cannot run {}", assets.qemu.display()))
}

/// Emulated, because a test machine is often a virtual one itself; `pc`, because `microvm` hangs with several
/// guests.
fn arguments(assets: &Assets, config: &VmConfig, files: &Files) -> Vec<String> {
    let socket = |id: &str, path: &Path| {
        format!("socket,id={id},path={},server=on,wait=off", path.display())
    };
    // After a panic the kernel stays where it is, and says why in spite of being quiet. It does not check whether its
    // timer ticks as fast as a real one: when this computer is busy, the emulated one does not, and that is a panic.
    let kernel_line = format!(
        "console=ttyS0 quiet panic=0 no_timer_check hb.name={} hb.interval={} hb.action=reboot",
        config.name, config.interval_ms
    );
    let mut arguments: Vec<String> = Vec::new();
    let mut add = |words: &[&str]| arguments.extend(words.iter().map(|&word| word.to_owned()));
    add(&["-M", "pc", "-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", MEMORY_MIB]);
    add(&["-nodefaults", "-no-user-config", "-display", "none"]);
    add(&["-device", "virtio-serial"]);
    add(&["-device", &format!("virtserialport,chardev=hb,name={HEARTBEAT_PORT}")]);
    add(&["-chardev", &socket("hb", &files.channel)]);
    add(&["-device", &format!("virtserialport,chardev=lab,name={CONTROL_PORT}")]);
    add(&["-chardev", &socket("lab", &files.control)]);
    add(&["-qmp", &format!("unix:{},server=on,wait=off", files.qmp.display())]);
    add(&["-serial", &format!("file:{}", files.serial.display())]);
    add(&[
        "-kernel",
        &assets.kernel.to_string_lossy(),
        "-initrd",
        &assets.initrd.to_string_lossy(),
    ]);
    add(&["-append", &kernel_line]);
    arguments
}

type Job = Box<dyn FnOnce() + Send>;

async fn spawn_on_lasting_thread(mut command: Command) -> io::Result<Child> {
    static JOBS: OnceLock<mpsc::Sender<Job>> = OnceLock::new();
    let runtime = Handle::current();
    let (reply, answer) = oneshot::channel();
    let job: Job = Box::new(move || {
        let _inside = runtime.enter();
        // If nobody waits any more, the child comes back here and is killed by being dropped.
        let _ = reply.send(command.spawn());
    });
    let jobs = JOBS.get_or_init(|| {
        let (sender, jobs) = mpsc::channel::<Job>();
        thread::spawn(move || jobs.iter().for_each(|job| job()));
        sender
    });
    let gone = || io::Error::other("the thread that starts machines is gone");
    jobs.send(job).map_err(|_| gone())?;
    answer.await.map_err(|_| gone())?
}

/// Kills QEMU and waits for its end, without a runtime: its files may be removed when this returns.
pub(super) fn end(child: &mut Child) {
    if child.id().is_none() || child.start_kill().is_err() {
        return;
    }
    let start = Instant::now();
    while matches!(child.try_wait(), Ok(None)) && start.elapsed() < END_LIMIT {
        thread::sleep(Duration::from_millis(1));
    }
}
