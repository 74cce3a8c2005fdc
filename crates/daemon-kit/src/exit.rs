//! How a daemon says that it cannot go on: one line on stderr and an exit code.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::process::ExitCode;

use crate::logging::Escaped;

/// Exit code for what the user asked for and cannot have: an option, a file or a value that is
/// wrong.
pub const USAGE: u8 = 2;

/// Exit code for what the machine refused: a port in use, no permission, a second copy.
pub const ENVIRONMENT: u8 = 3;

/// The end of a daemon that could not start or go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What the process exits with: [`USAGE`] or [`ENVIRONMENT`].
    pub code: u8,
    /// What went wrong, without the program's name. [`describe`] makes it from an error.
    pub message: String,
}

impl Failure {
    /// The user asked for something wrong (exit code 2).
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure { code: USAGE, message: message.into() }
    }

    /// The machine refused something (exit code 3).
    pub fn environment(message: impl Into<String>) -> Failure {
        Failure { code: ENVIRONMENT, message: message.into() }
    }

    /// Writes the one line `<program>: <message>` to stderr and gives the code to return from
    /// `main`.
    pub fn report(&self, program: &str) -> ExitCode {
        // Not eprintln!, which panics when stderr is gone; the exit code still tells.
        let _ = writeln!(std::io::stderr(), "{program}: {self}");
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    /// The message on one line, whatever a file or an argument put into it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(&self.message).fmt(f)
    }
}

impl Error for Failure {}

/// An error and all its sources on one line, joined by `: `. The errors of this workspace leave
/// their source out of their own text.
pub fn describe(error: &dyn Error) -> String {
    let mut text = String::new();
    // Writing to a String fails only if a Display impl does; what it wrote before that is all there
    // is to say.
    let _ = write!(text, "{error}");
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read it")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn sources_are_joined() {
        let error = Outer(std::io::Error::other("the disk is gone"));
        assert_eq!(describe(&error), "cannot read it: the disk is gone");
    }

    #[test]
    fn a_failure_is_one_line() {
        let failure = Failure::usage("bad value 'a\nb\x1b[2J'");
        assert_eq!(failure.to_string(), "bad value 'a\\nb\\x1b[2J'");
        assert_eq!((failure.code, Failure::environment("x").code), (2, 3));
    }
}
