//! What the main loop does with the port.

use std::time::Duration;

use daemon_kit::describe;
use heartbeat_proto::MonotonicTime;

use super::Program;
use crate::device::{Port, Read};

/// How long to wait before it is tried again to open the port: at first, and at most.
pub(super) const MIN_RETRY: Duration = Duration::from_secs(1);
const MAX_RETRY: Duration = Duration::from_secs(5);

/// What is read from the port at once, and how often before the others have their turn.
const READ_SIZE: usize = 2048;
const READS: usize = 8;

impl Program {
    /// Opens the port, when it is time to try.
    pub(super) fn open_port(&mut self, now: MonotonicTime) {
        if self.retry_at.is_none_or(|at| at > now) {
            return;
        }
        match Port::open(&self.config.device) {
            Ok(port) => {
                self.journal.opened(port.path());
                self.port = Some(port);
                (self.retry_at, self.retry, self.no_port) = (None, MIN_RETRY, None);
            }
            Err(error) => {
                let why = describe(&error);
                if self.no_port.as_ref() != Some(&why) {
                    self.journal.no_port(&self.config.device, &why);
                    self.no_port = Some(why);
                }
                self.retry_at = Some(now + self.retry);
                self.retry = (self.retry * 2).min(MAX_RETRY);
            }
        }
    }

    /// Hands what the host said to the client; says whether there may be more.
    pub(super) fn read_port(&mut self, now: MonotonicTime) -> bool {
        let mut buffer = [0; READ_SIZE];
        for _ in 0..READS {
            let Some(port) = &mut self.port else { return false };
            match port.read(&mut buffer) {
                Ok(Read::Bytes(length)) => {
                    self.host_is(now, true);
                    self.client.handle_bytes(now, &buffer[..length]);
                    self.carry_out();
                }
                Ok(Read::Nothing) => {
                    self.host_is(now, true);
                    return false;
                }
                Ok(Read::NoHost) => {
                    self.host_is(now, false);
                    return false;
                }
                Err(error) => {
                    self.lose_port(now, &error.to_string());
                    return false;
                }
            }
        }
        true
    }

    fn host_is(&mut self, now: MonotonicTime, there: bool) {
        if std::mem::replace(&mut self.host, there) == there {
            return;
        }
        self.journal.host(there);
        // Half a message that the former host did not take is nothing to the next.
        self.unsent.clear();
        if there {
            self.client.handle_opened(now);
        } else {
            self.client.handle_closed();
        }
    }

    fn lose_port(&mut self, now: MonotonicTime, why: &str) {
        self.journal.lost(why);
        self.host_is(now, false);
        self.port = None;
        self.retry_at = Some(now + MIN_RETRY);
    }

    /// Writes what the port takes now.
    pub(super) fn flush(&mut self) {
        let Some(port) = self.port.as_mut().filter(|_| self.host) else { return };
        if let Err(error) = self.unsent.flush(|bytes| port.write(bytes)) {
            let now = self.clock.now();
            self.lose_port(now, &error.to_string());
            self.carry_out();
        }
    }
}
