//! guestAgent as a process: options and files, what it says when they are wrong, signals, its supervisor, its status.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::MetadataExt as _;
use std::process::Output;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use end_to_end::agent::{Site, run};
use end_to_end::{SOON, id};
use lab::daemon::{self, Daemon};
use lab::vim::Mood;
use lab::wait::{until, until_ok};
use nix::sys::signal::Signal;
use tempfile::TempDir;

/// What a run printed on standard error, which has to be one line, and its exit code.
fn refusal(output: &Output) -> Result<(String, i32)> {
    let stderr = String::from_utf8(output.stderr.clone())?;
    let line = stderr.strip_suffix('\n').with_context(|| format!("no line: {stderr:?}"))?;
    ensure!(!line.contains('\n') && line.starts_with("guestAgent: "), "{stderr}");
    ensure!(output.stdout.is_empty(), "{:?}", output.stdout);
    Ok((line.to_owned(), output.status.code().context("killed")?))
}

#[tokio::test]
async fn a_bad_option_is_named_with_what_is_allowed() -> Result<()> {
    for (args, wanted) in [
        (&["--frobnicate"][..], &["--frobnicate"][..]),
        (&["something"], &["something"]),
        (&["--listen", "2410"], &["--listen", "2410"]),
        (&["--listen", "127.0.0.1:65536"], &["--listen"]),
        (&["--vim", "https://127.0.0.1:30002"], &["--vim", "http"]),
        (&["--vim", "127.0.0.1"], &["--vim"]),
        (&["--vim", "http://127.0.0.1:0"], &["--vim"]),
        (&["--mtc", "a b"], &["--mtc", "letters, digits"]),
        (&["--mtc", "\u{1b}[2J"], &["--mtc"]),
        (&["--mtc-event-port", "0"], &["--mtc-event-port"]),
        (&["--mtc-command-port", "-1"], &["-1"]),
        (&["--floating-ip", "controller"], &["--floating-ip", "controller"]),
        (&["--server-port", "0"], &["--server-port", "1 to 65535"]),
        (&["--agent-port", "65536"], &["--agent-port", "65536"]),
        (&["--bind", "nowhere"], &["--bind", "nowhere"]),
        (&["--hostname", ""], &["--hostname"]),
        (&["--log-level", "loud"], &["--log-level", "error, warn, info, debug, trace"]),
        (&["--config", "/nowhere/at/all.ini"], &["/nowhere/at/all.ini"]),
        (&["--mtc-config", "/nowhere/mtc.conf"], &["/nowhere/mtc.conf"]),
        (&["--vim-config", "/nowhere/nfv.ini"], &["/nowhere/nfv.ini"]),
    ] {
        let (line, code) = refusal(&run(args).await?).with_context(|| format!("{args:?}"))?;
        ensure!(code == 2, "{code}: {line}");
        for wanted in wanted {
            ensure!(line.contains(wanted), "{line:?} lacks {wanted:?}");
        }
        ensure!(!line.contains('\u{1b}'), "{line:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_bad_file_is_named_by_section_key_and_value_and_a_good_one_is_in_force() -> Result<()> {
    let dir = TempDir::new()?;
    let file = dir.path().join("some.ini");
    let path = file.to_str().context("an odd path")?;
    for (option, text, wanted) in [
        ("--config", "[agent]\nrx_port = 65536\n", "[agent] rx_port = 65536: expected"),
        ("--config", "[agent]\nvim_cmd_port = x\n", "[agent] vim_cmd_port = x: expected"),
        ("--config", "[client]\nrx_port = 0\n", "[client] rx_port = 0: expected"),
        ("--config", "[agent\n", "line 1"),
        ("--mtc-config", "[agent]\nhbs_to_mtc_event_port = 0\n", "hbs_to_mtc_event_port = 0"),
        ("--mtc-config", "[agent]\nmtc_to_guest_cmd_port = no\n", "mtc_to_guest_cmd_port = no"),
        ("--vim-config", "[guest-rest-api]\nport = 0\n", "[guest-rest-api] port = 0: expected"),
        ("--vim-config", "[guest-rest-api]\nhost = a b\n", "[guest-rest-api] host = a b: expected"),
    ] {
        std::fs::write(&file, text)?;
        let (line, code) = refusal(&run(&[option, path, "--check-config"]).await?)?;
        ensure!(code == 2 && line.contains(wanted) && line.contains(path), "{code} {line}");
    }
    let file = |name: &str, text: &str| -> Result<String> {
        let path = dir.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path.to_string_lossy().into_owned())
    };
    let own = file(
        "a.ini",
        "[agent]\nrx_port=11 ; why\nvim_cmd_port=12\n[client]\nrx_port=13\n[debug]\nx=1\n",
    )?;
    let mtc = file(
        "m.ini",
        "[agent]\nhbs_to_mtc_event_port = 14\nmtc_to_guest_cmd_port = 15\n[x]\ny=z\n",
    )?;
    let nfv = file("v.ini", "[guest-rest-api]\nhost=127.9.9.9\nport=16\n")?;
    let files = ["--config", &own, "--mtc-config", &mtc, "--vim-config", &nfv, "--check-config"];
    let output = run(&[&files[..], &["--hostname", "h", "--bind", "127.0.0.1"]].concat()).await?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(output.status.success(), "{text}");
    for wanted in [
        "agent-port = 11",
        "listen = 127.0.0.1:12",
        "server-port = 13",
        "mtc-event-port = 14",
        "mtc-command-port = 15",
        "vim = http://127.9.9.9:16",
    ] {
        ensure!(text.contains(wanted), "{text} lacks {wanted}");
    }
    // The command line wins.
    let more = ["--agent-port", "21", "--listen", "127.0.0.9:22"];
    let output = run(&[&files[..], &more].concat()).await?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(text.contains("agent-port = 21") && text.contains("listen = 127.0.0.9:22"), "{text}");
    let help = String::from_utf8(run(&["--help"]).await?.stdout)?;
    for option in ["--listen", "--vim", "--mtc-config", "--floating-ip", "--wait-for", "--run-dir"]
    {
        ensure!(help.contains(option), "{help} lacks {option}");
    }
    Ok(())
}

#[tokio::test]
async fn a_port_that_is_taken_and_a_second_copy_are_refused() -> Result<()> {
    let dir = TempDir::new()?;
    let run_dir = dir.path().to_str().context("an odd path")?;
    let ip = Ipv4Addr::new(127, 3, 3, 3);
    let udp = UdpSocket::bind((ip, 0))?;
    let tcp = TcpListener::bind((ip, 0))?;
    let (udp, tcp) = (udp.local_addr()?.port().to_string(), tcp.local_addr()?.to_string());
    let free = format!("{ip}:0");
    for (agent, listen, mtc, wanted) in [
        (udp.as_str(), free.as_str(), "0", ["--agent-port", udp.as_str()]),
        ("0", &free, &udp, ["--mtc-command-port", &udp]),
        ("0", &tcp, "0", ["--listen", &tcp]),
    ] {
        let args = ["--run-dir", run_dir, "--bind", "127.3.3.3", "--agent-port", agent];
        let more = ["--listen", listen, "--mtc-command-port", mtc, "--floating-ip", "127.3.3.3"];
        let output = run(&[&args[..], &more[..]].concat()).await?;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let line = stderr.lines().last().unwrap_or_default();
        ensure!(output.status.code() == Some(3), "{:?}: {stderr}", output.status);
        ensure!(wanted.iter().all(|wanted| line.contains(wanted)), "{line} lacks {wanted:?}");
        ensure!(!dir.path().join("guestAgent.pid").exists(), "the pidfile was left");
    }
    let site = Site::start().await?;
    let run_dir = site.agent.run_dir();
    let output = run(&["--run-dir", run_dir.to_str().context("an odd path")?]).await?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(3), "{stderr}");
    ensure!(stderr.contains(&format!("{}", site.agent.pid())), "{stderr}");
    // The first one is none the worse.
    ensure!(site.agent.status().await?["pid"] == site.agent.pid());
    Ok(())
}

#[tokio::test]
async fn it_stops_cleanly_with_a_hundred_open_connections() -> Result<()> {
    let mut site = Site::start().await?;
    let place = site.host(1, true).await?;
    site.commander.switch_instance(id(1), &place.name, true).await?;
    let request =
        format!("GET /v1/instances/{} HTTP/1.1\r\nHost: a\r\nUser-Agent: vim/1.0\r\n\r\n", id(1));
    let mut connections = Vec::new();
    for number in 0..100 {
        let mut stream = TcpStream::connect(site.http)?;
        stream.set_read_timeout(Some(SOON))?;
        // Some idle after an answer, some within a request, some silent.
        if number % 3 == 0 {
            stream.write_all(request.as_bytes())?;
            ensure!(stream.read(&mut [0; 4096])? > 0);
        } else if number % 3 == 1 {
            stream.write_all(&request.as_bytes()[..20])?;
        }
        connections.push(stream);
    }
    site.status("all are accepted", |status| {
        status["http_requests"]["connections"].as_u64() >= Some(100)
    })
    .await?;
    let run_dir = site.agent.run_dir();
    for name in ["guestAgent.pid", "guestAgent.info", "guestAgent.sock"] {
        ensure!(run_dir.join(name).exists(), "no {name}");
    }
    let pid = std::fs::read_to_string(run_dir.join("guestAgent.pid"))?;
    ensure!(pid.trim() == site.agent.pid().to_string(), "{pid:?}");
    // And the VIM hangs over a question.
    site.vim.set_mood(Mood::Hanging);
    let next = site.place(2);
    site.mtc.add_host(next.id, &next.name, &next.ip.to_string())?;
    site.status("it hangs", |status| status["outbox"]["questions"].as_u64() > Some(0)).await?;
    let asked = Instant::now();
    let exit = site.agent.stop(SOON).await?;
    ensure!(exit.success() && asked.elapsed() < Duration::from_secs(5), "{exit}");
    site.agent.wait_notification("STOPPING=1", SOON).await?;
    for name in ["guestAgent.pid", "guestAgent.sock"] {
        ensure!(!run_dir.join(name).exists(), "{name} is left");
    }
    for mut stream in connections {
        // Closed or reset, but not left hanging.
        while matches!(stream.read(&mut [0; 4096]), Ok(length) if length > 0) {}
    }
    // Its port is free again at once.
    TcpListener::bind(site.http).map(drop).or_else(|error| match error.kind() {
        // The kernel keeps the ends of its connections for a while; those do not stop a daemon.
        std::io::ErrorKind::AddrInUse => Ok(()),
        _ => Err(error),
    })?;
    site.vim.set_mood(Mood::Normal);
    let site = site.restart_agent(async || Ok(())).await?;
    site.known(&place, true).await?;
    Ok(())
}

#[tokio::test]
async fn the_supervisor_is_told_from_the_main_loop_and_signals_are_obeyed() -> Result<()> {
    let dir = TempDir::new()?;
    let ini = dir.path().join("guestAgent.ini");
    std::fs::write(&ini, "[agent]\nvim_cmd_port = 0\n")?;
    let ini = ini.to_str().context("an odd path")?;
    let args = ["--config", ini, "--bind", "127.3.3.4", "--agent-port", "0"];
    let more = ["--mtc-command-port", "0", "--mtc", "127.3.3.4", "--vim", "http://127.3.3.4:9"];
    let args: Vec<_> = args.into_iter().chain(more).chain(["--floating-ip", "127.3.3.4"]).collect();
    let mut agent =
        Daemon::start(&daemon::binary("guestAgent")?, args, &[("WATCHDOG_USEC", "400000")])?;
    agent.wait_ready(SOON).await?;
    for _ in 0..3 {
        agent.wait_notification("WATCHDOG=1", SOON).await?;
    }
    agent.signal(Signal::SIGPIPE)?;
    let path = agent.run_dir().join("guestAgent.info");
    let before = std::fs::metadata(&path)?.ino();
    agent.signal(Signal::SIGUSR1)?;
    let anew = || std::fs::metadata(&path).is_ok_and(|now| now.ino() != before);
    until("the health file is anew", SOON, anew).await?;
    let text = std::fs::read_to_string(&path)?;
    ensure!(text.starts_with("I'm healthy"), "{text}");
    std::fs::write(ini, "[agent]\nvim_cmd_port = 5\n[client]\nrx_port = 6\n")?;
    agent.signal(Signal::SIGHUP)?;
    for key in ["[client] rx_port", "[agent] vim_cmd_port"] {
        let named = |line: &str| line.contains("needs a restart") && line.contains(key);
        agent.wait_log(key, SOON, named).await?;
    }
    agent.signal(Signal::SIGINT)?;
    ensure!(agent.wait_exit(SOON).await?.success());
    Ok(())
}

#[tokio::test]
async fn hup_reloads_the_level_and_the_status_says_everything() -> Result<()> {
    let site = Site::start().await?;
    let place = site.host(1, true).await?;
    std::fs::write(site.ini(), "[log]\nlevel = debug\n")?;
    site.agent.signal(Signal::SIGHUP)?;
    site.agent.wait_log("reload", SOON, |line| line.contains("configuration reloaded")).await?;
    site.agent.wait_notification("READY=1", SOON).await?;
    let server = site.server(&place).await?;
    site.commander.switch_instance(id(1), &place.name, true).await?;
    server.set_heartbeating(id(1), true).await?;
    site.agent.wait_log("a debug line", SOON, |line| line.contains("DEBUG")).await?;
    std::fs::write(site.ini(), "[log]\nlevel = loud\n")?;
    site.agent.signal(Signal::SIGHUP)?;
    let refused = |line: &str| line.contains("not reloaded") && line.contains("level = loud");
    site.agent.wait_log("the refusal", SOON, refused).await?;
    let look = async || {
        let status = site.agent.status().await?;
        ensure!(status["metrics"]["events_delivered"] == 1, "{status}");
        Ok(status)
    };
    let status = until_ok("the event is counted", SOON, look).await?;
    for key in ["daemon", "version", "hostname", "address", "http", "maintenance", "vim"] {
        ensure!(status[key].is_string(), "{key}: {status}");
    }
    for key in ["events", "oldest_secs", "questions", "last_failure"] {
        ensure!(status["outbox"].get(key).is_some(), "{key}: {status}");
    }
    let instance = &status["instances"][0];
    ensure!(instance["uuid"] == id(1).to_string() && instance["heartbeating"] == true, "{status}");
    ensure!(status["hosts"][0]["instances"] == 1, "{status}");
    ensure!(status["http_requests"]["requests"]["switch_instance"]["200"] == 1, "{status}");
    let unknown = site.agent.request(r#"{"request":"dance"}"#).await?;
    ensure!(unknown.to_string().contains("expected status"), "{unknown}");
    Ok(())
}
