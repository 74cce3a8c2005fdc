//! What guest and host say to each other.

use std::fmt;

use super::text::Text;
use super::{MAX_LOG_MSG, MAX_NAME};

/// A closed set of words on the wire, with the text of each.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// Every value, in the order of the protocol's table.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The value of a word on the wire, if it is one of these.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// What the orchestrator is asked to do about an instance that failed.
    CorrectiveAction {
        /// Nothing.
        None = "none",
        /// Reboot it.
        Reboot = "reboot",
        /// Stop it.
        Stop = "stop",
        /// Only write it down.
        Log = "log",
        /// Not known; also stands for every word that is none of these.
        Unknown = "unknown",
    }
}

words! {
    /// How a guest says it is, in its answer to a challenge.
    Health {
        /// All is well.
        Healthy = "healthy",
        /// Something inside the guest is not well; also stands for every other word.
        Unhealthy = "unhealthy",
    }
}

words! {
    /// Whether the guest is asked or told.
    NotificationType {
        /// A vote: the guest may reject.
        Revocable = "revocable",
        /// A notification: it will happen, the guest may prepare.
        Irrevocable = "irrevocable",
    }
}

impl NotificationType {
    /// What silence, or any answer that is no rejection, amounts to.
    #[must_use]
    pub const fn agreement(self) -> VoteResult {
        match self {
            Self::Revocable => VoteResult::Accept,
            Self::Irrevocable => VoteResult::Complete,
        }
    }
}

words! {
    /// A guest's answer to a vote or a notification.
    VoteResult {
        /// The action may go on.
        Accept = "accept",
        /// The action shall not happen.
        Reject = "reject",
        /// The guest has prepared for the action.
        Complete = "complete",
        /// The guest ran out of time; counts as agreement.
        Timeout = "timeout",
        /// The guest could not decide; counts as agreement.
        Error = "error",
        /// Counts as agreement; also stands for every word that is none of these.
        Unknown = "unknown",
    }
}

/// The longest `event_type` that is passed on, in bytes.
pub(crate) const MAX_EVENT: usize = 64;

/// An action on an instance that its guest is asked about or told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventType {
    /// The instance is to be stopped.
    Stop,
    /// The instance is to be rebooted.
    Reboot,
    /// The instance is to be suspended to disk.
    Suspend,
    /// The instance is to be paused in memory.
    Pause,
    /// A paused instance goes on.
    Unpause,
    /// A suspended instance goes on.
    Resume,
    /// A resize begins.
    ResizeBegin,
    /// A resize is over.
    ResizeEnd,
    /// A live migration begins.
    LiveMigrateBegin,
    /// A live migration is over.
    LiveMigrateEnd,
    /// A cold migration begins.
    ColdMigrateBegin,
    /// A cold migration is over.
    ColdMigrateEnd,
    /// The word `unknown` itself.
    Unknown,
    /// Any other word: the orchestrator may know actions that we do not, and they pass through.
    Other(Text<MAX_EVENT>),
}

impl EventType {
    /// Every action with a name of its own, in the order of the protocol's table.
    pub const ALL: &'static [Self] = &[
        Self::Stop,
        Self::Reboot,
        Self::Suspend,
        Self::Pause,
        Self::Unpause,
        Self::Resume,
        Self::ResizeBegin,
        Self::ResizeEnd,
        Self::LiveMigrateBegin,
        Self::LiveMigrateEnd,
        Self::ColdMigrateBegin,
        Self::ColdMigrateEnd,
        Self::Unknown,
    ];

    /// The word on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Stop => "stop",
            Self::Reboot => "reboot",
            Self::Suspend => "suspend",
            Self::Pause => "pause",
            Self::Unpause => "unpause",
            Self::Resume => "resume",
            Self::ResizeBegin => "resize_begin",
            Self::ResizeEnd => "resize_end",
            Self::LiveMigrateBegin => "live_migrate_begin",
            Self::LiveMigrateEnd => "live_migrate_end",
            Self::ColdMigrateBegin => "cold_migrate_begin",
            Self::ColdMigrateEnd => "cold_migrate_end",
            Self::Unknown => "unknown",
            Self::Other(word) => word,
        }
    }
}

/// Which of the times that a guest asked for an action gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// `shutdown_notice_secs`
    Shutdown,
    /// `suspend_notice_secs`
    Suspend,
    /// `resume_notice_secs`
    Resume,
}

impl EventType {
    /// The time of a notification of this action; `None` if it has none of its own and gets that
    /// of a vote.
    #[must_use]
    pub const fn notice(&self) -> Option<Notice> {
        match self {
            Self::Stop | Self::Reboot => Some(Notice::Shutdown),
            Self::Pause
            | Self::Suspend
            | Self::ResizeBegin
            | Self::LiveMigrateBegin
            | Self::ColdMigrateBegin => Some(Notice::Suspend),
            Self::Unpause
            | Self::Resume
            | Self::ResizeEnd
            | Self::LiveMigrateEnd
            | Self::ColdMigrateEnd => Some(Notice::Resume),
            Self::Unknown | Self::Other(_) => None,
        }
    }
}

impl From<&str> for EventType {
    fn from(word: &str) -> Self {
        Self::ALL
            .iter()
            .find(|event| event.as_str() == word)
            .cloned()
            .unwrap_or_else(|| Self::Other(word.into()))
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The first message of a guest: who it is and how it wants to be watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Init {
    /// A random number of the guest's for this session.
    pub invocation_id: u64,
    /// The guest's name for itself.
    pub name: Text<MAX_NAME>,
    /// Milliseconds between challenges.
    pub heartbeat_interval_ms: u64,
    /// Seconds the guest wants for a vote.
    pub vote_secs: u64,
    /// Seconds the guest wants before a stop or a reboot.
    pub shutdown_notice_secs: u64,
    /// Seconds the guest wants before it is suspended, paused, resized or migrated.
    pub suspend_notice_secs: u64,
    /// Seconds the guest wants after that.
    pub resume_notice_secs: u64,
    /// Seconds the guest needs to start heartbeating again after a reboot.
    pub restart_secs: u64,
    /// What is to be done when it falls silent.
    pub corrective_action: CorrectiveAction,
}

/// A guest's answer to a challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChallengeResponse {
    /// The number of the challenge.
    pub heartbeat_response: u64,
    /// How the guest is.
    pub heartbeat_health: Health,
    /// What is to be done about it when it is not healthy.
    pub corrective_action: CorrectiveAction,
    /// Why it is not healthy.
    pub log_msg: Text<MAX_LOG_MSG>,
}

/// A guest's answer to a vote or a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionResponse {
    /// The session that the answer belongs to.
    pub invocation_id: u64,
    /// The action that was asked about.
    pub event_type: EventType,
    /// Whether it was a vote or a notification.
    pub notification_type: NotificationType,
    /// The answer.
    pub vote_result: VoteResult,
    /// Why.
    pub log_msg: Text<MAX_LOG_MSG>,
}

/// A message from the guest to the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GuestMessage {
    /// `init`
    Init(Init),
    /// `challenge_response`
    ChallengeResponse(ChallengeResponse),
    /// `action_response`
    ActionResponse(ActionResponse),
    /// `exit`: the guest's program ends on purpose.
    Exit {
        /// Why.
        log_msg: Text<MAX_LOG_MSG>,
    },
}

/// A message from the host to the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostMessage {
    /// `init_ack`
    InitAck {
        /// The session that is acknowledged.
        invocation_id: u64,
    },
    /// `challenge`
    Challenge {
        /// An unpredictable number from 0 to [`super::MAX_CHALLENGE`].
        heartbeat_challenge: u32,
    },
    /// `action_notify`
    ActionNotify {
        /// The session that is asked.
        invocation_id: u64,
        /// The action that it is asked about.
        event_type: EventType,
        /// Whether it is asked or told.
        notification_type: NotificationType,
        /// Milliseconds until silence counts as agreement.
        timeout_ms: u64,
    },
    /// `nack`
    Nack {
        /// The session, 0 before the first `init`.
        invocation_id: u64,
        /// What was wrong.
        log_msg: Text<MAX_LOG_MSG>,
    },
}
