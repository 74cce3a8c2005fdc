//! What a reload of the configuration changed, for the log.

use std::fmt::Display;

use tracing::{info, warn};

use crate::{LogHandle, LogLevel};

/// A setting that has another value than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its section and key, or its option.
    pub key: &'static str,
    /// What it was.
    pub old: String,
    /// What it is.
    pub new: String,
}

impl Change {
    /// The change of a setting, if there is one.
    pub fn of<T: PartialEq>(
        key: &'static str,
        old: &T,
        new: &T,
        shown: impl Fn(&T) -> String,
    ) -> Option<Self> {
        (old != new).then(|| Self { key, old: shown(old), new: shown(new) })
    }

    /// The same, for a value that is shown as it is.
    pub fn plain<T: PartialEq + Display>(key: &'static str, old: &T, new: &T) -> Option<Self> {
        Self::of(key, old, new, T::to_string)
    }
}

/// Says in the log what is in force from now on and what would need a restart, a line each, and changes the level of the
/// log from the former to the latter on the way: the lines are written if either lets them through.
pub fn say(
    changes: &[Change],
    need_restart: &[Change],
    log: &LogHandle,
    (old, new): (LogLevel, LogLevel),
) {
    log.set_level(old.max(new));
    for Change { key, old, new } in need_restart {
        warn!(what = key, old, new, "changed, and needs a restart");
    }
    for Change { key, old, new } in changes {
        info!(what = key, old, new, "configuration changed");
    }
    if changes.is_empty() {
        info!("configuration reloaded: nothing changed");
    } else {
        info!(changes = changes.len(), "configuration reloaded");
    }
    log.set_level(new);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_a_change() {
        assert_eq!(Change::plain("[a] b", &1, &1), None);
        let change = Change::plain("[a] b", &1, &2).unwrap();
        assert_eq!((change.key, &*change.old, &*change.new), ("[a] b", "1", "2"));
        let change = Change::of("[a] b", &1, &2, |value| format!("{value} ms")).unwrap();
        assert_eq!((&*change.old, &*change.new), ("1 ms", "2 ms"));
    }
}
