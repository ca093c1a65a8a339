//! Who is to be woken when: one moment for each of many.
//!
//! The owner sets an alarm after each event and asks for those that are due; what they mean is the owner's. An alarm that has become too
//! early only costs a look, so one is never moved to a later time.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

/// Later than any alarm.
pub(crate) const NEVER: i64 = i64::MAX;

/// The next moment of each `K`, in milliseconds of the owner's clock.
#[derive(Debug)]
pub(crate) struct Alarms<K> {
    by_time: BTreeSet<(i64, K)>,
    by_key: HashMap<K, i64>,
}

impl<K> Default for Alarms<K> {
    fn default() -> Alarms<K> {
        Alarms {
            by_time: BTreeSet::new(),
            by_key: HashMap::new(),
        }
    }
}

impl<K: Clone + Eq + Hash + Ord> Alarms<K> {
    /// The earliest alarm of all, or `NEVER`.
    pub(crate) fn next(&self) -> i64 {
        self.by_time.first().map_or(NEVER, |(at, _)| *at)
    }

    /// Wakes `key` at `at` the latest.
    pub(crate) fn set(&mut self, key: &K, at: i64) {
        let set = self.by_key.get(key).copied().unwrap_or(NEVER);
        if at < set {
            self.by_time.remove(&(set, key.clone()));
            self.by_time.insert((at, key.clone()));
            self.by_key.insert(key.clone(), at);
        }
    }

    /// Forgets the alarm of `key`.
    pub(crate) fn remove(&mut self, key: &K) {
        if let Some(at) = self.by_key.remove(key) {
            self.by_time.remove(&(at, key.clone()));
        }
    }

    /// Takes the first of those whose time has come.
    pub(crate) fn due(&mut self, now: i64) -> Option<K> {
        let (at, key) = self.by_time.first().filter(|(at, _)| *at <= now)?.clone();
        self.by_time.remove(&(at, key.clone()));
        self.by_key.remove(&key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_come_in_the_order_of_their_times_and_once() {
        let mut alarms = Alarms::default();
        alarms.set(&"late", 30);
        alarms.set(&"early", 10);
        alarms.set(&"moved", 40);
        alarms.set(&"moved", 20);
        alarms.set(&"moved", 90);
        alarms.set(&"gone", 5);
        alarms.remove(&"gone");
        assert_eq!((alarms.next(), alarms.due(9)), (10, None));
        let due: Vec<_> = std::iter::from_fn(|| alarms.due(30)).collect();
        assert_eq!(due, ["early", "moved", "late"]);
        assert_eq!(alarms.next(), NEVER);
    }
}
