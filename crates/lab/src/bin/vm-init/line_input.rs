//! Commands, one a line, from bytes that arrive in pieces.

/// Keeps the beginning of a line until its end is there.
#[derive(Debug, Default)]
pub(super) struct LineInput {
    partial: Vec<u8>,
}

impl LineInput {
    /// Takes the next piece and gives the lines that it completes; empty ones are left out.
    pub(super) fn push(&mut self, piece: &[u8]) -> Vec<String> {
        self.partial.extend_from_slice(piece);
        let Some(end) = self.partial.iter().rposition(|&byte| byte == b'\n') else {
            return Vec::new();
        };
        let rest = self.partial.split_off(end + 1);
        let whole = std::mem::replace(&mut self.partial, rest);
        String::from_utf8_lossy(&whole)
            .lines()
            .map(|line| line.trim().to_owned())
            .filter(|line| !line.is_empty())
            .collect()
    }
}
