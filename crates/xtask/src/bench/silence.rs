//! Guests that fall silent: how soon that is reported.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use heartbeat_proto::InstanceId;
use heartbeat_proto::control::ServerEvent;
use lab::guest::{Behaviour, Guest};
use tokio::time::sleep;

use super::Setup;
use super::figure::{Figure, Unit, largest, median, smallest};
use super::site::{Host, PATIENCE, Site, guest};

/// The interval of all guests; a loss is known two to three of them after the end.
const T: Duration = Duration::from_secs(1);
const SOONEST: f64 = 2.0;
/// Three intervals, and 50 ms for everything else.
const LATEST: f64 = 3.05;
/// Guests that fall silent one by one: their challenges come at as many points of the interval.
const APART: u16 = 20;
/// Guests that fall silent at once.
const TOGETHER: u16 = 100;

/// Seconds from each guest's last sign of life to the arrival of its LOSS.
async fn fall_silent(host: &Host, guests: &[Guest]) -> Result<Vec<f64>> {
    let _ = host.site.controller.drain();
    let mut silent: HashMap<InstanceId, Instant> = HashMap::new();
    for guest in guests {
        silent.insert(guest.instance(), Instant::now());
        guest.freeze().await?;
    }
    let mut seconds = Vec::new();
    for _ in guests {
        let lost = |event: &ServerEvent| matches!(event, ServerEvent::Loss(_));
        let arrival = host.site.controller.wait_for("LOSS", PATIENCE, lost).await?;
        let since = arrival.instance().and_then(|instance| silent.remove(&instance));
        let since = since.context("LOSS of a guest that is lost already, or was never silent")?;
        seconds.push(arrival.at.saturating_duration_since(since).as_secs_f64());
    }
    Ok(seconds)
}

pub(super) async fn one_by_one(setup: &Setup) -> Result<Vec<Figure>> {
    let host = Site::new()?.start(setup, &[]).await?;
    let channels = host.site.channels();
    let mut guests = Vec::new();
    for number in 0..APART {
        guests.push(guest(&channels, number, Behaviour::normal().every(T))?);
        sleep(T / u32::from(APART)).await;
    }
    host.watch(&guests).await?;
    sleep(T).await;
    let seconds = fall_silent(&host, &guests).await?;
    host.stop().await?;
    let figure = |what: &str, value| {
        Figure::new(format!("silent to LOSS, {what} of {APART}"), Unit::Seconds, value)
    };
    Ok(vec![
        figure("soonest", smallest(&seconds)).at_least(SOONEST).every(),
        figure("median", median(&seconds)).baseline("2.04 to 3.07 s"),
        figure("latest", largest(&seconds)).at_most(LATEST).every(),
    ])
}

pub(super) async fn together(setup: &Setup) -> Result<Vec<Figure>> {
    let site = Site::new()?;
    let guests = site.guests(0..TOGETHER, &Behaviour::normal().every(T))?;
    let host = site.start(setup, &[]).await?;
    host.watch(&guests).await?;
    // Somewhere within an interval, not at its beginning.
    sleep(T + T / 3).await;
    let seconds = fall_silent(&host, &guests).await?;
    host.stop().await?;
    let all = Figure::new("silent to the last LOSS", Unit::Seconds, largest(&seconds));
    let first = smallest(&seconds);
    Ok(vec![
        all.at_most(LATEST).every().baseline("3.07 s"),
        Figure::new("first LOSS to the last", Unit::Millis, (largest(&seconds) - first) * 1e3),
    ])
}
