//! The VIM's answers, for the fuzz targets.

use super::answer::Answer;

/// What was understood of an answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Answered {
    /// Whether it is complete, or what is wrong with it.
    pub complete: Result<bool, String>,
    /// Its status.
    pub status: Option<u16>,
    /// What the log says of it.
    pub text: String,
    /// Its body.
    pub body: Vec<u8>,
    /// Whether nothing came.
    pub silent: bool,
}

/// Reads an answer that comes in pieces, and then the connection ends.
#[must_use]
pub fn answer(pieces: &[&[u8]], max_body: usize) -> Answered {
    let mut answer = Answer::new(max_body);
    let mut complete = Ok(false);
    for piece in pieces {
        complete = answer.handle_bytes(piece).map_err(|error| error.to_string());
        if complete != Ok(false) {
            break;
        }
    }
    let complete = complete.map(|complete| complete || answer.handle_end());
    Answered {
        complete,
        status: answer.status(),
        text: answer.text(),
        silent: answer.is_silent(),
        body: answer.into_body(),
    }
}
