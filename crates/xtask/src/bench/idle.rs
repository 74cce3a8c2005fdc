//! No guests: what the daemon does all the same.

use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::time::sleep;

use super::Setup;
use super::figure::{Figure, Unit};
use super::site::Site;

/// The supervisor's watchdog, as the packaged unit has it: 30 s.
const WATCHDOG: (&str, &str) = ("WATCHDOG_USEC", "30000000");
/// What the start leaves to do is done by then.
const SETTLE: Duration = Duration::from_secs(1);

pub(super) async fn measure(setup: &Setup) -> Result<Vec<Figure>> {
    let host = Site::new()?.start(setup, &[WATCHDOG]).await?;
    sleep(SETTLE).await;
    let (begin, cpu) = (Instant::now(), host.daemon.cpu_time()?);
    let switches = host.daemon.voluntary_ctxt_switches()?;
    sleep(setup.pick(Duration::from_secs(30), Duration::from_secs(20))).await;
    let switches = host.daemon.voluntary_ctxt_switches()? - switches;
    let cpu = host.daemon.cpu_time()?.saturating_sub(cpu).as_secs_f64();
    let seconds = begin.elapsed().as_secs_f64();
    let rss = host.rss_mib()?;
    host.stop().await?;
    Ok(vec![
        Figure::new("wake-ups, all threads", Unit::PerSecond, switches as f64 / seconds)
            .at_most(1.0)
            .every(),
        Figure::new("CPU a second", Unit::Micros, cpu * 1e6 / seconds),
        Figure::new("resident memory", Unit::Mib, rss).at_most(12.0),
    ])
}
