//! Where cargo put the binaries.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Where the binary of this name is: what the environment variable says (for `guestServer`,
/// `GUEST_SERVER_BIN`), else next to the program that runs, which is in the target directory or below.
///
/// # Errors
///
/// It is not there; the error says how to build it.
pub fn binary(name: &str) -> Result<PathBuf> {
    let variable = variable(name);
    if let Some(path) = std::env::var_os(&variable) {
        let path = PathBuf::from(path);
        if !path.is_file() {
            bail!("{variable} is {}, which is no file", path.display());
        }
        return Ok(path);
    }
    let exe = std::env::current_exe()?;
    let places = || exe.ancestors().skip(1).take(2);
    let found = places().map(|dir| dir.join(name)).find(|path| path.is_file());
    found.with_context(|| {
        let dir = places().last().unwrap_or(Path::new(".")).display();
        format!(
            "no {name} in {dir}: build it with `cargo build --workspace` (the same profile), or set {variable}"
        )
    })
}

/// `guestServer` becomes `GUEST_SERVER_BIN`.
fn variable(name: &str) -> String {
    let mut variable = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            variable.push('_');
        }
        variable.push(letter.to_ascii_uppercase());
    }
    variable + "_BIN"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binaries_are_looked_for_where_cargo_puts_them() {
        assert_eq!(variable("guestServer"), "GUEST_SERVER_BIN");
        let error = binary("noSuchDaemon").unwrap_err().to_string();
        assert!(error.contains("cargo build") && error.contains("NO_SUCH_DAEMON_BIN"), "{error}");
        let exe = std::env::current_exe().unwrap();
        let name = exe.file_name().unwrap().to_str().unwrap();
        assert_eq!(binary(name).unwrap(), exe);
    }
}
