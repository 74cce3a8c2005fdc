use std::ffi::OsString;

use daemon_kit::options::{Asked, parse};

use super::*;

/// Loads with `ini` as the file and `args` on the command line.
fn load_with(ini: &str, args: &[&str]) -> Result<Checked<Config>, Failure> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("guestServer.ini");
    std::fs::write(&path, ini).unwrap();
    let mut all: Vec<OsString> = vec!["guestServer".into(), "--config".into(), path.into()];
    all.extend(args.iter().map(OsString::from));
    match parse::<Cli>(all)? {
        Asked::Daemon(cli) => load(&cli),
        Asked::Print(text) => panic!("{text}"),
    }
}

#[test]
fn a_file_of_the_former_daemon_is_taken_without_a_warning() {
    let ini = "; daemons config file\n\
        [agent]                     ; Agent Configuration\n\
        rx_port = 2500              ; inter-daemon messaging rx port number\n\
        vim_cmd_port = 2410\n\
        hbs_failure_threshold = 1   ; not ours\n\
        [client]\n\
        rx_port = 2511              ; ours\n\
        hbs_failure_threshold = 3   ; Number of failures\n\
        hbs_pulse_period = 500      ; Smallest allowable interval\n\
        [timeouts]\n\
        start_delay = 1\n\
        [debug]                     ;\n\
        debug_timer = 0\n\
        flush_thld = 5              ; if enabled\n";
    let loaded = load_with(ini, &[]).unwrap();
    assert_eq!(loaded.warnings, Vec::<String>::new());
    assert_eq!((loaded.config.agent_port, loaded.config.server_port), (2500, 2511));
    let settings = loaded.config.reloadable.settings;
    assert_eq!(settings.failure_threshold, 3);
    assert_eq!(settings.pulse_floor, Duration::from_millis(500));
}

#[test]
fn the_command_line_wins_over_the_file() {
    let ini = "[agent]\nrx_port = 1\n[client]\nrx_port = 2\n[log]\nlevel = warn\n";
    let args = ["--agent-port", "3", "--server-port", "0", "--log-level", "debug"];
    let config = load_with(ini, &args).unwrap().config;
    assert_eq!((config.agent_port, config.server_port), (3, 0));
    assert_eq!(config.reloadable.log_level, LogLevel::Debug);
    assert_eq!(load_with(ini, &[]).unwrap().config.reloadable.log_level, LogLevel::Warn);
}

#[test]
fn a_bad_value_is_named_with_file_section_key_and_what_is_allowed() {
    for (ini, wanted) in [
        ("[client]\nrx_port = 65536\n", "[client] rx_port = 65536: expected a whole number from 0"),
        ("[agent]\nrx_port = 0\n", "[agent] rx_port = 0: expected a whole number from 1 to 65535"),
        ("[client]\nhbs_failure_threshold = 0\n", "expected a whole number from 1 to 100"),
        ("[client]\nhbs_pulse_period = fast\n", "expected a whole number from 10 to 60000"),
        ("[log]\nlevel = loud\n", "expected error, warn, info, debug or trace"),
        ("[client]\nrx_port\n", "line 2: 'rx_port': expected [section], key = value"),
    ] {
        let Err(failure) = load_with(ini, &[]) else { panic!("{ini} was taken") };
        assert_eq!(failure.code, 2);
        assert!(failure.message.contains(wanted), "{:?} lacks {wanted:?}", failure.message);
        assert!(failure.message.contains("guestServer.ini"), "{}", failure.message);
    }
}

#[test]
fn unknown_and_doubled_keys_get_one_warning_each() {
    let ini = "[client]\nrx_prot = 1\nrx_port = 5\nrx_port = 6\n[color]\nbest = red\n";
    let loaded = load_with(ini, &[]).unwrap();
    assert_eq!(loaded.config.server_port, 6);
    assert_eq!(loaded.warnings.len(), 3, "{:?}", loaded.warnings);
    for wanted in ["[client] rx_prot: unknown key", "[color] best: unknown", "[client] rx_port is"]
    {
        assert!(loaded.warnings.iter().any(|line| line.contains(wanted)), "{wanted}");
    }
}

#[test]
fn a_bad_option_is_named() {
    for (args, wanted) in [
        (&["--agent-port", "0"][..], "--agent-port 0: expected a port from 1 to 65535"),
        (&["--controller", "a b"], "--controller <HOST>': expected a host name or address"),
    ] {
        let Err(failure) = load_with("", args) else { panic!("{args:?} taken") };
        assert_eq!(failure.code, 2);
        assert!(failure.message.contains(wanted), "{:?} lacks {wanted:?}", failure.message);
    }
}

#[test]
fn a_file_that_the_user_named_must_be_there() {
    let args = ["guestServer", "--config", "/nonexistent/x.ini"].map(OsString::from);
    let Ok(Asked::Daemon(cli)) = parse::<Cli>(args) else { panic!("usage") };
    let Err(failure) = load(&cli) else { panic!("taken") };
    assert!(failure.message.contains("/nonexistent/x.ini"), "{}", failure.message);
    assert_eq!(failure.code, 2);
}
