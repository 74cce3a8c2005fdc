//! What the kernel tells of a process under `/proc`.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

/// Resident memory, in KiB. Counted page by page: the figure in `status` may be off by dozens of pages.
pub(super) fn rss_kib(pid: i32) -> Result<u64> {
    rollup(pid, "Rss")
}

/// The part of it that is no file's: what the process wrote itself.
pub(super) fn anonymous_kib(pid: i32) -> Result<u64> {
    rollup(pid, "Anonymous")
}

fn rollup(pid: i32, name: &str) -> Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"));
    field(&rollup.context("the process has ended")?, name).with_context(|| format!("no {name}"))
}

/// The time on a processor of all threads that live.
pub(super) fn cpu_time(pid: i32) -> Result<Duration> {
    let nanos = |path: PathBuf| {
        let text = fs::read_to_string(path.join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse().ok()
    };
    Ok(Duration::from_nanos(sum_of_threads(pid, nanos)?))
}

/// How often the threads that live went to sleep of their own accord.
pub(super) fn voluntary_ctxt_switches(pid: i32) -> Result<u64> {
    sum_of_threads(pid, |path| {
        field(&fs::read_to_string(path.join("status")).ok()?, "voluntary_ctxt_switches")
    })
}

/// How many files are open.
pub(super) fn open_files(pid: i32) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// Sums what `figure` finds in each thread's directory; a thread may end meanwhile.
fn sum_of_threads(pid: i32, figure: impl Fn(PathBuf) -> Option<u64>) -> Result<u64> {
    let threads = fs::read_dir(format!("/proc/{pid}/task"))?;
    let figures: Vec<u64> = threads.filter_map(|thread| figure(thread.ok()?.path())).collect();
    anyhow::ensure!(!figures.is_empty(), "the process has ended");
    Ok(figures.iter().sum())
}

/// The number after `name:`.
fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}
