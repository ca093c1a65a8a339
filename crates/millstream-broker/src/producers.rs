//! Producers with an id: what a partition remembers of each, and who gets which id.
//!
//! `Producers` is the memory of one partition: per producer its epoch, its last five batches, as in Apache Kafka,
//! so that a batch sent again is recognised (and answered with its old offsets) and a gap is refused, and where its open
//! transaction began. It is a pure state machine: the partition asks `admit` before it writes and tells `record` or `end` after it;
//! recovery replays batches through `replay`; `file` is its form on the disk. Sequences wrap from `i32::MAX` to 0. A producer that the
//! partition does not know may begin at any sequence: retention may have taken its earlier batches. There is a limit for one
//! partition, and one for all of them (`census`): the producers that have been silent longest are forgotten first, and never one
//! with an open transaction.
//!
//! `ids` hands out the ids.

mod census;
mod file;
mod ids;

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, VecDeque};

use crate::log::{Aborted, AppendError, Header, Marker, Outcome};
pub(crate) use census::{Census, Counted, Excess};
pub(crate) use file::read;
pub(crate) use ids::ProducerIds;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

#[derive(Clone, Debug, PartialEq, Eq)]
struct Producer {
    id: i64,
    epoch: i16,
    /// When it last wrote, by the broker's clock.
    seen_ms: i64,
    batches: VecDeque<Written>,
    /// Offset of the first record of the open transaction.
    open_since: Option<i64>,
    /// Epoch of the coordinator that ended the last transaction, -1 before one has.
    coordinator_epoch: i32,
}

impl Producer {
    fn new(id: i64, epoch: i16) -> Producer {
        Producer {
            id,
            epoch,
            seen_ms: 0,
            batches: VecDeque::new(),
            open_since: None,
            coordinator_epoch: -1,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Producers {
    by_id: HashMap<i64, Producer>,
    /// The open transactions: first offset and producer.
    open: BTreeSet<(i64, i64)>,
    /// The offset after the last batch that changed something here.
    until: i64,
    /// As many are remembered, and more only while their transactions are open.
    most: usize,
}

impl Producers {
    /// Nobody yet, and at most `most` later.
    pub(crate) fn new(most: usize) -> Producers {
        Producers {
            by_id: HashMap::new(),
            open: BTreeSet::new(),
            until: 0,
            most,
        }
    }

    /// How many are remembered.
    pub(crate) fn count(&self) -> usize {
        self.by_id.len()
    }

    /// The offset after the last batch of a producer; `None` when there is nobody to remember.
    pub(crate) fn until(&self) -> Option<i64> {
        (!self.by_id.is_empty()).then_some(self.until)
    }

    /// Sets the limit, which holds from the next new producer on.
    pub(crate) fn limit(&mut self, most: usize) {
        self.most = most;
    }

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
        let last_offset = base_offset + i64::from(batch.last_offset_delta);
        self.until = self.until.max(last_offset + 1);
        let opens = batch.transactional && self.open_since(batch.producer_id).is_none();
        if opens {
            self.open.insert((base_offset, batch.producer_id));
        }
        let producer = self.known(batch.producer_id, batch.epoch);
        producer.enter(batch.epoch);
        if opens {
            producer.open_since = Some(base_offset);
        }
        if producer.batches.len() == REMEMBERED_BATCHES {
            producer.batches.pop_front();
        }
        producer.seen_ms = now_ms;
        producer.batches.push_back(Written {
            first: batch.first,
            last: batch.last(),
            base_offset,
            last_offset,
            timestamp,
        });
    }

    fn open_since(&self, id: i64) -> Option<i64> {
        self.by_id.get(&id)?.open_since
    }

    /// The producer of this id, who is remembered from now on.
    fn known(&mut self, id: i64, epoch: i16) -> &mut Producer {
        if self.by_id.len() >= self.most && !self.by_id.contains_key(&id) {
            self.forget_oldest(self.by_id.len() - spared(self.most));
        }
        match self.by_id.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(Producer::new(id, epoch)),
        }
    }

    /// Forgets `excess` producers, those first that have been silent longest.
    fn forget_oldest(&mut self, excess: usize) {
        let mut idle = Vec::new();
        self.idle_since(&mut idle);
        if let Some(up_to) = nth_oldest(&mut idle, excess) {
            self.forget_idle(up_to, excess);
        }
    }

    /// Adds, for each producer without an open transaction, when it last wrote.
    pub(crate) fn idle_since(&self, seen: &mut Vec<i64>) {
        let idle = self.by_id.values().filter(|one| one.open_since.is_none());
        seen.extend(idle.map(|one| one.seen_ms));
    }

    /// Forgets at most `most` producers without an open transaction that last wrote at `up_to_ms` or before; returns how many.
    pub(crate) fn forget_idle(&mut self, up_to_ms: i64, most: usize) -> usize {
        let mut forgotten = 0;
        self.by_id.retain(|_, one| {
            let goes = forgotten < most && one.open_since.is_none() && one.seen_ms <= up_to_ms;
            forgotten += usize::from(goes);
            !goes
        });
        forgotten
    }

    /// Ends the producer's transaction by the marker at `offset`; what was aborted, if that is something.
    pub(crate) fn end(&mut self, marker: Marker, offset: i64, now_ms: i64) -> Option<Aborted> {
        self.until = self.until.max(offset + 1);
        let producer = self.known(marker.producer_id, marker.epoch);
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
            self.known(*id, epoch).open_since = Some(*first);
        }
    }

    /// Forgets what is at and after `end`, which the log does not hold any more.
    pub(crate) fn truncate(&mut self, end: i64) {
        self.until = self.until.min(end);
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

/// How many stay when there are as many as there may be: that each new one had to look for the oldest would be slow.
fn spared(most: usize) -> usize {
    (most - most / 8).min(most.saturating_sub(1))
}

/// The time of the `count`-th oldest, or of the youngest when there are not as many; `None` when there is nobody.
fn nth_oldest(times: &mut [i64], count: usize) -> Option<i64> {
    let place = count.min(times.len()).checked_sub(1)?;
    Some(*times.select_nth_unstable(place).1)
}

fn following(sequence: i32) -> i32 {
    if sequence == i32::MAX {
        0
    } else {
        sequence + 1
    }
}

#[cfg(test)]
mod tests;
