//! What the main loop and the task of one guest share: orders one way, what is known the other.

use std::collections::VecDeque;
use std::mem::discriminant;
use std::sync::{Mutex, MutexGuard, PoisonError};

use heartbeat_proto::MonotonicTime;
use heartbeat_proto::control::InstanceInfo;
use heartbeat_proto::guest::{EventType, NotificationType};
use heartbeat_proto::session::{Note, Random, Reporting, Session, Settings, State};
use tokio::sync::Notify;

use crate::history::{Cause, Condition, History};
use crate::watch::Inode;

/// Orders that wait for one guest's task. When it is full, an action is refused, and of every
/// other kind of order only the last is kept.
pub(crate) const MAX_ORDERS: usize = 16;

/// What the main loop tells the task of a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {
    /// The reporting switches are now these.
    Reporting(Reporting),
    /// The settings are now these.
    Settings(Settings),
    /// The controller named the instance.
    Provisioned,
    /// Something happened to the channel, or to its file.
    Channel(ChannelOrder),
    /// The guest is to be asked or told.
    Action(EventType, NotificationType),
    /// The controller deleted the instance.
    Deleted,
}

impl Order {
    /// Passes it on to the session of a guest, which is connected through this socket, if it is.
    pub(crate) fn carry_out(
        self,
        now: MonotonicTime,
        session: &mut Session,
        connected: Option<Inode>,
        random: &mut dyn Random,
    ) {
        match self {
            Self::Reporting(reporting) => session.handle_reporting(now, reporting),
            Self::Settings(settings) => session.handle_settings(settings),
            Self::Provisioned => session.handle_provisioned(),
            Self::Channel(ChannelOrder::Seen(inode)) => match connected {
                Some(connected) if connected != inode => session.handle_channel_changed(now),
                Some(_) | None => session.handle_channel_seen(now),
            },
            Self::Channel(ChannelOrder::Modified) => session.handle_channel_changed(now),
            Self::Channel(ChannelOrder::Gone) => session.handle_channel_gone(now),
            Self::Action(event, notification) => {
                session.handle_action(now, &event, notification, random);
            }
            Self::Deleted => session.handle_deleted(),
        }
    }
}

/// What happened to a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChannelOrder {
    /// It is there, and it is this socket.
    Seen(Inode),
    /// It was modified.
    Modified,
    /// It is gone.
    Gone,
}

/// What is known of a guest, for queries and the status.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) info: InstanceInfo,
    pub(crate) state: State,
    pub(crate) name: String,
    pub(crate) misses: u32,
    pub(crate) history: History,
}

impl Known {
    fn of(now: MonotonicTime, session: &Session) -> Self {
        let (info, state) = (session.info(), session.state());
        let history = History::new(now, state, info);
        Self { info, state, name: session.name().to_owned(), misses: session.misses(), history }
    }
}

/// The place where the two meet. Neither holds a lock while it waits.
#[derive(Debug)]
pub(crate) struct Seat {
    orders: Mutex<VecDeque<Order>>,
    wake: Notify,
    known: Mutex<Known>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Seat {
    /// A seat for the guest of this session, which is new.
    pub(crate) fn new(now: MonotonicTime, session: &Session) -> Self {
        let known = Mutex::new(Known::of(now, session));
        Self { orders: Mutex::default(), wake: Notify::new(), known }
    }

    /// Leaves an order for the task; `false` if it was refused.
    pub(crate) fn order(&self, order: Order) -> bool {
        let mut orders = lock(&self.orders);
        if orders.len() >= MAX_ORDERS {
            if matches!(order, Order::Action(..)) {
                return false;
            }
            let kind = discriminant(&order);
            orders.retain(|other| discriminant(other) != kind);
        }
        orders.push_back(order);
        self.wake.notify_one();
        true
    }

    /// The next order. May be dropped at any time; no order is lost.
    pub(crate) async fn next_order(&self) -> Order {
        loop {
            if let Some(order) = self.poll_order() {
                return order;
            }
            self.wake.notified().await;
        }
    }

    /// The next order, if there is one.
    pub(crate) fn poll_order(&self) -> Option<Order> {
        lock(&self.orders).pop_front()
    }

    /// How many orders wait.
    #[cfg(feature = "simulation")]
    pub(crate) fn waiting(&self) -> usize {
        lock(&self.orders).len()
    }

    /// Orders that came too late for the task.
    pub(crate) fn left_over(&self) -> VecDeque<Order> {
        std::mem::take(&mut *lock(&self.orders))
    }

    /// What is known of the guest.
    pub(crate) fn known(&self) -> Known {
        lock(&self.known).clone()
    }

    /// What the guest calls itself.
    pub(crate) fn name(&self) -> String {
        lock(&self.known).name.clone()
    }

    /// Reads what is counted, without the texts.
    pub(crate) fn with_known<T>(&self, read: impl FnOnce(&Known) -> T) -> T {
        read(&lock(&self.known))
    }

    /// Reads one thing that is known.
    pub(crate) fn info(&self) -> InstanceInfo {
        lock(&self.known).info
    }

    /// Writes down what is known.
    pub(crate) fn publish(&self, now: MonotonicTime, session: &Session) {
        let (info, state, name) = (session.info(), session.state(), session.name());
        let mut known = lock(&self.known);
        known.info = info;
        known.state = state;
        known.misses = session.misses();
        if known.name != name {
            name.clone_into(&mut known.name);
        }
        known.history.observe(now, Condition::of(state, info.heartbeating));
    }

    /// Writes down what the session saw.
    pub(crate) fn note(&self, now: MonotonicTime, note: &Note) {
        lock(&self.known).history.note(now, note);
    }

    /// Writes down what happened to the connection.
    pub(crate) fn caused_by(&self, cause: Cause) {
        lock(&self.known).history.caused_by(cause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seat() -> Seat {
        let reporting = Reporting { host: true, instance: false };
        let session = Session::new(Settings::default(), reporting, false);
        Seat::new(MonotonicTime::START, &session)
    }

    #[tokio::test]
    async fn orders_come_in_order() {
        let seat = seat();
        let orders = [Order::Provisioned, Order::Channel(ChannelOrder::Gone), Order::Deleted];
        for order in orders.clone() {
            assert!(seat.order(order));
        }
        for order in orders {
            assert_eq!(seat.next_order().await, order);
        }
    }

    #[test]
    fn a_full_seat_refuses_actions_and_keeps_the_last_of_every_state() {
        let seat = seat();
        let action = || Order::Action(EventType::Stop, NotificationType::Revocable);
        for _ in 0..MAX_ORDERS {
            assert!(seat.order(action()));
        }
        assert!(!seat.order(action()));
        for inode in 0..10_000 {
            assert!(seat.order(Order::Channel(ChannelOrder::Seen(inode))));
            assert!(seat.order(Order::Channel(ChannelOrder::Gone)));
            assert!(seat.order(Order::Reporting(Reporting { host: true, instance: false })));
        }
        let left = seat.left_over();
        assert_eq!(left.len(), MAX_ORDERS + 2);
        assert_eq!(left[MAX_ORDERS], Order::Channel(ChannelOrder::Gone));
    }
}
