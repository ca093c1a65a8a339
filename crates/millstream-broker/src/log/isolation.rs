//! How far a reader may see: the ends of a log by type, and the ranges of it that aborted transactions wrote.
//!
//! A log has three ends. What is *written* is the writer's alone (`Writer::shape`); up to the *high watermark* it is durable as
//! configured, and visible; up to the *last stable offset* no transaction is open any more. On one machine the first two differ only
//! while a sync is under way. A transaction that began before the start of the log does not hold the last stable offset below it.
//!
//! `unstable` moves before `end` when a transaction begins, and after the ranges are noted when one ends. So who reads `end`, then
//! `unstable`, then the ranges, never takes records of an open or aborted transaction for committed ones.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::aborted::Aborted;
use super::marker;
use super::partition::Partition;
use super::scan::{Found, Scan};
use super::segment::Segment;
use super::{blocking, lock};
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
            for one in self.aborted_in(&segment, from, to)? {
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

    fn aborted_in(&self, segment: &Segment, from: i64, to: i64) -> Result<Vec<Aborted>, Error> {
        let path = segment.aborted_path();
        if let Some(found) = segment
            .aborted()
            .ending_since(from, to, &path)
            .map_err(Error::file("read", &path))?
        {
            return Ok(found);
        }
        tracing::warn!(path = %path.display(), "aborted ranges are missing or damaged, built again");
        segment.aborted().forget();
        blocking(|| self.find_aborted())?;
        let found = segment.aborted().ending_since(from, to, &path);
        // A segment that compaction has replaced meanwhile was not found.
        let found = found.and_then(|found| found.ok_or_else(|| ErrorKind::NotFound.into()));
        found.map_err(Error::file("read", &path))
    }

    /// Goes through the log once for the aborted transactions of all segments that do not know them.
    fn find_aborted(&self) -> Result<(), Error> {
        let _one_at_a_time = lock(&self.finding);
        let mut producers = Producers::new(self.config().max_producers);
        let known = self.segments();
        let (active, sealed) = known
            .split_last()
            .map_or((0, &known[..]), |(last, sealed)| (last.base, sealed));
        for segment in sealed {
            find_aborted_in(segment, segment.shape().size, &mut producers)?;
        }
        // A marker that came between looking and rebuilding would be forgotten.
        let writer = lock(&self.writer);
        let rest = self.segments();
        for segment in rest.iter().filter(|one| one.base >= active) {
            let written = match segment.base == writer.segment.base {
                true => writer.shape.size,
                false => segment.shape().size,
            };
            find_aborted_in(segment, written, &mut producers)?;
        }
        Ok(())
    }
}

/// Goes through the first `size` bytes of a segment, and keeps what was aborted there if it is not known.
fn find_aborted_in(segment: &Segment, size: u64, producers: &mut Producers) -> Result<(), Error> {
    let found = replay(segment, size, producers)?;
    let mut aborted = segment.aborted();
    if aborted.is_unknown() {
        aborted.rebuild(found, &segment.aborted_path());
    }
    Ok(())
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
