//! Options, configuration files and what is said when they are wrong: one line, exit 2 for usage and 3 for the
//! environment.

use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::process::Output;

use anyhow::{Context, Result, ensure};
use end_to_end::host::{Host, Setup, run};
use end_to_end::{SOON, golden};
use tempfile::TempDir;

/// What a run printed on standard error, which has to be one line, and its exit code.
fn refusal(output: &Output) -> Result<(String, i32)> {
    let stderr = String::from_utf8(output.stderr.clone())?;
    let line = stderr.strip_suffix('\n').with_context(|| format!("no line: {stderr:?}"))?;
    ensure!(!line.is_empty() && !line.contains('\n'), "not one line: {stderr}");
    ensure!(line.starts_with("guestServer: "), "{line}");
    ensure!(output.stdout.is_empty(), "{:?}", output.stdout);
    Ok((line.to_owned(), output.status.code().context("killed")?))
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().context("an odd path")
}

#[tokio::test]
async fn a_bad_option_is_named_with_what_is_allowed() -> Result<()> {
    for (args, wanted) in [
        (&["--frobnicate"][..], &["--frobnicate"][..]),
        (&["something"], &["something"]),
        (&["--config"], &["--config"]),
        (&["--run-dir"], &["--run-dir"]),
        (&["--channel-dir"], &["--channel-dir"]),
        (&["--wait-for"], &["--wait-for"]),
        (&["--bind", "nowhere"], &["--bind", "nowhere", "IP address"]),
        (&["--bind", "127.0.0.1:80"], &["--bind"]),
        (&["--agent-port", "0"], &["--agent-port", "1 to 65535"]),
        (&["--agent-port", "2401x"], &["--agent-port", "2401x"]),
        (&["--server-port", "65536"], &["--server-port", "65536", "0..=65535"]),
        (&["--server-port", "-1"], &["-1"]),
        (&["--hostname", "a b"], &["--hostname", "letters, digits"]),
        (&["--hostname", ""], &["--hostname"]),
        (&["--controller", "\u{1b}[2J"], &["--controller", "letters, digits"]),
        (&["--log-format", "xml"], &["--log-format", "text, json"]),
        (&["--log-level", "loud"], &["--log-level", "error, warn, info, debug, trace"]),
        (&["--check-config=yes"], &["--check-config"]),
    ] {
        let (line, code) = refusal(&run(args).await?).with_context(|| format!("{args:?}"))?;
        assert_eq!(code, 2, "{line}");
        for wanted in wanted {
            assert!(line.contains(wanted), "{line:?} lacks {wanted:?}");
        }
        assert!(!line.contains('\u{1b}'), "{line:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_bad_configuration_is_named_by_file_section_key_and_value() -> Result<()> {
    let dir = TempDir::new()?;
    let ini = dir.path().join("some.ini");
    for (text, wanted) in [
        (
            "[client]\nrx_port = 65536\n",
            "[client] rx_port = 65536: expected a whole number from 0 to 65535",
        ),
        ("[client]\nrx_port = -1\n", "[client] rx_port = -1: expected a whole number"),
        ("[agent]\nrx_port = 0\n", "[agent] rx_port = 0: expected a whole number from 1 to 65535"),
        ("[client]\nhbs_failure_threshold = 0\n", "[client] hbs_failure_threshold = 0: expected"),
        ("[client]\nhbs_failure_threshold = many\n", "hbs_failure_threshold = many: expected"),
        (
            "[client]\nhbs_pulse_period = 5\n",
            "hbs_pulse_period = 5: expected a whole number from 10",
        ),
        ("[client]\nhbs_pulse_period =\n", "hbs_pulse_period"),
        ("[log]\nlevel = loud\n", "[log] level = loud: expected error, warn, info, debug or trace"),
        ("[client]\nrx_port\n", "line 2: 'rx_port'"),
        ("[client\nrx_port = 1\n", "line 1: '[client'"),
        ("[client]\nrx_port = \u{1b}[2J\n", "line 2: 'rx_port = \\x1b[2J'"),
    ] {
        fs::write(&ini, text)?;
        for extra in [&["--check-config"][..], &[]] {
            let args = [&["--config", path(&ini)?], extra].concat();
            let (line, code) = refusal(&run(&args).await?).with_context(|| text.to_owned())?;
            assert_eq!(code, 2, "{line}");
            assert!(
                line.contains(wanted) && line.contains("some.ini"),
                "{line:?} lacks {wanted:?}"
            );
        }
    }
    fs::write(&ini, b"[client]\n\xff\n")?;
    let (line, code) = refusal(&run(&["--config", path(&ini)?]).await?)?;
    assert!(code == 2 && line.contains("some.ini: line 2: expected UTF-8"), "{line}");
    for missing in ["/nonexistent/guestServer.ini", path(dir.path())?] {
        let (line, code) = refusal(&run(&["--config", missing]).await?)?;
        assert!(code == 2 && line.contains(missing), "{line}");
    }
    Ok(())
}

#[tokio::test]
async fn check_config_prints_what_is_in_force_and_starts_nothing() -> Result<()> {
    let dir = TempDir::new()?;
    let ini = dir.path().join("some.ini");
    fs::write(&ini, "")?;
    let output = run(&["--check-config", "--config", path(&ini)?, "--hostname", "h"]).await?;
    ensure!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let printed = String::from_utf8(output.stdout)?;
    for default in [
        "run-dir = /run",
        "agent-port = 2401",
        "server-port = 2411",
        "hostname = h",
        "channel-dir = /var/lib/libvirt/qemu",
        "controller = controller",
        "hbs_failure_threshold = 1",
        "hbs_pulse_period = 400 ms",
        "log-level = info",
    ] {
        assert!(printed.lines().any(|line| line == default), "no {default:?} in {printed}");
    }

    // A file as the C++ daemons have it, with one thing in it that means nothing to anybody.
    fs::write(
        &ini,
        "; a comment\n[agent] ; Agent\nrx_port = 2500 ; port\nvim_cmd_port = 2410\n[client]\nrx_port = 2511\n\
         hbs_failure_threshold = 3 ; times\nhbs_pulse_period = 500\nhbs_puls = 1\n[debug]\nflush = 1\n\
         [log]\nlevel = warn\n",
    )?;
    let run_dir = dir.path().join("no/such/dir");
    let options = [
        ["--config", path(&ini)?],
        ["--run-dir", path(&run_dir)?],
        ["--bind", "::1"],
        ["--agent-port", "7001"],
        ["--hostname", "compute-0"],
        ["--channel-dir", "/tmp/channels"],
        ["--controller", "10.0.0.1"],
        ["--wait-for", "/tmp/one"],
        ["--wait-for", "/tmp/two"],
        ["--log-format", "json"],
    ];
    let args = [&options.concat()[..], &["--check-config"]].concat();
    let output = run(&args).await?;
    ensure!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let printed = String::from_utf8(output.stdout)?;
    for wanted in [
        &format!("run-dir = {}", run_dir.display())[..],
        "bind = ::1",
        "agent-port = 7001",
        "server-port = 2511",
        "hostname = compute-0",
        "channel-dir = /tmp/channels",
        "controller = 10.0.0.1",
        "wait-for = /tmp/one",
        "wait-for = /tmp/two",
        "hbs_failure_threshold = 3",
        "hbs_pulse_period = 500 ms",
        "log-level = warn",
    ] {
        assert!(printed.lines().any(|line| line == wanted), "no {wanted:?} in {printed}");
    }
    let odd: Vec<&str> = printed.lines().filter(|line| line.starts_with('#')).collect();
    assert_eq!(odd.len(), 1, "{printed}");
    assert!(odd[0].contains("[client] hbs_puls: unknown key"), "{odd:?}");
    assert!(!run_dir.exists());
    Ok(())
}

#[tokio::test]
async fn help_names_every_option_and_version_says_which() -> Result<()> {
    let help = run(&["--help"]).await?;
    ensure!(help.status.success() && help.stderr.is_empty(), "{help:?}");
    let help = String::from_utf8(help.stdout)?;
    for option in [
        "--config",
        "--run-dir",
        "--bind",
        "--agent-port",
        "--server-port",
        "--hostname",
        "--channel-dir",
        "--controller",
        "--wait-for",
        "--check-config",
        "--log-format",
        "--log-level",
    ] {
        assert!(help.contains(option), "no {option} in {help}");
    }
    let version = run(&["--version"]).await?;
    assert!(String::from_utf8(version.stdout)?.starts_with("guestServer 0."));
    Ok(())
}

#[tokio::test]
async fn what_the_machine_refuses_is_named_and_nothing_is_left_behind() -> Result<()> {
    let dir = TempDir::new()?;
    let (file, run_dir) = (dir.path().join("file"), dir.path().join("run"));
    fs::write(&file, "")?;
    fs::create_dir(&run_dir)?;
    let taken = UdpSocket::bind("127.0.0.1:0")?;
    let port = taken.local_addr()?.port().to_string();
    let missing = dir.path().join("missing");
    let ini = dir.path().join("empty.ini");
    fs::write(&ini, "")?;
    let good = [
        ("--config", path(&ini)?),
        ("--run-dir", path(&run_dir)?),
        ("--bind", "127.0.0.1"),
        ("--server-port", "0"),
        ("--hostname", golden::HOSTNAME),
        ("--controller", "127.0.0.1"),
        ("--channel-dir", path(dir.path())?),
    ];
    for (option, value, wanted) in [
        ("--server-port", port.as_str(), &["--server-port", port.as_str(), "in use"][..]),
        ("--bind", "192.0.2.1", &["--bind", "192.0.2.1", "expected an address of this host"]),
        ("--run-dir", path(&missing)?, &["missing/guestServer.pid"]),
        ("--run-dir", path(&file)?, &["file/guestServer.pid"]),
        ("--channel-dir", path(&file)?, &["--channel-dir", "file", "expected a directory"]),
    ] {
        let args: Vec<&str> = good
            .iter()
            .flat_map(|(name, usual)| [*name, if *name == option { value } else { usual }])
            .collect();
        let (line, code) = refusal(&run(&args).await?).with_context(|| option.to_owned())?;
        assert_eq!(code, 3, "{line}");
        for wanted in wanted {
            assert!(line.contains(wanted), "{line:?} lacks {wanted:?}");
        }
        assert_eq!(fs::read_dir(&run_dir)?.count(), 0, "left behind after {line}");
    }
    Ok(())
}

#[tokio::test]
async fn a_second_copy_says_who_runs_and_leaves_the_first_alone() -> Result<()> {
    let host = Host::start().await?;
    let run_dir = host.daemon.run_dir();
    let args = ["--run-dir", path(&run_dir)?, "--bind", "127.0.0.1", "--server-port", "0"];
    let ini = host.ini();
    let args = [&args[..], &["--config", path(&ini)?, "--hostname", "h"]].concat();
    let output = run(&args).await?;
    let (line, code) = refusal(&output)?;
    assert_eq!(code, 3);
    let wanted = format!("already running with pid {}", host.daemon.pid());
    assert!(line.contains(&wanted) && line.contains("guestServer.pid"), "{line}");
    host.daemon.status().await?;
    let pid = fs::read_to_string(run_dir.join("guestServer.pid"))?;
    assert_eq!(pid, format!("{}\n", host.daemon.pid()));
    Ok(())
}

#[tokio::test]
async fn odd_keys_get_one_warning_each_in_the_log() -> Result<()> {
    let ini = "[client]\nhbs_pulse_period = 100\nfoo = 1\n[debug]\nx = 1\n[odd]\ny = 2\n";
    let host = Setup::default().ini(ini).start().await?;
    host.daemon.wait_log("ready", SOON, |line| line.contains(" ready ")).await?;
    let log = host.daemon.stderr();
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains("unknown key")).collect();
    assert_eq!(warnings.len(), 2, "{log}");
    Ok(())
}
