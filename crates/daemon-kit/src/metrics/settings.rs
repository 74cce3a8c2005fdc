//! The INI section `[metrics]`.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use crate::Failure;
use crate::options::Sources;

/// How the metrics are shown. Read anew on HUP.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MetricsSettings {
    /// Where they are served over HTTP; nowhere unless told.
    pub listen: Option<SocketAddr>,
    /// Whether there are series for each instance.
    pub per_instance: bool,
}

impl MetricsSettings {
    /// Reads `[metrics] listen` and `per_instance`.
    ///
    /// # Errors
    ///
    /// A value is not what it should be.
    pub fn read(sources: &Sources) -> Result<Self, Failure> {
        let address = "IP:PORT, such as 127.0.0.1:9464 or [::1]:9464";
        let listen = sources.parsed("metrics", "listen", address)?;
        let switch: Option<Switch> = sources.parsed("metrics", "per_instance", "yes or no")?;
        Ok(Self { listen, per_instance: switch.is_some_and(|switch| switch.0) })
    }

    /// The address as it is shown.
    #[must_use]
    pub fn listen_text(&self) -> String {
        self.listen.map_or_else(|| "off".to_owned(), |address| address.to_string())
    }

    /// The switch as it is shown.
    #[must_use]
    pub const fn per_instance_text(&self) -> &'static str {
        if self.per_instance { "yes" } else { "no" }
    }
}

/// What is in force, a line each.
impl fmt::Display for MetricsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "metrics-listen = {}", self.listen_text())?;
        writeln!(f, "metrics-per-instance = {}", self.per_instance_text())
    }
}

struct Switch(bool);

impl FromStr for Switch {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "yes" => Ok(Self(true)),
            "no" => Ok(Self(false)),
            _ => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(ini: &str) -> Result<MetricsSettings, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("daemon.ini");
        std::fs::write(&path, ini).unwrap();
        let known = &[("metrics", "listen"), ("metrics", "per_instance")];
        let sources = Sources::read(Some(&path), "", known).unwrap();
        MetricsSettings::read(&sources).map_err(|failure| failure.message)
    }

    #[test]
    fn everything_is_off_unless_told() {
        let settings = read("").unwrap();
        assert_eq!(settings, MetricsSettings { listen: None, per_instance: false });
        assert_eq!(settings.to_string(), "metrics-listen = off\nmetrics-per-instance = no\n");
        let settings = read("[metrics]\nlisten = 0.0.0.0:9464\nper_instance = yes\n").unwrap();
        assert_eq!(settings.listen, Some(([0, 0, 0, 0], 9464).into()));
        assert!(settings.per_instance);
        assert!(read("[metrics]\nlisten = [::1]:0\n").unwrap().listen.is_some());
    }

    #[test]
    fn a_bad_value_says_what_is_allowed() {
        for bad in ["9464", ":9464", "localhost:9464", "127.0.0.1", "127.0.0.1:70000", ""] {
            let message = read(&format!("[metrics]\nlisten = {bad}\n")).unwrap_err();
            let wanted = format!("[metrics] listen = {bad}: expected IP:PORT, such as 127");
            assert!(message.contains(&wanted), "{message}");
        }
        let message = read("[metrics]\nper_instance = maybe\n").unwrap_err();
        assert!(message.contains("per_instance = maybe: expected yes or no"), "{message}");
    }
}
