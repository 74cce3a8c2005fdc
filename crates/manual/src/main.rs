//! Writes the programs' manual pages and the shells' completions, from their command lines, for `cargo xtask package`.
//!
//! ```text
//! manual DIR
//!
//! DIR/guestServer.8         from the command line, and packaging/man/guestServer.8 for what it does not say
//! DIR/guestServer.ini.5     from packaging/guest-server/guestServer.ini
//! DIR/guestServer.bash  DIR/_guestServer  DIR/guestServer.fish
//! ```
//!
//! and likewise for guestAgent and, but for the page about its configuration file, for guestClient. It is a program of its own so
//! that xtask need not be built anew with every change of a daemon.

mod ini;
mod page;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Command;
use clap_complete::Shell;

/// A program that has pages.
struct Program {
    command: Command,
    /// Its configuration file below packaging/, if that is an INI file.
    ini: Option<&'static str>,
}

fn programs() -> [Program; 3] {
    [
        Program { command: guest_server::command(), ini: Some("guest-server/guestServer.ini") },
        Program { command: guest_agent::command(), ini: Some("guest-agent/guestAgent.ini") },
        Program { command: guest_client::command(), ini: None },
    ]
}

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [dir] = arguments.as_slice() else { bail!("usage: manual DIR") };
    let dir = Path::new(dir);
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    for Program { mut command, ini } in programs() {
        let name = command.get_name().to_owned();
        let by_hand = read(&packaging().join("man").join(format!("{name}.8")))?;
        write(&dir.join(format!("{name}.8")), page::render(&command, &by_hand)?.as_bytes())?;
        if let Some(path) = ini {
            let sample = read(&packaging().join(path))?;
            let text = ini::page(&name, &sample).with_context(|| format!("packaging/{path}"))?;
            write(&dir.join(format!("{name}.ini.5")), text.as_bytes())?;
        }
        for (shell, file) in [
            (Shell::Bash, format!("{name}.bash")),
            (Shell::Zsh, format!("_{name}")),
            (Shell::Fish, format!("{name}.fish")),
        ] {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut command, &name, &mut text);
            write(&dir.join(file), &text)?;
        }
    }
    Ok(())
}

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging")
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn write(path: &Path, text: &[u8]) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
