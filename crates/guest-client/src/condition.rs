//! How the machine is, taken together: what the health script said, and what is wrong with each application.
//!
//! Of several troubles one is told. Those that ask for a reboot or a stop go before those that are only to be written
//! down, and of equals the one that was there first: what is told stays the same until it is over.

use heartbeat_proto::MonotonicTime;
use heartbeat_proto::client::Health;
use heartbeat_proto::guest::CorrectiveAction;

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) since: MonotonicTime,
    pub(crate) corrective_action: CorrectiveAction,
    /// What it is, safe and short enough to be sent.
    pub(crate) reason: String,
}

/// What the host is told about all of them.
pub(crate) fn told(troubles: impl IntoIterator<Item = Trouble>) -> Health {
    let mut gravest: Option<Trouble> = None;
    for trouble in troubles {
        let rank = |trouble: &Trouble| (!is_grave(trouble), trouble.since);
        if gravest.as_ref().is_none_or(|gravest| rank(&trouble) < rank(gravest)) {
            gravest = Some(trouble);
        }
    }
    match gravest {
        None => Health::Healthy,
        Some(Trouble { corrective_action, reason, .. }) => {
            Health::Unhealthy { corrective_action, log_msg: reason.as_str().into() }
        }
    }
}

const fn is_grave(trouble: &Trouble) -> bool {
    match trouble.corrective_action {
        CorrectiveAction::Reboot | CorrectiveAction::Stop => true,
        CorrectiveAction::Log | CorrectiveAction::None | CorrectiveAction::Unknown => false,
    }
}

/// The most bytes of a reason.
pub(crate) const MAX_REASON: usize = 223;

/// Text of a script or an application as it may be sent and logged: a single line of bounded length, with a space for
/// each control character.
pub(crate) fn safe(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    heartbeat_proto::guest::cut(text.trim(), MAX_REASON).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn trouble(secs: u64, corrective_action: CorrectiveAction, reason: &str) -> Trouble {
        let since = MonotonicTime::after_start(Duration::from_secs(secs));
        Trouble { since, corrective_action, reason: reason.into() }
    }

    fn reason(troubles: Vec<Trouble>) -> String {
        match told(troubles) {
            Health::Healthy => "healthy".into(),
            Health::Unhealthy { log_msg, .. } => log_msg.to_string(),
        }
    }

    #[test]
    fn the_gravest_is_told_and_of_equals_the_first() {
        let (log, reboot, stop) =
            (CorrectiveAction::Log, CorrectiveAction::Reboot, CorrectiveAction::Stop);
        assert_eq!(reason(vec![]), "healthy");
        assert_eq!(reason(vec![trouble(1, log, "a"), trouble(2, reboot, "b")]), "b");
        assert_eq!(reason(vec![trouble(3, stop, "a"), trouble(2, reboot, "b")]), "b");
        assert_eq!(reason(vec![trouble(1, stop, "a"), trouble(2, reboot, "b")]), "a");
        assert_eq!(reason(vec![trouble(2, log, "a"), trouble(1, log, "b")]), "b");
        let told = told([trouble(0, stop, "a")]);
        assert_eq!(told, Health::Unhealthy { corrective_action: stop, log_msg: "a".into() });
    }

    #[test]
    fn text_is_made_safe() {
        assert_eq!(safe(b"  disk full\t\x1b[2J now \r"), "disk full  [2J now");
        assert_eq!(safe(b"\xff\xfebinary\x00"), "\u{fffd}\u{fffd}binary");
        assert_eq!(safe("\u{9b}é".as_bytes()), "é");
        assert_eq!(safe(&[b'x'; 1000]).len(), MAX_REASON);
        assert!(safe("é".repeat(300).as_bytes()).len() <= MAX_REASON);
    }
}
