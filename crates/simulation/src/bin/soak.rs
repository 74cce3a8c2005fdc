//! Many seeds, from a first one on: `soak [SEEDS [FIRST]]`. For `cargo xtask bench --soak`, which builds it in release mode.

use std::process::ExitCode;
use std::time::Instant;

use simulation::{Tally, live_seed, regressions};

/// How often it says how far it is.
const SHOWN_EVERY: u64 = 10_000;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let (seeds, first) = match (arguments.next(), arguments.next()) {
        (None, _) => (100_000, 0),
        (Some(Ok(seeds)), None) => (seeds, 0),
        (Some(Ok(seeds)), Some(Ok(first))) => (seeds, first),
        (Some(Err(_)), _) | (_, Some(Err(_))) => {
            eprintln!("expected: soak [SEEDS [FIRST]], two numbers");
            return ExitCode::from(2);
        }
    };
    let start = Instant::now();
    let mut all = Tally::default();
    for seed in regressions().chain(first..first.saturating_add(seeds)) {
        match live_seed(seed) {
            Ok(tally) => all.add(&tally),
            Err(failure) => {
                println!("{all}");
                println!("{failure}");
                println!("Keep the seed in crates/simulation/regressions.txt.");
                return ExitCode::FAILURE;
            }
        }
        if all.seeds.is_multiple_of(SHOWN_EVERY) {
            eprintln!("{} seeds", all.seeds);
        }
    }
    let rate =
        f64::from(u32::try_from(all.seeds).unwrap_or(u32::MAX)) / start.elapsed().as_secs_f64();
    println!("{all}");
    println!("{rate:.0} seeds a second");
    ExitCode::SUCCESS
}
