//! How far a reader may see: the ends of a log by type, and the ranges of it that aborted transactions wrote.
//!
//! A log has three ends. What is *written* is the writer's alone (`Writer::shape`); up to the *high watermark* it is durable as
//! configured, and visible; up to the *last stable offset* no transaction is open any more. On one machine the first two differ only
//! while a sync is under way. A transaction that began before the start of the log does not hold the last stable offset below it.
//!
//! `unstable` moves before `end` when a transaction begins, and after the ranges are noted when one ends. So who reads `end`, then
//! `unstable`, then the ranges, never takes records of an open or aborted transaction for committed ones.

use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::aborted::Aborted;
use super::append::Writer;
use super::lock;
use super::marker;
use super::partition::Partition;
use super::scan::{Found, Scan};
use super::segment::Segment;
use crate::error::Error;
use crate::producers::Producers;

/// The offset after the last record that readers may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HighWatermark(pub(super) i64);

impl HighWatermark {
    /// As the protocol has it.
    pub(crate) fn offset(self) -> i64 {
        self.0
    }
}

/// The offset below which every transaction has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LastStable(pub(super) i64);

impl LastStable {
    /// As the protocol has it.
    pub(crate) fn offset(self) -> i64 {
        self.0
    }
}

/// Which records a reader wants (`isolation.level`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// All of them.
    Uncommitted,
    /// Those of no transaction, and of committed ones.
    Committed,
}

impl Isolation {
    /// From the number in a request.
    pub(crate) fn of(level: i8) -> Isolation {
        match level {
            1 => Isolation::Committed,
            _ => Isolation::Uncommitted,
        }
    }
}

impl Partition {
    /// The next offset that will be visible.
    pub(crate) fn high_watermark(&self) -> HighWatermark {
        HighWatermark(self.end.load(Ordering::Acquire))
    }

    /// The end for those who read committed records only.
    pub(crate) fn last_stable(&self) -> LastStable {
        let HighWatermark(end) = self.high_watermark();
        let unstable = self.unstable.load(Ordering::Acquire);
        LastStable(end.min(unstable.max(self.start_offset())))
    }

    /// The end for readers of this isolation.
    pub(crate) fn readable_end(&self, isolation: Isolation) -> i64 {
        match isolation {
            Isolation::Uncommitted => self.high_watermark().offset(),
            Isolation::Committed => self.last_stable().offset(),
        }
    }

    /// The aborted transactions with records in `from..to`.
    pub(super) fn aborted_between(&self, from: i64, to: i64) -> Result<Vec<Aborted>, Error> {
        let with_some: Vec<Arc<Segment>> = {
            let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
            let behind = segments.partition_point(|segment| segment.base <= from);
            let rest = segments.get(behind.saturating_sub(1)..).unwrap_or_default();
            let some = |segment: &&Arc<Segment>| !segment.aborted().is_empty();
            rest.iter().filter(some).map(Arc::clone).collect()
        };
        let mut found = Vec::new();
        for segment in with_some {
            for one in self.aborted_in(&segment, from)? {
                if one.first < to {
                    found.push(one);
                }
                // All that began below this had ended by then.
                if one.last_stable >= to {
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }

    fn aborted_in(&self, segment: &Segment, from: i64) -> Result<Vec<Aborted>, Error> {
        let path = segment.aborted_path();
        if let Some(found) = segment
            .aborted()
            .ending_since(from, &path)
            .map_err(Error::file("read", &path))?
        {
            return Ok(found);
        }
        tracing::warn!(path = %path.display(), "aborted ranges are missing or damaged, built again");
        // A marker that came between looking and rebuilding would be forgotten.
        let nobody_writes = lock(&self.writer);
        let all = self.find_aborted(segment, &nobody_writes)?;
        segment.aborted().rebuild(all.clone(), &path);
        drop(nobody_writes);
        Ok(all.into_iter().filter(|one| one.last >= from).collect())
    }

    /// Goes through the log up to the end of `segment` for the transactions that were aborted in it.
    fn find_aborted(&self, segment: &Segment, writer: &Writer) -> Result<Vec<Aborted>, Error> {
        let mut producers = Producers::default();
        let mut found = Vec::new();
        let segments = self.segments();
        for one in segments.iter().filter(|one| one.base <= segment.base) {
            let written = match one.base == writer.segment.base {
                true => writer.shape.size,
                false => one.shape().size,
            };
            let aborted = replay(one, written, &mut producers)?;
            if one.base == segment.base {
                found = aborted;
            }
        }
        Ok(found)
    }
}

/// Brings the batches in the first `size` bytes of a segment to `producers`; returns the transactions that were aborted in it.
pub(super) fn replay(
    segment: &Segment,
    size: u64,
    producers: &mut Producers,
) -> Result<Vec<Aborted>, Error> {
    let mut aborted = Vec::new();
    if size == 0 {
        return Ok(aborted);
    }
    let file = segment.file(false)?;
    let failed = |source| segment.failed("read", source);
    let mut scan = Scan::new(&file, size, 0);
    loop {
        let position = scan.position();
        match scan.next(segment.base).map_err(failed)? {
            Found::Batch(header, size) => {
                let marker = marker::read(&file, position, size, &header).map_err(failed)?;
                aborted.extend(producers.replay(&header, marker, 0));
            }
            Found::End => return Ok(aborted),
            Found::Broken(reason) => return Err(segment.corrupt(position, reason)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_level_one_reads_committed_records() {
        let levels = [-1, 0, 1, 2].map(Isolation::of);
        let all = Isolation::Uncommitted;
        assert_eq!(levels, [all, all, Isolation::Committed, all]);
    }
}
