//! What there is to package, and what each package must consist of.

use std::path::PathBuf;

use crate::cargo::{STATIC_TARGET, portable_target_dir, static_target_dir};

/// How a binary is linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Linkage {
    /// With nothing of the system.
    Static,
    /// With the system's C library, however old.
    Portable,
}

/// A package.
pub(super) struct Package {
    /// Of the crate, of the packages, of the directory below packaging/.
    pub(super) name: &'static str,
    pub(super) binary: &'static str,
    pub(super) linkage: Linkage,
    /// The configuration file that the program takes with `--config`.
    pub(super) config: &'static str,
    /// What is the administrator's once it is installed.
    pub(super) conffiles: &'static [&'static str],
    /// Every other file of the Debian package. Those of an RPM are the same, but for [`Package::rpm_files`].
    files: &'static [&'static str],
    /// The package that it takes the place of, as Debian and as RPM call it.
    pub(super) former: Option<(&'static str, &'static str)>,
}

/// The program inside virtual machines; the only one that there is an archive of.
pub(super) const CLIENT: Package = Package {
    name: "guest-client",
    binary: "guestClient",
    linkage: Linkage::Static,
    config: "/etc/guest-client/heartbeat/guest_heartbeat.conf",
    conffiles: &[
        "/etc/guest-client/heartbeat/guest_heartbeat.conf",
        "/etc/init.d/guestClient",
        "/etc/logrotate.d/guest-client",
    ],
    files: &[
        "/usr/lib/systemd/system/guestClient.service",
        "/usr/lib/systemd/system/guestClient.socket",
        "/usr/lib/sysusers.d/guest-client.conf",
        "/usr/lib/udev/rules.d/60-guest-client.rules",
        "/usr/sbin/guestClient",
        "/usr/share/bash-completion/completions/guestClient",
        "/usr/share/doc/guest-client/changelog.Debian.gz",
        "/usr/share/doc/guest-client/copyright",
        "/usr/share/doc/guest-client/examples/application.py",
        "/usr/share/doc/guest-client/examples/application.sh",
        "/usr/share/doc/guest-client/examples/event-notification.sample",
        "/usr/share/doc/guest-client/examples/health-check.sample",
        "/usr/share/doc/guest-client/guest.md",
        "/usr/share/fish/vendor_completions.d/guestClient.fish",
        "/usr/share/man/man8/guestClient.8.gz",
        "/usr/share/zsh/vendor-completions/_guestClient",
    ],
    former: None,
};

/// All packages.
pub(super) const PACKAGES: [Package; 3] = [
    Package {
        name: "guest-server",
        binary: "guestServer",
        linkage: Linkage::Portable,
        config: "/etc/mtc/guestServer.ini",
        conffiles: &[
            "/etc/init.d/guestServer",
            "/etc/logrotate.d/guestServer.logrotate",
            "/etc/mtc/guestServer.ini",
            "/etc/pmon.d/guestServer.conf",
        ],
        files: &[
            "/usr/lib/guest-server/prepare",
            "/usr/lib/systemd/system/guestServer.service",
            "/usr/lib/sysusers.d/guest-server.conf",
            "/usr/sbin/guestServer",
            "/usr/share/bash-completion/completions/guestServer",
            "/usr/share/doc/guest-server/changelog.Debian.gz",
            "/usr/share/doc/guest-server/copyright",
            "/usr/share/doc/guest-server/examples/guestServer-platform.conf",
            "/usr/share/doc/guest-server/messages.md",
            "/usr/share/doc/guest-server/metrics.md",
            "/usr/share/doc/guest-server/migration.md",
            "/usr/share/doc/guest-server/operating.md",
            "/usr/share/doc/guest-server/protocol.md",
            "/usr/share/doc/guest-server/reference.md",
            "/usr/share/doc/guest-server/supervisors.md",
            "/usr/share/fish/vendor_completions.d/guestServer.fish",
            "/usr/share/man/man5/guestServer.ini.5.gz",
            "/usr/share/man/man8/guestServer.8.gz",
            "/usr/share/zsh/vendor-completions/_guestServer",
        ],
        former: Some(("mtce-guest-server", "mtce-guestServer")),
    },
    Package {
        name: "guest-agent",
        binary: "guestAgent",
        linkage: Linkage::Portable,
        config: "/etc/mtc/guestAgent.ini",
        conffiles: &[
            "/etc/init.d/guestAgent",
            "/etc/logrotate.d/guestAgent.logrotate",
            "/etc/mtc/guestAgent.ini",
        ],
        files: &[
            "/usr/lib/guest-agent/prepare",
            "/usr/lib/ocf/resource.d/platform/guestAgent",
            "/usr/lib/systemd/system/guestAgent.service",
            "/usr/lib/sysusers.d/guest-agent.conf",
            "/usr/sbin/guestAgent",
            "/usr/share/bash-completion/completions/guestAgent",
            "/usr/share/doc/guest-agent/api.md",
            "/usr/share/doc/guest-agent/changelog.Debian.gz",
            "/usr/share/doc/guest-agent/copyright",
            "/usr/share/doc/guest-agent/messages.md",
            "/usr/share/doc/guest-agent/metrics.md",
            "/usr/share/doc/guest-agent/migration.md",
            "/usr/share/doc/guest-agent/monitoring/guest-heartbeat.dashboard.json",
            "/usr/share/doc/guest-agent/monitoring/guest-heartbeat.rules.yml",
            "/usr/share/doc/guest-agent/monitoring/scrape.yml",
            "/usr/share/doc/guest-agent/openapi.yaml",
            "/usr/share/doc/guest-agent/operating.md",
            "/usr/share/doc/guest-agent/protocol.md",
            "/usr/share/doc/guest-agent/reference.md",
            "/usr/share/doc/guest-agent/supervisors.md",
            "/usr/share/fish/vendor_completions.d/guestAgent.fish",
            "/usr/share/man/man5/guestAgent.ini.5.gz",
            "/usr/share/man/man8/guestAgent.8.gz",
            "/usr/share/zsh/vendor-completions/_guestAgent",
        ],
        former: Some(("mtce-guest-agent", "mtce-guestAgent")),
    },
    CLIENT,
];

/// Files that are programs, below these or with these names; all others are not.
const PROGRAMS: [&str; 7] =
    ["/etc/init.d/", "/usr/sbin/", "/usr/lib/ocf/", "/prepare", ".sample", ".py", ".sh"];

impl Package {
    /// Where its binary was built.
    pub(super) fn target_dir(&self) -> PathBuf {
        match self.linkage {
            Linkage::Static => static_target_dir(),
            Linkage::Portable => portable_target_dir(),
        }
    }

    /// The directory that its metadata call `target/release`.
    pub(super) fn built(&self) -> PathBuf {
        self.target_dir().join(STATIC_TARGET).join("release")
    }

    /// Every file of the Debian package with its mode, as `ls` writes it.
    pub(super) fn deb_files(&self) -> impl Iterator<Item = (String, String)> {
        self.conffiles
            .iter()
            .chain(self.files)
            .map(|&path| (path.to_owned(), mode(path).to_owned()))
    }

    /// The same of the RPM: it has no changelog of Debian's, and zsh looks elsewhere.
    pub(super) fn rpm_files(&self) -> impl Iterator<Item = (String, String)> {
        self.deb_files()
            .filter(|(path, _)| !path.ends_with("/changelog.Debian.gz"))
            .map(|(path, mode)| (path.replace("/vendor-completions/", "/site-functions/"), mode))
    }
}

fn mode(path: &str) -> &'static str {
    let program = PROGRAMS.iter().any(|part| match part.strip_prefix('.') {
        Some(_) => path.ends_with(part),
        None => path.contains(part),
    });
    if program { "-rwxr-xr-x" } else { "-rw-r--r--" }
}

#[cfg(test)]
mod tests {
    use super::{CLIENT, mode};

    #[test]
    fn programs_may_be_run_and_nothing_else() {
        for path in ["/etc/init.d/a", "/usr/sbin/a", "/usr/lib/a/prepare", "/usr/share/doc/a/b.py"]
        {
            assert_eq!(mode(path), "-rwxr-xr-x", "{path}");
        }
        for path in ["/etc/mtc/a.ini", "/usr/share/man/man8/a.8.gz", "/usr/share/doc/a/b.pyx"] {
            assert_eq!(mode(path), "-rw-r--r--", "{path}");
        }
    }

    #[test]
    fn an_rpm_has_its_own_names_for_some() {
        let files: Vec<_> = CLIENT.rpm_files().map(|(path, _)| path).collect();
        for path in
            ["/usr/share/man/man8/guestClient.8.gz", "/usr/share/zsh/site-functions/_guestClient"]
        {
            assert!(files.iter().any(|file| file == path), "{path}");
        }
        assert!(!files.iter().any(|file| file.contains("changelog")));
    }
}
