//! All figures of all runs: the table and the JSON.

use std::fmt;
use std::path::Path;

use anyhow::{Context as _, Result};
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, TableComponent, presets};
use serde_json::{Value, json};

use super::figure::{Budget, Figure, Judged, largest, median, smallest};
use super::{Setup, cores};

/// What was measured.
pub(super) struct Report {
    conditions: Vec<String>,
    runs: u32,
    sections: Vec<Section>,
}

/// One scenario.
struct Section {
    title: String,
    lines: Vec<Line>,
    /// Why it could not be measured, for each run that failed.
    failures: Vec<String>,
}

/// One figure in all runs.
struct Line {
    /// The last run's.
    figure: Figure,
    values: Vec<f64>,
}

impl Line {
    /// Whether the budget was kept, if there is one.
    fn kept(&self) -> Option<bool> {
        let budget = self.figure.budget?;
        Some(match self.figure.judged {
            Judged::Typical => budget.allows(median(&self.values)),
            Judged::Every => self.values.iter().all(|&value| budget.allows(value)),
        })
    }

    fn verdict(&self) -> &'static str {
        match self.kept() {
            Some(true) => "ok",
            Some(false) => "OVER",
            None => "",
        }
    }

    fn budget(&self) -> String {
        let show = |value| self.figure.unit.show_whole(value);
        match self.figure.budget {
            Some(Budget::AtMost(most)) => format!("≤ {}", show(most)),
            Some(Budget::AtLeast(least)) => format!("≥ {}", show(least)),
            None => String::new(),
        }
    }

    fn json(&self) -> Value {
        let budget = self.figure.budget.map(|budget| match budget {
            Budget::AtMost(most) => json!({"at_most": most}),
            Budget::AtLeast(least) => json!({"at_least": least}),
        });
        json!({
            "what": self.figure.what,
            "unit": self.figure.unit.as_str(),
            "median": median(&self.values),
            "smallest": smallest(&self.values),
            "largest": largest(&self.values),
            "runs": self.values,
            "budget": budget,
            "budget_for": match self.figure.judged {
                Judged::Typical => "median",
                Judged::Every => "every run",
            },
            "baseline": self.figure.baseline,
            "ok": self.kept(),
        })
    }
}

impl Report {
    pub(super) fn new(setup: &Setup, runs: u32) -> Self {
        Self { conditions: conditions(setup), runs, sections: Vec::new() }
    }

    /// Adds what one run of a scenario gave.
    pub(super) fn add(&mut self, title: String, figures: Result<Vec<Figure>>) {
        let at = self.sections.iter().position(|section| section.title == title);
        let at = at.unwrap_or_else(|| {
            self.sections.push(Section { title, lines: Vec::new(), failures: Vec::new() });
            self.sections.len() - 1
        });
        let section = &mut self.sections[at];
        match figures {
            Ok(figures) => figures.into_iter().for_each(|figure| section.add(figure)),
            Err(error) => {
                eprintln!("   not measured: {error:#}");
                section.failures.push(format!("{error:#}"));
            }
        }
    }

    /// Whether every run of every scenario could be measured.
    pub(super) fn complete(&self) -> bool {
        self.sections.iter().all(|section| section.failures.is_empty())
    }

    /// Writes everything as JSON.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let scenarios: Vec<Value> = self.sections.iter().map(Section::json).collect();
        let report = json!({
            "conditions": self.conditions,
            "runs": self.runs,
            "scenarios": scenarios,
        });
        let write = || -> Result<()> {
            std::fs::create_dir_all(path.parent().unwrap_or(path))?;
            Ok(std::fs::write(path, serde_json::to_vec_pretty(&report)?)?)
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }
}

impl Section {
    fn add(&mut self, figure: Figure) {
        let value = figure.value;
        match self.lines.iter_mut().find(|line| line.figure.what == figure.what) {
            Some(line) => {
                line.values.push(value);
                line.figure = figure;
            }
            None => self.lines.push(Line { figure, values: vec![value] }),
        }
    }

    fn json(&self) -> Value {
        json!({
            "scenario": self.title,
            "figures": self.lines.iter().map(Line::json).collect::<Vec<_>>(),
            "failures": self.failures,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f)?;
        for condition in &self.conditions {
            writeln!(f, "{condition}")?;
        }
        let mut table = Table::new();
        table.load_preset(presets::NOTHING).set_style(TableComponent::HeaderLines, '─');
        table.set_style(TableComponent::MiddleHeaderIntersections, '─');
        table.set_content_arrangement(ContentArrangement::Disabled);
        let median =
            if self.runs == 1 { "figure".into() } else { format!("median of {}", self.runs) };
        table.set_header(["what is measured", &median, "range", "budget", "C++", ""]);
        let mut over = 0;
        for section in &self.sections {
            table.add_row([format!("\n{}", section.title)]);
            for line in &section.lines {
                over += u32::from(line.kept() == Some(false));
                table.add_row(row(line));
            }
            for failure in &section.failures {
                let reason = failure.lines().next().unwrap_or_default();
                table.add_row([format!("  NOT MEASURED: {reason}")]);
            }
        }
        writeln!(f, "{table}")?;
        match over {
            0 => write!(f, "Every budget is kept."),
            1 => write!(f, "One figure is OVER its budget."),
            _ => write!(f, "{over} figures are OVER their budgets."),
        }
    }
}

fn row(line: &Line) -> Vec<Cell> {
    let (unit, values) = (line.figure.unit, &line.values);
    let range = match values.len() {
        1 => String::new(),
        _ => format!("{} … {}", unit.show(smallest(values)), unit.show(largest(values))),
    };
    let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
    vec![
        Cell::new(format!("  {}", line.figure.what)),
        right(unit.show_whole(median(values))),
        right(range),
        right(line.budget()),
        right(line.figure.baseline.unwrap_or_default().into()),
        Cell::new(line.verdict()),
    ]
}

/// What the figures depend on besides the daemon.
fn conditions(setup: &Setup) -> Vec<String> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let busy = read("/proc/loadavg");
    let busy = busy.split(' ').next().unwrap_or_default();
    let priority = match cores::is_before_others() {
        true => "both before all other processes (real-time class)",
        false => "both at ordinary priority: what else runs here is in the figures",
    };
    vec![
        format!("Machine: {}; {}", model.map_or("?", |(_, name)| name), setup.cores),
        format!("Priority: {priority}"),
        format!("Kernel: {}", read("/proc/sys/kernel/osrelease").trim()),
        format!("Load of the machine before the first run (1 minute's average): {busy}"),
        format!("Runs: {}", setup.pick("full length", "shortened (--quick)")),
    ]
}
