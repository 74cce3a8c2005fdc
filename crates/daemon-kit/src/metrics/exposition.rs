//! The text that a monitoring system reads: OpenMetrics 1.0.
//!
//! An encoder of our own, small as it is, because that of prometheus-client renders only what a registry owns for good
//! (`'static`, `Send` and `Sync`). What our daemons show lies with their main loops (instances, queues), which lend it
//! for the moment of rendering, in pieces, and copy none of it; and the families here are data, from which the reference
//! in docs/metrics.md is made.

use std::fmt::Write as _;

use super::Histogram;

/// What a text of this format is called in HTTP.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What kind of metric a family is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; its samples end in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Times by bounds; its samples end in `_bucket`, `_sum` and `_count`.
    Histogram,
    /// Text in its labels and always 1; its sample ends in `_info`.
    Info,
}

impl Kind {
    /// Its word in the format.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }

    /// What the name of a sample has after that of its family.
    #[must_use]
    pub const fn ending(self) -> &'static str {
        match self {
            Self::Counter => "_total",
            Self::Gauge | Self::Histogram => "",
            Self::Info => "_info",
        }
    }
}

/// Metrics that differ in nothing but the values of their labels.
#[derive(Debug)]
pub struct Family {
    /// Its name without the ending of its samples; the unit, if it has one, is its last word.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// What it tells, in a sentence without its full stop.
    pub help: &'static str,
    /// The names of its labels, and what values each may have.
    pub labels: &'static [(&'static str, &'static str)],
}

impl Family {
    /// The unit, by its name's last word.
    #[must_use]
    pub fn unit(&self) -> Option<&'static str> {
        ["seconds", "bytes"]
            .into_iter()
            .find(|unit| self.name.strip_suffix(unit).is_some_and(|before| before.ends_with('_')))
    }
}

/// The value of a sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// A whole number.
    Whole(u64),
    /// Any other.
    Real(f64),
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Self::Whole(value as u64)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Whole(value.into())
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

/// A text in the making.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

impl Exposition {
    /// Begins a family; its samples follow at once. Each family once.
    pub fn family(&mut self, family: &'static Family) -> Samples<'_> {
        let Family { name, kind, help, .. } = family;
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "# TYPE {name} {}", kind.as_str());
        if let Some(unit) = family.unit() {
            let _ = writeln!(self.text, "# UNIT {name} {unit}");
        }
        let _ = write!(self.text, "# HELP {name} ");
        escape(&mut self.text, help);
        self.text.push_str(".\n");
        Samples { text: &mut self.text, family }
    }

    /// A family with one sample and no labels.
    pub fn one(&mut self, family: &'static Family, value: impl Into<Value>) {
        self.family(family).put(&[], value);
    }

    /// Adds families whose samples were collected beside.
    pub fn rows(&mut self, rows: &Rows) {
        for (family, samples) in &rows.0 {
            self.family(family);
            self.text.push_str(samples);
        }
    }

    /// The whole text.
    #[must_use]
    pub fn finish(mut self) -> String {
        self.text.push_str("# EOF\n");
        self.text
    }
}

/// The samples of one family.
#[derive(Debug)]
pub struct Samples<'a> {
    text: &'a mut String,
    family: &'static Family,
}

impl Samples<'_> {
    /// A sample with these values of the family's labels.
    pub fn put(&mut self, labels: &[&str], value: impl Into<Value>) {
        self.sample(self.family.kind.ending(), labels, None, value.into());
    }

    /// The samples of a histogram.
    pub fn histogram(&mut self, labels: &[&str], histogram: &Histogram) {
        let mut count = 0;
        for (bound, so_far) in histogram.cumulative() {
            self.sample("_bucket", labels, Some(bound), so_far.into());
            count = so_far;
        }
        self.sample("_sum", labels, None, histogram.sum().as_secs_f64().into());
        self.sample("_count", labels, None, count.into());
    }

    fn sample(&mut self, ending: &str, labels: &[&str], bound: Option<f64>, value: Value) {
        debug_assert_eq!(labels.len(), self.family.labels.len(), "{}", self.family.name);
        let text = &mut *self.text;
        text.push_str(self.family.name);
        text.push_str(ending);
        let mut before = '{';
        for ((label, _), value) in self.family.labels.iter().zip(labels) {
            text.push(before);
            before = ',';
            text.push_str(label);
            text.push_str("=\"");
            escape(text, value);
            text.push('"');
        }
        if let Some(bound) = bound {
            text.push(before);
            before = ',';
            let _ = if bound.is_finite() {
                write!(text, "le=\"{bound:?}\"")
            } else {
                write!(text, "le=\"+Inf\"")
            };
        }
        if before == ',' {
            text.push('}');
        }
        let _ = match value {
            Value::Whole(value) => writeln!(text, " {value}"),
            Value::Real(value) => writeln!(text, " {value:?}"),
        };
    }
}

/// Samples of several families, collected one thing after the other; the format wants them one family after the other.
#[derive(Debug, Default)]
pub struct Rows(Vec<(&'static Family, String)>);

impl Rows {
    /// A sample of this family.
    pub fn put(&mut self, family: &'static Family, labels: &[&str], value: impl Into<Value>) {
        let known = self.0.iter().position(|(other, _)| std::ptr::eq(*other, family));
        let place = known.unwrap_or_else(|| {
            self.0.push((family, String::new()));
            self.0.len() - 1
        });
        if let Some((family, text)) = self.0.get_mut(place) {
            Samples { text, family }.put(labels, value);
        }
    }
}

fn escape(text: &mut String, value: &str) {
    for char in value.chars() {
        match char {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            _ => text.push(char),
        }
    }
}

#[cfg(test)]
mod tests;
