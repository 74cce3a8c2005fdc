//! What daemon-kit reads: configuration files and the control socket.

use std::path::Path;

use daemon_kit::mutes::instance_of;
use daemon_kit::{IniFile, MuteOrder};
use heartbeat_proto::InstanceId;
use serde_json::Value;

/// What an error may have in characters: it repeats at most a line's beginning or a value.
const MAX_ERROR: usize = 1024;

/// A file is refused with a short text, or read: names and values are trimmed and without control
/// characters, there are no more of them than lines, and written anew they are read as the same.
pub fn ini(data: &[u8]) {
    let path = Path::new("/etc/x.ini");
    let file = match IniFile::parse(path, data) {
        Ok(file) => file,
        Err(error) => {
            assert!(error.to_string().len() <= MAX_ERROR, "{error}");
            return;
        }
    };
    let keys: Vec<(&str, &str)> = file.unknown(&[]).collect();
    assert!(keys.len() <= data.split(|byte| *byte == b'\n').count());
    assert!(file.duplicates().all(|key| keys.contains(&key)));
    assert_eq!(file.unknown(&keys).count(), 0);
    let mut again = String::new();
    // Those before the first section come first, and are those of a section without a name.
    for (section, key) in &keys {
        let value = file.text(section, key);
        assert!(value.is_some(), "[{section}] {key} is gone");
        let value = value.unwrap_or_default();
        for text in [*section, key, value] {
            assert_eq!(text, text.trim());
            assert!(!text.contains(|c: char| c.is_control() && c != '\t'), "{text:?}");
            assert!(text.len() <= data.len());
        }
        let _ = file.number(section, key, 1..=65_535);
        let _ = file.parsed::<std::net::IpAddr>(section, key, "an IP address");
        if !section.is_empty() {
            again.push_str(&format!("[{section}]\n"));
        }
        again.push_str(&format!("{key}={value}\n"));
    }
    let again = IniFile::parse(path, again.as_bytes());
    assert!(again.is_ok(), "{again:?}");
    let pairs = |file: &IniFile| -> Vec<(String, String, Option<String>)> {
        let keys = file.unknown(&[]);
        keys.map(|(section, key)| {
            (section.to_owned(), key.to_owned(), file.text(section, key).map(str::to_owned))
        })
        .collect()
    };
    assert_eq!(again.ok().as_ref().map(pairs), Some(pairs(&file)));
}

/// Whatever a client of the control socket says, it is answered with one JSON document and a newline.
/// What reaches the main loop is what the first line says, an object with the text `request`.
pub fn control_request(data: &[u8]) {
    let (answer, command) = daemon_kit::control::fuzzing::ask(data);
    let answer = answer.strip_suffix(b"\n");
    assert!(answer.is_some(), "no whole line");
    let answer = answer.unwrap_or_default();
    let line = data.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let Some(command) = command else {
        let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
        let error = answer.get("error").and_then(Value::as_str).unwrap_or_default();
        assert!((1..=200).contains(&error.len()), "{answer}");
        return;
    };
    assert!(line.len() <= 4096);
    assert!(command.get("request").is_some_and(Value::is_string));
    assert_eq!(serde_json::from_slice::<Value>(line).ok(), Some(command.clone()));
    // As text: serde_json reads a number of many digits as one that is written a little different.
    assert_eq!(answer, command.to_string().as_bytes());
    // Whoever is to be muted is an instance, for some time.
    if let Ok(order) = MuteOrder::<InstanceId>::read(&command) {
        assert_eq!(instance_of(&command), Ok(order.instance));
        assert!((1..=2_592_000).contains(&order.time.as_secs()));
        assert!((1..=200).contains(&order.reason.len()));
    }
}
