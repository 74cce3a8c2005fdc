//! What packaging/monitoring brings to a Prometheus: its rules are valid, every one fires and does not fire in their own
//! test, and what is scraped is configured as it should be.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::cargo::{run as run_step, workspace};
use crate::vm::debian;

const RULES: &str = "guest-heartbeat.rules.yml";
const TESTS: &str = "guest-heartbeat.test.yml";

pub(super) fn run() -> Result<()> {
    let promtool = debian::promtool()?;
    let dir = workspace().join("packaging").join("monitoring");
    let check = |what: &str, args: &[&str]| {
        run_step(what, Command::new(&promtool).current_dir(&dir).args(args))
    };
    check("alert rules", &["check", "rules", RULES])?;
    check("tests of the alert rules", &["test", "rules", TESTS])?;
    check("what is scraped", &["check", "config", "scrape.yml"])?;
    let (rules, tests) = (read(&dir.join(RULES))?, read(&dir.join(TESTS))?);
    every_alert_is_tested(&rules, &tests)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// promtool is content with tests of some of the rules.
fn every_alert_is_tested(rules: &str, tests: &str) -> Result<()> {
    let alerts: BTreeSet<&str> = values(rules, "- alert: ").collect();
    ensure!(!alerts.is_empty(), "{RULES}: no alerts");
    let (mut fires, mut rests) = (BTreeSet::new(), BTreeSet::new());
    let mut alert = "";
    for line in tests.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("alertname: ") {
            alert = name;
        } else if line == "exp_alerts: []" {
            rests.insert(alert);
        } else if line == "exp_alerts:" {
            fires.insert(alert);
        }
    }
    for alert in alerts {
        ensure!(fires.contains(alert), "{TESTS}: no test makes {alert} fire");
        ensure!(rests.contains(alert), "{TESTS}: no test sees that {alert} does not fire");
    }
    Ok(())
}

fn values<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| line.trim().strip_prefix(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = "groups:\n  - alert: A\n    expr: x\n  - alert: B\n    expr: y\n";

    fn tested(alert: &str) -> String {
        format!(
            "alertname: {alert}\n  exp_alerts: []\nalertname: {alert}\n  exp_alerts:\n    - x\n"
        )
    }

    #[test]
    fn an_alert_that_is_not_tested_both_ways_is_named() {
        let all = tested("A") + &tested("B");
        every_alert_is_tested(RULES, &all).unwrap();
        for (tests, wanted) in [
            (tested("A"), "no test makes B fire"),
            (all.replacen("exp_alerts: []", "", 1), "no test sees that A does not fire"),
            (all.replacen("exp_alerts:\n", "", 1), "no test makes A fire"),
        ] {
            let error = every_alert_is_tested(RULES, &tests).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
        assert!(every_alert_is_tested("", "").is_err());
    }
}
