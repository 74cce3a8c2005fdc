//! The file's syntax: what a shell would read as plain assignments, and nothing else of a shell.
//!
//! `KEY=value` or `KEY="value with spaces"`, nothing around the `=`; `#` begins a comment, at the start of a line or
//! after white space. No variables, no continuation lines, no single quotes.

use std::path::{Path, PathBuf};

use daemon_kit::Escaped;
use daemon_kit::config_file::{self, ReadError};

/// How much of a bad line an error repeats, in characters.
const MAX_QUOTED: usize = 60;

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    /// It cannot be read, or is too large.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A line is no assignment.
    #[error("{}: line {line}: '{}': expected {expected}", .path.display(), Escaped(.text))]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Its beginning.
        text: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// A value is not one of those allowed.
    #[error("{}: line {line}: {key}=\"{}\": expected {expected}",
        .path.display(), Escaped(.value))]
    Value {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Its key.
        key: &'static str,
        /// The value found.
        value: String,
        /// What is allowed.
        expected: String,
    },
}

/// One assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Assignment {
    /// Counted from 1.
    pub(super) line: usize,
    pub(super) key: String,
    pub(super) value: String,
}

const SYNTAX: &str = "KEY=value, KEY=\"a value\", or a comment after #";

/// Reads a file; `None` if it does not exist and need not.
pub(super) fn load(path: &Path, required: bool) -> Result<Option<Vec<Assignment>>, FileError> {
    let Some(bytes) = config_file::read(path, required)? else { return Ok(None) };
    let mut found = Vec::new();
    for (index, bytes) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let line = index + 1;
        let text = String::from_utf8_lossy(bytes);
        let bad = |expected| FileError::Line {
            path: path.to_owned(),
            line,
            text: text.trim().chars().take(MAX_QUOTED).collect(),
            expected,
        };
        if std::str::from_utf8(bytes).is_err() {
            return Err(bad("UTF-8 text"));
        }
        if let Some((key, value)) = parse(&text).map_err(bad)? {
            found.push(Assignment { line, key: key.to_owned(), value: value.to_owned() });
        }
    }
    Ok(Some(found))
}

/// The key and the value of a line, if it has any; or what was expected.
fn parse(line: &str) -> Result<Option<(&str, &str)>, &'static str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (key, value) = line.split_once('=').ok_or(SYNTAX)?;
    let mut letters = key.bytes();
    let begins = letters.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if !begins || !letters.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err("a key of letters, digits and _ right before the =");
    }
    let (value, rest) = match value.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').ok_or("a closing double quote")?,
        None => value.split_at(value.find(char::is_whitespace).unwrap_or(value.len())),
    };
    if value.contains(|c: char| c.is_control() || "\"'\\$`".contains(c)) {
        return Err("a value without quotes, backslashes, $ and control characters inside");
    }
    let comment = rest.trim_start();
    let apart = rest.is_empty() || rest.starts_with(char::is_whitespace);
    if !apart || !(comment.is_empty() || comment.starts_with('#')) {
        return Err(
            "nothing but a comment after the value; one with spaces stands in double quotes",
        );
    }
    Ok(Some((key, value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        for (line, found) in [
            ("", None),
            ("  # a comment", None),
            ("A=1", Some(("A", "1"))),
            ("  A_2=x.y/z  ", Some(("A_2", "x.y/z"))),
            ("A=\"b c\"", Some(("A", "b c"))),
            ("A=\"b # c\" # d", Some(("A", "b # c"))),
            ("A=b # c", Some(("A", "b"))),
            ("A=b#c", Some(("A", "b#c"))),
            ("A=", Some(("A", ""))),
            ("A=\"\"\r", Some(("A", ""))),
            ("A=b=c", Some(("A", "b=c"))),
        ] {
            assert_eq!(parse(line), Ok(found), "{line:?}");
        }
        for line in [
            "A",
            "A =1",
            "A= 1",
            "=1",
            "1A=2",
            "A B=1",
            "A=1 2",
            "A=\"1",
            "A=\"1\"2",
            "A='1'",
            "A=$HOME",
            "A=\"`x`\"",
            "A=a\\",
            "export A=1",
            "[section]",
        ] {
            assert!(parse(line).is_err(), "{line:?}: {:?}", parse(line));
        }
    }
}
