//! What the machine lets one process have.

use std::io;

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Open files that the kernel is made to have room for from the start.
const ROOM: u64 = 16 * 1024;

/// Raises the soft limit of open files to the hard one and returns what holds now. Each guest is
/// one open file.
///
/// Also has the kernel make room for [`ROOM`] of them now: whenever its table has to grow in a
/// process with several threads, it waits some 5 to 20 ms for all processors, and everything that
/// this thread serves waits with it. So call it before there are other threads.
///
/// # Errors
///
/// When the machine refuses it. The old limit still holds then, so a warning is enough.
pub fn raise_open_files() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    // Only speed is lost without it.
    let _ = make_room(hard.min(ROOM));
    Ok(hard)
}

/// How many files this process may have open.
///
/// # Errors
///
/// When the kernel refuses; not seen in practice.
pub fn open_files() -> io::Result<u64> {
    Ok(getrlimit(Resource::RLIMIT_NOFILE)?.0)
}

/// The table grows to the highest number in use, and never shrinks.
fn make_room(files: u64) -> io::Result<()> {
    let highest = i32::try_from(files.saturating_sub(1)).unwrap_or(i32::MAX);
    let file = fcntl(io::stderr(), FcntlArg::F_DUPFD_CLOEXEC(highest))?;
    Ok(nix::unistd::close(file)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, soft.min(hard - 1), hard).unwrap();
        assert_eq!(raise_open_files().unwrap(), hard);
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (hard, hard));
        assert_eq!(raise_open_files().unwrap(), hard, "once more changes nothing");
    }

    #[test]
    fn the_kernel_has_room_for_many_files() {
        make_room(1000).unwrap();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let size = status.lines().find_map(|line| line.strip_prefix("FDSize:")).unwrap();
        assert!(size.trim().parse::<u64>().unwrap() >= 1000, "{size}");
    }
}
