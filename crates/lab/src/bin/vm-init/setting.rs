//! How the program shall behave, as the test says it.

use heartbeat_proto::guest::CorrectiveAction;
use lab::guest::{Health, Voting};

/// One line of the test's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Setting {
    /// `healthy`, `unhealthy ACTION TEXT`
    Health(Health),
    /// `vote accept`, `vote reject TEXT`, `vote never`
    Voting(Voting),
}

impl Setting {
    /// Reads a line; nothing if it is no setting.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let mut words = line.splitn(3, ' ');
        let mut word = || words.next().unwrap_or_default();
        match (word(), word(), word()) {
            ("healthy", "", "") => Some(Self::Health(Health::Healthy)),
            ("unhealthy", action, text) => Some(Self::Health(Health::Unhealthy {
                corrective_action: CorrectiveAction::from_word(action)?,
                log_msg: text.into(),
            })),
            ("vote", "accept", "") => Some(Self::Voting(Voting::Accept)),
            ("vote", "reject", text) => Some(Self::Voting(Voting::Reject(text.to_owned()))),
            ("vote", "never", "") => Some(Self::Voting(Voting::Never)),
            _ => None,
        }
    }
}
