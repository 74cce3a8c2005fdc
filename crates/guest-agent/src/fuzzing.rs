//! A door for the fuzz targets: functions of bytes, and nothing of what is behind them.

pub use crate::http::fuzzing::{Commanded, command, connection};
pub use crate::vim::fuzzing::{Answered, answer};
