//! What a daemon needs of the machine it runs on: its pidfile, signals, readiness and watchdog, the
//! health file, the control socket, logging, and reading INI files. Nothing of the heartbeat.
//!
//! Everything here is made for a daemon with one main loop on a tokio `current_thread` runtime: the
//! loop owns the state, and what comes from outside (signals, control requests) reaches it as
//! values it waits for. Nothing here panics on what came from outside, and every queue and every
//! wait has a named bound.
//!
//! The order of a start: [`logging::init`], [`Pidfile::acquire`], [`Signals::install`] (before that
//! a `USR1` from an impatient monitor ends the process), the sockets, [`ControlSocket::bind`], and
//! [`Supervisor::ready`] last.

mod file_id;

pub mod config_file;
pub mod control;
pub mod exit;
pub mod health;
pub mod ini;
pub mod limits;
pub mod logging;
pub mod metrics;
pub mod mutes;
pub mod options;
pub mod pidfile;
pub mod platform;
pub mod pmon;
pub mod program;
pub mod query;
pub mod random;
pub mod rate_limit;
pub mod recent;
pub mod reload;
pub mod security;
pub mod service;
pub mod signals;
pub mod socket_file;
pub mod supervisor;
pub mod udp;
pub mod wait_for;

pub use control::{ControlRequest, ControlSocket};
pub use exit::{Failure, describe};
pub use health::HealthFile;
pub use ini::{IniError, IniFile};
pub use limits::{open_files, raise_open_files};
pub use logging::{Escaped, LogFormat, LogHandle, LogLevel};
pub use mutes::{MuteOrder, MuteStatus, Mutes};
pub use options::{Asked, Options, ProcessOptions};
pub use pidfile::{Pidfile, PidfileError};
pub use platform::hostname;
pub use query::Query;
pub use random::unpredictable;
pub use rate_limit::RateLimit;
pub use service::{Happened, Service};
pub use signals::{Signal, Signals};
pub use socket_file::{BindError, SocketFile};
pub use supervisor::Supervisor;
pub use wait_for::wait_for_files;
