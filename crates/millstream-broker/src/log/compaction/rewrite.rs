//! Segments written anew: which records stay, and batches that hold only those.
//!
//! A batch of which all stays is copied as it is. Another one keeps its base offset, its last offset and its sequence, so that offsets and
//! producers are as before; its records are compressed again by the codec it had. The delete horizon of tombstones and markers takes the
//! place of the base timestamp (KIP-534), and the records' own times stay what they were.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use super::aborts::Aborts;
use super::keys::Keys;
use crate::descriptors::with_descriptor;
use crate::error::Error;
use crate::log::aborted::AbortedIndex;
use crate::log::batch::{self, HEADER_SIZE, Header, PREFIX_SIZE};
use crate::log::index::{Entry, Index};
use crate::log::segment::{Id, Place, Segment, Shape};
use crate::log::{Aborted, file, records};

/// Goes through the batches of a sealed segment, with every checksum verified.
pub(super) struct Batches<'a> {
    segment: &'a Segment,
    file: Option<Arc<File>>,
    place: Option<Place>,
}

impl<'a> Batches<'a> {
    pub(super) fn of(segment: &'a Segment) -> Result<Batches<'a>, Error> {
        let place = segment.first()?;
        let file = place.map(|_| segment.file(false)).transpose()?;
        Ok(Batches {
            segment,
            file,
            place,
        })
    }

    pub(super) fn next(&mut self) -> Result<Option<(Header, Vec<u8>)>, Error> {
        let (Some((position, header)), Some(file)) = (self.place, &self.file) else {
            return Ok(None);
        };
        let size = header.size().unwrap_or(HEADER_SIZE);
        let bytes = file::read_at(file, position, size)
            .map_err(|source| self.segment.failed("read", source))?;
        if bytes.len() < size || !batch::checksum_holds(&header, &bytes) {
            return Err(self
                .segment
                .corrupt(position, "the checksum does not match"));
        }
        self.place = self.segment.after((position, header))?;
        Ok(Some((header, bytes)))
    }
}

/// A new segment that is being written.
pub(super) struct Output {
    folder: Arc<Path>,
    id: Id,
    file: File,
    shape: Shape,
    index: Index,
    interval: u32,
    aborted: AbortedIndex,
    buffer: Vec<u8>,
}

/// Bytes that are written at a time.
const BUFFER: usize = 1 << 20;

impl Output {
    pub(super) fn create(folder: &Arc<Path>, id: Id, interval: u32) -> Result<Output, Error> {
        let path = id.path(folder, "log");
        let file = with_descriptor(|| File::create(&path)).map_err(Error::file("create", &path))?;
        // Those of an attempt that failed must not be taken for this one's.
        for extension in ["index", "aborted"] {
            std::fs::remove_file(id.path(folder, extension)).ok();
        }
        Ok(Output {
            folder: Arc::clone(folder),
            id,
            file,
            shape: Shape::empty(id.base),
            index: Index::new(id.base, 0),
            interval,
            aborted: AbortedIndex::default(),
            buffer: Vec::new(),
        })
    }

    fn push(&mut self, header: &Header, batch: &[u8]) -> Result<(), Error> {
        let entry = Entry {
            offset: header.base_offset,
            position: self.shape.size,
            time_before: self.shape.max_timestamp,
        };
        let (id, folder) = (self.id, &self.folder);
        let size = batch.len() as u64;
        self.index
            .observe(entry, size, self.interval, || id.path(folder, "index"));
        self.shape = self.shape.with(header, size);
        self.buffer.extend_from_slice(batch);
        match self.buffer.len() {
            ..BUFFER => Ok(()),
            _ => self.write(),
        }
    }

    fn write(&mut self) -> Result<(), Error> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let position = self.shape.size - self.buffer.len() as u64;
        let path = self.id.path(&self.folder, "log");
        file::write_at(&self.file, position, &mut [IoSlice::new(&self.buffer)])
            .map_err(Error::file("write", &path))?;
        self.buffer.clear();
        Ok(())
    }

    fn abort(&mut self, one: Aborted) {
        self.aborted
            .push(one, &self.id.path(&self.folder, "aborted"));
    }

    /// Forces all to the disk; the segment goes to `end`, whether its last records are left or not.
    pub(super) fn finish(mut self, end: i64) -> Result<Arc<Segment>, Error> {
        self.write()?;
        let path = self.id.path(&self.folder, "log");
        file::sync(&self.file).map_err(Error::file("sync", &path))?;
        let metadata = self.file.metadata().map_err(Error::file("read", &path))?;
        let shape = Shape { end, ..self.shape };
        let segment = Segment::existing(&self.folder, shape, self.index, self.id);
        segment.set_synced(shape.size);
        segment.set_modified(file::modified(&metadata));
        *segment.aborted() = self.aborted;
        Ok(Arc::new(segment))
    }
}

/// What stays of a batch.
enum Left {
    Nothing,
    All,
    Changed(Header, Vec<u8>),
}

/// One pass over a log, from its first segment on.
pub(super) struct Rewrite<'a> {
    keys: &'a Keys,
    now_ms: i64,
    horizon_ms: i64,
    /// Producers that have records of a transaction since their last marker.
    seen: HashSet<i64>,
    pub(super) finished: Vec<Arc<Segment>>,
}

impl<'a> Rewrite<'a> {
    pub(super) fn new(keys: &'a Keys, now_ms: i64, delete_retention_ms: i64) -> Rewrite<'a> {
        Rewrite {
            keys,
            now_ms,
            horizon_ms: now_ms.saturating_add(delete_retention_ms),
            seen: HashSet::new(),
            finished: Vec::new(),
        }
    }

    /// Writes what stays of a segment behind what is in `output`.
    pub(super) fn segment(
        &mut self,
        segment: &Segment,
        aborts: &Aborts,
        output: &mut Output,
    ) -> Result<(), Error> {
        let mut batches = Batches::of(segment)?;
        while let Some((header, batch)) = batches.next()? {
            let left = match header.is_control() {
                true => self.marker(&header, &batch),
                false => self
                    .batch(&header, &batch, aborts)
                    .map_err(|error| segment.failed_inside(&header, error))?,
            };
            match left {
                Left::Nothing => continue,
                Left::All => output.push(&header, &batch)?,
                Left::Changed(header, batch) => output.push(&header, &batch)?,
            }
            if let Some(one) = aborts.ended_by(&header) {
                output.abort(one);
            }
        }
        Ok(())
    }

    fn marker(&mut self, header: &Header, batch: &[u8]) -> Left {
        if self.seen.remove(&header.producer_id) {
            return Left::All;
        }
        match header.delete_horizon() {
            Some(horizon) if horizon <= self.now_ms => Left::Nothing,
            Some(_) => Left::All,
            None => {
                let body = batch.get(HEADER_SIZE..).unwrap_or_default();
                let header = header.with_horizon(self.horizon_ms).sealed(body);
                Left::Changed(header, [&header.write()[..], body].concat())
            }
        }
    }

    fn batch(&mut self, header: &Header, batch: &[u8], aborts: &Aborts) -> io::Result<Left> {
        if header.is_transactional() {
            self.seen.insert(header.producer_id);
        }
        if aborts.hold(header) {
            return Ok(Left::Nothing);
        }
        let bytes = records::inside(header, batch)?;
        let mut kept = Vec::new();
        let mut tombstones = false;
        for record in records::each(&bytes, header.count) {
            let record = record?;
            if self.stays(header, &record) {
                tombstones |= !record.has_value;
                kept.push(record);
            }
        }
        let horizon = match header.delete_horizon() {
            None if tombstones => Some(self.horizon_ms),
            _ => None,
        };
        if kept.is_empty() {
            return Ok(Left::Nothing);
        }
        if kept.len() == usize::try_from(header.count).unwrap_or(0) && horizon.is_none() {
            return Ok(Left::All);
        }
        changed(header, &kept, horizon)
    }

    fn stays(&self, header: &Header, record: &records::Fields<'_>) -> bool {
        let Some(key) = record.key else {
            return false;
        };
        let offset = header.base_offset.saturating_add(record.offset_delta);
        let expired = || {
            let horizon = header.delete_horizon();
            horizon.is_some_and(|horizon| horizon <= self.now_ms)
        };
        !self.keys.is_replaced(key, offset) && (record.has_value || !expired())
    }
}

/// A batch of those records.
fn changed(
    header: &Header,
    kept: &[records::Fields<'_>],
    horizon: Option<i64>,
) -> io::Result<Left> {
    let time =
        |record: &records::Fields<'_>| header.base_timestamp.saturating_add(record.timestamp_delta);
    let mut next = match horizon {
        Some(horizon) => header.with_horizon(horizon),
        None => *header,
    };
    let shift = header.base_timestamp.saturating_sub(next.base_timestamp);
    let mut plain = Vec::new();
    for record in kept {
        record.put(&mut plain, shift);
    }
    let body = records::compress(header.compression(), plain)?;
    next.count = i32::try_from(kept.len()).unwrap_or(i32::MAX);
    next.length = i32::try_from(HEADER_SIZE - PREFIX_SIZE + body.len())
        .map_err(|_| io::Error::other("a batch of more than 2 GiB"))?;
    if !header.is_log_append_time() {
        next.max_timestamp = kept.iter().map(time).max().unwrap_or(-1);
    }
    let next = next.sealed(&body);
    Ok(Left::Changed(next, [&next.write()[..], &body].concat()))
}
