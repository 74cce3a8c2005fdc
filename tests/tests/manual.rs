//! What the daemons log is in the manual, and the manual tells of nothing else: every message of theirs, found in the
//! sources, has its row with its level in docs/messages.md. And what every line is held to: those about an instance say
//! more of it than its uuid, those that the outside can cause have a rate.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

/// The macros that make a line, and the level of those that have it in their name.
const MACROS: [(&str, Option<&str>); 5] = [
    ("info!(", Some("info")),
    ("warn!(", Some("warn")),
    ("error!(", Some("error")),
    ("limited!(", None),
    ("line!(", None),
];

/// Lines of the log's own, which no macro makes.
const OF_THE_LOG: [(&str, &str); 2] = [
    ("log lines left out: the log's reader is too slow", "warn"),
    ("cannot reach the journal's socket: lines without fields", "warn"),
];

/// Lines without a rate: they come of what the operator does, or so seldom that they need none.
const WITHOUT_A_RATE: [&str; 23] = [
    // At a start, a stop, or a reload.
    "cannot raise the limit of open files",
    "cannot remove the health file",
    "cannot remove the pidfile",
    "cannot tell the supervisor about the reload",
    "changed, and needs a restart",
    "configuration changed",
    "configuration not reloaded: the former one stays",
    "configuration reloaded",
    "configuration reloaded: nothing changed",
    "metrics address not changed: the former one stays",
    "metrics are served here from now on",
    "ready",
    "small receive buffer: raise net.core.rmem_max",
    "stopping",
    "stopping before everything was reported",
    "stopping before the VIM was told everything; guestServers that acknowledge tell alarms and votes again",
    "the channel directory is slow: ready before it was read",
    "waiting for files to appear before starting",
    // At a monitor's USR1.
    "cannot write the health file",
    // Once.
    "listening on the floating address too",
    "the VIM cannot be told: the transmitter is gone",
    // What is odd in the configuration, with all of its text put together.
    "{notice}",
    "{warning}",
];

/// Lines about an instance that cannot say more of it than its uuid.
const ONLY_THE_UUID: [&str; 3] = [
    // The guest has not said its name yet.
    "instance added",
    // It names both hosts.
    "instance moved",
    // It names the host's address.
    "command not sent to a guestServer",
];

/// A line that the code can make.
#[derive(Debug)]
struct Line {
    of: &'static str,
    message: String,
    level: String,
    limited: bool,
    fields: Vec<String>,
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The sources below a directory, without their tests and without comments.
fn sources(dir: &Path, found: &mut Vec<String>) -> Result<()> {
    for entry in std::fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name != "tests" {
            sources(&path, found)?;
        } else if name.ends_with(".rs") && name != "tests.rs" {
            let text = std::fs::read_to_string(&path)?;
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            let code = code.collect::<Vec<_>>().join("\n");
            // What stands behind it belongs to the tests, but for the declaration of a module of them.
            let tests = code.find("#[cfg(test)]\nmod tests {").unwrap_or(code.len());
            found.push(code[..tests].to_owned());
        }
    }
    Ok(())
}

/// The arguments of a call whose text begins behind its parenthesis.
fn arguments(text: &str) -> Vec<String> {
    let (mut depth, mut quoted, mut escaped) = (1, false, false);
    let mut found = vec![String::new()];
    for c in text.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '(' | '[' | '{' if !quoted => depth += 1,
            ')' | ']' | '}' if !quoted => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        match found.last_mut() {
            Some(last) if c != ',' || depth > 1 || quoted => last.push(c),
            _ => found.push(String::new()),
        }
    }
    found.retain(|argument| !argument.trim().is_empty());
    found.iter().map(|argument| argument.trim().to_owned()).collect()
}

/// The line that a call makes; none for the definition of a macro.
fn line(of: &'static str, level: Option<&str>, mut arguments: Vec<String>) -> Result<Option<Line>> {
    if arguments.iter().any(|argument| argument.contains('$')) {
        return Ok(None);
    }
    let last = arguments.pop().context("a line without a message")?;
    let literal = last.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let literal = literal.with_context(|| format!("{last} is no message: a text is wanted"))?;
    let message = literal.split("\\\n").map(str::trim_start).collect();
    let limited = level.is_none();
    let is_level = |one: &&String| ["info", "warn", "error", "debug"].contains(&one.as_str());
    let level = match level {
        Some(level) => level.to_owned(),
        None => arguments.iter().find(is_level).context("a line without a level")?.clone(),
    };
    let field = |argument: &String| {
        argument.trim_start_matches(['%', '?']).split('=').next().unwrap_or_default().trim().into()
    };
    let fields = arguments.iter().map(field).collect();
    Ok(Some(Line { of, message, level, limited, fields }))
}

fn lines() -> Result<Vec<Line>> {
    let mut found = Vec::new();
    for of in ["guest-server", "guest-agent", "daemon-kit"] {
        let mut code = Vec::new();
        sources(&workspace().join("crates").join(of).join("src"), &mut code)?;
        for text in &code {
            for (name, level) in MACROS {
                for (at, _) in text.match_indices(name) {
                    let before = text[..at].chars().next_back();
                    if !before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
                        found.extend(line(of, level, arguments(&text[at + name.len()..]))?);
                    }
                }
            }
        }
    }
    ensure!(found.len() > 100, "only {} were found: {found:?}", found.len());
    Ok(found)
}

/// A row's messages and its levels.
struct Row {
    messages: Vec<String>,
    levels: String,
}

impl Row {
    /// Whether it tells of this message; a part that is not always the same, or that is long, may be `...`.
    fn is_about(&self, message: &str) -> bool {
        self.messages.iter().any(|one| {
            one == message
                || one.strip_suffix("...").is_some_and(|start| message.starts_with(start))
        })
    }
}

fn rows(manual: &str) -> Vec<Row> {
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let messages = cells.next()?.split('`').step_by(2).map(ToOwned::to_owned).collect();
        Some(Row { messages, levels: cells.next()?.to_owned() })
    };
    manual.lines().filter_map(row).collect()
}

#[test]
fn every_message_has_its_row_and_every_row_its_message() -> Result<()> {
    let manual = std::fs::read_to_string(workspace().join("docs/messages.md"))?;
    let (common, agent) = manual.split_once("## guestAgent").context("no part of guestAgent's")?;
    let (common, agent) = (rows(common), rows(agent));
    let lines = lines()?;
    let fixed = lines.iter().filter(|line| line.level != "debug" && !line.message.starts_with('{'));
    let made = fixed.map(|line| (line.of, line.message.as_str(), line.level.as_str()));
    let own = OF_THE_LOG.iter().map(|(message, level)| ("daemon-kit", *message, *level));
    let wanted: Vec<_> = made.chain(own).collect();
    let missing = wanted.iter().filter(|(of, message, level)| {
        let told = |row: &Row| row.is_about(message) && row.levels.split(", ").any(|l| l == *level);
        !(common.iter().any(told) || *of == "guest-agent" && agent.iter().any(told))
    });
    let missing: BTreeSet<_> = missing.collect();
    ensure!(missing.is_empty(), "docs/messages.md lacks a row, or its level: {missing:#?}");
    let all = common.iter().chain(&agent).flat_map(|row| &row.messages);
    let stale = all.filter(|told| {
        let row = Row { messages: vec![(*told).clone()], levels: String::new() };
        !told.contains("...") && !wanted.iter().any(|(_, message, _)| row.is_about(message))
    });
    let stale: Vec<_> = stale.collect();
    ensure!(stale.is_empty(), "docs/messages.md tells of what no daemon says: {stale:#?}");
    let mut code = Vec::new();
    sources(&workspace().join("crates/daemon-kit/src/logging"), &mut code)?;
    for (message, _) in OF_THE_LOG {
        ensure!(code.iter().any(|text| text.contains(message)), "the log does not say {message}");
    }
    Ok(())
}

#[test]
fn a_line_about_an_instance_says_more_of_it_than_its_uuid() -> Result<()> {
    for line in lines()?.iter().filter(|line| !ONLY_THE_UUID.contains(&line.message.as_str())) {
        let has = |name: &str| line.fields.iter().any(|field| field == name);
        let wanted = if line.of == "guest-server" { "name" } else { "host" };
        ensure!(!has("instance") || has(wanted), "{wanted} is wanted: {line:?}");
    }
    Ok(())
}

#[test]
fn every_line_that_the_outside_can_cause_has_a_rate() -> Result<()> {
    let lines = lines()?;
    for line in &lines {
        let known = WITHOUT_A_RATE.contains(&line.message.as_str());
        ensure!(
            line.limited != known,
            "{line:?}: limited! is wanted, or if only the operator causes it, an entry in WITHOUT_A_RATE"
        );
    }
    let known = |message: &&&str| lines.iter().any(|line| line.message == ***message);
    ensure!(WITHOUT_A_RATE.iter().all(|message| known(&message)), "an entry that no line needs");
    Ok(())
}
