//! `[security]` of a configuration file: which mode, and the text of the key file.
//!
//! What the keys are for is the daemons' own; here is that nobody else reads them.

use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::Failure;
use crate::options::{Sources, host_name};

/// The largest key file that is read, in bytes.
const MAX_KEY_FILE: u64 = 64 * 1024;

/// The microseconds since 1970, by the clock of the wall.
#[must_use]
pub fn unix_micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Reads `[security] mode`, one of `modes` of which the first is the default and wants no keys, and the key file; `make`
/// makes of the mode and the file's text what the daemon works with, or says what is wrong with the text.
///
/// # Errors
///
/// A value is not what it should be, or the key file is missing, open to others, or wrong.
pub fn read<M: Copy + AsRef<str>, G>(
    sources: &Sources,
    modes: &[M],
    make: impl FnOnce(M, Option<&str>) -> Result<G, String>,
) -> Result<G, Failure> {
    let text = |key| sources.file.as_ref().and_then(|file| file.text("security", key));
    let wrong = |key, expected: String| {
        let error = sources.file.as_ref().map(|file| file.bad_value("security", key, expected));
        Failure::usage(error.map(|error| error.to_string()).unwrap_or_default())
    };
    let words = || modes.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    let mode = match text("mode") {
        None => modes.first(),
        Some(word) => modes.iter().find(|mode| mode.as_ref() == word),
    };
    let mode = *mode.ok_or_else(|| wrong("mode", format!("one of {}", words())))?;
    let wants_keys = modes.first().is_some_and(|first| first.as_ref() != mode.as_ref());
    let path = text("key_file").filter(|path| !path.is_empty()).map(PathBuf::from);
    let keys = match path {
        None if wants_keys => {
            return Err(wrong("mode", "a key_file beside it, or off".to_owned()));
        }
        None => None,
        Some(path) if wants_keys => Some((read_private(&path)?, path)),
        Some(_) => None,
    };
    make(mode, keys.as_ref().map(|(text, _)| text.as_str())).map_err(|error| {
        let path = keys.as_ref().map(|(_, path)| path.display().to_string());
        Failure::usage(format!("{}: {error}", path.unwrap_or_default()))
    })
}

/// Reads a file that nobody but its owner may read.
fn read_private(path: &Path) -> Result<String, Failure> {
    let shown = path.display();
    let cannot = |error: &dyn std::fmt::Display| {
        Failure::usage(format!(
            "cannot read the key file {shown}: {error}: expected a file of mode 0600 that belongs to this user"
        ))
    };
    let file = std::fs::File::open(path).map_err(|error| cannot(&error))?;
    let metadata = file.metadata().map_err(|error| cannot(&error))?;
    let mode = metadata.mode() & 0o7777;
    if !metadata.is_file() || mode & 0o177 != 0 {
        return Err(Failure::usage(format!(
            "the key file {shown} has mode {mode:04o}: expected a file of mode 0600, for whoever reads it can command"
        )));
    }
    let mut text = String::new();
    file.take(MAX_KEY_FILE).read_to_string(&mut text).map_err(|error| cannot(&error))?;
    Ok(text)
}

/// Reads the host names and addresses of a key, between commas or blanks; `default` where it is not there.
///
/// # Errors
///
/// One of them is neither.
pub fn hosts(sources: &Sources, key: &str, default: &[&str]) -> Result<Vec<String>, Failure> {
    let Some(file) = &sources.file else { return Ok(owned(default)) };
    let Some(text) = file.text("security", key) else { return Ok(owned(default)) };
    text.split([',', ' ', '\t'])
        .filter(|word| !word.is_empty())
        .map(|word| {
            host_name(word).map_err(|_| {
                let expected = "host names or addresses, between commas or blanks";
                Failure::usage(file.bad_value("security", key, expected).to_string())
            })
        })
        .collect()
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const MODES: &[&str] = &["off", "permissive", "required"];

    fn read_text(text: &str) -> Result<(String, Option<String>), String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        let known = &[("security", "*")];
        let sources = Sources::read(Some(file.path()), "", known).unwrap();
        let made = read(&sources, MODES, |mode, keys| {
            if keys == Some("bad") {
                return Err("line 1: bad".to_owned());
            }
            Ok((mode.to_owned(), keys.map(str::to_owned)))
        });
        made.map_err(|failure| failure.to_string())
    }

    #[test]
    fn without_a_section_it_is_off_and_a_bad_mode_is_named() {
        assert_eq!(read_text(""), Ok(("off".to_owned(), None)));
        assert_eq!(read_text("[security]\nkey_file = /nowhere\n"), Ok(("off".to_owned(), None)));
        let error = read_text("[security]\nmode = strict\n").unwrap_err();
        assert!(
            error.ends_with("[security] mode = strict: expected one of off, permissive, required"),
            "{error}"
        );
        let error = read_text("[security]\nmode = required\n").unwrap_err();
        assert!(error.ends_with("expected a key_file beside it, or off"), "{error}");
    }

    #[test]
    fn a_key_file_has_to_be_private_and_right() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        let text = format!("[security]\nmode = required\nkey_file = {}\n", path.display());
        let error = read_text(&text).unwrap_err();
        assert!(error.contains("cannot read the key file") && error.contains("0600"), "{error}");
        fs::write(&path, "good").unwrap();
        for mode in [0o640, 0o604, 0o700, 0o660] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = read_text(&text).unwrap_err();
            assert!(error.contains(&format!("has mode {mode:04o}: expected")), "{error}");
        }
        for mode in [0o600, 0o400] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(read_text(&text), Ok(("required".to_owned(), Some("good".to_owned()))));
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "bad").unwrap();
        assert_eq!(read_text(&text), Err(format!("{}: line 1: bad", path.display())));
    }

    #[test]
    fn hosts_are_a_list() {
        let list = |text: &str| {
            let file = tempfile::NamedTempFile::new().unwrap();
            fs::write(file.path(), text).unwrap();
            let sources = Sources::read(Some(file.path()), "", &[("security", "*")]).unwrap();
            hosts(&sources, "controllers", &["controller-0"]).map_err(|failure| failure.to_string())
        };
        assert_eq!(list("").unwrap(), ["controller-0"]);
        assert_eq!(
            list("[security]\ncontrollers = a, 10.0.0.1  fe80::1\n").unwrap(),
            ["a", "10.0.0.1", "fe80::1"]
        );
        assert!(list("[security]\ncontrollers =\n").unwrap().is_empty());
        assert!(list("[security]\ncontrollers = a;b\n").unwrap_err().contains("between commas"));
    }
}
