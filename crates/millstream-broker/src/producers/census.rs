//! How many producers all partitions of a broker remember together, and who has to be forgotten.
//!
//! Each partition counts its own; the sum is looked at after an append. Who is forgotten is found by going through all partitions, which
//! is why an eighth of all go at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{nth_oldest, spared};

/// The producers of all partitions.
#[derive(Debug)]
pub(crate) struct Census {
    known: AtomicUsize,
    most: usize,
}

/// Who is to be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Excess {
    /// Those who last wrote then or before.
    pub(crate) up_to_ms: i64,
    /// At most so many of them.
    pub(crate) count: usize,
}

impl Census {
    /// Nobody yet, and not more than `most` later.
    pub(crate) fn new(most: usize) -> Arc<Census> {
        Arc::new(Census {
            known: AtomicUsize::new(0),
            most,
        })
    }

    /// Whether there are more than there may be.
    pub(crate) fn is_over(&self) -> bool {
        self.known.load(Ordering::Relaxed) > self.most
    }

    /// Who is to be forgotten of those that are idle since these times.
    pub(crate) fn excess(&self, idle_since: &mut [i64]) -> Option<Excess> {
        let known = self.known.load(Ordering::Relaxed);
        let count = known.saturating_sub(spared(self.most));
        let up_to_ms = nth_oldest(idle_since, count)?;
        Some(Excess { up_to_ms, count })
    }
}

/// The part of one partition, until it is dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    census: Arc<Census>,
    count: usize,
}

impl Counted {
    pub(crate) fn new(census: &Arc<Census>) -> Counted {
        Counted {
            census: Arc::clone(census),
            count: 0,
        }
    }

    /// The partition has so many now.
    pub(crate) fn set(&mut self, count: usize) {
        let known = &self.census.known;
        match count.checked_sub(self.count) {
            Some(0) => return,
            Some(more) => known.fetch_add(more, Ordering::Relaxed),
            None => known.fetch_sub(self.count - count, Ordering::Relaxed),
        };
        self.count = count;
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.set(0);
    }
}
