//! The last records of several partitions by their time, found by reading all that may be among them.
//!
//! A few are kept whole. When they take too much memory only their places are, and what they say is read once more: of each
//! partition a place to begin is enough, because the last records of a merge are the merge of the partitions' last records.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::RawRecord;
use crate::topic::{NextOffset, Partition, TopicPartition};

/// How many bytes of whole records are kept at most.
const MOST_BYTES: usize = 8 << 20;

/// What a record takes beside its bytes.
const OVERHEAD: usize = 200;

/// The last `count` of the records that were pushed.
pub(super) struct LastRecords {
    count: usize,
    places: VecDeque<(Arc<str>, Partition, NextOffset)>,
    /// The records of these places; `None` when they became too many.
    records: Option<VecDeque<RawRecord>>,
    bytes: usize,
}

/// What was found.
pub(super) enum Found {
    Records(VecDeque<RawRecord>),
    /// Where each partition is to be read from; of those that are not named, nothing.
    Begins(BTreeMap<TopicPartition, NextOffset>),
}

impl LastRecords {
    pub(super) fn new(count: usize) -> LastRecords {
        LastRecords {
            count,
            places: VecDeque::new(),
            records: Some(VecDeque::new()),
            bytes: 0,
        }
    }

    pub(super) fn push(&mut self, record: RawRecord) {
        if self.count == 0 {
            return;
        }
        if self.places.len() >= self.count {
            self.places.pop_front();
            let first = self.records.as_mut().and_then(VecDeque::pop_front);
            self.bytes -= first.as_ref().map_or(0, bytes);
        }
        let at = &record.position;
        let place = (
            Arc::clone(&at.topic),
            at.partition,
            NextOffset::at(at.offset),
        );
        self.places.push_back(place);
        if let Some(records) = &mut self.records {
            self.bytes += bytes(&record);
            records.push_back(record);
        }
        if self.bytes > MOST_BYTES {
            self.records = None;
            self.bytes = 0;
        }
    }

    pub(super) fn found(self) -> Found {
        if let Some(records) = self.records {
            return Found::Records(records);
        }
        let mut begins = BTreeMap::new();
        for (topic, partition, offset) in self.places {
            let partition = TopicPartition::new(topic, partition);
            begins.entry(partition).or_insert(offset);
        }
        Found::Begins(begins)
    }
}

fn bytes(record: &RawRecord) -> usize {
    let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
    let headers = record.headers();
    let headers = headers.iter().map(|header| {
        header.name.len() + header.value.as_deref().map_or(0, <[u8]>::len) + OVERHEAD
    });
    length(&record.key) + length(&record.value) + headers.sum::<usize>() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Headers, Position, Record, Timestamp};
    use crate::topic::Offset;

    fn record(partition: i32, offset: i64, bytes: usize) -> RawRecord {
        let position = Position {
            topic: "t".into(),
            partition: Partition(partition),
            offset: Offset::new(offset),
        };
        let value = Some(vec![0; bytes]);
        Record::new(None, value, Headers::new(), Timestamp::UNKNOWN, position)
    }

    #[test]
    fn a_few_records_are_kept_whole() {
        let mut last = LastRecords::new(2);
        for offset in 0..5 {
            last.push(record(0, offset, 10));
        }
        let Found::Records(records) = last.found() else {
            panic!("not kept");
        };
        let offsets = records.iter().map(|record| record.position.offset.get());
        assert_eq!(offsets.collect::<Vec<_>>(), [3, 4]);
    }

    #[test]
    fn of_many_bytes_only_the_places_are_kept() {
        let mut last = LastRecords::new(60);
        for offset in 0..50 {
            for partition in 0..2 {
                last.push(record(partition, offset, 1_000_000));
                assert!(last.bytes <= MOST_BYTES);
                let kept = last.records.as_ref().map_or(0, VecDeque::len);
                assert!(kept <= 8, "{kept} megabytes are kept");
            }
        }
        let Found::Begins(begins) = last.found() else {
            panic!("kept");
        };
        let begin = |partition| {
            let partition = TopicPartition::new("t", Partition(partition));
            begins.get(&partition).copied()
        };
        // The last sixty of a hundred: thirty of each.
        let expected = Some(NextOffset::new(20));
        assert_eq!((begin(0), begin(1), begin(2)), (expected, expected, None));
    }
}
