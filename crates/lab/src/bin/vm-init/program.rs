//! `/init guest`: a stream and a clock around a [`Program`], in a plain loop.
//!
//! While the host does not take what was said last, nothing more is said, and the program's clock stands still:
//! as with a program that blocks in its write. Only the commands on standard input are still obeyed.

use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::process;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use heartbeat_proto::MonotonicTime;
use heartbeat_proto::guest::{ChallengeResponse, CorrectiveAction, GuestMessage, Health as Word};
use lab::guest::{Profile, Program};

use crate::boot::kernel_option;
use crate::line_input::LineInput;
use crate::port::Port;
use crate::setting::Setting;

/// The longest wait: only a bound, every event ends it.
const IDLE: Duration = Duration::from_secs(60);

/// Tells the program to write half a message and to die of it.
pub(super) const HALF_LINE: &str = "half-line";

/// Heartbeats until it is killed.
pub(super) fn run() -> Result<Infallible> {
    let mut port = Port::open("cgcs.heartbeat")?;
    // Unbuffered: what poll says must be all there is.
    let mut input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut profile = profile()?;
    let mut program = Program::new(profile.clone());
    let mut commands = LineInput::default();
    let mut clock = Clock::start();
    let mut buffer = [0; 4096];
    // What the host has not taken yet, and whether to die when it has.
    let mut output: Vec<u8> = Vec::new();
    let mut dying = false;
    loop {
        if output.is_empty() {
            // What the host said comes before what time it is: the program may have been frozen.
            let length = port.read(&mut buffer)?;
            let random = getrandom::u32().context("no random numbers")?;
            let now = clock.now();
            program.handle_bytes(now, &buffer[..length], &mut output, |_| {});
            program.handle_timeout(now, || random, &mut output, |_| {});
        }
        let written = port.write(&output)?;
        output.drain(..written);
        if output.is_empty() && dying {
            process::abort();
        }
        clock.stand_still(!output.is_empty());
        let limit = match program.poll_timeout() {
            Some(due) if output.is_empty() => due.since(clock.now()),
            Some(_) | None => IDLE,
        };
        let ready = port.wait(Some(input.as_fd()), !output.is_empty(), limit)?;
        if ready.other {
            let length = input.read(&mut buffer).context("cannot read commands")?;
            for command in commands.push(&buffer[..length]) {
                match Setting::parse(&command) {
                    Some(Setting::Health(health)) => profile.health = health,
                    Some(Setting::Voting(voting)) => profile.voting = voting,
                    None if command == HALF_LINE => {
                        output.extend(half_a_message());
                        dying = true;
                    }
                    None => {}
                }
            }
            program.set_profile(clock.now(), profile.clone());
        }
    }
}

/// The program's time: that since its start, without that in which it stood still.
#[derive(Debug)]
struct Clock {
    start: Instant,
    lost: Duration,
    still_since: Option<Instant>,
}

impl Clock {
    fn start() -> Self {
        Self { start: Instant::now(), lost: Duration::ZERO, still_since: None }
    }

    fn now(&self) -> MonotonicTime {
        let until = self.still_since.unwrap_or_else(Instant::now);
        MonotonicTime::after_start(until.duration_since(self.start).saturating_sub(self.lost))
    }

    fn stand_still(&mut self, still: bool) {
        if still {
            self.still_since.get_or_insert_with(Instant::now);
        } else if let Some(since) = self.still_since.take() {
            self.lost += since.elapsed();
        }
    }
}

/// What the kernel's command line says about this guest.
fn profile() -> Result<Profile> {
    let action = kernel_option("hb.action").unwrap_or_default();
    let interval = kernel_option("hb.interval").context("no hb.interval")?;
    let mut profile = Profile::default();
    let settings = &mut profile.settings;
    settings.name = kernel_option("hb.name").context("no hb.name")?.as_str().into();
    settings.heartbeat_interval_ms = interval.parse().context("hb.interval is no number")?;
    settings.corrective_action =
        CorrectiveAction::from_word(&action).context("hb.action is none")?;
    Ok(profile)
}

/// What a program leaves that dies while it writes.
fn half_a_message() -> Vec<u8> {
    let mut message = Vec::new();
    let response = ChallengeResponse {
        heartbeat_response: 0,
        heartbeat_health: Word::Healthy,
        corrective_action: CorrectiveAction::None,
        log_msg: "".into(),
    };
    GuestMessage::ChallengeResponse(response).encode(0, &mut message);
    message.truncate(message.len() / 2);
    message
}
