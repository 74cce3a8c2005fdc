//! What the kernel knows of this process, under the names that every exporter has for it.
//!
//! To count the open files of a process with ten thousand of them takes the kernel some milliseconds, so [`Sample::take`]
//! is for a helper thread, not for a main loop.

use std::fs;
use std::io;

use nix::unistd::{SysconfVar, sysconf};

use super::{Exposition, Family, Kind};

static CPU: Family = Family {
    name: "process_cpu_seconds",
    kind: Kind::Counter,
    help: "Time that the process spent on processors, in user and in system mode",
    labels: &[],
};

static RESIDENT: Family = Family {
    name: "process_resident_memory_bytes",
    kind: Kind::Gauge,
    help: "Memory of the process that is in RAM",
    labels: &[],
};

static VIRTUAL: Family = Family {
    name: "process_virtual_memory_bytes",
    kind: Kind::Gauge,
    help: "Address space of the process",
    labels: &[],
};

static START: Family = Family {
    name: "process_start_time_seconds",
    kind: Kind::Gauge,
    help: "When the process started, since the epoch",
    labels: &[],
};

static OPEN_FILES: Family = Family {
    name: "process_open_fds",
    kind: Kind::Gauge,
    help: "Open files of the process; a connected guest is one",
    labels: &[],
};

static MAX_FILES: Family = Family {
    name: "process_max_fds",
    kind: Kind::Gauge,
    help: "How many files the process may have open",
    labels: &[],
};

static THREADS: Family = Family {
    name: "process_threads",
    kind: Kind::Gauge,
    help: "Threads of the process",
    labels: &[],
};

/// Everything that is shown here.
pub static FAMILIES: &[&Family] =
    &[&CPU, &RESIDENT, &VIRTUAL, &START, &OPEN_FILES, &MAX_FILES, &THREADS];

/// What was found; nothing of what the kernel does not tell.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sample {
    cpu_seconds: Option<f64>,
    resident: Option<u64>,
    virtual_memory: Option<u64>,
    start: Option<f64>,
    open_files: Option<u64>,
    max_files: Option<u64>,
    threads: Option<u64>,
}

impl Sample {
    /// Reads it all from `/proc`.
    #[must_use]
    pub fn take() -> Self {
        let text = |path| fs::read_to_string(path).unwrap_or_default();
        let stat = text("/proc/self/stat");
        let stat = Stat::parse(&stat);
        let boot = boot_time(&text("/proc/stat"));
        let ticks = system(SysconfVar::CLK_TCK);
        let seconds = |count: u64| ticks.map(|ticks| real(count) / real(ticks));
        let started = stat.as_ref().and_then(|stat| seconds(stat.start_ticks));
        Self {
            cpu_seconds: stat.as_ref().and_then(|stat| seconds(stat.cpu_ticks)),
            resident: stat.as_ref().and_then(|stat| {
                system(SysconfVar::PAGE_SIZE).map(|page| stat.resident_pages.saturating_mul(page))
            }),
            virtual_memory: stat.as_ref().map(|stat| stat.virtual_bytes),
            start: boot.zip(started).map(|(boot, after)| real(boot) + after),
            open_files: open_files().ok(),
            max_files: max_files(&text("/proc/self/limits")),
            threads: stat.as_ref().map(|stat| stat.threads),
        }
    }

    /// Adds it to the text.
    pub fn render(&self, out: &mut Exposition) {
        let real = [(&CPU, self.cpu_seconds), (&START, self.start)];
        for (family, value) in real {
            if let Some(value) = value {
                out.one(family, value);
            }
        }
        let whole = [
            (&RESIDENT, self.resident),
            (&VIRTUAL, self.virtual_memory),
            (&OPEN_FILES, self.open_files),
            (&MAX_FILES, self.max_files),
            (&THREADS, self.threads),
        ];
        for (family, value) in whole {
            if let Some(value) = value {
                out.one(family, value);
            }
        }
    }
}

/// The numbers of `/proc/self/stat` that are of use here; see proc(5).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    start_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The second field is a name in brackets, and may itself hold blanks and brackets.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // proc(5) counts from 1; the first one here is the third.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: field(14)?.saturating_add(field(15)?),
            threads: field(20)?,
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

fn boot_time(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// None where there is no limit.
fn max_files(text: &str) -> Option<u64> {
    let limits = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    limits.split_ascii_whitespace().next()?.parse().ok()
}

fn open_files() -> io::Result<u64> {
    // The directory that is read is one of them, and not for long.
    Ok((fs::read_dir("/proc/self/fd")?.count() as u64).saturating_sub(1))
}

fn system(variable: SysconfVar) -> Option<u64> {
    u64::try_from(sysconf(variable).ok()??).ok().filter(|value| *value > 0)
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53, which no clock here reaches")]
fn real(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_brackets_is_skipped() {
        let text = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 30 12 0 0 20 0 2 0 500 9000 33 18446744073709551615 1";
        let stat = Stat::parse(text).unwrap();
        let wanted = Stat {
            cpu_ticks: 42,
            threads: 2,
            start_ticks: 500,
            virtual_bytes: 9000,
            resident_pages: 33,
        };
        assert_eq!(stat, wanted);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn this_process_is_measured() {
        let sample = Sample::take();
        assert!(sample.resident.is_some_and(|bytes| bytes > 100_000), "{sample:?}");
        assert!(sample.open_files.is_some_and(|count| count >= 3), "{sample:?}");
        assert!(sample.threads.is_some_and(|count| count >= 1), "{sample:?}");
        // After 2020, and not in the future.
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let start = sample.start.unwrap();
        assert!(start > 1.6e9 && start < now.as_secs_f64() + 1.0, "{start}");
        let mut out = Exposition::default();
        Sample { max_files: Some(7), ..sample }.render(&mut out);
        let text = out.finish();
        for family in FAMILIES {
            assert!(text.contains(&format!("# TYPE {} ", family.name)), "{text}");
        }
    }

    #[test]
    fn an_unlimited_number_of_files_is_none() {
        let text = "Limit                     Soft Limit           Hard Limit           Units\n\
                    Max open files            1024                 4096                 files\n";
        assert_eq!(max_files(text), Some(1024));
        assert_eq!(max_files(&text.replace("1024", "unlimited")), None);
    }
}
