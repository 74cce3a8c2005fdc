use std::ffi::OsString;
use std::path::Path;

use daemon_kit::options::{Asked, parse};

use super::*;

/// Loads with these files and `args` on the command line.
fn load_with(own: &str, mtc: &str, nfv: &str, args: &[&str]) -> Result<Checked<Config>, Failure> {
    let dir = tempfile::tempdir().unwrap();
    let mut all: Vec<OsString> = vec!["guestAgent".into()];
    for (option, name, text) in [
        ("--config", "guestAgent.ini", own),
        ("--mtc-config", "mtc.conf", mtc),
        ("--vim-config", "config.ini", nfv),
    ] {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        all.extend([option.into(), path.into()]);
    }
    all.extend(args.iter().map(OsString::from));
    match parse::<Cli>(all)? {
        Asked::Daemon(cli) => load(&cli),
        Asked::Print(text) => panic!("{text}"),
    }
}

#[test]
fn the_files_of_the_former_daemon_are_taken_without_a_warning() {
    let own = "[agent]   ; Agent Configuration\nrx_port = 2500 ; here\nvim_cmd_port = 2510\n\
        hbs_failure_threshold = 1\n[client]\nrx_port = 2511\nhbs_pulse_period = 400\n\
        [timeouts]\nstart_delay = 1\n[debug]\ndebug_http = 0\n";
    let mtc = "[agent]\nhbs_to_mtc_event_port = 2207 ; out\nmtc_to_guest_cmd_port = 2208\n\
        token_refresh_rate = 1200\n";
    let nfv = "[guest-rest-api]\nhost=127.0.0.1\nport=30002\n[other]\nthing=1\n";
    let loaded = load_with(own, mtc, nfv, &[]).unwrap();
    assert_eq!(loaded.warnings, Vec::<String>::new());
    assert_eq!(loaded.notices, Vec::<String>::new());
    let config = loaded.config;
    assert_eq!((config.agent_port, config.server_port), (2500, 2511));
    assert_eq!(config.listen, "127.0.0.1:2510".parse().unwrap());
    assert_eq!((config.mtc_event_port, config.mtc_command_port), (2207, 2208));
    assert_eq!(config.vim.to_string(), "http://127.0.0.1:30002");
}

#[test]
fn the_command_line_wins_over_the_files() {
    let own = "[agent]\nrx_port = 1\nvim_cmd_port = 2\n[client]\nrx_port = 3\n";
    let mtc = "[agent]\nhbs_to_mtc_event_port = 4\nmtc_to_guest_cmd_port = 5\n";
    let nfv = "[guest-rest-api]\nport=6\n";
    let args = [
        "--agent-port",
        "0",
        "--listen",
        "127.0.0.1:0",
        "--server-port",
        "13",
        "--mtc-event-port",
        "14",
        "--mtc-command-port",
        "0",
        "--vim",
        "http://127.0.0.2:16",
        "--bind",
        "127.0.0.1",
        "--floating-ip",
        "127.0.0.3",
    ];
    let config = load_with(own, mtc, nfv, &args).unwrap().config;
    assert_eq!((config.agent_port, config.server_port), (0, 13));
    assert_eq!(config.listen.port(), 0);
    assert_eq!((config.mtc_event_port, config.mtc_command_port), (14, 0));
    assert_eq!(config.vim.to_string(), "http://127.0.0.2:16");
    assert_eq!(config.mtc_bind, config.bind);
    assert_eq!(config.floating_ip, Some("127.0.0.3".parse().unwrap()));
}

#[test]
fn a_bad_value_is_named_with_file_section_key_and_what_is_allowed() {
    for (own, mtc, nfv, wanted) in [
        ("[agent]\nrx_port = x\n", "", "", "guestAgent.ini: [agent] rx_port = x: expected a whole"),
        ("[agent]\nvim_cmd_port = 65536\n", "", "", "[agent] vim_cmd_port = 65536"),
        ("[client]\nrx_port = 0\n", "", "", "[client] rx_port = 0: expected a whole number from 1"),
        ("", "[agent]\nhbs_to_mtc_event_port = 0\n", "", "mtc.conf: [agent] hbs_to_mtc_event_port"),
        ("", "", "[guest-rest-api]\nport = 0\n", "config.ini: [guest-rest-api] port = 0"),
        ("", "", "[guest-rest-api]\nhost = a b\n", "[guest-rest-api] host = a b"),
    ] {
        let Err(failure) = load_with(own, mtc, nfv, &[]) else { panic!("{own}{mtc}{nfv} taken") };
        assert_eq!(failure.code, 2);
        assert!(failure.message.contains(wanted), "{:?} lacks {wanted:?}", failure.message);
    }
}

#[test]
fn a_bad_option_is_named() {
    for (args, wanted) in [
        (&["--vim", "https://127.0.0.1:1"][..], "--vim <URL>"),
        (&["--listen", "127.0.0.1"], "--listen <IP:PORT>"),
        (&["--mtc-event-port", "0"], "--mtc-event-port <N>"),
        (&["--server-port", "0"], "--server-port 0: expected a port from 1"),
        (&["--floating-ip", "controller"], "--floating-ip <IP>"),
    ] {
        let Err(failure) = load_with("", "", "", args) else { panic!("{args:?} taken") };
        assert!(failure.message.contains(wanted), "{:?} lacks {wanted:?}", failure.message);
    }
}

#[test]
fn files_that_the_user_named_must_be_there() {
    for option in ["--config", "--mtc-config", "--vim-config"] {
        let args = ["guestAgent", option, "/nonexistent/x.ini"].map(OsString::from);
        let Ok(Asked::Daemon(cli)) = parse::<Cli>(args) else { panic!("usage") };
        let Err(failure) = load(&cli) else { panic!("{option} taken") };
        assert!(failure.message.contains("/nonexistent/x.ini"), "{}", failure.message);
    }
    assert!(!Path::new("/nonexistent").exists());
}
