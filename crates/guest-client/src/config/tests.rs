use std::ffi::OsString;

use clap::Parser as _;

use super::*;

fn cli(file: &Path, more: &[&str]) -> Cli {
    let args = ["guestClient".into(), "--config".into(), file.into()];
    let more = ["--name", "vm"].iter().chain(more).map(OsString::from);
    Cli::try_parse_from(args.into_iter().chain(more)).unwrap()
}

fn read(text: &str) -> Result<Checked<Config>, Failure> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    load(&cli(file.path(), &[]))
}

/// The error for this file, without the name of the file.
fn refused(text: &str) -> String {
    let failure = read(text).unwrap_err();
    assert_eq!(failure.code, 2);
    let (_, message) = failure.message.split_once(": ").unwrap();
    message.to_owned()
}

#[test]
fn the_defaults() {
    let checked = read("").unwrap();
    let expected = Settings {
        name: "vm".into(),
        heartbeat_interval_ms: 1000,
        vote_secs: 8,
        shutdown_notice_secs: 8,
        suspend_notice_secs: 8,
        resume_notice_secs: 13,
        restart_secs: 600,
        corrective_action: CorrectiveAction::Reboot,
        init_retry: Duration::from_secs(1),
    };
    assert_eq!(checked.config.reloadable.settings, expected);
    assert_eq!(checked.config.reloadable.check_interval, Duration::from_secs(30));
    assert_eq!(checked.config.reloadable.health_script, None);
    assert_eq!(checked.config.reloadable.event_script, None);
    assert_eq!(checked.config.device, Path::new("/dev/virtio-ports/cgcs.heartbeat"));
    assert_eq!(checked.config.socket, Path::new("/run/guest-client.sock"));
    assert!(checked.warnings.is_empty() && checked.notices.is_empty());
}

#[test]
fn every_key_is_read_and_printed_as_it_is_read() {
    let text = "HB_INTERVAL=400\nCORRECTIVE_ACTION=stop\nVOTE=1\nSHUTDOWN_NOTICE=2\n\
        SUSPEND_NOTICE=3\nRESUME_NOTICE=4\nRESTART=86399\nHEALTH_CHECK_INTERVAL=5\n\
        HEALTH_CHECK_SCRIPT=\"/usr/local/bin/is it well\"\nEVENT_NOTIFICATION_SCRIPT=\"/bin/true\"\n";
    let printed = read(text).unwrap().config.to_string();
    let keys: String = printed
        .lines()
        .filter(|line| !line.starts_with('#'))
        .fold(String::new(), |keys, line| keys + line + "\n");
    assert_eq!(keys, text);
    assert_eq!(read(&printed).unwrap().config.to_string(), printed);
}

#[test]
fn a_bad_value_is_named_with_its_line_and_what_is_allowed() {
    for (text, message) in [
        (
            "\nHB_INTERVAL=399",
            "line 2: HB_INTERVAL=\"399\": expected a whole number of milliseconds from 400 to 3600000",
        ),
        (
            "HB_INTERVAL=1s",
            "line 1: HB_INTERVAL=\"1s\": expected a whole number of milliseconds from 400 to 3600000",
        ),
        ("VOTE=0", "line 1: VOTE=\"0\": expected a whole number of seconds from 1 to 86399"),
        (
            "RESTART=-1",
            "line 1: RESTART=\"-1\": expected a whole number of seconds from 1 to 86399",
        ),
        (
            "HEALTH_CHECK_INTERVAL=",
            "line 1: HEALTH_CHECK_INTERVAL=\"\": expected a whole number of seconds from 1 to 86400",
        ),
        (
            "CORRECTIVE_ACTION=none",
            "line 1: CORRECTIVE_ACTION=\"none\": expected one of log, reboot, stop",
        ),
        (
            "HEALTH_CHECK_SCRIPT=check",
            "line 1: HEALTH_CHECK_SCRIPT=\"check\": expected an absolute path, or nothing",
        ),
        (
            "VOTE = 8",
            "line 1: 'VOTE = 8': expected a key of letters, digits and _ right before the =",
        ),
        ("# a\nVOTE", "line 2: 'VOTE': expected KEY=value, KEY=\"a value\", or a comment after #"),
    ] {
        assert_eq!(refused(text), message, "{text:?}");
    }
}

#[test]
fn what_is_odd_is_said_once() {
    let checked = read("FOO=1\nVOTE=2\nVOTE=3\n").unwrap();
    assert_eq!(checked.config.reloadable.settings.vote_secs, 3);
    let said: Vec<&str> =
        checked.warnings.iter().map(|line| line.split_once(": ").unwrap().1).collect();
    assert_eq!(
        said,
        [
            "line 1: FOO is an unknown key, ignored",
            "line 2: VOTE is there more than once: the last one counts"
        ]
    );
}

#[test]
fn a_file_that_was_asked_for_must_be_there() {
    let failure = load(&cli(Path::new("/nonexistent/file"), &[])).unwrap_err();
    assert_eq!(failure.code, 2);
    assert!(failure.message.starts_with("cannot read /nonexistent/file: "), "{failure}");
    assert!(failure.message.ends_with("expected a file that exists and that this user may read"));
}

#[test]
fn bytes_that_are_no_text_and_a_file_that_is_too_large_are_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), b"VOTE=1\n\xff\xfe").unwrap();
    let failure = load(&cli(file.path(), &[])).unwrap_err();
    assert!(failure.message.ends_with("expected UTF-8 text"), "{failure}");
    assert!(failure.message.contains("line 2"), "{failure}");
    std::fs::write(file.path(), "#".repeat(1_100_000)).unwrap();
    let failure = load(&cli(file.path(), &[])).unwrap_err();
    assert!(failure.message.ends_with("larger than 1048576 bytes"), "{failure}");
}

#[test]
fn a_name_has_a_bound() {
    for name in ["", "a\nb", &"x".repeat(65)] {
        let args = ["guestClient", "--name", name];
        assert!(Cli::try_parse_from(args).is_err(), "{name:?}");
    }
}
