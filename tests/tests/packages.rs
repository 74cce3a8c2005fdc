//! The Debian packages in a Debian that has nothing but them: installed, started by their init scripts, upgraded under a
//! heartbeating guest, removed, purged.
//!
//! `cargo xtask package` makes the tree and runs this as root in a mount and a network namespace of its own, so that the
//! default addresses and paths are free and nothing outside is touched.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use end_to_end::agent::is_alarm;
use end_to_end::host::beats;
use end_to_end::id;
use heartbeat_proto::HostId;
use lab::guest::{Behaviour, Guest};
use lab::maintenance::MtcAgent;
use lab::vim::{Commander, Vim, VimRequest};
use lab::wait::{until, until_ok};
use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// How long any one thing may take.
const PATIENCE: Duration = Duration::from_secs(30);

const PROGRAMS: [&str; 2] = ["guestServer", "guestAgent"];

/// A Debian tree below a directory.
struct Tree(PathBuf);

impl Tree {
    /// Runs a program of the tree's in the tree.
    async fn run(&self, args: &[&str]) -> Result<String> {
        let mut command = Command::new("chroot");
        command.arg(&self.0).args(args);
        // As little as a boot gives; and not a terminal, which nobody would answer at.
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C.UTF-8");
        command.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()).kill_on_drop(true);
        let output = timeout(PATIENCE, command.output()).await;
        let output = output.with_context(|| format!("{args:?} does not end"))??;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{args:?}: {}: {text}{errors}", output.status);
        Ok(text)
    }

    /// The path of something in the tree, seen from outside.
    fn path(&self, inside: &str) -> PathBuf {
        self.0.join(inside.trim_start_matches('/'))
    }

    fn write(&self, inside: &str, text: &str) -> Result<()> {
        let path = self.path(inside);
        std::fs::create_dir_all(path.parent().context("no directory")?)?;
        Ok(std::fs::write(path, text)?)
    }

    /// Installs all packages of this directory, which is in the tree.
    async fn install(&self, dir: &str) -> Result<()> {
        let packages: Vec<String> = std::fs::read_dir(self.path(dir))?
            .map(|entry| Ok(format!("{dir}/{}", entry?.file_name().to_string_lossy())))
            .collect::<Result<_>>()?;
        ensure!(packages.len() == 3, "packages in {dir}: {packages:?}");
        let mut args = vec!["dpkg", "--install"];
        args.extend(packages.iter().map(String::as_str));
        self.run(&args).await.map(drop)
    }

    async fn init(&self, program: &str, command: &str) -> Result<String> {
        self.run(&[&format!("/etc/init.d/{program}"), command]).await
    }

    async fn status(&self, program: &str) -> Result<Value> {
        let text = self.run(&[&format!("/usr/sbin/{program}"), "status", "--json"]).await?;
        Ok(serde_json::from_str(&text)?)
    }

    /// The pid in a program's pidfile, where pmon and SM look.
    fn pid(&self, program: &str) -> Result<i32> {
        let file = self.path(&format!("/run/{program}.pid"));
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        Ok(text.trim().parse()?)
    }

    /// Every file, but for what dpkg and the tools for users keep for themselves.
    fn files(&self) -> Result<BTreeSet<PathBuf>> {
        const OTHERS: [&str; 13] = [
            "etc/passwd-",
            "etc/group-",
            "etc/shadow-",
            "etc/gshadow-",
            "proc",
            "sys",
            "dev",
            "tmp",
            "packages",
            "upgrade",
            "var/lib/dpkg",
            "var/cache",
            "var/lib/libvirt",
        ];
        let mut files = BTreeSet::new();
        let mut dirs = vec![self.0.clone()];
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(&dir)? {
                let path = entry?.path();
                let inside = path.strip_prefix(&self.0)?.to_owned();
                if OTHERS.iter().any(|other| Path::new(other) == inside) {
                    continue;
                }
                if path.is_dir() && !path.is_symlink() {
                    dirs.push(path);
                }
                files.insert(inside);
            }
        }
        Ok(files)
    }

    /// What is in the files that packages share.
    fn shared(&self) -> Result<Vec<String>> {
        let read = |path| Ok(std::fs::read_to_string(self.path(path))?);
        ["/etc/passwd", "/etc/group", "/etc/shadow"].into_iter().map(read).collect()
    }
}

/// A directory for channels as libvirt makes it: its group finds and connects them, and nobody else.
async fn channels(tree: &Tree) -> Result<PathBuf> {
    tree.run(&["groupadd", "--system", "libvirt-qemu"]).await?;
    let group = tree.run(&["getent", "group", "libvirt-qemu"]).await?;
    let gid = group.split(':').nth(2).context("no group")?.parse()?;
    let dir = tree.path("/var/lib/libvirt/qemu");
    std::fs::create_dir_all(&dir)?;
    chown(&dir, None, Some(gid))?;
    // What is made in it has its group, too.
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o2750))?;
    Ok(dir)
}

fn is_running(request: &VimRequest) -> bool {
    request.event_type() == "service" && request.service()["status"] == "enabled"
}

#[tokio::test]
async fn the_packages_are_installed_used_upgraded_and_purged() -> Result<()> {
    let root = std::env::var_os("TRIAL_ROOT").context("run by `cargo xtask package`")?;
    let tree = Tree(PathBuf::from(root));
    let channels = channels(&tree).await?;
    let vim = Vim::start(LOCALHOST)?;
    let mtc = MtcAgent::start(LOCALHOST)?;
    tree.write("/etc/hosts", "127.0.0.1 localhost controller\n")?;
    let port = vim.url().rsplit(':').next().context("no port")?.to_owned();
    let before = (tree.files()?, tree.shared()?);
    let nfv = "/etc/nfv/nfv_plugins/nfvi_plugins/config.ini";
    tree.write(nfv, &format!("[guest-rest-api]\nhost=127.0.0.1\nport={port}\n"))?;
    tree.write("/etc/mtc.conf", &format!("[agent]\nhbs_to_mtc_event_port = {}\n", mtc.port()))?;

    // Installed, and started by the init scripts.
    tree.install("/packages").await?;
    for program in PROGRAMS {
        tree.init(program, "stop").await?;
        ensure!(tree.init(program, "status").await.is_err(), "{program} still runs");
    }
    for program in PROGRAMS {
        tree.init(program, "start").await?;
        // `start` returns when it is ready: nothing is waited for here.
        tree.init(program, "status").await?;
        let status = tree.status(program).await?;
        ensure!(status["pid"] == tree.pid(program)?, "{status}");
        let uid = std::fs::metadata(format!("/proc/{}", status["pid"]))?;
        ensure!(std::os::unix::fs::MetadataExt::uid(&uid) != 0, "{program} runs as root");
    }

    // The program for inside machines waits for its port.
    tree.init("guestClient", "status").await?;

    // A guest heartbeats, and the VIM hears of it.
    let hostname = tree.status("guestServer").await?["hostname"].clone();
    let hostname = hostname.as_str().context("no host name")?;
    let host = HostId::from_u128(0xc0);
    vim.set_host(host, hostname, true);
    vim.set_instance(host, id(1), true);
    mtc.add_host(host, hostname, "127.0.0.1")?;
    let known = async || {
        let status = tree.status("guestAgent").await?;
        ensure!(status["instances"][0]["reporting"] == true, "{status}");
        Ok(())
    };
    until_ok("the agent knows the instance", PATIENCE, known).await?;
    let guest = Guest::start(&channels, id(1), Behaviour::normal().named("vm-one"))?;
    vim.wait_for("RUNNING", PATIENCE, is_running).await?;
    beats(&guest, 2).await?;

    // Status and metrics.
    let text = tree.run(&["guestServer", "status"]).await?;
    ensure!(text.contains("vm-one") && text.contains("heartbeating"), "{text}");
    let text = tree.run(&["guestAgent", "status"]).await?;
    ensure!(text.contains("1 hosts, 1 instances, 1 heartbeating"), "{text}");
    for (program, wanted) in
        [("guestServer", "guest_server_heartbeats_total"), ("guestAgent", "guest_agent_")]
    {
        let text = tree.run(&[program, "metrics"]).await?;
        ensure!(text.contains(wanted) && text.ends_with("# EOF\n"), "{text}");
    }

    // Upgraded in place: other processes, and the guest has noticed nothing.
    let pids = [tree.pid("guestServer")?, tree.pid("guestAgent")?];
    tree.install("/upgrade").await?;
    for (program, former) in PROGRAMS.into_iter().zip(pids) {
        until("it was restarted", PATIENCE, || tree.pid(program).is_ok_and(|pid| pid != former))
            .await?;
        tree.init(program, "status").await?;
    }
    let back = async || {
        let status = tree.status("guestServer").await?;
        let instance = &status["instances"][0];
        ensure!(instance["heartbeating"] == true && instance["reporting"] == true, "{status}");
        Ok(())
    };
    until_ok("the guest is watched again", PATIENCE, back).await?;
    beats(&guest, 5).await?;
    let alarms = vim.requests().iter().filter(|request| is_alarm(request, "failed")).count();
    ensure!(alarms == 0, "false alarms after the upgrade: {:?}", vim.requests());

    // A real failure is still told.
    let commander = Commander::new("127.0.0.1:2410".parse()?);
    commander.switch_instance(id(1), hostname, true).await?;
    guest.freeze().await?;
    vim.wait_for("the alarm", PATIENCE, |request| is_alarm(request, "failed")).await?;

    // Removed: nothing runs, and the configuration stays. Purged: nothing is left.
    let pids = [tree.pid("guestServer")?, tree.pid("guestAgent")?];
    let remove = ["dpkg", "--remove", "guest-server", "guest-agent", "guest-client"];
    tree.run(&remove).await?;
    for pid in pids {
        ensure!(!Path::new(&format!("/proc/{pid}")).exists(), "{pid} still runs");
    }
    for program in PROGRAMS {
        ensure!(tree.path(&format!("/etc/mtc/{program}.ini")).is_file(), "{program}.ini is gone");
        ensure!(!tree.path(&format!("/usr/sbin/{program}")).exists(), "{program} is still there");
    }
    tree.run(&["dpkg", "--purge", "guest-server", "guest-agent", "guest-client"]).await?;
    for file in [nfv, "/etc/mtc.conf"] {
        std::fs::remove_file(tree.path(file))?;
    }
    for dir in ["nfv_plugins/nfvi_plugins", "nfv_plugins", ""] {
        std::fs::remove_dir(tree.path("/etc/nfv").join(dir))?;
    }
    let after = (tree.files()?, tree.shared()?);
    let left: Vec<_> = after.0.difference(&before.0).collect();
    ensure!(left.is_empty(), "left behind: {left:?}");
    let missing: Vec<_> = before.0.difference(&after.0).collect();
    ensure!(missing.is_empty(), "taken away: {missing:?}");
    ensure!(after.1 == before.1, "users or groups are left: {:?}", after.1);
    Ok(())
}
