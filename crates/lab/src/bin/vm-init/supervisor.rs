//! Process 1: starts the guest's program, and does to it and to the kernel what the test asks for through the
//! port `lab.control`.
//!
//! A command is a line `NUMBER COMMAND`, its answer `NUMBER ok` or `NUMBER error WHY`; the line `ready` comes
//! first. What the program itself has to do is passed on to it as a line on its standard input, and given again
//! to each new program.

use std::convert::Infallible;
use std::fs;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::line_input::LineInput;
use crate::port::Port;
use crate::program::HALF_LINE;
use crate::setting::Setting;

/// How soon it is noticed that the program has died by itself.
const REAP_PERIOD: Duration = Duration::from_millis(200);
/// How long the program may take to write half a message and die.
const LAST_WORDS_LIMIT: Duration = Duration::from_secs(5);

/// Starts the program and obeys until the machine ends.
pub(super) fn run() -> Result<Infallible> {
    let mut port = Port::open("lab.control")?;
    let mut supervisor = Supervisor::default();
    supervisor.start()?;
    port.write_all(b"\nready\n")?;
    let mut input = LineInput::default();
    let mut buffer = [0; 1024];
    loop {
        supervisor.reap()?;
        if !port.wait(None, false, REAP_PERIOD)?.read {
            continue;
        }
        let length = port.read(&mut buffer)?;
        for line in input.push(&buffer[..length]) {
            let (number, command) = line.split_once(' ').unwrap_or((&line, ""));
            let (answer, then) = match supervisor.obey(command) {
                Ok(then) => (format!("{number} ok\n"), then),
                Err(error) => (format!("{number} error {error:#}\n"), None),
            };
            port.write_all(answer.as_bytes())?;
            if let Some(end) = then {
                end.carry_out()?;
            }
        }
    }
}

/// What ends the machine, and is therefore answered before it is done.
#[derive(Debug, Clone, Copy)]
enum End {
    Panic,
    Reboot,
    PowerOff,
}

impl End {
    fn carry_out(self) -> Result<()> {
        match self {
            Self::Panic => {
                fs::write("/proc/sysrq-trigger", "c").context("the kernel does not panic")
            }
            Self::Reboot => match reboot(RebootMode::RB_AUTOBOOT)? {},
            Self::PowerOff => match reboot(RebootMode::RB_POWER_OFF)? {},
        }
    }
}

#[derive(Debug, Default)]
struct Supervisor {
    child: Option<Child>,
    /// The last of each kind, for the next program.
    health: Option<String>,
    vote: Option<String>,
}

impl Supervisor {
    fn obey(&mut self, command: &str) -> Result<Option<End>> {
        match command.split(' ').next().unwrap_or_default() {
            "freeze" => self.signal(Signal::SIGSTOP)?,
            "thaw" => self.signal(Signal::SIGCONT)?,
            "kill" => self.kill()?,
            "start" => self.start()?,
            "restart" => {
                self.kill()?;
                self.start()?;
            }
            "restart-mid-line" => {
                self.tell(HALF_LINE)?;
                self.wait_for_death()?;
                self.start()?;
            }
            "healthy" | "unhealthy" | "vote" => self.set(command)?,
            "panic" => return Ok(Some(End::Panic)),
            "reboot" => return Ok(Some(End::Reboot)),
            "poweroff" => return Ok(Some(End::PowerOff)),
            _ => bail!("there is no such command"),
        }
        Ok(None)
    }

    fn set(&mut self, command: &str) -> Result<()> {
        match Setting::parse(command).context("it makes no sense")? {
            Setting::Health(_) => self.health = Some(command.to_owned()),
            Setting::Voting(_) => self.vote = Some(command.to_owned()),
        }
        // A dead program hears of it when it is started.
        if self.child.is_some() { self.tell(command) } else { Ok(()) }
    }

    fn start(&mut self) -> Result<()> {
        if self.child.is_some() {
            bail!("the program runs already");
        }
        let child = Command::new("/proc/self/exe")
            .arg("guest")
            .stdin(Stdio::piped())
            .spawn()
            .context("cannot start the program")?;
        self.child = Some(child);
        for setting in [self.health.clone(), self.vote.clone()].into_iter().flatten() {
            self.tell(&setting)?;
        }
        Ok(())
    }

    fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("the program is dead")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let child = self.child.as_ref().context("the program is dead")?;
        kill(Pid::from_raw(i32::try_from(child.id())?), signal)?;
        Ok(())
    }

    /// Passes a line on to the program. A frozen one reads it later.
    fn tell(&mut self, line: &str) -> Result<()> {
        let child = self.child.as_mut().context("the program is dead")?;
        let input = child.stdin.as_mut().context("the program does not listen")?;
        input.write_all(format!("{line}\n").as_bytes()).context("the program does not listen")
    }

    fn wait_for_death(&mut self) -> Result<()> {
        let start = Instant::now();
        while self.child.is_some() {
            if start.elapsed() > LAST_WORDS_LIMIT {
                bail!("the program does not die");
            }
            thread::sleep(Duration::from_millis(5));
            self.reap()?;
        }
        Ok(())
    }

    /// Buries the program if it has died; a test sees then what a guest looks like whose program crashed.
    fn reap(&mut self) -> Result<()> {
        let Some(child) = &mut self.child else { return Ok(()) };
        if let Some(status) = child.try_wait()? {
            eprintln!("vm-init: the program ended: {status}");
            self.child = None;
        }
        Ok(())
    }
}
