//! Fuzz targets: everything that reads what a guest, a host, the VIM or an operator wrote, fed with
//! anything (docs/fuzzing.md).
//!
//! Each target is a function of some bytes that panics when what must always hold does not. An engine
//! calls them from the programs in `fuzz_targets/`; a plain test calls them with every file of
//! `corpus/`.

pub mod agent;
mod bytes;
pub mod client;
pub mod datagrams;
pub mod lines;
pub mod machine;
pub mod session;
pub mod vim;

/// A target: its name, which is that of its program and of its corpus, and what it does.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("line_framer", lines::line_framer),
    ("guest_message", lines::guest_message),
    ("host_message", lines::host_message),
    ("datagram", datagrams::datagram),
    ("agent_command", datagrams::agent_command),
    ("server_event", datagrams::server_event),
    ("maintenance_command", datagrams::maintenance_command),
    ("vim_body", vim::vim_body),
    ("session", session::session),
    ("client", client::client),
    ("http_command", agent::http_command),
    ("http_connection", agent::http_connection),
    ("vim_answer", agent::vim_answer),
    ("ini", machine::ini),
    ("control_request", machine::control_request),
];

/// The target of this name; it does nothing if there is none.
#[must_use]
pub fn target(name: &str) -> fn(&[u8]) {
    TARGETS.iter().find(|(known, _)| *known == name).map_or(|_| (), |(_, run)| *run)
}

/// Runs a target with each file that the command line names, for a look at a finding without an engine.
///
/// # Errors
/// When a file cannot be read.
pub fn replay(name: &str) -> std::io::Result<()> {
    for path in std::env::args_os().skip(1) {
        target(name)(&std::fs::read(path)?);
    }
    Ok(())
}

/// The `main` of a target's program: the engine's, or else [`replay`].
#[macro_export]
macro_rules! program {
    ($name:ident) => {
        #[cfg(fuzzing)]
        libfuzzer_sys::fuzz_target!(|data: &[u8]| $crate::target(stringify!($name))(data));

        #[cfg(not(fuzzing))]
        fn main() -> std::io::Result<()> {
            $crate::replay(stringify!($name))
        }
    };
}
