//! Waiting for a condition with a deadline: what a test does instead of sleeping.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep, timeout_at};

/// How often a condition is looked at.
const STEP: Duration = Duration::from_millis(5);

/// Waits until `condition` holds.
///
/// # Errors
///
/// It does not within `within`; the error says what was waited for.
pub async fn until(
    what: &str,
    within: Duration,
    mut condition: impl FnMut() -> bool,
) -> Result<()> {
    let deadline = Instant::now() + within;
    while !condition() {
        if Instant::now() >= deadline {
            bail!("waited {within:?} in vain until {what}");
        }
        sleep(STEP).await;
    }
    Ok(())
}

/// Waits until `attempt` succeeds, and returns what it gave.
///
/// # Errors
///
/// It does not within `within`; the error says what was waited for and why the last attempt failed.
pub async fn until_ok<T>(
    what: &str,
    within: Duration,
    mut attempt: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    let deadline = Instant::now() + within;
    let mut last = None;
    loop {
        match timeout_at(deadline, attempt()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => last = Some(error),
            Err(_) => {}
        }
        if Instant::now() >= deadline {
            let why = last.map_or_else(|| "no attempt ended".into(), |error| format!("{error:#}"));
            bail!("waited {within:?} in vain until {what}: {why}");
        }
        sleep(STEP).await;
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_condition_that_comes_true_ends_the_wait() {
        let mut looks = 0;
        let looked = || {
            looks += 1;
            looks == 3
        };
        until("it was looked at three times", LONG, looked).await.unwrap();
        let mut left = 3;
        let attempt = async || {
            left -= 1;
            (left == 0).then_some("done").context("not yet")
        };
        assert_eq!(until_ok("it is done", LONG, attempt).await.unwrap(), "done");
    }

    #[tokio::test]
    async fn an_error_says_what_was_waited_for() {
        let error = until("pigs fly", SHORT, || false).await.unwrap_err().to_string();
        assert_eq!(error, "waited 20ms in vain until pigs fly");
        let attempt = async || -> Result<()> { bail!("no wings") };
        let error = until_ok("pigs fly", SHORT, attempt).await.unwrap_err().to_string();
        assert_eq!(error, "waited 20ms in vain until pigs fly: no wings");
        let stuck = async || -> Result<()> { std::future::pending().await };
        let error = until_ok("pigs fly", SHORT, stuck).await.unwrap_err().to_string();
        assert!(error.ends_with("pigs fly: no attempt ended"), "{error}");
    }
}
