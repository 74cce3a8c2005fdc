//! The last few of many things, for a status.

use std::collections::VecDeque;

/// How many are kept.
pub const KEPT: usize = 32;

/// The last [`KEPT`] things that were put in, the oldest first. It takes room only as things come.
#[derive(Clone, Debug)]
pub struct Recent<T>(VecDeque<T>);

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Recent<T> {
    /// Puts one in; the oldest makes room.
    pub fn push(&mut self, thing: T) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(thing);
    }

    /// The last one that was put in.
    pub fn last(&self) -> Option<&T> {
        self.0.back()
    }

    /// All of them, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_room() {
        let mut recent = Recent::default();
        assert_eq!(recent.last(), None);
        for number in 0..100 {
            recent.push(number);
        }
        assert!(recent.iter().copied().eq(68..100));
        assert_eq!(recent.last(), Some(&99));
    }
}
