//! The VIM hangs while much happens, and then goes on.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use lab::vim::Mood;
use tokio::time::{sleep, sleep_until};

use super::super::Setup;
use super::super::figure::{Figure, Unit, largest, median, quantile};
use super::super::lateness::Lateness;
use super::super::site::{PATIENCE, millis};
use super::fleet::{Size, instance_id};
use super::load::{Load, Pace};
use super::site::{Agent, Site, is_event};
use super::story::{INSTANCES, Story};

const SIZE: Size = Size { hosts: 20, instances: 100 };
const _: () = assert!(INSTANCES <= SIZE.hosts * SIZE.instances);
/// Requests a second meanwhile.
const RATE: u32 = 2000;
/// Nothing happens in the last tenth of the time.
const QUIET: u32 = 10;
/// What might be told once more is told within this time.
const ONCE_MORE: Duration = Duration::from_millis(500);

pub(in super::super) async fn measure(setup: &Setup) -> Result<Vec<Figure>> {
    let agent = Site::new(SIZE).await?.start(setup).await?;
    agent.settle().await?;
    agent.delivered().await?;
    let vim = &agent.site.vim;
    let _ = vim.drain();
    let before = agent.metric("events_retried").await?;

    let mut story = Story::new();
    vim.set_mood(Mood::Hanging);
    agent.site.fleet.tell(agent.address, &story.prelude()).await?;
    let first = instance_id(0).to_string();
    let first =
        vim.wait_for("the first alarm", PATIENCE, |request| request.instance() == first).await?;
    let time = setup.pick(Duration::from_secs(60), Duration::from_secs(5));
    let load = Load { agent: agent.http, instances: SIZE.all(), pace: Pace::Rate(RATE), time };
    let own = Lateness::begin(setup)?;
    let (answers, told) = tokio::join!(load.run(), tell(&agent, &story, time));
    let (answers, own) = (answers?, own.end().await?);
    told?;
    let waiting = agent.daemon.status().await?["outbox"]["events"].as_u64();
    let waiting = waiting.context("no number of events that wait")?;

    let goes_on = Instant::now();
    vim.set_mood(Mood::Normal);
    agent.delivered().await?;
    sleep(ONCE_MORE).await;
    let mut requests = vec![first];
    requests.extend(vim.drain());
    requests.retain(is_event);
    let last = requests.iter().map(|request| request.at).max().unwrap_or(goes_on);
    let retried = agent.metric("events_retried").await? - before;
    agent.stop().await?;

    let delays = answers.delays();
    let (judged, left_out) = answers.delays_without_stalls(&own);
    let get = |what: &str, value| {
        Figure::new(format!("GET meanwhile, {RATE}/s: {what}"), Unit::Millis, value)
    };
    let mut figures = vec![
        get("median", median(&delays)),
        get("p99", quantile(&delays, 0.99)).at_most(1.0),
        get("largest", largest(&judged)).at_most(5.0).every().baseline("19.9 s"),
        get("largest, the machine's stalls included", largest(&delays)),
        Figure::new("answers left out for such a stall", Unit::Count, left_out as f64),
        answers.failures("GET meanwhile"),
    ];
    figures.extend(answers.comparisons());
    figures.push(own.machine());
    let differences = story.compare(&requests);
    let none = |what: &str, count: usize| {
        Figure::new(what, Unit::Count, count as f64).at_most(0.0).every()
    };
    let count = |what: &str, count: u64| Figure::new(what, Unit::Count, count as f64);
    figures.extend([
        none("alarms and votes that the VIM does not get", differences.missing),
        none("alarms and votes that it gets again", differences.repeated),
        none("instances of which it gets them in another order", differences.disordered),
        none("instances whose last state it does not know", differences.outdated),
        count("events that wait when it goes on", waiting),
        count("attempts that failed", retried),
        Figure::new(
            "from its going on to the last event",
            Unit::Millis,
            millis(last.saturating_duration_since(goes_on)),
        ),
    ]);
    Ok(figures)
}

/// Tells the story, spread over most of this time.
async fn tell(agent: &Agent, story: &Story, time: Duration) -> Result<()> {
    let apart = (time - time / QUIET) / u32::try_from(story.events.len())?;
    let mut next = tokio::time::Instant::now();
    for event in &story.events {
        agent.site.fleet.tell(agent.address, event).await?;
        next += apart;
        sleep_until(next).await;
    }
    Ok(())
}
