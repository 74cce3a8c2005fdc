use std::fs;
use std::net::IpAddr;

use super::*;

const PATH: &str = "/etc/mtc/guestServer.ini";

fn parse(bytes: impl AsRef<[u8]>) -> Result<IniFile, IniError> {
    IniFile::parse(Path::new(PATH), bytes.as_ref())
}

fn error(bytes: impl AsRef<[u8]>) -> String {
    parse(bytes).unwrap_err().to_string()
}

/// The value of the only key, `k`, of section `s`.
fn value(line: &str) -> String {
    parse(format!("[s]\n{line}\n")).unwrap().text("s", "k").unwrap().to_owned()
}

#[test]
fn a_file_as_the_cpp_daemons_have_it() {
    let file = parse(
        "; CGTS Guest Server configuration\n\
         # another remark\n\
         \n\
         [agent]                       ; how to reach the agent\n\
         rx_port = 2401                ; UDP\n\
         \tvim_cmd_port=2410\n\
         [client]\n\
         rx_port: 2411 # UDP\n\
         empty =\n\
         [ debug ]\n\
         debug_all = 0",
    )
    .unwrap();
    assert_eq!(file.number("agent", "rx_port", 0..=65535).unwrap(), Some(2401));
    assert_eq!(file.number("agent", "vim_cmd_port", 0..=65535).unwrap(), Some(2410));
    assert_eq!(file.number("client", "rx_port", 0..=65535).unwrap(), Some(2411));
    assert_eq!(file.text("client", "empty"), Some(""));
    assert_eq!(file.text("debug", "debug_all"), Some("0"));
    assert_eq!(file.text("client", "Rx_Port"), None);
    assert_eq!(file.number("nowhere", "rx_port", 0..=1).unwrap(), None);
    assert_eq!(file.path(), Path::new(PATH));
}

#[test]
fn values_stay_as_they_are() {
    assert_eq!(value("k = a;b;c"), "a;b;c");
    assert_eq!(value("k = a b   ; comment ; more"), "a b");
    assert_eq!(value("k =   ; only a comment"), "");
    assert_eq!(value("k = ;"), "");
    assert_eq!(value("k =;text"), ";text");
    assert_eq!(value("k = http://host/#part # remark"), "http://host/#part");
    assert_eq!(value("k = C:\\new\\table\\x41"), "C:\\new\\table\\x41");
    assert_eq!(value("k = ^\\d+\\.\\s*$"), "^\\d+\\.\\s*$");
    assert_eq!(value("k = C:\\ ; comment"), "C:\\");
    assert_eq!(value("k = C:\\"), "C:\\");
    assert_eq!(value("k = C:\\\nother = x"), "C:\\");
    assert_eq!(value("k = \"two words\""), "\"two words\"");
    assert_eq!(value("k = it's"), "it's");
    assert_eq!(value("k = a=b:c"), "a=b:c");
    assert_eq!(value("k = [x]"), "[x]");
    assert_eq!(value("k = é日本"), "é日本");
}

#[test]
fn a_backslash_ends_no_less_than_another_letter() {
    let file = parse("[a\\]\nb\\=c\nd\\:e=f\n").unwrap();
    assert_eq!(file.text("a\\", "b\\"), Some("c"));
    assert_eq!(file.text("a\\", "d\\"), Some("e=f"));
}

#[test]
fn windows_line_ends_and_byte_order_mark() {
    let file = parse("[s]\r\nk = v\r\nl = w ; c\r\n\r\n").unwrap();
    assert_eq!((file.text("s", "k"), file.text("s", "l")), (Some("v"), Some("w")));
}

#[test]
fn a_bad_line_is_named() {
    let expected = "expected [section], key = value, or a comment after ; or #";
    assert_eq!(
        error("[s]\nk = 1\nnonsense\nl = 2\n"),
        format!("{PATH}: line 3: 'nonsense': {expected}")
    );
    assert_eq!(error("[s]\r\n\r\n = 1\r\n"), format!("{PATH}: line 3: '= 1': {expected}"));
    for line in [
        "[unclosed",
        "[a] b",
        "[a] b = c",
        "   indented",
        "a\rb = c",
        "k = a\rl = b",
        "k = a\0b",
        "[a ; b]",
    ] {
        assert!(error(line).starts_with(&format!("{PATH}: line 1: '")), "{line}");
    }
    let hostile = error("\x1b[2J\u{9b}".repeat(100));
    assert!(!hostile.contains(|c: char| c.is_control()) && hostile.len() < 600, "{hostile}");
    assert_eq!(error(b"[s]\nk = \xff\n"), format!("{PATH}: line 2: expected UTF-8 text"));
    // UTF-16, as an editor elsewhere may save it.
    assert_eq!(error(b"\xff\xfe[\0s\0]\0"), format!("{PATH}: line 1: expected UTF-8 text"));
}

#[test]
fn numbers_and_other_types_are_checked() {
    for text in ["99999", "-1", "65536", "12a", "", "0x10", "1.5", "99999999999999999999999"] {
        let file = parse(format!("[client]\nrx_port = {text}")).unwrap();
        let error = file.number("client", "rx_port", 0..=65535).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("{PATH}: [client] rx_port = {text}: expected a whole number from 0 to 65535")
        );
    }
    let file = parse("[a]\nlow = 1\nhigh = 5\nip = ::1\nname = x\n").unwrap();
    assert_eq!(file.number("a", "low", 1..=5).unwrap(), Some(1));
    assert_eq!(file.number("a", "high", 1..=5).unwrap(), Some(5));
    assert_eq!(
        file.parsed::<IpAddr>("a", "ip", "an IP address").unwrap(),
        Some("::1".parse().unwrap())
    );
    assert_eq!(file.parsed::<IpAddr>("a", "none", "an IP address").unwrap(), None);
    let error = file.parsed::<IpAddr>("a", "name", "an IP address").unwrap_err().to_string();
    assert_eq!(error, format!("{PATH}: [a] name = x: expected an IP address"));
}

#[test]
fn unknown_and_duplicate_keys() {
    let file =
        parse("early = 1\n[a]\nx = 1\ny = 1\n[debug]\nz = 1\n[a]\nx = 2\nx = 3\n[b]\nx = 1\n")
            .unwrap();
    assert_eq!(file.text("a", "x"), Some("3"));
    assert_eq!(file.text("", "early"), Some("1"));
    assert_eq!(file.duplicates().collect::<Vec<_>>(), [("a", "x")]);
    let unknown: Vec<_> = file.unknown(&[("a", "x"), ("debug", "*")]).collect();
    assert_eq!(unknown, [("", "early"), ("a", "y"), ("b", "x")]);
}

#[test]
fn files_that_are_not_there_or_too_large() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("guestServer.ini");
    assert!(IniFile::load(&path, false).unwrap().is_none());
    let missing = IniFile::load(&path, true).unwrap_err();
    assert_eq!(missing.to_string(), format!("cannot read {}", path.display()));
    IniFile::load(dir.path(), false).unwrap_err();

    let full = usize::try_from(config_file::MAX_FILE).unwrap();
    fs::write(&path, "a = 1\n".repeat(full / 6 + 1)[..full - 4].to_owned() + "\n\n\n\n").unwrap();
    let file = IniFile::load(&path, false).unwrap();
    assert!(file.is_some_and(|file| file.text("", "a").is_some()));
    fs::write(&path, "\n".repeat(full + 1)).unwrap();
    assert!(matches!(IniFile::load(&path, false), Err(IniError::Read(ReadError::TooLarge { .. }))));
}
