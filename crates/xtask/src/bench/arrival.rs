//! Sockets that appear one after the other: how soon each is connected and its guest acknowledged.

use anyhow::{Context as _, Result};
use heartbeat_proto::guest::HostMessage;
use lab::guest::{Behaviour, What};

use super::Setup;
use super::figure::{Figure, Unit, largest, median};
use super::site::{PATIENCE, Site, guest, millis};

pub(super) async fn measure(setup: &Setup) -> Result<Vec<Figure>> {
    let host = Site::new()?.start(setup, &[]).await?;
    let channels = host.site.channels();
    let (mut connected, mut acknowledged) = (Vec::new(), Vec::new());
    let mut guests = Vec::new();
    for number in 0..setup.pick(300, 100) {
        let guest = guest(&channels, number, Behaviour::normal())?;
        let ack = |what: &What| {
            matches!(what, What::Received { message: HostMessage::InitAck { .. }, .. })
        };
        guest.wait_for("init_ack", PATIENCE, ack).await?;
        connected.push(millis(guest.connect_delay().context("not connected")?));
        acknowledged.extend(guest.ack_delays().first().copied().map(millis));
        guests.push(guest);
    }
    host.stop().await?;
    let figure = |what: &str, value| Figure::new(what, Unit::Millis, value);
    Ok(vec![
        figure("socket created to connected, median", median(&connected))
            .at_most(10.0)
            .baseline("1500 ms"),
        figure("socket created to connected, largest", largest(&connected)).at_most(10.0),
        figure("init to init_ack, median", median(&acknowledged)).at_most(1.0).baseline("12 ms"),
        figure("init to init_ack, largest", largest(&acknowledged)),
    ])
}
