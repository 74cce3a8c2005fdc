//! A figure, its budget, and what the C++ daemon does.

use std::fmt;

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Count,
    Micros,
    Millis,
    Seconds,
    Kib,
    Mib,
    PerSecond,
    Percent,
}

impl Unit {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Count => "",
            Self::Micros => "µs",
            Self::Millis => "ms",
            Self::Seconds => "s",
            Self::Kib => "KiB",
            Self::Mib => "MiB",
            Self::PerSecond => "/s",
            Self::Percent => "%",
        }
    }

    /// A value of this unit in as many digits as are of use.
    pub(super) fn show(self, value: f64) -> String {
        let digits = match self {
            Self::Count => 0,
            Self::Millis if value >= 100.0 => 0,
            Self::Kib => 0,
            _ if value >= 10.0 => 1,
            _ => 2,
        };
        let text = format!("{value:.digits$}");
        // A budget is written as a person would.
        match text.split_once('.') {
            Some((whole, rest)) if rest.bytes().all(|digit| digit == b'0') => whole.to_owned(),
            Some(_) | None => text,
        }
    }

    /// The same with the unit.
    pub(super) fn show_whole(self, value: f64) -> String {
        let text = format!("{} {}", self.show(value), self.as_str());
        text.trim_end().to_owned()
    }
}

/// What a figure may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Budget {
    AtMost(f64),
    AtLeast(f64),
}

impl Budget {
    pub(super) fn allows(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }
}

/// Which of several runs has to keep the budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judged {
    /// The median.
    Typical,
    /// Every one.
    Every,
}

/// One figure of one run.
#[derive(Debug, Clone)]
pub(super) struct Figure {
    pub(super) what: String,
    pub(super) unit: Unit,
    pub(super) value: f64,
    pub(super) budget: Option<Budget>,
    pub(super) judged: Judged,
    pub(super) baseline: Option<&'static str>,
}

impl Figure {
    pub(super) fn new(what: impl fmt::Display, unit: Unit, value: f64) -> Self {
        let what = what.to_string();
        Self { what, unit, value, budget: None, judged: Judged::Typical, baseline: None }
    }

    pub(super) fn at_most(self, most: f64) -> Self {
        Self { budget: Some(Budget::AtMost(most)), ..self }
    }

    pub(super) fn at_least(self, least: f64) -> Self {
        Self { budget: Some(Budget::AtLeast(least)), ..self }
    }

    /// Every run has to keep the budget, not only the median of all.
    pub(super) fn every(self) -> Self {
        Self { judged: Judged::Every, ..self }
    }

    /// What the C++ daemon does.
    pub(super) fn baseline(self, baseline: &'static str) -> Self {
        Self { baseline: Some(baseline), ..self }
    }
}

/// The value below which this part of all lies; 0 if there are none.
pub(super) fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let below = |at: usize| (at + 1) as f64 >= part * sorted.len() as f64;
    (0..sorted.len()).find(|&at| below(at)).map_or(0.0, |at| sorted[at])
}

/// Half of all are below it. Of an even number, the mean of the two in the middle.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        even if even % 2 == 0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
        _ => sorted[middle],
    }
}

pub(super) fn smallest(values: &[f64]) -> f64 {
    values.iter().copied().reduce(f64::min).unwrap_or_default()
}

pub(super) fn largest(values: &[f64]) -> f64 {
    values.iter().copied().reduce(f64::max).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_distribution() {
        let values: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert_eq!((quantile(&values, 0.99), median(&values)), (198.0, 100.5));
        assert_eq!((smallest(&values), largest(&values)), (1.0, 200.0));
        assert_eq!((quantile(&[], 0.5), median(&[]), largest(&[])), (0.0, 0.0, 0.0));
        assert_eq!((quantile(&[7.0], 0.99), median(&[3.0, 1.0, 2.0])), (7.0, 2.0));
    }

    #[test]
    fn figures_are_written_in_as_many_digits_as_are_of_use() {
        assert_eq!(Unit::Millis.show_whole(1000.4), "1000 ms");
        assert_eq!(Unit::Millis.show_whole(0.123), "0.12 ms");
        assert_eq!(Unit::Micros.show_whole(20.0), "20 µs");
        assert_eq!(Unit::Count.show_whole(0.0), "0");
        assert_eq!(Unit::Mib.show_whole(15.906), "15.9 MiB");
    }
}
