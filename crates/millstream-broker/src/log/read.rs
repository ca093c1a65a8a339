//! Reading: whole batches from an offset on, into one buffer.
//!
//! Readers take no lock for longer than it takes to copy a number, and none while they read from the disk. A
//! consumer that reads on where it stopped needs no index: the last few ends of reads are remembered with their
//! places. A segment that retention removes under a reader is either still open, or the log's start has moved and
//! the reader is told so.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;

use super::partition::{Partition, cause};
use super::segment::{Batches, Segment};
use super::{ReadError, lock};
use crate::error::Error;

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fetched {
    /// Whole batches; the first may begin before the offset asked for.
    pub(crate) records: Bytes,
    /// The next offset that will be written; also the last stable offset as long as there are no transactions.
    pub(crate) high_watermark: i64,
    /// The first offset of the log.
    pub(crate) log_start_offset: i64,
}

const HINTS: usize = 4;

/// Where the last reads ended: offset, base of the segment, place in it.
#[derive(Debug, Default)]
pub(super) struct Hints {
    places: [Option<(i64, i64, u64)>; HINTS],
    oldest: usize,
}

impl Hints {
    fn find(&self, offset: i64, base: i64) -> Option<u64> {
        self.places
            .iter()
            .flatten()
            .find(|place| (place.0, place.1) == (offset, base))
            .map(|place| place.2)
    }

    /// Remembers where the read that began at `from` ended.
    fn remember(&mut self, from: i64, place: (i64, i64, u64)) {
        let followed = self
            .places
            .iter()
            .position(|known| known.is_some_and(|known| known.0 == from));
        let slot = followed.unwrap_or(self.oldest);
        if followed.is_none() {
            self.oldest = (self.oldest + 1) % HINTS;
        }
        if let Some(known) = self.places.get_mut(slot) {
            *known = Some(place);
        }
    }
}

impl Partition {
    /// Reads whole batches, the first being the one that holds `from`: at most `max_bytes` of them, but with
    /// `at_least_one` the first one whatever its size. Nothing at the end of the log.
    pub(crate) fn read(
        &self,
        from: i64,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<Fetched, ReadError> {
        let mut seen_start = None;
        loop {
            let start = self.in_range(from)?;
            match self.read_published(from, max_bytes, at_least_one) {
                Ok(records) => {
                    // Retention may have come between, and the batches be those behind a gap.
                    self.in_range(from)?;
                    return Ok(Fetched {
                        records,
                        high_watermark: self.end_offset(),
                        log_start_offset: self.start_offset(),
                    });
                }
                // Retention came between: look again, unless the log is as it was.
                Err(error) if is_missing(&error) && seen_start != Some(start) => {
                    seen_start = Some(start)
                }
                Err(error) => return Err(self.unreadable(&error)),
            }
        }
    }

    /// The first offset of the log, if `offset` is in it or at its end.
    pub(super) fn in_range(&self, offset: i64) -> Result<i64, ReadError> {
        if self.deleted.load(Ordering::Acquire) {
            return Err(ReadError::Deleted);
        }
        // The end only grows: read last, it belongs to a log that begins at `start`.
        let start = self.start_offset();
        let end = self.end_offset();
        if offset < start || offset > end {
            Err(ReadError::OutOfRange { offset, start, end })
        } else {
            Ok(start)
        }
    }

    fn read_published(
        &self,
        from: i64,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<Bytes, Error> {
        if from >= self.end_offset() || (max_bytes == 0 && !at_least_one) {
            return Ok(Bytes::new());
        }
        let mut segment = self.segment_of(from);
        while let Some(current) = segment {
            let known = lock(&self.hints).find(from, current.base);
            let position = match known {
                Some(position) if position < current.shape().size => Some(position),
                _ => current.find_offset(from)?.map(|place| place.0),
            };
            if let Some(position) = position {
                let Batches { bytes, next } = current.read(position, max_bytes, at_least_one)?;
                if let Some((offset, position)) = next {
                    // The writer publishes the segment first: what is read here, nobody may find to be out of range.
                    self.end.fetch_max(offset, Ordering::AcqRel);
                    lock(&self.hints).remember(from, (offset, current.base, position));
                    let is_read = position >= current.shape().size;
                    if is_read && self.segment_after(current.base).is_some() {
                        // Whoever reads all of a long log would keep all of its files open.
                        current.close();
                    }
                }
                return Ok(bytes);
            }
            // Nothing from here on in this segment: offsets may have gaps.
            segment = self.segment_after(current.base);
        }
        Ok(Bytes::new())
    }

    /// The segment whose range holds `offset`.
    pub(super) fn segment_of(&self, offset: i64) -> Option<Arc<Segment>> {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        let behind = segments.partition_point(|segment| segment.base <= offset);
        segments.get(behind.saturating_sub(1)).cloned()
    }

    fn segment_after(&self, base: i64) -> Option<Arc<Segment>> {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        segments
            .get(segments.partition_point(|segment| segment.base <= base))
            .cloned()
    }

    /// Tells the broker's log what happened where, and the client what kind of thing it is.
    pub(super) fn unreadable(&self, error: &Error) -> ReadError {
        if self.deleted.load(Ordering::Acquire) {
            return ReadError::Deleted;
        }
        tracing::error!(%error, source = %cause(error), "failed to read a log");
        match error {
            Error::Corrupt { .. } => ReadError::Corrupt(error.to_string()),
            _ => ReadError::Storage(cause(error)),
        }
    }
}

/// Whether a file was not there.
pub(super) fn is_missing(error: &Error) -> bool {
    matches!(error, Error::File { source, .. } if source.kind() == io::ErrorKind::NotFound)
}
