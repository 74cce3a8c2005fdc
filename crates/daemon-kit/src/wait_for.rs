//! Waiting for files that another service makes when it is done.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::info;

/// Returns when all of `paths` exist, having looked every `poll`. What it waits for is logged once.
/// It waits without end, so wait for [`crate::Signals`] beside it.
///
/// Cancel safe: it keeps nothing.
pub async fn wait_for_files(paths: &[PathBuf], poll: Duration) {
    let mut told = false;
    loop {
        // What cannot be examined (no permission, no such directory) is not there yet.
        let missing: Vec<&Path> =
            paths.iter().map(PathBuf::as_path).filter(|path| !path.exists()).collect();
        if missing.is_empty() {
            return;
        }
        if !told {
            info!(files = ?missing, "waiting for files to appear before starting");
            told = true;
        }
        tokio::time::sleep(poll).await;
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const POLL: Duration = Duration::from_millis(250);

    #[tokio::test(start_paused = true)]
    async fn returns_at_once_or_when_the_last_file_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let paths = [dir.path().join("first"), dir.path().join("deep/second")];
        let start = tokio::time::Instant::now();
        wait_for_files(&[], POLL).await;
        assert_eq!(start.elapsed(), Duration::ZERO);

        let waiting = wait_for_files(&paths, POLL);
        tokio::pin!(waiting);
        assert!(tokio::time::timeout(POLL * 3, &mut waiting).await.is_err());
        fs::write(&paths[0], "").unwrap();
        assert!(tokio::time::timeout(POLL * 3, &mut waiting).await.is_err());
        fs::create_dir(dir.path().join("deep")).unwrap();
        fs::write(&paths[1], "").unwrap();
        tokio::time::timeout(POLL * 2, &mut waiting).await.expect("both are there");
    }
}
