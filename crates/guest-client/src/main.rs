//! The binary guestClient; all of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    guest_client::main()
}
