//! What happened to each instance lately, for the status: its last changes and its last failure. Kept beside the inventory
//! from what that notes.

use std::collections::HashMap;

use daemon_kit::recent::Recent;
use heartbeat_proto::{InstanceId, MonotonicTime};

use crate::inventory::{Note, Withheld};

/// A change of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Added,
    Moved,
    ReportingOn,
    ReportingOff,
    Started,
    Stopped,
    /// A failure that the VIM is told of.
    Alarm(&'static str),
    /// One that it is not told of.
    Withheld(&'static str, Withheld),
}

impl Change {
    /// Whether the instance was seen to start or stop heartbeating.
    const fn is_heartbeat(self) -> bool {
        matches!(self, Self::Started | Self::Stopped | Self::Added | Self::Moved)
    }

    pub(crate) fn text(self) -> String {
        match self {
            Self::Added => "instance added".to_owned(),
            Self::Moved => "moved to another host".to_owned(),
            Self::ReportingOn => "fault reporting enabled".to_owned(),
            Self::ReportingOff => "fault reporting disabled".to_owned(),
            Self::Started => "heartbeating".to_owned(),
            Self::Stopped => "no longer heartbeating".to_owned(),
            Self::Alarm(state) => format!("{state}: the VIM is told"),
            Self::Withheld(state, why) => {
                format!("{state}: the VIM is not told, for {}", why.text())
            }
        }
    }
}

/// What happened to one instance.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    pub(crate) changes: Recent<(MonotonicTime, Change)>,
    /// The last alarm or withheld alarm.
    pub(crate) fault: Option<(MonotonicTime, Change)>,
    /// Since when it is heartbeating, or not.
    pub(crate) since: MonotonicTime,
}

/// What happened to every instance that is known.
#[derive(Debug, Default)]
pub(crate) struct Histories(HashMap<InstanceId, History>);

impl Histories {
    pub(crate) fn get(&self, instance: InstanceId) -> Option<&History> {
        self.0.get(&instance)
    }

    /// What the inventory saw.
    pub(crate) fn note(&mut self, now: MonotonicTime, note: &Note) {
        let (instance, change) = match note {
            Note::InstanceAdded { instance, .. } => (*instance, Change::Added),
            Note::InstanceMoved { instance, .. } => (*instance, Change::Moved),
            Note::InstanceReporting { instance, reporting: true, .. } => {
                (*instance, Change::ReportingOn)
            }
            Note::InstanceReporting { instance, reporting: false, .. } => {
                (*instance, Change::ReportingOff)
            }
            Note::Heartbeating { instance, heartbeating: true, .. } => (*instance, Change::Started),
            Note::Heartbeating { instance, heartbeating: false, .. } => {
                (*instance, Change::Stopped)
            }
            Note::Alarm { instance, state, .. } => (*instance, Change::Alarm(state)),
            Note::AlarmWithheld { instance, state, why, .. } => {
                (*instance, Change::Withheld(state, *why))
            }
            Note::InstanceDeleted { instance, .. } => {
                self.0.remove(instance);
                return;
            }
            Note::HostAdded { .. }
            | Note::HostChanged { .. }
            | Note::HostDeleted { .. }
            | Note::HostRefused { .. }
            | Note::HostReporting { .. }
            | Note::Vote { .. }
            | Note::ServerReady { .. }
            | Note::Corrected { .. }
            | Note::Disowned { .. }
            | Note::ForeignEvent { .. }
            | Note::UnknownSender { .. }
            | Note::OtherAddress { .. }
            | Note::AnswerRefused { .. } => return,
        };
        let history = self.0.entry(instance).or_default();
        if change.is_heartbeat() {
            history.since = now;
        }
        if matches!(change, Change::Alarm(_) | Change::Withheld(..)) {
            history.fault = Some((now, change));
        }
        history.changes.push((now, change));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::inventory::Found;

    #[test]
    fn what_happened_is_kept_until_the_instance_is_deleted() {
        let instance = InstanceId::from_u128(1);
        let at = |secs| MonotonicTime::after_start(Duration::from_secs(secs));
        let mut histories = Histories::default();
        let host = || "h".into();
        let beat = |heartbeating| Note::Heartbeating {
            instance,
            host: host(),
            heartbeating,
            by: Found::Told,
        };
        histories.note(at(1), &Note::InstanceAdded { instance, host: "h".into(), reporting: true });
        histories.note(at(2), &beat(true));
        histories.note(at(3), &beat(false));
        histories.note(at(4), &Note::Alarm { instance, host: host(), state: "failed" });
        histories.note(at(5), &Note::ServerReady { host: "h".into() });
        let history = histories.get(instance).unwrap();
        assert_eq!(history.since, at(3));
        assert_eq!(history.fault, Some((at(4), Change::Alarm("failed"))));
        assert!(history.changes.iter().copied().eq([
            (at(1), Change::Added),
            (at(2), Change::Started),
            (at(3), Change::Stopped),
            (at(4), Change::Alarm("failed")),
        ]));
        histories.note(at(6), &Note::InstanceDeleted { instance, host: host() });
        assert!(histories.get(instance).is_none() && histories.0.is_empty());
    }
}
