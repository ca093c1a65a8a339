//! The transactions that were aborted in or across one segment, found by producer and by marker.
//!
//! A log may have as many of them as batches: going through a list for each batch would take their product.

use std::collections::{BTreeMap, HashMap};

use crate::log::Aborted;
use crate::log::batch::Header;

#[derive(Default)]
pub(super) struct Aborts {
    /// Of each producer, the first offsets of its transactions with their markers.
    by_producer: HashMap<i64, BTreeMap<i64, i64>>,
    by_marker: HashMap<i64, Aborted>,
}

impl Aborts {
    pub(super) fn new(all: Vec<Aborted>) -> Aborts {
        let mut aborts = Aborts::default();
        for one in all {
            let of_producer = aborts.by_producer.entry(one.producer_id).or_default();
            of_producer.insert(one.first, one.last);
            aborts.by_marker.insert(one.last, one);
        }
        aborts
    }

    /// Whether the records of a batch belong to one of them.
    pub(super) fn hold(&self, header: &Header) -> bool {
        let before = self.by_producer.get(&header.producer_id);
        let before = before.and_then(|all| all.range(..=header.base_offset).next_back());
        header.is_transactional() && before.is_some_and(|(_, last)| header.base_offset <= *last)
    }

    /// The one that a marker ended.
    pub(super) fn ended_by(&self, marker: &Header) -> Option<Aborted> {
        let one = self.by_marker.get(&marker.base_offset).copied();
        one.filter(|_| marker.is_control())
    }
}
