//! guestClient, as it is shipped, beside a real guestServer: what it costs the machine that it runs in.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use heartbeat_proto::InstanceId;
use lab::daemon::Daemon;
use lab::port::Port;
use lab::wait::until_ok;
use tokio::time::sleep;

use super::Setup;
use super::cores::put_after_load;
use super::figure::{Figure, Unit};
use super::site::{PATIENCE, Site};

/// What the start leaves to do is done by then.
const SETTLE: Duration = Duration::from_secs(3);

pub(super) async fn measure(setup: &Setup) -> Result<Vec<Figure>> {
    let host = Site::new()?.start(setup, &[]).await?;
    let channels = host.site.channels();
    let home = channels.parent().context("channels without a place")?;
    let port = Port::start(&channels, home, InstanceId::from_u128(0x1_0000))?;
    let conf = home.join("guest_heartbeat.conf");
    std::fs::write(&conf, "HB_INTERVAL=1000\n")?;
    let args: [OsString; 6] = [
        "--config".into(),
        conf.into(),
        "--device".into(),
        port.device().into(),
        "--name".into(),
        "bench".into(),
    ];
    let begin = Instant::now();
    let mut client =
        setup.cores.on_daemons(|| Daemon::start_guest_client(&setup.client, args, &[]))??;
    client.wait_ready(PATIENCE).await?;
    put_after_load(client.pid())?;
    until_ok("it heartbeats", PATIENCE, async || {
        (heartbeats(&client).await? > 0).then_some(()).context("not yet")
    })
    .await?;
    let first = begin.elapsed();
    sleep(SETTLE).await;
    let (before, cpu) = (heartbeats(&client).await?, client.cpu_time()?);
    let switches = client.voluntary_ctxt_switches()?;
    let begin = Instant::now();
    sleep(setup.pick(Duration::from_secs(30), Duration::from_secs(10))).await;
    let switches = client.voluntary_ctxt_switches()? - switches;
    let cpu = client.cpu_time()?.saturating_sub(cpu);
    let seconds = begin.elapsed().as_secs_f64();
    let beats = heartbeats(&client).await? - before;
    let rss = client.rss_kib()? as f64 / 1024.0;
    let size = std::fs::metadata(&setup.client)?.len() as f64 / 1024.0 / 1024.0;
    client.stop(PATIENCE).await?;
    host.stop().await?;
    Ok(vec![
        Figure::new("resident memory", Unit::Mib, rss).at_most(4.0).every(),
        Figure::new("size of the static binary", Unit::Mib, size).at_most(4.0),
        Figure::new("CPU a heartbeat", Unit::Micros, cpu.as_secs_f64() * 1e6 / beats as f64),
        Figure::new("wake-ups, all threads", Unit::PerSecond, switches as f64 / seconds),
        Figure::new("start to the first answer", Unit::Millis, first.as_secs_f64() * 1e3),
    ])
}

async fn heartbeats(client: &Daemon) -> Result<u64> {
    let status = client.request(r#"{"type":"status"}"#).await?;
    status["metrics"]["heartbeats"].as_u64().context("no count of heartbeats")
}
