//! What leaves the log, and the housekeeping that goes with it.
//!
//! Segments go as a whole, oldest first: when all their records are older than `retention.ms`, when the log without
//! them still has `retention.bytes`, or when `delete_records` has moved the start of the log behind them. The order
//! is: the checkpoint on the disk says they are gone, readers are sent past them, the files are removed. A kill in
//! between leaves files that the next start removes.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::append::Writer;
use super::checkpoint;
use super::partition::Partition;
use super::segment::{Segment, Shape};
use super::{LogConfig, ReadError, blocking, lock};
use crate::error::Error;
use crate::failpoint;
use crate::snapshot::Durability;

/// What retention removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Retained {
    /// Segments that were removed.
    pub(crate) segments: usize,
    /// Bytes that they had.
    pub(crate) bytes: u64,
}

impl Partition {
    /// Housekeeping, called every now and then: applies retention, forgets silent producers, forces sealed segments
    /// to the disk, makes a checkpoint if something was written, closes files that nobody uses.
    pub(crate) fn retain(&self, now_ms: i64) -> Result<Retained, Error> {
        if self.deleted.load(Ordering::Acquire) {
            return Ok(Retained::default());
        }
        let config = self.config();
        if let Some((_, sealed)) = self.segments().split_last() {
            self.sync(sealed)?;
        }
        let durability = match expired(&self.segments(), &config, self.start_offset(), now_ms) {
            0 => self.durability(),
            _ => Durability::Disk,
        };
        let kept = self.keep_producers(durability)?;
        let removed = {
            let mut writer = lock(&self.writer);
            if self.deleted.load(Ordering::Acquire) {
                return Ok(Retained::default());
            }
            writer
                .producers
                .expire(now_ms, config.producer_expiration_ms);
            writer.count_producers();
            let mut going = expired(&self.segments(), &config, self.start_offset(), now_ms);
            if going == self.segments().len() {
                // Even the newest record is too old: the log goes on in a new segment.
                if writer.shape.size > 0 && self.high_watermark().offset() == writer.shape.end {
                    self.roll(&mut writer)?;
                } else {
                    going -= 1;
                }
            }
            // What came meanwhile may be of a producer that is in no file yet.
            let known = |segment: &&Arc<Segment>| segment.shape().end <= kept;
            let going = going.min(self.segments().iter().take_while(known).count());
            let removed = self.drop_segments(&mut writer, going)?;
            if removed.is_empty() && writer.dirty {
                self.try_checkpoint(&mut writer);
            }
            removed
        };
        self.segments().iter().for_each(|segment| segment.rest());
        remove(&removed)
    }

    /// Moves the start of the log to `before`, or to the high watermark for -1, and returns the new start. It is on
    /// the disk then. Records before it are never seen again; their space is freed as whole segments go.
    pub(crate) fn delete_records(&self, before: i64) -> Result<i64, ReadError> {
        let before = if before == -1 {
            self.high_watermark().offset()
        } else {
            before
        };
        let end = self.high_watermark().offset();
        if before < 0 || before > end {
            return Err(ReadError::OutOfRange {
                offset: before,
                start: self.start_offset(),
                end,
            });
        }
        if self.in_range(self.high_watermark().offset())? >= before {
            return Ok(self.start_offset());
        }
        let removed = blocking(|| {
            self.keep_producers(Durability::Disk)?;
            let mut writer = lock(&self.writer);
            if self.deleted.load(Ordering::Acquire) {
                return Ok(Retained::default());
            }
            // Nothing stays in the newest segment either: the log goes on in a new one, and its space is free.
            if writer.shape.size > 0 && before == writer.shape.end {
                self.roll(&mut writer)?;
            }
            // Another one may have deleted more while this one waited for its turn.
            let before = before.max(self.start_offset());
            checkpoint::note_deleted(&self.folder, before)?;
            failpoint::reached()?;
            let segments = self.segments();
            self.checkpoint(&mut writer, before, &segments, Durability::Disk)?;
            failpoint::reached()?;
            self.start.fetch_max(before, Ordering::AcqRel);
            let going = passed(&segments, before);
            let removed = self.drop_segments(&mut writer, going)?;
            drop(writer);
            remove(&removed)
        });
        removed.map_err(|error| self.unreadable(&error))?;
        self.in_range(self.high_watermark().offset())
    }

    /// Takes the first `going` segments out of the log; their files remain to be removed.
    fn drop_segments(&self, writer: &mut Writer, going: usize) -> Result<Vec<Arc<Segment>>, Error> {
        if going == 0 {
            return Ok(Vec::new());
        }
        let segments = self.segments();
        let (_, kept) = segments.split_at_checked(going).unwrap_or((&segments, &[]));
        let start = kept.first().map_or(self.start_offset(), |first| {
            first.base.max(self.start_offset())
        });
        self.checkpoint(writer, start, kept, Durability::Disk)?;
        failpoint::reached()?;
        self.start.fetch_max(start, Ordering::AcqRel);
        Ok(self
            .segments
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .drain(..going)
            .collect())
    }
}

fn remove(segments: &[Arc<Segment>]) -> Result<Retained, Error> {
    let mut retained = Retained::default();
    for segment in segments {
        retained.segments += 1;
        retained.bytes += segment.shape().size;
        tracing::info!(path = %segment.path().display(), bytes = segment.shape().size, "segment removed");
        segment.remove()?;
    }
    Ok(retained)
}

/// How many segments, from the oldest on, the log need not keep: all of them if need be.
fn expired(segments: &[Arc<Segment>], config: &LogConfig, start: i64, now_ms: i64) -> usize {
    let by_start = passed(segments, start);
    if !config.delete {
        return by_start;
    }
    let shapes = || segments.iter().map(|segment| segment.shape());
    let too_old = |one: &&Arc<Segment>| {
        one.shape().size > 0 && now_ms.saturating_sub(one.newest_ms()) > config.retention_ms
    };
    let by_time = match config.retention_ms {
        0.. => segments.iter().take_while(too_old).count(),
        _ => 0,
    };
    let by_size = match u64::try_from(config.retention_bytes) {
        Ok(limit) => {
            let mut excess = shapes()
                .map(|shape| shape.size)
                .sum::<u64>()
                .saturating_sub(limit);
            let fits = |shape: &Shape| match excess.checked_sub(shape.size) {
                Some(left) if shape.size > 0 => {
                    excess = left;
                    true
                }
                _ => false,
            };
            shapes().take_while(fits).count()
        }
        Err(_) => 0,
    };
    by_start.max(by_time).max(by_size)
}

/// How many sealed segments lie wholly before `start`.
fn passed(segments: &[Arc<Segment>], start: i64) -> usize {
    segments
        .windows(2)
        .take_while(|pair| matches!(pair, [_, next] if next.base <= start))
        .count()
}
