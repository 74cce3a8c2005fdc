//! Process 1: starts guestClient, and does to it and to the system what the test asks for through the port
//! `lab.control`.
//!
//! A command is a line `NUMBER COMMAND`, its answer `NUMBER ok` or `NUMBER error WHY`; the line `ready` comes
//! first.

use std::convert::Infallible;
use std::fs;
use std::process::Child;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use heartbeat_proto::guest::{ChallengeResponse, CorrectiveAction, GuestMessage, Health};
use nix::errno::Errno;
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::signal::{Signal, kill};
use nix::sys::time::TimeSpec;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::time::{ClockId, clock_gettime, clock_settime};
use nix::unistd::Pid;

use crate::line_input::LineInput;
use crate::port::Port;
use crate::{client, script};

/// How soon it is noticed that the program has died by itself.
const REAP_PERIOD: Duration = Duration::from_millis(200);

/// Starts the program and obeys until the machine ends.
pub(super) fn run() -> Result<Infallible> {
    // With this port, the kernel has learned the names of all: guestClient finds its own at once.
    let mut port = Port::open("lab.control")?;
    let mut supervisor = Supervisor::default();
    supervisor.start()?;
    port.write_all(b"\nready\n")?;
    let mut input = LineInput::default();
    let mut buffer = [0; 1024];
    loop {
        supervisor.reap()?;
        if !port.wait(REAP_PERIOD)? {
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
    program: Option<Child>,
}

impl Supervisor {
    fn obey(&mut self, command: &str) -> Result<Option<End>> {
        if let Some(done) = script::set(command) {
            done?;
            return Ok(None);
        }
        match command.split_once(' ').unwrap_or((command, "")) {
            ("freeze", "") => self.signal(Signal::SIGSTOP)?,
            ("thaw", "") => self.signal(Signal::SIGCONT)?,
            ("kill", "") => self.kill()?,
            ("start", "") => self.start()?,
            ("restart", "") => {
                self.kill()?;
                self.start()?;
            }
            ("restart-mid-line", "") => {
                self.kill()?;
                Port::open("cgcs.heartbeat")?.write_all(&half_a_message())?;
                self.start()?;
            }
            ("clock", seconds) => move_clock(seconds.parse().context("not a number of seconds")?)?,
            ("panic", "") => return Ok(Some(End::Panic)),
            ("reboot", "") => return Ok(Some(End::Reboot)),
            ("poweroff", "") => return Ok(Some(End::PowerOff)),
            _ => bail!("there is no such command"),
        }
        Ok(None)
    }

    fn start(&mut self) -> Result<()> {
        if self.program.is_some() {
            bail!("the program runs already");
        }
        self.program = Some(client::start()?);
        Ok(())
    }

    fn pid(&self) -> Result<Pid> {
        let program = self.program.as_ref().context("the program is dead")?;
        Ok(Pid::from_raw(i32::try_from(program.id())?))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(self.pid()?, signal)?)
    }

    /// Kills the program and waits for its end: the port is free then.
    fn kill(&mut self) -> Result<()> {
        let pid = self.pid()?;
        kill(pid, Signal::SIGKILL)?;
        waitpid(pid, None)?;
        self.program = None;
        Ok(())
    }

    /// Buries whoever has died: the program, as the test sees then what a guest looks like whose program crashed, or
    /// a script that outlived it.
    fn reap(&mut self) -> Result<()> {
        loop {
            let status = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(()),
                Ok(status) => status,
                Err(error) => return Err(error).context("cannot wait for the dead"),
            };
            if self.program.is_some() && status.pid() == Some(self.pid()?) {
                eprintln!("vm-init: the program ended: {status:?}");
                self.program = None;
            }
        }
    }
}

/// Moves the wall clock by so many seconds, as an operator or a time server would.
fn move_clock(seconds: i64) -> Result<()> {
    let now = clock_gettime(ClockId::CLOCK_REALTIME)?;
    let then = TimeSpec::new(now.tv_sec() + seconds, now.tv_nsec());
    clock_settime(ClockId::CLOCK_REALTIME, then).context("the kernel does not move its clock")
}

/// What a program leaves that dies while it writes.
fn half_a_message() -> Vec<u8> {
    let mut message = Vec::new();
    let response = ChallengeResponse {
        heartbeat_response: 0,
        heartbeat_health: Health::Healthy,
        corrective_action: CorrectiveAction::None,
        log_msg: "".into(),
    };
    GuestMessage::ChallengeResponse(response).encode(0, &mut message);
    message.truncate(message.len() / 2);
    message
}
