//! Reading: whole batches from an offset on, into one buffer.
//!
//! Readers take no lock for longer than it takes to copy a number, and none while they read from the disk. A
//! consumer that reads on where it stopped needs no index: the last few ends of reads are remembered with their
//! places. A segment that retention removes under a reader is either still open, or the log's start has moved and
//! the reader gets an error.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;

use super::isolation::{HighWatermark, Isolation, LastStable};
use super::partition::{Partition, cause};
use super::segment::{Batches, Id, Segment};
use super::{Aborted, ReadError, blocking, lock};
use crate::error::Error;

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fetched {
    /// Whole batches; the first may begin before the offset asked for.
    pub(crate) records: Bytes,
    /// The next offset that will be visible.
    pub(crate) high_watermark: HighWatermark,
    /// The offset below which no transaction is open.
    pub(crate) last_stable: LastStable,
    /// The first offset of the log.
    pub(crate) log_start_offset: i64,
    /// The end for this reader when its records were looked for: what is beyond may have come since.
    pub(crate) looked_to: i64,
    /// The size of the first batch, if it alone is larger than the limit: then there are no records.
    pub(crate) too_large: Option<usize>,
    /// Aborted transactions that have records among these, for readers of committed ones.
    pub(crate) aborted: Vec<Aborted>,
}

impl Fetched {
    /// The end for readers of this isolation when this was read.
    pub(crate) fn readable_end(&self, isolation: Isolation) -> i64 {
        match isolation {
            Isolation::Uncommitted => self.high_watermark.offset(),
            Isolation::Committed => self.last_stable.offset(),
        }
    }
}

/// What of a log is to be read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// The offset of the first record wanted.
    pub(crate) from: i64,
    /// Limit of the bytes that are read.
    pub(crate) max_bytes: usize,
    /// Whether the first batch is read whatever its size.
    pub(crate) at_least_one: bool,
    pub(crate) isolation: Isolation,
}

type Published = (Bytes, Option<i64>, Option<usize>);
type Visible = (Bytes, Vec<Aborted>, Option<usize>);

const HINTS: usize = 4;

/// Where the last reads ended: offset, segment, place in it.
#[derive(Debug, Default)]
pub(super) struct Hints {
    places: [Option<(i64, Id, u64)>; HINTS],
    oldest: usize,
}

impl Hints {
    fn find(&self, offset: i64, segment: Id) -> Option<u64> {
        self.places
            .iter()
            .flatten()
            .find(|place| (place.0, place.1) == (offset, segment))
            .map(|place| place.2)
    }

    /// Remembers where the read that began at `from` ended.
    fn remember(&mut self, from: i64, place: (i64, Id, u64)) {
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
    /// Reads whole batches, the first being the one that holds `from`. Nothing at the end of the log, or beyond what readers of this
    /// isolation may see.
    pub(crate) fn read(&self, span: Span) -> Result<Fetched, ReadError> {
        let mut seen_start = None;
        loop {
            let start = self.in_range(span.from)?;
            // Before the ranges are looked up: what ends between is not among the records then.
            let last_stable = self.last_stable();
            let looked_to = match span.isolation {
                Isolation::Uncommitted => self.high_watermark().offset(),
                Isolation::Committed => last_stable.offset(),
            };
            let read = match self.is_sealed(span.from) {
                // Old records come from the disk, new ones from the page cache.
                true => blocking(|| self.read_visible(span, looked_to)),
                false => self.read_visible(span, looked_to),
            };
            match read {
                Ok((records, aborted, cut)) => {
                    // Retention may have come between, and the batches be those behind a gap.
                    self.in_range(span.from)?;
                    return Ok(Fetched {
                        high_watermark: self.high_watermark(),
                        last_stable,
                        looked_to,
                        log_start_offset: self.start_offset(),
                        too_large: cut.filter(|_| records.is_empty()),
                        aborted,
                        records,
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

    /// The batches that a reader may see, and the aborted transactions among them.
    fn read_visible(&self, span: Span, visible: i64) -> Result<Visible, Error> {
        let (records, next, cut) = self.read_published(span, visible)?;
        let aborted = match (span.isolation, next) {
            (Isolation::Committed, Some(next)) => self.aborted_between(span.from, next)?,
            _ => Vec::new(),
        };
        Ok((records, aborted, cut))
    }

    /// The first offset of the log, if `offset` is in it or at its end.
    pub(super) fn in_range(&self, offset: i64) -> Result<i64, ReadError> {
        if self.deleted.load(Ordering::Acquire) {
            return Err(ReadError::Deleted);
        }
        // The end only grows: read last, it belongs to a log that begins at `start`.
        let start = self.start_offset();
        let end = self.high_watermark().offset();
        if offset < start || offset > end {
            Err(ReadError::OutOfRange { offset, start, end })
        } else {
            Ok(start)
        }
    }

    /// The batches, the offset after the last of them, and the size of the next one if the limit cut it off.
    fn read_published(&self, span: Span, visible: i64) -> Result<Published, Error> {
        let nothing = || Ok((Bytes::new(), None, None));
        // What is published of a segment may be read before `end` says so; open transactions may not.
        let end = match span.isolation {
            Isolation::Uncommitted => i64::MAX,
            Isolation::Committed => visible,
        };
        if span.from >= visible || (span.max_bytes == 0 && !span.at_least_one) {
            return nothing();
        }
        let from = span.from;
        let mut segment = self.segment_of(from);
        while let Some(current) = segment {
            let known = lock(&self.hints).find(from, current.id);
            let position = match known {
                Some(position) if position < current.shape().size => Some(position),
                _ => current.find_offset(from)?.map(|place| place.0),
            };
            if let Some(position) = position {
                let Batches { bytes, next, cut } =
                    current.read(position, end, span.max_bytes, span.at_least_one)?;
                if let Some((offset, position)) = next {
                    // The writer publishes the segment first: what is read here, nobody may find to be out of range.
                    self.end.fetch_max(offset, Ordering::AcqRel);
                    lock(&self.hints).remember(from, (offset, current.id, position));
                    let is_read = position >= current.shape().size;
                    if is_read && self.segment_after(current.base).is_some() {
                        // Whoever reads all of a long log would keep all of its files open.
                        current.close();
                    }
                }
                return Ok((bytes, next.map(|(offset, _)| offset), cut));
            }
            // Nothing from here on in this segment: offsets may have gaps.
            segment = self.segment_after(current.base);
        }
        nothing()
    }

    /// The segment whose range holds `offset`.
    pub(super) fn segment_of(&self, offset: i64) -> Option<Arc<Segment>> {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        let behind = segments.partition_point(|segment| segment.base <= offset);
        segments.get(behind.saturating_sub(1)).cloned()
    }

    /// Whether `offset` is in a segment to which nothing is appended any more.
    fn is_sealed(&self, offset: i64) -> bool {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        segments.last().is_some_and(|active| offset < active.base)
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
            _ if error.is_full() => ReadError::Full(cause(error)),
            _ => ReadError::Storage(cause(error)),
        }
    }
}

/// Whether a file was not there.
pub(super) fn is_missing(error: &Error) -> bool {
    matches!(error, Error::File { source, .. } if source.kind() == io::ErrorKind::NotFound)
}
