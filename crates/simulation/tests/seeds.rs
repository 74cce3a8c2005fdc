//! Two thousand lives of a site; `cargo xtask bench --soak` has more.

use simulation::{Tally, live_seed, regressions};

const SEEDS: u64 = 2_000;

#[test]
fn what_once_failed_no_longer_does() {
    for seed in regressions() {
        if let Err(failure) = live_seed(seed) {
            panic!("{failure}");
        }
    }
}

#[test]
fn every_site_comes_right_again() {
    let mut all = Tally::default();
    let seeds = std::env::var("SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS);
    for seed in 0..seeds {
        match live_seed(seed) {
            Ok(tally) => all.add(&tally),
            Err(failure) => panic!("{failure}"),
        }
    }
    println!("{all:?}");
}
