//! What a stand-in saw, in order: bounded, readable from any thread, and waited for with a deadline.

use std::collections::VecDeque;
use std::fmt::Display;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// Entries that an error lists, at most: the last ones.
const LISTED: usize = 25;

/// A list that one side adds to and the other reads in order.
///
/// It holds `limit` entries; of more, the oldest go, read or not. Waiting may be cancelled: only what was
/// returned has been consumed.
#[derive(Debug)]
pub(crate) struct Record<T> {
    entries: Mutex<Entries<T>>,
    grown: Notify,
}

#[derive(Debug)]
struct Entries<T> {
    kept: VecDeque<Entry<T>>,
    /// How many at the beginning of `kept` were consumed, at least: what is behind them is looked at.
    passed: usize,
    /// How many went because of the limit.
    gone: usize,
    limit: usize,
}

#[derive(Debug)]
struct Entry<T> {
    what: T,
    consumed: bool,
}

impl<T> Entries<T> {
    /// What was not consumed, in order.
    fn fresh(&mut self) -> impl Iterator<Item = &mut Entry<T>> {
        self.kept.range_mut(self.passed..).filter(|entry| !entry.consumed)
    }
}

impl<T: Clone + Display> Record<T> {
    pub(crate) fn new(limit: usize) -> Self {
        let entries = Entries { kept: VecDeque::new(), passed: 0, gone: 0, limit };
        Self { entries: Mutex::new(entries), grown: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Entries<T>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what `entry` makes; it is not called when nothing is to be kept.
    pub(crate) fn add(&self, entry: impl FnOnce() -> T) {
        let mut entries = self.lock();
        if entries.limit == 0 {
            return;
        }
        while entries.kept.len() >= entries.limit {
            entries.kept.pop_front();
            entries.passed = entries.passed.saturating_sub(1);
            entries.gone += 1;
        }
        entries.kept.push_back(Entry { what: entry(), consumed: false });
        drop(entries);
        self.grown.notify_waiters();
    }

    /// Changes how many entries are kept from now on.
    pub(crate) fn set_limit(&self, limit: usize) {
        self.lock().limit = limit;
    }

    /// Every entry that is kept, consumed or not.
    pub(crate) fn all(&self) -> Vec<T> {
        self.lock().kept.iter().map(|entry| entry.what.clone()).collect()
    }

    /// Consumes and returns what has not been consumed.
    pub(crate) fn drain(&self) -> Vec<T> {
        let mut entries = self.lock();
        let fresh = entries.fresh().map(|entry| entry.what.clone()).collect();
        entries.passed = entries.kept.len();
        fresh
    }

    /// Consumes up to the first entry that `wanted` takes, which it returns; of those before it, the ones that are
    /// `among` what is looked at.
    fn take(
        &self,
        mut among: impl FnMut(&T) -> bool,
        mut wanted: impl FnMut(&T) -> bool,
    ) -> Option<T> {
        let mut entries = self.lock();
        let length =
            1 + entries.fresh().position(|entry| among(&entry.what) && wanted(&entry.what))?;
        let mut found = None;
        for entry in entries.fresh().take(length).filter(|entry| among(&entry.what)) {
            entry.consumed = true;
            found = Some(entry.what.clone());
        }
        let passed = entries.passed;
        entries.passed += entries.kept.range(passed..).take_while(|entry| entry.consumed).count();
        found
    }

    /// Waits until there is an entry that `wanted` takes, and consumes up to it.
    ///
    /// # Errors
    ///
    /// There is none when the time is over: the error lists what there was instead.
    pub(crate) async fn wait_for(
        &self,
        what: &str,
        within: Duration,
        wanted: impl FnMut(&T) -> bool,
    ) -> Result<T> {
        self.wait_among(what, within, |_| true, wanted).await
    }

    /// As [`Record::wait_for`], looking only at entries that are `among` some: the others stay.
    ///
    /// # Errors
    /// See [`Record::wait_for`].
    pub(crate) async fn wait_among(
        &self,
        what: &str,
        within: Duration,
        mut among: impl FnMut(&T) -> bool,
        mut wanted: impl FnMut(&T) -> bool,
    ) -> Result<T> {
        let deadline = Instant::now() + within;
        loop {
            let mut grown = pin!(self.grown.notified());
            grown.as_mut().enable();
            if let Some(entry) = self.take(&mut among, &mut wanted) {
                return Ok(entry);
            }
            if timeout_at(deadline, grown).await.is_err() {
                bail!("no {what} within {within:?}; {}", self.list());
            }
        }
    }

    /// The last entries in words, each on a line of its own.
    pub(crate) fn list(&self) -> String {
        let mut entries = self.lock();
        let fresh = entries.fresh().count();
        let total = entries.gone + entries.kept.len();
        let mut text = format!("there were {total}, {fresh} of them since the last one taken:");
        for (at, entry) in entries.kept.iter().enumerate().rev().take(LISTED).rev() {
            let mark = if at < entries.passed || entry.consumed { ' ' } else { '*' };
            text.push_str(&format!("\n{mark} {}", entry.what));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(5);

    #[tokio::test]
    async fn entries_are_consumed_in_order() {
        let record = Record::new(10);
        for number in 1..=4 {
            record.add(|| number);
        }
        assert_eq!(record.wait_for("2", SHORT, |&number| number == 2).await.unwrap(), 2);
        let error = record.wait_for("1", SHORT, |&number| number == 1).await.unwrap_err();
        let error = error.to_string();
        assert!(error.starts_with("no 1 within 5ms; there were 4, 2 of them"), "{error}");
        assert!(error.ends_with("\n  1\n  2\n* 3\n* 4"), "{error}");
        assert_eq!(record.drain(), [3, 4]);
        assert_eq!(record.all(), [1, 2, 3, 4]);
    }

    #[tokio::test]
    async fn looking_at_some_leaves_the_others() {
        let record = Record::new(10);
        for number in 1..=6 {
            record.add(|| number);
        }
        let even = |number: &i32| number % 2 == 0;
        assert_eq!(record.wait_among("4", SHORT, even, |&number| number == 4).await.unwrap(), 4);
        record.wait_among("2", SHORT, even, |&number| number == 2).await.unwrap_err();
        assert_eq!(record.wait_for("3", SHORT, |&number| number == 3).await.unwrap(), 3);
        assert!(record.list().ends_with("\n  1\n  2\n  3\n  4\n* 5\n* 6"), "{}", record.list());
        assert_eq!(record.drain(), [5, 6]);
        assert!(record.drain().is_empty());
    }

    #[tokio::test]
    async fn an_entry_of_another_thread_ends_the_wait() {
        let record = std::sync::Arc::new(Record::new(10));
        let adder = std::sync::Arc::clone(&record);
        let thread = std::thread::spawn(move || adder.add(|| 7));
        record.wait_for("7", Duration::from_secs(10), |&number| number == 7).await.unwrap();
        thread.join().unwrap();
    }

    #[test]
    fn only_so_many_are_kept() {
        let record = Record::new(2);
        for number in 1..=5 {
            record.add(|| number);
        }
        assert_eq!(record.all(), [4, 5]);
        let nothing: Record<u8> = Record::new(0);
        nothing.add(|| unreachable!("nothing is kept"));
        assert!(nothing.all().is_empty());
    }
}
