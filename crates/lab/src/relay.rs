//! A network that loses, doubles, delays and reorders datagrams between guestAgent and one guestServer.
//!
//! ```text
//!   guestAgent                        relay                             guestServer
//!   agent_ip:agent_port  <->  front_ip:server_port | back_ip:agent_port  <->  its own address
//! ```
//!
//! guestAgent takes the relay's front for the host, guestServer takes its back for the controller. Every datagram
//! meets its fate by a seeded dice, so that a run can be repeated.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use heartbeat_proto::control::MAX_LEN;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

/// What happens to datagrams, each with this probability from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Faults {
    /// Lost.
    pub loss: f64,
    /// Delivered twice.
    pub doubling: f64,
    /// Delivered after up to [`Faults::delay`], so that later ones overtake it.
    pub delaying: f64,
    /// The longest delay.
    pub delay: Duration,
}

/// How many datagrams met which fate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fates {
    /// Delivered at once.
    pub delivered: u64,
    /// Lost.
    pub lost: u64,
    /// Delivered twice.
    pub doubled: u64,
    /// Delivered late.
    pub delayed: u64,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    faults: Faults,
    fates: Fates,
    dice: u64,
}

impl State {
    /// A number from 0 to 1 (`SplitMix64`).
    fn roll(&mut self) -> f64 {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.dice;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let high = u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap_or_default();
        f64::from(high) / f64::from(u32::MAX)
    }
}

/// What becomes of one datagram.
struct Fate {
    copies: u32,
    delay: Option<Duration>,
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn decide(&self) -> Fate {
        let mut state = self.lock();
        let faults = state.faults;
        if state.roll() < faults.loss {
            state.fates.lost += 1;
            return Fate { copies: 0, delay: None };
        }
        let doubled = state.roll() < faults.doubling;
        let delay = (state.roll() < faults.delaying).then(|| faults.delay.mul_f64(state.roll()));
        match (doubled, delay) {
            (true, _) => state.fates.doubled += 1,
            (false, Some(_)) => state.fates.delayed += 1,
            (false, None) => state.fates.delivered += 1,
        }
        Fate { copies: if doubled { 2 } else { 1 }, delay }
    }
}

/// A relay; it ends when it is dropped.
#[derive(Debug)]
pub struct Relay {
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

impl Relay {
    /// Relays between guestAgent at `agent`, for which the host is `front_ip` with guestServer's port
    /// `server_port`, and guestServer at `server`, for which the controller is `back_ip` with the agent's port.
    ///
    /// # Errors
    ///
    /// One of the addresses cannot be bound.
    pub async fn start(
        agent: SocketAddr,
        front_ip: IpAddr,
        server_port: u16,
        server: SocketAddr,
        back_ip: IpAddr,
        seed: u64,
    ) -> Result<Self> {
        let bind = async |ip: IpAddr, port: u16| {
            let socket = UdpSocket::bind((ip, port)).await;
            socket.map(Arc::new).with_context(|| format!("cannot bind the relay to {ip}:{port}"))
        };
        let front = bind(front_ip, server_port).await?;
        let back = bind(back_ip, agent.port()).await?;
        let state = State { faults: Faults::default(), fates: Fates::default(), dice: seed };
        let shared = Arc::new(Shared { state: Mutex::new(state) });
        let mut tasks = JoinSet::new();
        tasks.spawn(forward(front.clone(), back.clone(), server, shared.clone()));
        tasks.spawn(forward(back, front, agent, shared.clone()));
        Ok(Self { shared, _tasks: tasks })
    }

    /// Changes what happens to datagrams from now on.
    pub fn set(&self, faults: Faults) {
        self.shared.lock().faults = faults;
    }

    /// What has happened to datagrams so far.
    #[must_use]
    pub fn fates(&self) -> Fates {
        self.shared.lock().fates
    }
}

async fn forward(
    from: Arc<UdpSocket>,
    through: Arc<UdpSocket>,
    to: SocketAddr,
    shared: Arc<Shared>,
) {
    let mut room = vec![0; 2 * MAX_LEN];
    loop {
        // An error is the answer to a datagram that nobody took.
        let Ok((length, _)) = from.recv_from(&mut room).await else { continue };
        let Fate { copies, delay } = shared.decide();
        for _ in 0..copies {
            let bytes = room[..length].to_vec();
            let through = Arc::clone(&through);
            let deliver = async move {
                if let Some(delay) = delay {
                    tokio::time::sleep(delay).await;
                }
                let _ = through.send_to(&bytes, to).await;
            };
            if delay.is_some() {
                tokio::spawn(deliver);
            } else {
                deliver.await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[tokio::test]
    async fn both_ways_are_relayed_and_lost_at_the_rate_that_was_set() {
        let agent = UdpSocket::bind((LOCALHOST, 0)).await.unwrap();
        let server = UdpSocket::bind((LOCALHOST, 0)).await.unwrap();
        let front = IpAddr::V4(Ipv4Addr::new(127, 77, 0, 1));
        let back = IpAddr::V4(Ipv4Addr::new(127, 77, 0, 2));
        let (agent_at, server_at) = (agent.local_addr().unwrap(), server.local_addr().unwrap());
        let port = server_at.port();
        let relay = Relay::start(agent_at, front, port, server_at, back, 1).await.unwrap();

        agent.send_to(b"there", (front, port)).await.unwrap();
        let mut room = [0; 64];
        let (length, from) = server.recv_from(&mut room).await.unwrap();
        assert_eq!(
            (&room[..length], from),
            (&b"there"[..], SocketAddr::new(back, agent_at.port()))
        );
        server.send_to(b"back", from).await.unwrap();
        let (length, from) = agent.recv_from(&mut room).await.unwrap();
        assert_eq!((&room[..length], from), (&b"back"[..], SocketAddr::new(front, port)));

        relay.set(Faults { loss: 1.0, ..Faults::default() });
        agent.send_to(b"lost", (front, port)).await.unwrap();
        crate::wait::until("it is lost", Duration::from_secs(5), || relay.fates().lost == 1)
            .await
            .unwrap();
        relay.set(Faults { doubling: 1.0, ..Faults::default() });
        agent.send_to(b"twice", (front, port)).await.unwrap();
        for _ in 0..2 {
            let (length, _) = server.recv_from(&mut room).await.unwrap();
            assert_eq!(&room[..length], b"twice");
        }
    }

    #[test]
    fn the_dice_are_fair_and_repeatable() {
        let rolls = |seed| {
            let mut state =
                State { faults: Faults::default(), fates: Fates::default(), dice: seed };
            (0..10_000).map(|_| state.roll()).collect::<Vec<_>>()
        };
        assert_eq!(rolls(7), rolls(7));
        let mean = rolls(7).iter().sum::<f64>() / 10_000.0;
        assert!((0.48..0.52).contains(&mean), "{mean}");
    }
}
