//! Look-ups by time: which record is the first of a time, which has the largest one.
//!
//! Segments know their largest timestamp, the index narrows it down to a few batches, and of these one is opened, so
//! the answer is that of the record and not of its batch.

use std::io;
use std::sync::Arc;

use super::batch::Header;
use super::partition::Partition;
use super::read::is_missing;
use super::segment::{Place, Segment};
use super::{ReadError, records};
use crate::error::Error;

/// Offset and timestamp of a record.
type Found = Option<(i64, i64)>;

impl Partition {
    /// The first record, by offset, whose timestamp is at least `timestamp`: its offset and timestamp.
    pub(crate) fn offset_for_time(&self, timestamp: i64) -> Result<Found, ReadError> {
        self.search(|segments, start| first_since(segments, start, timestamp))
    }

    /// The record with the largest timestamp, the first of several: its offset and timestamp.
    pub(crate) fn max_timestamp(&self) -> Result<Found, ReadError> {
        self.search(|segments, start| {
            // Should the batch with the largest one be deleted, any remaining batch may be next.
            let newest = segments
                .iter()
                .map(|segment| segment.shape())
                .reduce(|best, shape| {
                    if shape.max_timestamp > best.max_timestamp {
                        shape
                    } else {
                        best
                    }
                });
            match newest {
                Some(shape) if shape.size > 0 && shape.max_timestamp_batch >= start => {
                    first_since(segments, start, shape.max_timestamp)
                }
                Some(_) => largest_by_walking(segments, start),
                None => Ok(None),
            }
        })
    }

    fn search(
        &self,
        look: impl Fn(&[Arc<Segment>], i64) -> Result<Found, Error>,
    ) -> Result<Found, ReadError> {
        let mut seen_start = None;
        loop {
            let start = self.in_range(self.start_offset())?;
            match look(&self.segments(), start) {
                Ok(found) => return Ok(found),
                // Retention came between: look again, unless the log is as it was.
                Err(error) if is_missing(&error) && seen_start != Some(start) => {
                    seen_start = Some(start)
                }
                Err(error) => return Err(self.unreadable(&error)),
            }
        }
    }
}

fn first_since(segments: &[Arc<Segment>], start: i64, timestamp: i64) -> Result<Found, Error> {
    let candidates = segments.iter().filter(|segment| {
        let shape = segment.shape();
        shape.size > 0 && shape.max_timestamp >= timestamp && shape.end > start
    });
    for segment in candidates {
        let mut place = segment.find_time(timestamp, start)?;
        while let Some(here) = place {
            let wanted = |offset: i64, time: i64| offset >= start && time >= timestamp;
            if let Some(found) = inside(segment, here, wanted)? {
                return Ok(Some(found));
            }
            // The newest records of this batch are deleted, or its header promised more than it holds.
            place = segment.after(here)?;
        }
    }
    Ok(None)
}

fn largest_by_walking(segments: &[Arc<Segment>], start: i64) -> Result<Found, Error> {
    let mut largest = -1;
    for segment in segments.iter().filter(|segment| segment.shape().size > 0) {
        let mut place = segment.find_offset(start)?;
        while let Some(here) = place {
            largest = largest.max(here.1.max_timestamp);
            place = segment.after(here)?;
        }
    }
    if largest < 0 {
        Ok(None)
    } else {
        first_since(segments, start, largest)
    }
}

/// Opens one batch.
fn inside(
    segment: &Segment,
    place: Place,
    wanted: impl Fn(i64, i64) -> bool,
) -> Result<Found, Error> {
    let (position, header): (u64, Header) = place;
    let batch = segment.read(position, i64::MAX, 0, true)?;
    records::find(&header, &batch.bytes, wanted).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => segment.failed("read", error),
        _ => segment.corrupt(
            position,
            &format!(
                "the batch of offset {} cannot be opened: {error}",
                header.base_offset
            ),
        ),
    })
}
