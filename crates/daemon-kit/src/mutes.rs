//! Instances whose faults are not reported for a time, because an operator said so.
//!
//! Kept in memory only: a restart ends them all, so that nothing stays muted that everybody has forgotten.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The shortest time.
pub const MIN_MUTE: Duration = Duration::from_secs(1);

/// The longest time.
pub const MAX_MUTE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The longest reason, in bytes.
pub const MAX_REASON: usize = 200;

/// How many there may be at once. More than anybody mutes by hand; one more is refused.
pub const MAX_MUTES: usize = 4096;

/// An instance that is muted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mute {
    /// When it ends.
    pub until: Instant,
    /// Why, in the operator's words.
    pub reason: String,
}

/// A mute as the status shows it.
#[derive(Clone, Debug, PartialEq, Serialize, serde::Deserialize)]
pub struct MuteStatus {
    /// Seconds until it ends.
    pub ends_in_secs: f64,
    /// Why, in the operator's words.
    pub reason: String,
}

/// What an operator wants muted, as it comes through the control socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MuteOrder<K> {
    /// The instance.
    pub instance: K,
    /// How long.
    pub time: Duration,
    /// Why.
    pub reason: String,
}

impl<K: DeserializeOwned> MuteOrder<K> {
    /// Reads a request: `uuid`, `seconds` (1 to 2592000) and `reason` (1 to 200 bytes).
    ///
    /// # Errors
    ///
    /// Says which key is wrong and what is allowed.
    pub fn read(request: &Value) -> Result<Self, String> {
        let seconds = request.get("seconds").and_then(Value::as_u64);
        let time = seconds.map(Duration::from_secs);
        let time = time.filter(|time| (MIN_MUTE..=MAX_MUTE).contains(time)).ok_or_else(|| {
            format!("seconds: expected a whole number from 1 to {}", MAX_MUTE.as_secs())
        })?;
        let reason = request.get("reason").and_then(Value::as_str).unwrap_or_default();
        if reason.trim().is_empty() || reason.len() > MAX_REASON {
            return Err(format!("reason: expected a text of 1 to {MAX_REASON} bytes"));
        }
        Ok(Self { instance: instance_of(request)?, time, reason: reason.to_owned() })
    }
}

/// The instance that a request is about: its `uuid`.
///
/// # Errors
///
/// There is none, or it is none.
pub fn instance_of<K: DeserializeOwned>(request: &Value) -> Result<K, String> {
    let uuid = request.get("uuid").cloned().unwrap_or_default();
    serde_json::from_value(uuid).map_err(|error| format!("uuid: {error}"))
}

/// There are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_MUTES} instances are muted: unmute one first")]
pub struct TooMany;

/// The instances that are muted now.
#[derive(Debug)]
pub struct Mutes<K> {
    entries: HashMap<K, Mute>,
    /// When the next one ends, for a main loop that asks at every turn.
    next: Option<Instant>,
}

impl<K> Default for Mutes<K> {
    fn default() -> Self {
        Self { entries: HashMap::new(), next: None }
    }
}

impl<K: Eq + Hash + Copy> Mutes<K> {
    /// Mutes an instance from `now` on; an earlier mute of it is replaced.
    ///
    /// # Errors
    ///
    /// Too many are muted.
    pub fn insert(&mut self, now: Instant, order: MuteOrder<K>) -> Result<(), TooMany> {
        if self.entries.len() >= MAX_MUTES && !self.entries.contains_key(&order.instance) {
            return Err(TooMany);
        }
        let mute = Mute { until: now + order.time, reason: order.reason };
        self.entries.insert(order.instance, mute);
        self.find_next();
        Ok(())
    }

    /// Ends a mute before its time; `false` if there is none.
    pub fn remove(&mut self, instance: K) -> bool {
        let removed = self.entries.remove(&instance).is_some();
        self.find_next();
        removed
    }

    /// The mute of an instance, if it has one at `now`.
    pub fn get(&self, now: Instant, instance: K) -> Option<&Mute> {
        self.entries.get(&instance).filter(|mute| mute.until > now)
    }

    /// The same for the status.
    pub fn status(&self, now: Instant, instance: K) -> Option<MuteStatus> {
        let Mute { until, reason } = self.get(now, instance)?;
        let left = until.saturating_duration_since(now);
        Some(MuteStatus { ends_in_secs: left.as_secs_f64(), reason: reason.clone() })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// When the next one ends.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }

    fn find_next(&mut self) {
        self.next = self.entries.values().map(|mute| mute.until).min();
    }

    /// Takes out one whose time is over at `now`.
    pub fn poll_ended(&mut self, now: Instant) -> Option<K> {
        self.next.filter(|next| *next <= now)?;
        let ended = *self.entries.iter().find(|(_, mute)| mute.until <= now)?.0;
        self.remove(ended);
        Some(ended)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn order(instance: u32) -> MuteOrder<u32> {
        MuteOrder { instance, time: HOUR, reason: "kernel update".into() }
    }

    #[test]
    fn a_mute_holds_for_its_time_and_no_longer() {
        let start = Instant::now();
        let mut mutes = Mutes::default();
        mutes.insert(start, order(1)).unwrap();
        let last = start + HOUR - Duration::from_nanos(1);
        assert_eq!(mutes.get(last, 1).unwrap().reason, "kernel update");
        assert_eq!((mutes.get(start + HOUR, 1), mutes.get(start, 2)), (None, None));
        assert_eq!(mutes.poll_timeout(), Some(start + HOUR));
        assert_eq!((mutes.poll_ended(last), mutes.len()), (None, 1));
        assert_eq!(
            (mutes.poll_ended(start + HOUR), mutes.poll_ended(start + HOUR)),
            (Some(1), None)
        );
        assert!(mutes.is_empty() && mutes.poll_timeout().is_none());
    }

    #[test]
    fn a_mute_is_replaced_and_ended_before_its_time() {
        let start = Instant::now();
        let mut mutes = Mutes::default();
        mutes.insert(start, order(1)).unwrap();
        mutes.insert(start + HOUR / 2, order(1)).unwrap();
        assert!(mutes.get(start + HOUR, 1).is_some());
        assert_eq!(mutes.status(start + HOUR, 1).unwrap().ends_in_secs, 1800.0);
        assert_eq!((mutes.remove(1), mutes.remove(1)), (true, false));
    }

    #[test]
    fn there_is_a_bound() {
        let start = Instant::now();
        let mut mutes = Mutes::default();
        for instance in 0..MAX_MUTES {
            mutes.insert(start, order(u32::try_from(instance).unwrap())).unwrap();
        }
        assert_eq!(mutes.insert(start, order(u32::MAX)), Err(TooMany));
        assert_eq!(mutes.insert(start, order(0)), Ok(()), "one that is muted may be muted anew");
    }

    #[test]
    fn what_is_wrong_with_an_order_is_named() {
        let good = json!({ "uuid": 7, "seconds": 3600, "reason": "kernel update" });
        assert_eq!(MuteOrder::read(&good), Ok(order(7)));
        for (key, value, wanted) in [
            ("seconds", json!(0), "seconds: expected a whole number from 1 to 2592000"),
            ("seconds", json!(2_592_001), "seconds: expected"),
            ("seconds", json!("1h"), "seconds: expected"),
            ("reason", json!(" "), "reason: expected a text of 1 to 200 bytes"),
            ("reason", json!("x".repeat(201)), "reason: expected"),
            ("uuid", json!("seven"), "uuid: invalid type"),
            ("uuid", Value::Null, "uuid: invalid type"),
        ] {
            let mut bad = good.clone();
            bad[key] = value;
            let error = MuteOrder::<u32>::read(&bad).unwrap_err();
            assert!(error.starts_with(wanted), "{error}");
        }
    }
}
