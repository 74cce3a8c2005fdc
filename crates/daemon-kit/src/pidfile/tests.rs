use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("guestServer.pid");
    (dir, path)
}

fn own_line() -> String {
    format!("{}\n", process::id())
}

#[test]
fn writes_the_pid_and_removes_the_file() {
    let (_dir, path) = place();
    let pidfile = Pidfile::acquire(&path).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), own_line());
    // Never writable by others, whatever the umask of whoever runs this.
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o133, 0);
    pidfile.remove().unwrap();
    assert!(!path.exists());
}

#[test]
fn a_second_copy_is_refused_and_told_the_pid() {
    let (_dir, path) = place();
    let first = Pidfile::acquire(&path).unwrap();
    let error = Pidfile::acquire(&path).unwrap_err();
    let expected = format!("already running with pid {} ({})", process::id(), path.display());
    assert_eq!(error.to_string(), expected);
    assert_eq!(fs::read_to_string(&path).unwrap(), own_line(), "the refused copy left it alone");

    drop(first);
    Pidfile::acquire(&path).unwrap();
}

#[test]
fn a_holder_without_a_number_is_still_a_holder() {
    let (_dir, path) = place();
    let file = File::create(&path).unwrap();
    let _lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).unwrap();
    let error = Pidfile::acquire(&path).unwrap_err();
    assert_eq!(error.to_string(), format!("already running ({})", path.display()));
}

#[test]
fn a_stale_file_is_taken_over() {
    let (_dir, path) = place();
    // Longer than any pid, so that a leftover tail would show.
    fs::write(&path, "12345678901234567890\nrubbish\n").unwrap();
    let _pidfile = Pidfile::acquire(&path).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), own_line());
}

#[test]
fn a_link_and_a_directory_are_refused() {
    let (dir, path) = place();
    let target = dir.path().join("target");
    fs::write(&target, "precious").unwrap();
    symlink(&target, &path).unwrap();
    let error = Pidfile::acquire(&path).unwrap_err();
    assert!(matches!(error, PidfileError::Io { action: "open", .. }), "{error:?}");
    assert_eq!(fs::read_to_string(&target).unwrap(), "precious");

    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    Pidfile::acquire(&path).unwrap_err();
}

#[test]
fn only_our_own_file_is_removed() {
    let (_dir, path) = place();
    let ours = Pidfile::acquire(&path).unwrap();
    // pmon removes the pidfile of what it takes for dead, and starts another copy.
    fs::remove_file(&path).unwrap();
    let theirs = Pidfile::acquire(&path).unwrap();
    drop(ours);
    assert_eq!(fs::read_to_string(&path).unwrap(), own_line());
    theirs.remove().unwrap();
    assert!(!path.exists());
}

/// Copies start and stop against each other as fast as they can: at no time do two hold the file.
#[test]
fn never_two_holders_while_files_come_and_go() {
    use std::sync::atomic::{AtomicU32, Ordering};
    let (_dir, path) = place();
    let holders = AtomicU32::new(0);
    let turns = AtomicU32::new(0);
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while turns.load(Ordering::SeqCst) < 200 {
                    assert!(std::time::Instant::now() < deadline, "too few turns in time");
                    match Pidfile::acquire(&path) {
                        Ok(pidfile) => {
                            assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0);
                            assert_eq!(fs::read_to_string(&path).unwrap(), own_line());
                            holders.fetch_sub(1, Ordering::SeqCst);
                            turns.fetch_add(1, Ordering::SeqCst);
                            drop(pidfile);
                        }
                        Err(
                            PidfileError::AlreadyRunning { .. } | PidfileError::Unstable { .. },
                        ) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
    });
}
