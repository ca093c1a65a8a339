//! Producers with an id: what a partition remembers of each, and who gets which id.
//!
//! `Producers` is the memory of one partition: per producer its epoch, its last five batches, as in Apache Kafka,
//! so that a batch sent again is recognised (and answered with its old offsets) and a gap is refused, and where its open
//! transaction began. It is a pure state machine: the partition asks `admit` before it writes and tells `record` or `end` after it;
//! recovery replays batches through `replay`; `log/checkpoint` stores it. Sequences wrap from `i32::MAX` to 0. A producer that the
//! partition does not know may begin at any sequence: retention may have taken its earlier batches. One with an open
//! transaction is not forgotten.
//!
//! `ProducerIds` hands out ids that are never given twice, by reserving blocks durably before using them.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::log::{Aborted, AppendError, Header, Marker, Outcome};
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
    /// Whether the batch is part of a transaction.
    pub(crate) transactional: bool,
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
    /// Offset of the first record of the open transaction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    open_since: Option<i64>,
    /// Epoch of the coordinator that ended the last transaction, -1 before one has.
    #[serde(default = "never", skip_serializing_if = "is_never")]
    coordinator_epoch: i32,
}

fn never() -> i32 {
    -1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde wants it")]
fn is_never(epoch: &i32) -> bool {
    *epoch == -1
}

impl Producer {
    fn new(id: i64, epoch: i16) -> Producer {
        Producer {
            id,
            epoch,
            seen_ms: 0,
            batches: VecDeque::new(),
            open_since: None,
            coordinator_epoch: never(),
        }
    }

    /// Sequences begin anew with each epoch.
    fn enter(&mut self, epoch: i16) {
        if epoch != self.epoch {
            self.epoch = epoch;
            self.batches.clear();
        }
    }

    /// The earlier writing of a batch that is sent again.
    fn earlier(&self, batch: Sequenced) -> Option<&Written> {
        let same =
            |written: &&Written| (written.first, written.last) == (batch.first, batch.last());
        let written = self.batches.iter().find(same);
        written.filter(|_| batch.epoch == self.epoch)
    }

    /// The sequence that a batch must begin with.
    fn expected(&self, batch: Sequenced) -> i32 {
        let last = self.batches.back();
        last.filter(|_| batch.epoch == self.epoch)
            .map_or(0, |written| following(written.last))
    }
}

/// What is reported about a producer (DescribeProducers).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProducerState {
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) last_sequence: i32,
    pub(crate) last_timestamp: i64,
    /// Where the open transaction began.
    pub(crate) open_since: Option<i64>,
    pub(crate) coordinator_epoch: i32,
}

/// The producers of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Producer>", into = "Vec<Producer>")]
pub(crate) struct Producers {
    by_id: HashMap<i64, Producer>,
    /// The open transactions: first offset and producer.
    open: BTreeSet<(i64, i64)>,
}

impl Producers {
    /// Whether the batch may be written: `Some` is the earlier writing of the very same batch. What begins a transaction in this
    /// partition must have been `verified` by the coordinator.
    pub(crate) fn admit(
        &self,
        batch: Sequenced,
        verified: bool,
    ) -> Result<Option<Written>, AppendError> {
        let known = self.by_id.get(&batch.producer_id);
        if let Some(producer) = known {
            if batch.epoch < producer.epoch {
                return Err(AppendError::InvalidProducerEpoch {
                    producer_id: batch.producer_id,
                    epoch: batch.epoch,
                    current: producer.epoch,
                });
            }
            if let Some(written) = producer.earlier(batch) {
                return Ok(Some(*written));
            }
        }
        let open = known.filter(|producer| producer.open_since.is_some());
        if batch.transactional {
            // Its records would be those of the transaction before, which its coordinator has still to end here.
            if open.is_some_and(|producer| producer.epoch < batch.epoch) {
                return Err(AppendError::EarlierTransaction {
                    producer_id: batch.producer_id,
                });
            }
            let goes_on = open.is_some();
            if !goes_on && !verified {
                return Err(AppendError::Unverified {
                    producer_id: batch.producer_id,
                    epoch: batch.epoch,
                });
            }
        } else if open.is_some() {
            return Err(AppendError::OutsideTransaction {
                producer_id: batch.producer_id,
            });
        }
        match known.map(|producer| producer.expected(batch)) {
            Some(expected) if expected != batch.first => Err(AppendError::OutOfOrderSequence {
                producer_id: batch.producer_id,
                sequence: batch.first,
                expected,
            }),
            _ => Ok(None),
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
        let producer = self
            .by_id
            .entry(batch.producer_id)
            .or_insert_with(|| Producer::new(batch.producer_id, batch.epoch));
        producer.enter(batch.epoch);
        if batch.transactional && producer.open_since.is_none() {
            producer.open_since = Some(base_offset);
            self.open.insert((base_offset, batch.producer_id));
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

    /// Ends the producer's transaction by the marker at `offset`; what was aborted, if that is something.
    pub(crate) fn end(&mut self, marker: Marker, offset: i64, now_ms: i64) -> Option<Aborted> {
        let producer = self
            .by_id
            .entry(marker.producer_id)
            .or_insert_with(|| Producer::new(marker.producer_id, marker.epoch));
        if marker.epoch > producer.epoch {
            producer.enter(marker.epoch);
        }
        producer.coordinator_epoch = marker.coordinator_epoch;
        producer.seen_ms = now_ms;
        let first = producer.open_since.take()?;
        self.open.remove(&(first, marker.producer_id));
        (marker.outcome == Outcome::Abort).then(|| Aborted {
            producer_id: marker.producer_id,
            first,
            last: offset,
            last_stable: self.earliest_open().unwrap_or(offset + 1),
        })
    }

    /// Learns of a batch that is in the log; what was aborted, if it is the marker that did it.
    pub(crate) fn replay(
        &mut self,
        header: &Header,
        marker: Option<Marker>,
        now_ms: i64,
    ) -> Option<Aborted> {
        if let Some(sequenced) = header.sequenced() {
            self.record(sequenced, header.base_offset, header.max_timestamp, now_ms);
        }
        self.end(marker?, header.base_offset, now_ms)
    }

    /// The first offset of the open transaction that began first.
    pub(crate) fn earliest_open(&self) -> Option<i64> {
        self.open.first().map(|(first, _)| *first)
    }

    /// Takes over which transactions are open, from one who has gone through the whole log.
    pub(crate) fn reopen(&mut self, seen: &Producers) {
        for producer in self.by_id.values_mut() {
            producer.open_since = None;
        }
        self.open.clone_from(&seen.open);
        for (first, id) in &seen.open {
            let epoch = seen.by_id.get(id).map_or(0, |producer| producer.epoch);
            let producer = self
                .by_id
                .entry(*id)
                .or_insert_with(|| Producer::new(*id, epoch));
            producer.open_since = Some(*first);
        }
    }

    /// Forgets what is at and after `end`, which the log does not hold any more.
    pub(crate) fn truncate(&mut self, end: i64) {
        self.open.retain(|(first, _)| *first < end);
        self.by_id.retain(|_, producer| {
            producer.open_since = producer.open_since.filter(|first| *first < end);
            producer.batches.retain(|written| written.last_offset < end);
            !producer.batches.is_empty() || producer.open_since.is_some()
        });
    }

    /// Forgets producers that have been silent for `after_ms` and have no transaction open.
    pub(crate) fn expire(&mut self, now_ms: i64, after_ms: i64) -> usize {
        let before = self.by_id.len();
        self.by_id.retain(|_, producer| {
            producer.open_since.is_some() || now_ms.saturating_sub(producer.seen_ms) < after_ms
        });
        before - self.by_id.len()
    }

    /// All producers, by id.
    pub(crate) fn describe(&self) -> Vec<ProducerState> {
        let mut all: Vec<_> = self
            .by_id
            .values()
            .map(|producer| ProducerState {
                producer_id: producer.id,
                producer_epoch: producer.epoch,
                last_sequence: producer.batches.back().map_or(-1, |written| written.last),
                last_timestamp: producer
                    .batches
                    .back()
                    .map_or(-1, |written| written.timestamp),
                open_since: producer.open_since,
                coordinator_epoch: producer.coordinator_epoch,
            })
            .collect();
        all.sort_by_key(|state| state.producer_id);
        all
    }
}

impl From<Vec<Producer>> for Producers {
    fn from(list: Vec<Producer>) -> Producers {
        let open = list
            .iter()
            .filter_map(|producer| Some((producer.open_since?, producer.id)));
        Producers {
            open: open.collect(),
            by_id: list
                .into_iter()
                .map(|producer| (producer.id, producer))
                .collect(),
        }
    }
}

impl From<Producers> for Vec<Producer> {
    fn from(producers: Producers) -> Vec<Producer> {
        let mut list: Vec<_> = producers.by_id.into_values().collect();
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
        let next = match RESERVED.read::<Reserved>(&path)? {
            Some(reserved) => reserved.next,
            None => {
                RESERVED.write(&path, &Reserved { next: 0 }, Durability::Disk)?;
                0
            }
        };
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
