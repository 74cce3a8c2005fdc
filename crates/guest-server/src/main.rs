//! The binary guestServer; all of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    guest_server::main()
}
