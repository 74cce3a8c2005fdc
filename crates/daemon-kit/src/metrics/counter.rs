//! Numbers that only grow.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Serialize, Serializer};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts one more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Counts so many more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Serialize for Counter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.get().serialize(serializer)
    }
}

/// Counters by two words, each out of a fixed list: what is counted, and what became of it.
///
/// A word that is not on its list is counted under the last one, so name that for the purpose.
#[derive(Debug)]
pub struct Table {
    rows: &'static [&'static str],
    columns: &'static [&'static str],
    counts: Box<[Counter]>,
}

impl Table {
    /// A table of zeros.
    #[must_use]
    pub fn new(rows: &'static [&'static str], columns: &'static [&'static str]) -> Self {
        let counts = std::iter::repeat_with(Counter::default).take(rows.len() * columns.len());
        Self { rows, columns, counts: counts.collect() }
    }

    /// Counts one more.
    pub fn count(&self, row: &str, column: &str) {
        let (row, column) = (place(self.rows, row), place(self.columns, column));
        if let Some(counter) = self.counts.get(row * self.columns.len() + column) {
            counter.increment();
        }
    }

    /// Every pair of words with its count, also where that is 0.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> + '_ {
        let pairs =
            self.rows.iter().flat_map(|row| self.columns.iter().map(move |column| (*row, *column)));
        pairs.zip(&self.counts).map(|((row, column), count)| (row, column, count.get()))
    }

    /// All that were counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().map(Counter::get).sum()
    }

    /// All of one column.
    #[must_use]
    pub fn column(&self, column: &str) -> u64 {
        self.iter().filter(|(_, other, _)| *other == column).map(|(_, _, count)| count).sum()
    }
}

fn place(words: &[&str], word: &str) -> usize {
    words.iter().position(|known| *known == word).unwrap_or(words.len().saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_counts_and_is_shown_as_a_number() {
        let counter = Counter::default();
        counter.increment();
        counter.add(2);
        assert_eq!(counter.get(), 3);
        assert_eq!(serde_json::to_string(&counter).unwrap(), "3");
    }

    #[test]
    fn a_table_counts_by_two_words_and_what_it_does_not_know_is_the_last() {
        let table = Table::new(&["A", "B", "other"], &["sent", "unsent"]);
        table.count("B", "sent");
        table.count("B", "sent");
        table.count("nonsense", "unsent");
        let seen: Vec<_> = table.iter().filter(|(_, _, count)| *count > 0).collect();
        assert_eq!(seen, [("B", "sent", 2), ("other", "unsent", 1)]);
        assert_eq!((table.iter().count(), table.total(), table.column("sent")), (6, 3, 2));
    }
}
