//! INI files with the names of the C++ daemons.
//!
//! rust-ini understands the syntax, but it gets one line at a time from here. Given a whole file it
//! takes a line without `=` for the beginning of the next line's key and reports what it refuses at
//! the line where it gave up, often the last one; and its inline comments miss `key = ; comment`
//! and a comment after a backslash.
//!
//! The dialect, that of the files in use: `[section]`, `key = value` or `key: value`, names as they
//! are written (case matters); `;` or `#` at the start of a line or after white space begins a
//! comment; quotes and backslashes are letters like others; no continuation lines; a byte order mark
//! and CRLF are accepted.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ini::{Ini, ParseOption};

use crate::config_file::{self, ReadError};
use crate::logging::Escaped;

/// Stands for a backslash while rust-ini has the line.
const BACKSLASH: &str = "\u{1}";

/// How much of a bad line an error repeats, in characters.
const MAX_QUOTED: usize = 60;

/// What is wrong with a configuration file.
#[derive(Debug, thiserror::Error)]
pub enum IniError {
    /// It cannot be read, or is too large.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A line is not UTF-8.
    #[error("{}: line {line}: expected UTF-8 text", .path.display())]
    Encoding {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// A line is none of those allowed.
    #[error("{}: line {line}: '{}': expected [section], key = value, or a comment after ; or #",
        .path.display(), Escaped(.text))]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The beginning of the line.
        text: String,
    },
    /// A value is out of its range or of another type.
    #[error("{}: [{}] {} = {}: expected {expected}",
        .path.display(), Escaped(.section), Escaped(.key), Escaped(.value))]
    Value {
        /// The file.
        path: PathBuf,
        /// Its section.
        section: String,
        /// Its key.
        key: String,
        /// The value found.
        value: String,
        /// What is allowed.
        expected: String,
    },
}

/// A file that has been read whole and has no bad line. What its values mean is checked as they are
/// asked for.
#[derive(Clone, Debug)]
pub struct IniFile {
    path: PathBuf,
    sections: BTreeMap<String, BTreeMap<String, String>>,
    duplicates: BTreeSet<(String, String)>,
}

impl IniFile {
    /// Reads the file. `None` if it does not exist and is not `required`.
    ///
    /// # Errors
    ///
    /// When it cannot be read, is too large, or has a bad line.
    pub fn load(path: &Path, required: bool) -> Result<Option<IniFile>, IniError> {
        let bytes = config_file::read(path, required)?;
        bytes.map(|bytes| IniFile::parse(path, &bytes)).transpose()
    }

    /// Reads what stands in a file; `path` is for its errors.
    ///
    /// # Errors
    ///
    /// When it has a bad line.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<IniFile, IniError> {
        let mut file = IniFile {
            path: path.to_owned(),
            sections: BTreeMap::new(),
            duplicates: BTreeSet::new(),
        };
        let mut section = String::new();
        for (index, bytes) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let line = index + 1;
            let text = std::str::from_utf8(bytes)
                .map_err(|_| IniError::Encoding { path: path.to_owned(), line })?;
            match parse_line(text) {
                Some(Line::Blank) => {}
                Some(Line::Section(name)) => section = name,
                Some(Line::Entry(key, value)) => file.insert(&section, key, value),
                None => {
                    let text = text.trim().chars().take(MAX_QUOTED).collect();
                    return Err(IniError::Line { path: path.to_owned(), line, text });
                }
            }
        }
        Ok(file)
    }

    fn insert(&mut self, section: &str, key: String, value: String) {
        let entries = self.sections.entry(section.to_owned()).or_default();
        if entries.insert(key.clone(), value).is_some() {
            self.duplicates.insert((section.to_owned(), key));
        }
    }

    /// The path it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The value as it is written, perhaps empty; `None` if the key is not there. Keys before the
    /// first section are in the section with the empty name.
    pub fn text(&self, section: &str, key: &str) -> Option<&str> {
        self.sections.get(section)?.get(key).map(String::as_str)
    }

    /// A whole number within `range`, bounds included; `None` if the key is not there.
    ///
    /// # Errors
    ///
    /// When the value is no number or out of range.
    pub fn number(
        &self,
        section: &str,
        key: &str,
        range: RangeInclusive<u64>,
    ) -> Result<Option<u64>, IniError> {
        let Some(text) = self.text(section, key) else { return Ok(None) };
        match text.parse() {
            Ok(number) if range.contains(&number) => Ok(Some(number)),
            _ => {
                let expected = format!("a whole number from {} to {}", range.start(), range.end());
                Err(self.bad_value(section, key, expected))
            }
        }
    }

    /// A value of any type that can be read from text, for instance an address; `None` if the key
    /// is not there. `expected` says what is allowed, as in `an IP address`.
    ///
    /// # Errors
    ///
    /// When the value is not of that type.
    pub fn parsed<T: FromStr>(
        &self,
        section: &str,
        key: &str,
        expected: &str,
    ) -> Result<Option<T>, IniError> {
        let Some(text) = self.text(section, key) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| self.bad_value(section, key, expected))
    }

    /// The error for a value that the caller finds wrong; `expected` says what is allowed.
    pub fn bad_value(&self, section: &str, key: &str, expected: impl Into<String>) -> IniError {
        IniError::Value {
            path: self.path.clone(),
            section: section.to_owned(),
            key: key.to_owned(),
            value: self.text(section, key).unwrap_or_default().to_owned(),
            expected: expected.into(),
        }
    }

    /// The keys, as (section, key), that are not among `known`: one warning each. The key `*` knows
    /// a whole section.
    pub fn unknown(&self, known: &[(&str, &str)]) -> impl Iterator<Item = (&str, &str)> {
        self.sections
            .iter()
            .flat_map(|(section, keys)| {
                keys.keys().map(move |key| (section.as_str(), key.as_str()))
            })
            .filter(|(section, key)| {
                !known.iter().any(|(s, k)| s == section && (k == key || *k == "*"))
            })
    }

    /// The keys, as (section, key), that are there more than once, each one once. The last one
    /// counts.
    pub fn duplicates(&self) -> impl Iterator<Item = (&str, &str)> {
        self.duplicates.iter().map(|(section, key)| (section.as_str(), key.as_str()))
    }
}

enum Line {
    Blank,
    Section(String),
    Entry(String, String),
}

/// `None` if the line is none of those allowed.
fn parse_line(line: &str) -> Option<Line> {
    // Quotes and backslashes mean nothing, neither to the C++ daemons' reader nor to Python's.
    const OPTIONS: ParseOption = ParseOption {
        enabled_quote: false,
        enabled_escape: false,
        enabled_indented_mutiline_value: false,
        enabled_preserve_key_leading_whitespace: false,
    };
    let line = without_comment(line).trim();
    if line.is_empty() {
        return Some(Line::Blank);
    }
    // A stray carriage return or NUL is damage, not part of a name or a value.
    if line.contains(|c: char| c.is_control() && c != '\t') {
        return None;
    }
    // rust-ini joins a backslash with what follows it, be it the `=` after a name. No control character is left that could be
    // taken for one.
    let line = line.replace('\\', BACKSLASH);
    let written = |text: &str| text.replace(BACKSLASH, "\\");
    let parsed = Ini::load_from_str_opt(&line, OPTIONS).ok()?;
    let mut sections = parsed.sections().flatten();
    let mut entries = parsed.iter().flat_map(|(_, properties)| properties.iter());
    match (sections.next(), entries.next()) {
        (Some(name), None) => Some(Line::Section(written(name))),
        (None, Some((key, value))) => Some(Line::Entry(written(key), written(value))),
        // A section and a key on one line.
        _ => None,
    }
}

fn without_comment(line: &str) -> &str {
    let mut after_space = true;
    for (at, c) in line.char_indices() {
        if after_space && (c == ';' || c == '#') {
            return line.get(..at).unwrap_or(line);
        }
        after_space = c.is_whitespace();
    }
    line
}

#[cfg(test)]
mod tests;
