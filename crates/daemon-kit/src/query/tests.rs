use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
#[command(name = "daemon", args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    query: Query<u32>,
}

fn parse(args: &str) -> Result<Query<u32>, String> {
    Cli::try_parse_from(std::iter::once("daemon").chain(args.split(' ')))
        .map(|cli| cli.query)
        .map_err(|error| error.to_string())
}

const VIEW: View = View {
    status: |document| Ok(format!("status {document}\n")),
    instance: |document| Ok(format!("instance {document}\n")),
};

#[test]
fn times_are_given_as_people_write_them() {
    for (text, wanted) in [("90s", 90), ("30m", 1800), ("8h", 28_800), ("2days", 172_800)] {
        match parse(&format!("mute 7 {text} --reason update")) {
            Ok(Query::Mute { instance: 7, time, .. }) => assert_eq!(time.as_secs(), wanted),
            other => panic!("{other:?}"),
        }
    }
    for bad in ["0s", "31days", "5", "soon", "-1s", "999ms"] {
        let error = parse(&format!("mute 7 {bad} --reason update")).unwrap_err();
        assert!(error.contains("from 1s to 30days") || bad.starts_with('-'), "{error}");
    }
    assert!(parse("mute 7 5m").unwrap_err().contains("--reason"));
}

#[test]
fn watching_has_a_period_of_its_own() {
    let period = |args| match parse(args) {
        Ok(Query::Status(args)) => args.watch.map(|period| period.as_millis()),
        other => panic!("{other:?}"),
    };
    assert_eq!(period("status"), None);
    assert_eq!(period("status --watch"), Some(2000));
    assert_eq!(period("status --watch=500ms 7"), Some(500));
    assert!(parse("status --watch=1ms").unwrap_err().contains("200ms to 1h"));
}

#[test]
fn a_daemon_that_is_not_there_is_told_from_one_that_does_not_answer() {
    let dir = tempfile::tempdir().unwrap();
    let query = parse(&format!("status --run-dir {}", dir.path().display())).unwrap();
    let failure = run("daemon", &query, VIEW).unwrap_err();
    assert_eq!(failure.code, NOT_RUNNING, "{failure}");
    assert!(failure.message.contains("not running"), "{failure}");

    // One that listens and never says anything but rubbish.
    let path = dir.path().join("daemon.sock");
    let listener = std::os::unix::net::UnixListener::bind(path).unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"rubbish\n").unwrap();
    });
    let failure = run("daemon", &query, VIEW).unwrap_err();
    server.join().unwrap();
    assert_eq!(failure.code, UNKNOWN, "{failure}");
}
