//! What the daemons log is in the manual: every message of theirs, found in the sources, has its row in docs/messages.md.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

/// The macros that make a line which is shown by default.
const MACROS: [&str; 5] = ["info!(", "warn!(", "error!(", "limited!(", "line!("];

/// Rows may shorten a long message with `...`; this much of it has to be there.
const ENOUGH: usize = 32;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The sources below a directory, without their tests.
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
            found.push(code.split("#[cfg(test)]").next().unwrap_or_default().to_owned());
        }
    }
    Ok(())
}

/// The text of a call up to its closing parenthesis.
fn call(text: &str) -> &str {
    let (mut depth, mut quoted, mut escaped) = (1, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[..at];
        }
    }
    text
}

/// The message of a call: its last literal, on one line.
fn message(call: &str) -> Option<String> {
    let call = call.trim_end().trim_end_matches(',').trim_end().strip_suffix('"')?;
    let literal = &call[call.rfind('"')? + 1..];
    let lines: Vec<&str> = literal.split("\\\n").map(str::trim_start).collect();
    Some(lines.concat())
}

#[test]
fn every_message_has_its_row() -> Result<()> {
    let manual = std::fs::read_to_string(workspace().join("docs/messages.md"))?;
    let mut code = Vec::new();
    for name in ["guest-server", "guest-agent", "daemon-kit"] {
        sources(&workspace().join("crates").join(name).join("src"), &mut code)?;
    }
    let mut messages = Vec::new();
    for text in &code {
        for name in MACROS {
            let calls = text.match_indices(name).map(|(at, _)| call(&text[at + name.len()..]));
            messages.extend(calls.filter_map(message));
        }
    }
    // What is put together has no text of its own; a macro's definition has none at all.
    messages.retain(|message| !message.starts_with('{') && !message.contains('$'));
    ensure!(messages.len() > 100, "only {} were found: {messages:?}", messages.len());
    messages.retain(|message| !manual.contains(&message[..message.floor_char_boundary(ENOUGH)]));
    ensure!(messages.is_empty(), "docs/messages.md lacks {messages:#?}");
    Ok(())
}
