//! For simulations: numbers that only look random, and a seed that says which life it was.

use std::time::Duration;

/// Splitmix64: small, and the same everywhere.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// As a driver draws it for a challenge or an `init`.
    pub(crate) fn random(&mut self) -> u32 {
        u32::try_from(self.roll() >> 32).unwrap()
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }

    pub(crate) fn one_in(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }

    /// A place in something of this length, its end included.
    pub(crate) fn place(&mut self, length: usize) -> usize {
        usize::try_from(self.below(u64::try_from(length).unwrap() + 1)).unwrap()
    }

    pub(crate) fn millis(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(least + self.below(most - least + 1))
    }

    /// How much later than asked a timer fires.
    pub(crate) fn lateness(&mut self) -> Duration {
        Duration::from_micros(self.below(20_000))
    }

    /// A part of `whole`, up to this many thousandths of it.
    pub(crate) fn part(&mut self, whole: Duration, up_to: u64) -> Duration {
        let thousandths = self.below(up_to + 1);
        Duration::from_nanos(u64::try_from(whole.as_nanos()).unwrap() / 1000 * thousandths)
    }
}

/// Says which life it was when a test ends in the middle of it.
pub(crate) struct Seed(pub(crate) u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this was seed {}", self.0);
        }
    }
}
