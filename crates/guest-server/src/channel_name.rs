//! The names of channels in the channel directory.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use heartbeat_proto::InstanceId;

/// Which of the two names a channel has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Naming {
    /// `cgcs.heartbeat.<uuid>.sock`
    Current,
    /// `wrs.heartbeat.agent.0.<uuid>.sock`, from before.
    Former,
}

impl Naming {
    /// Both, the one that is preferred first.
    pub(crate) const ALL: [Self; 2] = [Self::Current, Self::Former];

    const SUFFIX: &str = ".sock";

    const fn prefix(self) -> &'static str {
        match self {
            Self::Current => "cgcs.heartbeat.",
            Self::Former => "wrs.heartbeat.agent.0.",
        }
    }
}

/// A name that is a channel's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChannelName {
    pub(crate) instance: InstanceId,
    pub(crate) naming: Naming,
}

impl ChannelName {
    /// Reads a file's name; `None` if it is not a channel's.
    pub(crate) fn parse(name: &OsStr) -> Option<Self> {
        let name = name.to_str()?.strip_suffix(Naming::SUFFIX)?;
        Naming::ALL.into_iter().find_map(|naming| {
            let instance = name.strip_prefix(naming.prefix())?.parse().ok()?;
            Some(Self { instance, naming })
        })
    }

    /// The channel's path in the channel directory.
    pub(crate) fn path(self, dir: &Path) -> PathBuf {
        let Self { instance, naming } = self;
        dir.join(format!("{}{instance}{}", naming.prefix(), Naming::SUFFIX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "8d80875b-fa73-4ccb-bce3-1cd4df104400";

    #[test]
    fn both_names_are_read_and_written() {
        for (naming, text) in [
            (Naming::Current, format!("cgcs.heartbeat.{ID}.sock")),
            (Naming::Former, format!("wrs.heartbeat.agent.0.{ID}.sock")),
        ] {
            let name = ChannelName { instance: ID.parse().unwrap(), naming };
            assert_eq!(ChannelName::parse(OsStr::new(&text)), Some(name));
            assert_eq!(name.path(Path::new("/d")), Path::new("/d").join(text));
        }
    }

    #[test]
    fn every_other_name_is_not_ours() {
        use std::os::unix::ffi::OsStrExt as _;
        for text in [
            "",
            ".sock",
            "cgcs.heartbeat..sock",
            "cgcs.heartbeat.8d80875b-fa73-4ccb-bce3-1cd4df104400",
            "cgcs.heartbeat.8d80875b-fa73-4ccb-bce3-1cd4df104400.sock.tmp",
            "cgcs.heartbeat.8D80875B-FA73-4CCB-BCE3-1CD4DF104400.sock",
            "cgcs.heartbeat.8d80875bfa734ccbbce31cd4df104400.sock",
            "cgcs.heartbeat.{8d80875b-fa73-4ccb-bce3-1cd4df104400}.sock",
            "xcgcs.heartbeat.8d80875b-fa73-4ccb-bce3-1cd4df104400.sock",
            "wrs.heartbeat.agent.1.8d80875b-fa73-4ccb-bce3-1cd4df104400.sock",
            "cgcs.messaging.8d80875b-fa73-4ccb-bce3-1cd4df104400.sock",
        ] {
            assert_eq!(ChannelName::parse(OsStr::new(text)), None, "{text}");
        }
        assert_eq!(ChannelName::parse(OsStr::from_bytes(b"cgcs.heartbeat.\xff.sock")), None);
    }
}
