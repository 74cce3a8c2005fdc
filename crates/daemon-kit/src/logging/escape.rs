//! Text from outside, made harmless for a line of text.

use std::fmt::{self, Display, Write};

/// Shows text with every C0 control character (newline and ESC among them), DEL and every C1
/// control character escaped: `\n`, `\r`, `\t`, `\x1b`, `\u{9b}`. All else, backslashes included,
/// stays as it is.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaper(f).write_str(self.0)
    }
}

/// Escapes what is written through it.
pub(super) struct Escaper<W>(pub(super) W);

impl<W: Write> Write for Escaper<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut plain_from = 0;
        for (at, c) in text.char_indices().filter(|(_, c)| c.is_control()) {
            self.0.write_str(text.get(plain_from..at).unwrap_or_default())?;
            plain_from = at + c.len_utf8();
            match c {
                '\n' => self.0.write_str("\\n")?,
                '\r' => self.0.write_str("\\r")?,
                '\t' => self.0.write_str("\\t")?,
                c if c.is_ascii() => write!(self.0, "\\x{:02x}", u32::from(c))?,
                c => write!(self.0, "\\u{{{:x}}}", u32::from(c))?,
            }
        }
        self.0.write_str(text.get(plain_from..).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_control_characters_and_nothing_else() {
        assert_eq!(Escaped("a\nb\rc\td").to_string(), "a\\nb\\rc\\td");
        assert_eq!(Escaped("\x1b[31m\0\x7f").to_string(), "\\x1b[31m\\x00\\x7f");
        assert_eq!(
            Escaped("\u{80}\u{9b}2J\u{9f}\u{a0}").to_string(),
            "\\u{80}\\u{9b}2J\\u{9f}\u{a0}"
        );
        assert_eq!(Escaped("C:\\new \"é\" 日本").to_string(), "C:\\new \"é\" 日本");
        for code in 0..=0x2ff {
            let c = char::from_u32(code).unwrap();
            let control = code < 0x20 || (0x7f..0xa0).contains(&code);
            assert_eq!(Escaped(&c.to_string()).to_string() != c.to_string(), control, "{code:x}");
        }
    }
}
