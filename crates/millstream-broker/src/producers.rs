//! Idempotent producers: what a partition remembers of each, and who gets which id.
//!
//! `Producers` is the memory of one partition: per producer its epoch and its last five batches, as in Apache Kafka,
//! so that a batch sent again is recognised (and answered with its old offsets) and a gap is refused. It is a pure
//! state machine: the partition asks `admit` before it writes and tells `record` after it; recovery replays batches
//! through `record`; `log/checkpoint` stores it. Sequences wrap from `i32::MAX` to 0. A producer that the partition
//! does not know may begin at any sequence: retention may have taken its earlier batches.
//!
//! `ProducerIds` hands out ids that are never given twice, by reserving blocks durably before using them.
//! Transactions will add to `Producer` the first offset of the open transaction and the coordinator's epoch, and to
//! `ProducerIds` the epoch bumps of a transactional id.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::log::AppendError;
use crate::snapshot::{Durability, Kind};

/// As many batches as a producer may have in flight.
const REMEMBERED_BATCHES: usize = 5;

/// The producer's part of a batch header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sequenced {
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
    pub(crate) first: i32,
    pub(crate) last_offset_delta: i32,
}

impl Sequenced {
    /// The sequence of the batch's last record.
    fn last(self) -> i32 {
        let sum = i64::from(self.first) + i64::from(self.last_offset_delta);
        // 0 follows i32::MAX.
        i32::try_from(sum & i64::from(i32::MAX)).unwrap_or(0)
    }
}

/// A batch that was written before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Written {
    first: i32,
    last: i32,
    /// Offset of the batch's first record.
    pub(crate) base_offset: i64,
    /// Offset of the batch's last record.
    pub(crate) last_offset: i64,
    /// Largest timestamp in the batch.
    pub(crate) timestamp: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Producer {
    id: i64,
    epoch: i16,
    /// When it last wrote, by the broker's clock.
    seen_ms: i64,
    batches: VecDeque<Written>,
}

/// What is told about a producer (DescribeProducers).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProducerState {
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) last_sequence: i32,
    pub(crate) last_timestamp: i64,
}

/// The producers of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Producer>", into = "Vec<Producer>")]
pub(crate) struct Producers(HashMap<i64, Producer>);

impl Producers {
    /// Whether the batch may be written: `Some` is the earlier writing of the very same batch.
    pub(crate) fn admit(&self, batch: Sequenced) -> Result<Option<Written>, AppendError> {
        let Some(producer) = self.0.get(&batch.producer_id) else {
            return Ok(None);
        };
        if batch.epoch < producer.epoch {
            return Err(AppendError::InvalidProducerEpoch {
                producer_id: batch.producer_id,
                epoch: batch.epoch,
                current: producer.epoch,
            });
        }
        let expected = if batch.epoch > producer.epoch {
            0
        } else {
            let same =
                |written: &&Written| (written.first, written.last) == (batch.first, batch.last());
            if let Some(written) = producer.batches.iter().find(same) {
                return Ok(Some(*written));
            }
            // No batch is left when recovery cut them off: then any sequence may follow.
            producer
                .batches
                .back()
                .map_or(batch.first, |written| following(written.last))
        };
        if batch.first == expected {
            Ok(None)
        } else {
            Err(AppendError::OutOfOrderSequence {
                producer_id: batch.producer_id,
                sequence: batch.first,
                expected,
            })
        }
    }

    /// Remembers a batch that stands at `base_offset`.
    pub(crate) fn record(
        &mut self,
        batch: Sequenced,
        base_offset: i64,
        timestamp: i64,
        now_ms: i64,
    ) {
        let producer = self.0.entry(batch.producer_id).or_insert_with(|| Producer {
            id: batch.producer_id,
            epoch: batch.epoch,
            seen_ms: now_ms,
            batches: VecDeque::new(),
        });
        if batch.epoch != producer.epoch {
            producer.epoch = batch.epoch;
            producer.batches.clear();
        }
        if producer.batches.len() == REMEMBERED_BATCHES {
            producer.batches.pop_front();
        }
        producer.seen_ms = now_ms;
        producer.batches.push_back(Written {
            first: batch.first,
            last: batch.last(),
            base_offset,
            last_offset: base_offset + i64::from(batch.last_offset_delta),
            timestamp,
        });
    }

    /// Forgets batches at and after `end`, which the log does not hold any more.
    pub(crate) fn truncate(&mut self, end: i64) {
        self.0.retain(|_, producer| {
            producer.batches.retain(|written| written.last_offset < end);
            !producer.batches.is_empty()
        });
    }

    /// Forgets producers that have been silent for `after_ms`.
    pub(crate) fn expire(&mut self, now_ms: i64, after_ms: i64) -> usize {
        let before = self.0.len();
        self.0
            .retain(|_, producer| now_ms.saturating_sub(producer.seen_ms) < after_ms);
        before - self.0.len()
    }

    /// All producers, by id.
    pub(crate) fn describe(&self) -> Vec<ProducerState> {
        let mut all: Vec<_> = self
            .0
            .values()
            .map(|producer| ProducerState {
                producer_id: producer.id,
                producer_epoch: producer.epoch,
                last_sequence: producer.batches.back().map_or(-1, |written| written.last),
                last_timestamp: producer
                    .batches
                    .back()
                    .map_or(-1, |written| written.timestamp),
            })
            .collect();
        all.sort_by_key(|state| state.producer_id);
        all
    }
}

impl From<Vec<Producer>> for Producers {
    fn from(list: Vec<Producer>) -> Producers {
        Producers(
            list.into_iter()
                .map(|producer| (producer.id, producer))
                .collect(),
        )
    }
}

impl From<Producers> for Vec<Producer> {
    fn from(producers: Producers) -> Vec<Producer> {
        let mut list: Vec<_> = producers.0.into_values().collect();
        list.sort_by_key(|producer| producer.id);
        list
    }
}

fn following(sequence: i32) -> i32 {
    if sequence == i32::MAX {
        0
    } else {
        sequence + 1
    }
}

const RESERVED: Kind = Kind {
    magic: "millstream-producer-ids",
    newest: 1,
};

/// Ids reserved with one write.
const BLOCK: i64 = 1000;

/// Hands out producer ids; `<data>/producer-ids` holds the first id that no block contains yet.
#[derive(Debug)]
pub(crate) struct ProducerIds {
    path: PathBuf,
    state: Mutex<Block>,
}

#[derive(Debug)]
struct Block {
    next: i64,
    end: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reserved {
    next: i64,
}

impl ProducerIds {
    /// Goes on where `<data>/producer-ids` says; ids left over in the last block are never used.
    pub(crate) fn open(data: &Path) -> Result<ProducerIds, Error> {
        let path = data.join("producer-ids");
        let next = RESERVED
            .read::<Reserved>(&path)?
            .map_or(0, |reserved| reserved.next);
        Ok(ProducerIds {
            path,
            state: Mutex::new(Block { next, end: next }),
        })
    }

    /// An id that was never given before.
    pub(crate) fn allocate(&self) -> Result<i64, Error> {
        let mut block = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if block.next == block.end {
            let end = block.end + BLOCK;
            RESERVED.write(&self.path, &Reserved { next: end }, Durability::Disk)?;
            block.end = end;
        }
        let id = block.next;
        block.next += 1;
        Ok(id)
    }
}

#[cfg(test)]
mod tests;
