//! The floating address: the one that the active controller has, whichever that is.

use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::debug;

/// How often the floating address is looked up until it is known.
const PERIOD: Duration = Duration::from_secs(10);

/// The name that the floating address has, unless an option says the address.
const NAME: &str = "controller";

/// The floating address, once it is known: told by an option, or looked up aside until it is found.
pub(crate) fn look_up(told: Option<IpAddr>) -> mpsc::Receiver<IpAddr> {
    let (found, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        if let Some(ip) = told {
            let _ = found.send(ip).await;
            return;
        }
        loop {
            match tokio::net::lookup_host((NAME, 0)).await {
                Ok(mut addresses) => {
                    if let Some(address) = addresses.next() {
                        let _ = found.send(address.ip()).await;
                        return;
                    }
                }
                Err(error) => debug!(controller = NAME, %error, "no floating address yet"),
            }
            tokio::select! {
                () = tokio::time::sleep(PERIOD) => {}
                () = found.closed() => return,
            }
        }
    });
    receiver
}
