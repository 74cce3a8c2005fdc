//! One event, one line.
//!
//! A layer of our own instead of tracing-subscriber's `fmt`: it is the one place where text becomes
//! log, it cannot fail (what a value's `Display` refuses to say is left out), and it never talks
//! about its own troubles on stderr.

use std::error::Error;
use std::fmt::{self, Write as _};

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::Context;

use super::escape::{Escaped, Escaper};
use super::journal::Entry;
use super::queue::Sink;
use crate::exit::describe;

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// For a terminal: the level is coloured.
    Colour,
    /// For a file or a pipe.
    Plain,
    /// For the journal, which has its own clock: without the time, with a priority, and with the
    /// fields once more as the journal's own.
    Journal,
    /// A JSON object.
    Json,
}

/// The longest line of text, in bytes; what is longer is cut. JSON is left whole: what goes into a log
/// has bounds of its own.
const MAX_LINE: usize = 8 * 1024;

/// What one event becomes.
#[derive(Debug)]
pub(super) enum Line {
    /// For standard error, with its newline.
    Text(String),
    /// For the journal.
    Entry(Entry),
}

/// Writes each event as one line, in one write.
pub(super) struct LineLayer<K> {
    pub(super) style: Style,
    pub(super) sink: K,
}

impl<S: Subscriber, K: Sink> Layer<S> for LineLayer<K> {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let line = match self.style {
            Style::Json => Line::Text(json_line(event)),
            Style::Journal => Line::Entry(journal_entry(event)),
            Style::Colour => text_line(event, |level| {
                format!("{} \x1b[{}m{level:<5}\x1b[0m", timestamp(), colour(level))
            }),
            Style::Plain => text_line(event, |level| format!("{} {level:<5}", timestamp())),
        };
        self.sink.put(line, self.style);
    }
}

/// The line that says that others are missing.
pub(super) fn left_out_line(style: Style, left_out: u64) -> Line {
    notice(style, "log lines left out: the log's reader is too slow", "left_out", left_out.into())
}

/// The line that says that the journal does not take entries.
pub(super) fn no_journal_line(error: &dyn Error) -> Line {
    let error = describe(error).into();
    notice(
        Style::Journal,
        "cannot reach the journal's socket: lines without fields",
        "error",
        error,
    )
}

/// A warning of the log's own, which no event is made for.
fn notice(style: Style, message: &'static str, key: &'static str, value: Value) -> Line {
    let level = Level::WARN;
    let mut text = TextFields {
        message: message.to_owned(),
        values: Some(Vec::new()),
        ..TextFields::default()
    };
    text.add_named(key, value.as_str().unwrap_or(&value.to_string()), false);
    Line::Text(match style {
        Style::Json => json_text(&JsonLine {
            timestamp: &timestamp(),
            level: level.as_str(),
            target: None,
            message,
            fields: Map::from_iter([(key.to_owned(), value)]),
        }),
        Style::Journal => return Line::Entry(text.into_entry(level, None)),
        Style::Colour => {
            let head = format!("{} \x1b[{}m{level:<5}\x1b[0m", timestamp(), colour(level));
            format!("{}\n", text.after(head, None))
        }
        Style::Plain => format!("{}\n", text.after(format!("{} {level:<5}", timestamp()), None)),
    })
}

fn text_line(event: &Event<'_>, head: impl FnOnce(Level) -> String) -> Line {
    let metadata = event.metadata();
    let mut text = TextFields::default();
    event.record(&mut text);
    let mut line = text.after(head(*metadata.level()), shown_target(metadata));
    line.push('\n');
    Line::Text(line)
}

fn journal_entry(event: &Event<'_>) -> Entry {
    let metadata = event.metadata();
    let mut text = TextFields { values: Some(Vec::new()), ..TextFields::default() };
    event.record(&mut text);
    text.into_entry(*metadata.level(), shown_target(metadata))
}

/// Operators do not need to know the module a line comes from; who debugs does.
fn shown_target<'a>(metadata: &Metadata<'a>) -> Option<&'a str> {
    (*metadata.level() > Level::INFO).then(|| metadata.target())
}

/// UTC, RFC 3339, microseconds.
fn timestamp() -> String {
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

fn colour(level: Level) -> u8 {
    match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG => 34,
        _ => 35,
    }
}

/// The name as it was written at the call site: `r#type` is `type`.
fn name_of(field: &Field) -> &'static str {
    field.name().strip_prefix("r#").unwrap_or(field.name())
}

/// What a value says, as far as it says it. (`format!` would panic on a `Debug` or `Display` that
/// fails.)
fn debug_text(value: &dyn fmt::Debug) -> String {
    let mut text = String::new();
    let _ = write!(text, "{value:?}");
    text
}

/// The message, and the other fields as ` key=value` each, all of it escaped.
#[derive(Default)]
struct TextFields {
    message: String,
    fields: String,
    /// The fields' names and values, escaped and without quotes, where they are wanted.
    values: Option<Vec<(&'static str, String)>>,
}

impl TextFields {
    /// `shown` says that `text` is what `Debug` or `Display` made of a value.
    fn add(&mut self, field: &Field, text: &str, shown: bool) {
        match name_of(field) {
            "message" => {
                // Writing to a String does not fail.
                let _ = Escaper(&mut self.message).write_str(text);
            }
            name => self.add_named(name, text, shown),
        }
    }

    fn add_named(&mut self, name: &'static str, text: &str, shown: bool) {
        if let Some(values) = &mut self.values {
            values.push((name, Escaped(text).to_string()));
        }
        let out = &mut self.fields;
        let _ = write!(out, " {name}=");
        // Without quotes a value with a blank in it could pass for two fields.
        let special = |c: char| c.is_whitespace() || c.is_control() || c == '"' || c == '=';
        if !text.is_empty() && (!text.contains(special) || shown && is_quoted(text)) {
            let _ = Escaper(out).write_str(text);
        } else {
            let inner = text.replace('\\', "\\\\").replace('"', "\\\"");
            out.push('"');
            let _ = Escaper(&mut *out).write_str(&inner);
            out.push('"');
        }
    }

    /// The line that begins with `head`, without a newline.
    fn after(&self, head: String, target: Option<&str>) -> String {
        let mut line = head;
        if let Some(target) = target {
            line.push(' ');
            line.push_str(target);
            line.push(':');
        }
        if !self.message.is_empty() {
            line.push(' ');
            line.push_str(&self.message);
        }
        line.push_str(&self.fields);
        line.truncate(line.floor_char_boundary(MAX_LINE));
        line
    }

    fn into_entry(self, level: Level, target: Option<&str>) -> Entry {
        let mut entry = Entry::new(priority(level), self.after(level.to_string(), target));
        entry.add("message", self.message);
        for (name, value) in self.values.into_iter().flatten() {
            entry.add(name, value);
        }
        entry
    }
}

/// Whether `text` is one quoted string already, as `?value` makes it of a text.
fn is_quoted(text: &str) -> bool {
    let Some(inner) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return false;
    };
    let mut escaped = false;
    for c in inner.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return false,
            _ => {}
        }
    }
    !escaped
}

impl Visit for TextFields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, &debug_text(value), true);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value, false);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.add(field, &describe(value), false);
    }
}

/// A line of JSON. The fields have an object of their own, so that none can pass for the level or
/// the time.
#[derive(Serialize)]
struct JsonLine<'a> {
    timestamp: &'a str,
    level: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
    message: &'a str,
    #[serde(skip_serializing_if = "Map::is_empty")]
    fields: Map<String, Value>,
}

fn json_line(event: &Event<'_>) -> String {
    let metadata = event.metadata();
    let mut json = JsonFields::default();
    event.record(&mut json);
    json_text(&JsonLine {
        timestamp: &timestamp(),
        level: metadata.level().as_str(),
        target: shown_target(metadata),
        message: &json.message,
        fields: json.fields,
    })
}

fn json_text(line: &JsonLine<'_>) -> String {
    // It cannot fail: the keys are strings and the numbers finite or null.
    let text = serde_json::to_string(line).unwrap_or_default();
    let mut escaped = String::with_capacity(text.len() + 1);
    for c in text.chars() {
        // JSON allows DEL and C1 in a string as they are; a terminal that shows the log would obey
        // them.
        if c.is_control() {
            let _ = write!(escaped, "\\u{:04x}", u32::from(c));
        } else {
            escaped.push(c);
        }
    }
    escaped.push('\n');
    escaped
}

#[derive(Default)]
struct JsonFields {
    message: String,
    fields: Map<String, Value>,
}

impl JsonFields {
    fn add(&mut self, field: &Field, value: Value) {
        match (name_of(field), value) {
            ("message", Value::String(text)) => self.message = text,
            (name, value) => {
                self.fields.insert(name.to_owned(), value);
            }
        }
    }
}

impl Visit for JsonFields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, debug_text(value).into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.add(field, describe(value).into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }
}
