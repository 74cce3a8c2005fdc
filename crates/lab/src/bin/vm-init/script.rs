//! The scripts that guestClient runs, as links to this very program.
//!
//! What a script is to do, process 1 leaves in a file: without one, all is well. So a new guestClient finds what was
//! set for the one before.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};

/// Longer than any time that guestClient gives a script.
const NEVER: Duration = Duration::from_secs(600);

/// One of the scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Script {
    /// Says how the machine is.
    Health,
    /// Says what the machine has to say to an event.
    Event,
}

/// What a script does.
#[derive(Debug, Default)]
struct Orders {
    /// How long it takes.
    delay: Duration,
    /// Its exit status.
    status: u8,
    /// What it prints.
    text: String,
}

/// Makes the links.
pub(super) fn link() -> Result<()> {
    for script in [Script::Health, Script::Event] {
        let path = script.path();
        symlink("/init", path).with_context(|| format!("cannot make {path}"))?;
    }
    Ok(())
}

/// Carries out `healthy`, `unhealthy TEXT`, `vote accept`, `vote reject TEXT` or `vote never`: says what a script
/// does from now on. Nothing if it is none of these.
pub(super) fn set(command: &str) -> Option<Result<()>> {
    let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
    let (word, text) = rest.split_once(' ').unwrap_or((rest, ""));
    let refusal = |text: &str| Orders { status: 1, text: text.to_owned(), ..Orders::default() };
    let (script, orders) = match (verb, word) {
        ("healthy", "") => (Script::Health, Orders::default()),
        ("unhealthy", _) => (Script::Health, refusal(rest)),
        ("vote", "accept") => (Script::Event, Orders::default()),
        ("vote", "reject") => (Script::Event, refusal(text)),
        ("vote", "never") => (Script::Event, Orders { delay: NEVER, ..Orders::default() }),
        _ => return None,
    };
    Some(orders.write(script))
}

impl Script {
    /// The one that was called by this name, if any was.
    pub(super) fn called(name: &str) -> Option<Self> {
        [Self::Health, Self::Event].into_iter().find(|script| script.path() == name)
    }

    /// Where the link is.
    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Health => "/usr/bin/health-check",
            Self::Event => "/usr/bin/event-notification",
        }
    }

    const fn orders(self) -> &'static str {
        match self {
            Self::Health => "/run/health-check.orders",
            Self::Event => "/run/event-notification.orders",
        }
    }

    /// Does what it was told.
    pub(super) fn run(self, arguments: &[String]) -> ExitCode {
        match Orders::read(self) {
            Ok(orders) => orders.carry_out(arguments),
            Err(error) => {
                println!("{}: {error:#}", self.path());
                ExitCode::FAILURE
            }
        }
    }
}

impl Orders {
    /// Written anew and renamed: a script that starts meanwhile reads the old ones or the new.
    fn write(&self, script: Script) -> Result<()> {
        let path = Path::new(script.orders());
        let new = path.with_extension("new");
        let Self { delay, status, text } = self;
        fs::write(&new, format!("{} {status} {text}", delay.as_secs()))
            .and_then(|()| fs::rename(&new, path))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    fn read(script: Script) -> Result<Self> {
        let line = match fs::read_to_string(script.orders()) {
            Ok(line) => line,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error).context("cannot read the orders"),
        };
        let mut words = line.splitn(3, ' ');
        let mut word = || words.next().context("the orders are not whole");
        let delay = Duration::from_secs(word()?.parse()?);
        Ok(Self { delay, status: word()?.parse()?, text: word()?.to_owned() })
    }

    fn carry_out(self, arguments: &[String]) -> ExitCode {
        sleep(self.delay);
        // Nobody can refuse what is only announced.
        if arguments.first().is_some_and(|kind| kind == "irrevocable") {
            return ExitCode::SUCCESS;
        }
        println!("{}", self.text);
        self.status.into()
    }
}
