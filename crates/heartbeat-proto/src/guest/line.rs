//! Finds lines in a stream of bytes that arrives in pieces of any size.

/// The longest line that is accepted, in bytes, the newline not counted.
pub const MAX_LINE: usize = 4096;

/// What [`LineFramer`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A whole line without its newline; never blank.
    Line {
        /// The bytes of the line.
        bytes: &'a [u8],
        /// Whether it began where the stream began: it may then be the rest of a line whose
        /// beginning an earlier connection took.
        leading: bool,
    },
    /// A line that passed [`MAX_LINE`]. Told once a line, as soon as it is known; the rest of that
    /// line is thrown away.
    TooLong,
}

/// Splits a stream into lines, and never holds more than [`MAX_LINE`] bytes.
///
/// A line that lies whole in the piece just read is handed on without being copied; only the
/// beginning of an unfinished one is kept, and its memory is given back with the line.
#[derive(Debug)]
pub struct LineFramer {
    partial: Vec<u8>,
    skipping: bool,
    leading: bool,
    thrown_away: u64,
}

impl Default for LineFramer {
    fn default() -> Self {
        Self { partial: Vec::new(), skipping: false, leading: true, thrown_away: 0 }
    }
}

impl LineFramer {
    /// Takes the next piece of the stream and hands every frame that it completes to `sink`.
    pub fn push(&mut self, piece: &[u8], mut sink: impl FnMut(Frame<'_>)) {
        let mut rest = piece;
        while let Some(at) = rest.iter().position(|&byte| byte == b'\n') {
            self.finish(&rest[..at], &mut sink);
            rest = &rest[at + 1..];
        }
        self.keep(rest, &mut sink);
    }

    /// Bytes held for a line that has not ended yet.
    #[must_use]
    pub fn held(&self) -> usize {
        self.partial.len()
    }

    /// Bytes of lines that were too long, since this was last asked.
    pub fn take_thrown_away(&mut self) -> u64 {
        std::mem::take(&mut self.thrown_away)
    }

    fn throw_away(&mut self, piece: &[u8]) {
        self.thrown_away += (self.partial.len() + piece.len()) as u64;
        self.partial = Vec::new();
    }

    fn finish(&mut self, end: &[u8], sink: &mut impl FnMut(Frame<'_>)) {
        let leading = std::mem::take(&mut self.leading);
        if std::mem::take(&mut self.skipping) {
            self.throw_away(end);
            return;
        }
        if self.partial.len() + end.len() > MAX_LINE {
            self.throw_away(end);
            sink(Frame::TooLong);
            return;
        }
        let mut line = std::mem::take(&mut self.partial);
        let bytes = if line.is_empty() {
            end
        } else {
            line.extend_from_slice(end);
            &line
        };
        if !bytes.iter().all(u8::is_ascii_whitespace) {
            sink(Frame::Line { bytes, leading });
        }
    }

    fn keep(&mut self, beginning: &[u8], sink: &mut impl FnMut(Frame<'_>)) {
        if self.skipping {
            self.throw_away(beginning);
            return;
        }
        if self.partial.len() + beginning.len() > MAX_LINE {
            self.throw_away(beginning);
            self.skipping = true;
            sink(Frame::TooLong);
        } else {
            self.partial.extend_from_slice(beginning);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, PartialEq, Eq, Clone)]
    enum Owned {
        Line(Vec<u8>, bool),
        TooLong,
    }

    fn frames(pieces: &[&[u8]]) -> Vec<Owned> {
        let mut framer = LineFramer::default();
        let mut found = Vec::new();
        for piece in pieces {
            framer.push(piece, |frame| {
                found.push(match frame {
                    Frame::Line { bytes, leading } => Owned::Line(bytes.to_vec(), leading),
                    Frame::TooLong => Owned::TooLong,
                });
            });
            assert!(framer.held() <= MAX_LINE);
        }
        found
    }

    fn line(text: &str) -> Owned {
        Owned::Line(text.into(), false)
    }

    #[test]
    fn an_object_may_arrive_in_pieces_and_a_piece_may_hold_several() {
        assert_eq!(frames(&[b"\n{", b"}", b"\n"]), [line("{}")]);
        assert_eq!(frames(&[b"\n{a}\n\n{b}\n\n{c"]), [line("{a}"), line("{b}")]);
        assert_eq!(frames(&[b"\n{a}\n\n{b", b"}\n"]), [line("{a}"), line("{b}")]);
    }

    #[test]
    fn blank_lines_are_ignored() {
        assert_eq!(frames(&[b"\n\n\n", b" \r\n\t\n"]), []);
    }

    #[test]
    fn only_a_line_that_began_with_the_stream_is_leading() {
        assert_eq!(frames(&[b"x}\n{}\n"]), [Owned::Line(b"x}".to_vec(), true), line("{}")]);
        assert_eq!(frames(&[b"\nx}\n"]), [line("x}")]);
    }

    #[test]
    fn the_longest_line_passes_and_one_byte_more_does_not() {
        let longest = vec![b'x'; MAX_LINE];
        let longer = vec![b'x'; MAX_LINE + 1];
        assert_eq!(frames(&[b"\n", &longest, b"\n"]), [Owned::Line(longest.clone(), false)]);
        assert_eq!(frames(&[b"\n", &longer, b"\n{}\n"]), [Owned::TooLong, line("{}")]);
        let whole = [&longer[..], b"\n{}\n"].concat();
        assert_eq!(frames(&[&whole]), [Owned::TooLong, line("{}")]);
    }

    #[test]
    fn an_endless_line_is_told_once_and_held_nowhere() {
        let mut framer = LineFramer::default();
        let mut told = 0;
        for _ in 0..10_000 {
            framer.push(&[b'x'; 1000], |_| told += 1);
        }
        assert_eq!((told, framer.held()), (1, 0));
        assert_eq!((framer.take_thrown_away(), framer.take_thrown_away()), (10_000_000, 0));
        framer.push(b"\n{}\n", |frame| {
            assert_eq!(frame, Frame::Line { bytes: b"{}", leading: false });
            told += 1;
        });
        assert_eq!((told, framer.take_thrown_away()), (2, 0));
    }

    proptest! {
        #[test]
        fn where_the_stream_is_cut_makes_no_difference(
            stream in prop::collection::vec(
                prop_oneof![4 => Just(b'\n'), 20 => any::<u8>()], 0..600),
            cuts in prop::collection::vec(0usize..600, 0..20),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|at| at.min(stream.len())).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for at in cuts {
                pieces.push(&stream[from..at]);
                from = at;
            }
            pieces.push(&stream[from..]);
            prop_assert_eq!(frames(&pieces), frames(&[&stream]));
        }
    }
}
