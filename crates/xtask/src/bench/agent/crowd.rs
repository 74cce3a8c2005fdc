//! A thousand hosts with a hundred instances each: what knowing, auditing and being asked costs.

use std::io::Write as _;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::time::sleep;

use super::super::Setup;
use super::super::figure::{Figure, Unit, largest, median, quantile};
use super::super::lateness::Lateness;
use super::super::site::millis;
use super::fleet::Size;
use super::load::{Load, Pace};
use super::site::{Agent, Site};

const SIZE: Size = Size { hosts: 1000, instances: 100 };
/// Requests a second.
const RATE: u32 = 2000;
const MIB: f64 = 1024.0 * 1024.0;
/// 200 MB.
const MEMORY: f64 = 200.0e6 / MIB;
/// One round of the audit.
const ROUND: Duration = Duration::from_secs(10);
/// What is on its way arrives within this time.
const ON_THE_WAY: Duration = Duration::from_millis(500);
/// Long enough for a status and what it holds up.
const LONG_STATUS: Duration = Duration::from_secs(2);

pub(in super::super) async fn measure(setup: &Setup) -> Result<Vec<Figure>> {
    let agent = Site::new(SIZE).await?.start(setup).await?;
    let (known, told) = agent.settle().await?;
    let seconds = |what: &str, time: Duration| Figure::new(what, Unit::Seconds, time.as_secs_f64());
    let mut figures = vec![
        seconds("start to all instances known", known),
        seconds("start to the VIM knowing the state of each", told),
    ];
    figures.extend(audit(setup, &agent).await?);
    figures.extend(requests(setup, &agent).await?);
    figures.push(lost(&agent).await?);
    figures.extend(greed(setup, &agent).await?);
    let memory = Figure::new("resident memory", Unit::Mib, agent.rss_mib()?);
    figures.push(memory.at_most(MEMORY).every());
    figures.extend(status(&agent).await?);
    agent.stop().await?;
    Ok(figures)
}

/// What the audit costs while nobody asks anything.
async fn audit(setup: &Setup, agent: &Agent) -> Result<Vec<Figure>> {
    let fleet = &agent.site.fleet;
    let rounds = setup.pick(2, 1);
    let (begin, cpu) = (Instant::now(), agent.daemon.cpu_time()?);
    let (queries, answers) = (fleet.queries(), fleet.sent());
    sleep(ROUND * rounds).await;
    let (queries, answers) = (fleet.queries() - queries, fleet.sent() - answers);
    let cpu = agent.daemon.cpu_time()?.saturating_sub(cpu).as_secs_f64();
    let a_round = |count: u64| count as f64 / f64::from(rounds);
    Ok(vec![
        Figure::new("audit: queries a round", Unit::Count, a_round(queries)),
        Figure::new("audit: answers a round", Unit::Count, a_round(answers)),
        Figure::new(
            "audit: CPU, share of a core",
            Unit::Percent,
            cpu / begin.elapsed().as_secs_f64() * 100.0,
        )
        .at_most(15.0),
        Figure::new("audit: CPU an answer", Unit::Micros, cpu * 1e6 / answers.max(1) as f64),
    ])
}

/// Requests while the audits go on.
async fn requests(setup: &Setup, agent: &Agent) -> Result<Vec<Figure>> {
    let time = setup.pick(Duration::from_secs(20), Duration::from_secs(10));
    let load = Load { agent: agent.http, instances: SIZE.all(), pace: Pace::Rate(RATE), time };
    let own = Lateness::begin(setup)?;
    let cpu = agent.daemon.cpu_time()?;
    let answers = load.run().await?;
    let cpu = agent.daemon.cpu_time()?.saturating_sub(cpu).as_secs_f64();
    let own = own.end().await?;
    let (judged, left_out) = answers.delays_without_stalls(&own);
    let all = answers.delays();
    let get = |what: &str, value| {
        Figure::new(format!("GET, a new connection each, {RATE}/s: {what}"), Unit::Millis, value)
    };
    let mut figures = vec![
        get("median", median(&judged)).baseline("10 ms, at 100/s"),
        get("p99", quantile(&judged, 0.99)).at_most(1.0),
        get("largest", largest(&judged)),
        get("p99, the machine's stalls included", quantile(&all, 0.99)),
        get("largest, the machine's stalls included", largest(&all)),
        Figure::new("answers left out for such a stall", Unit::Count, left_out as f64),
        answers.failures("GET"),
    ];
    figures.extend(answers.comparisons());
    figures.push(own.machine());
    figures.push(Figure::new(
        "CPU with audits and requests, share of a core",
        Unit::Percent,
        cpu / time.as_secs_f64() * 100.0,
    ));
    Ok(figures)
}

/// As many requests as are answered. The load's core is busy with them and leaves next to nothing to
/// the fleet, which answers a second's queries at once then: so there are no audits meanwhile.
async fn greed(setup: &Setup, agent: &Agent) -> Result<Vec<Figure>> {
    let time = setup.pick(Duration::from_secs(6), Duration::from_secs(4));
    let load = Load { agent: agent.http, instances: SIZE.all(), pace: Pace::Greedy, time };
    let cpu = agent.daemon.cpu_time()?;
    let answers = load.run().await?;
    let cpu = agent.daemon.cpu_time()?.saturating_sub(cpu).as_secs_f64();
    let share = cpu / time.as_secs_f64() * 100.0;
    Ok(vec![
        answers.rate().at_least(8000.0).baseline("100 /s"),
        answers.failures("as fast as it goes"),
        Figure::new("for comparison: CPU meanwhile, share of a core", Unit::Percent, share),
    ])
}

/// Datagrams that were sent and did not arrive, from the start until now.
async fn lost(agent: &Agent) -> Result<Figure> {
    agent.site.fleet.fall_silent();
    sleep(ON_THE_WAY).await;
    let received = agent.metric("datagrams_received").await?;
    let lost = agent.site.fleet.sent().saturating_sub(received);
    Ok(Figure::new("audit: answers lost since the start", Unit::Count, lost as f64)
        .at_most(0.0)
        .every())
}

/// What it costs the others that somebody asks for the status, which lists every instance.
async fn status(agent: &Agent) -> Result<Vec<Figure>> {
    let pace = Pace::Rate(RATE);
    let load = Load { agent: agent.http, instances: SIZE.all(), pace, time: LONG_STATUS };
    let path = agent.daemon.run_dir().join("guestAgent.sock");
    let ask = async || {
        sleep(LONG_STATUS / 4).await;
        // Only read: to take it apart would cost the load more than the daemon had to do.
        tokio::task::spawn_blocking(move || -> Result<_> {
            let asked = Instant::now();
            let mut stream = UnixStream::connect(path)?;
            stream.write_all(b"{\"request\":\"status\"}\n")?;
            stream.shutdown(Shutdown::Write)?;
            let bytes = std::io::copy(&mut stream, &mut std::io::sink())?;
            anyhow::Ok((asked.elapsed(), bytes))
        })
        .await?
    };
    let (answers, asked) = tokio::join!(load.run(), ask());
    let (took, bytes) = asked?;
    let delays = answers?.delays();
    Ok(vec![
        Figure::new("the status, which lists all", Unit::Millis, millis(took)),
        Figure::new("size of the status", Unit::Mib, bytes as f64 / MIB),
        Figure::new("GET while it is asked for, largest", Unit::Millis, largest(&delays)),
        Figure::new("resident memory after it", Unit::Mib, agent.rss_mib()?),
    ])
}
