//! Text with a bound: what a guest says is kept only as far as it is ever used.

use std::fmt;
use std::ops::Deref;

/// The longest beginning of `text` that has at most `max` bytes and ends at a character.
#[must_use]
pub fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

/// A text of at most `MAX` bytes; what is longer is cut at a character, not refused.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Text<const MAX: usize>(Box<str>);

impl<const MAX: usize> From<&str> for Text<MAX> {
    fn from(text: &str) -> Self {
        Self(cut(text, MAX).into())
    }
}

impl<const MAX: usize> Deref for Text<MAX> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> fmt::Display for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<const MAX: usize> fmt::Debug for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        assert_eq!(&*Text::<4>::from("abcdef"), "abcd");
        assert_eq!(&*Text::<4>::from("abcé"), "abc", "é has two bytes and only one fits");
        assert_eq!(&*Text::<5>::from("abcé"), "abcé");
        assert_eq!(&*Text::<2>::from("€"), "");
    }
}
