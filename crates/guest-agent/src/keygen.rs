//! `guestAgent keygen`: makes a key file, or takes one of the two steps by which its keys are changed without a gap.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use daemon_kit::Failure;
use daemon_kit::random::secret;
use heartbeat_proto::control::Keyring;

/// What the command line says of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Keygen {
    /// Change the file: its next key becomes the current one, and the former one stays known
    #[arg(long)]
    swap: bool,

    /// Change the file: a new key becomes the next one, and the one that was is no longer known
    #[arg(long, conflicts_with = "swap")]
    renew: bool,

    /// The key file; without --swap or --renew it must not be there yet
    file: PathBuf,
}

/// Does it, and says what is to be done with the file.
pub(crate) fn run(keygen: &Keygen) -> Result<(), Failure> {
    let path = &keygen.file;
    let random =
        || secret().map_err(|error| Failure::environment(format!("no randomness: {error}")));
    let keyring = if keygen.swap || keygen.renew {
        let text = fs::read_to_string(path).map_err(|error| cannot("read", path, &error))?;
        let former = Keyring::parse(&text)
            .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
        let changed = if keygen.swap { former.swap() } else { former.renew(random()?) };
        replace(path, &changed.text()).map_err(|error| cannot("write", path, &error))?;
        changed
    } else {
        let keyring = Keyring::generate(random()?, random()?);
        create(path, &keyring.text()).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Failure::usage(format!(
                "{} is there already: expected a new file, or --swap or --renew",
                path.display()
            )),
            _ => cannot("make", path, &error),
        })?;
        keyring
    };
    let [current, next] = keyring.ids();
    // Whoever does not read it has the file all the same.
    let _ = writeln!(
        io::stdout(),
        "{}: current key {current}, next key {next}; the same file goes to all hosts and controllers",
        path.display()
    );
    Ok(())
}

fn create(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// The new file takes the place of the former one at once, whole, and belongs to the same user.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let former = fs::metadata(path)?;
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        let own = file.metadata()?;
        if (own.uid(), own.gid()) != (former.uid(), former.gid()) {
            fchown(&file, Some(former.uid()), Some(former.gid()))?;
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::environment(format!("cannot {what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_file_is_made_once_and_changed_in_steps_and_nobody_else_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keys");
        let keygen = |swap, renew| run(&Keygen { swap, renew, file: file.clone() });
        assert!(keygen(true, false).unwrap_err().message.contains("cannot read"));
        keygen(false, false).unwrap();
        let first = fs::read_to_string(&file).unwrap();
        assert_eq!(Keyring::parse(&first).unwrap().ids(), [1, 2]);
        let again = keygen(false, false).unwrap_err();
        assert!(again.message.contains("is there already: expected a new file"), "{again}");
        assert_eq!(fs::read_to_string(&file).unwrap(), first);
        keygen(true, false).unwrap();
        let swapped = fs::read_to_string(&file).unwrap();
        assert_eq!(Keyring::parse(&swapped).unwrap().ids(), [2, 1]);
        keygen(false, true).unwrap();
        let second = fs::read_to_string(&file).unwrap();
        assert_eq!(Keyring::parse(&second).unwrap().ids(), [2, 3]);
        let key = |text: &str, role: &str| {
            let line = text.lines().find(|line| line.starts_with(role)).unwrap();
            line.split(' ').skip(1).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(key(&first, "next"), key(&second, "current"));
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
        fs::write(&file, "junk").unwrap();
        assert!(keygen(true, false).unwrap_err().message.contains("line 1: expected"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
