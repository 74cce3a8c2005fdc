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
    for seed in 0..SEEDS {
        match live_seed(seed) {
            Ok(tally) => all.add(&tally),
            Err(failure) => panic!("{failure}"),
        }
    }
    println!("{all}");
    // It was not quiet: else this says nothing.
    assert!(all.watched > 1_000 && all.alarms > 1_000, "{all}");
    assert!(all.votes > 800 && all.datagrams_hurt > 10_000, "{all}");
    assert!(all.servers_killed > 800 && all.agents_killed > 800 && all.outages > 1_000, "{all}");
}
