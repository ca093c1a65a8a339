//! One file of batches, `<base offset>.log`, with its index beside it; `<base offset>.<generation>.log` once it was compacted.
//!
//! A segment knows how much of its file readers may see (its `Shape`), finds batches in it and reads them. It keeps
//! a descriptor only while it is used: `rest` closes one that nobody asked for since the last time, and `descriptors` does when there are
//! few. A descriptor that a reader holds stays valid when the file is removed. Who appends, rolls and removes is the partition's.
//!
//! What was on the disk before this process began is verified when it is read; what this process appended was
//! verified then.

mod id;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;

use super::aborted::AbortedIndex;
use super::batch::{self, HEADER_SIZE, Header};
use super::index::{Entry, Index};
use super::{Marker, file, lock, marker};
use crate::descriptors::Slot;
use crate::error::Error;
use crate::failpoint;
pub(super) use id::Id;

/// What a segment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Bytes of whole batches.
    pub(super) size: u64,
    /// The offset after the last record.
    pub(super) end: i64,
    /// Largest timestamp of the first batch, -1 when empty.
    pub(super) first_timestamp: i64,
    /// Largest timestamp, -1 when empty.
    pub(super) max_timestamp: i64,
    /// Base offset of the first batch with that timestamp.
    pub(super) max_timestamp_batch: i64,
}

impl Shape {
    pub(super) fn empty(base: i64) -> Shape {
        Shape {
            size: 0,
            end: base,
            first_timestamp: -1,
            max_timestamp: -1,
            max_timestamp_batch: base,
        }
    }

    /// The shape with one more batch of `size` bytes.
    pub(super) fn with(self, header: &Header, size: u64) -> Shape {
        let newest = header.max_timestamp > self.max_timestamp;
        Shape {
            size: self.size + size,
            end: header.last_offset().saturating_add(1),
            first_timestamp: if self.size == 0 {
                header.max_timestamp
            } else {
                self.first_timestamp
            },
            max_timestamp: if newest {
                header.max_timestamp
            } else {
                self.max_timestamp
            },
            max_timestamp_batch: if newest {
                header.base_offset
            } else {
                self.max_timestamp_batch
            },
        }
    }
}

/// A place in a segment: the batch that begins there has this header.
pub(super) type Place = (u64, Header);

/// Batches that were read.
#[derive(Debug)]
pub(super) struct Batches {
    pub(super) bytes: Bytes,
    /// The offset after the last of them, and where that batch will begin.
    pub(super) next: Option<(i64, u64)>,
    /// The size of the batch behind them that the limit cut off, if any.
    pub(super) cut: Option<usize>,
}

/// One segment, shared by the partition and its readers.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) base: i64,
    pub(super) id: Id,
    folder: Arc<Path>,
    /// Bytes that were there when this process opened the segment.
    inherited: u64,
    handle: Slot,
    shape: Mutex<Shape>,
    index: Mutex<Index>,
    aborted: Mutex<AbortedIndex>,
    /// Bytes that are known to be on the disk.
    synced: AtomicU64,
    /// When a sealed segment was last changed; 0 for the one that is appended to.
    modified: AtomicI64,
}

impl Segment {
    /// A segment without a file yet.
    pub(super) fn new(folder: &Arc<Path>, base: i64) -> Segment {
        Segment::existing(
            folder,
            Shape::empty(base),
            Index::new(base, 0),
            Id::first(base),
        )
    }

    /// A segment whose file is there.
    pub(super) fn existing(folder: &Arc<Path>, shape: Shape, index: Index, id: Id) -> Segment {
        Segment {
            base: id.base,
            id,
            folder: Arc::clone(folder),
            inherited: shape.size,
            handle: Slot::default(),
            shape: Mutex::new(shape),
            index: Mutex::new(index),
            aborted: Mutex::default(),
            synced: AtomicU64::new(0),
            modified: AtomicI64::new(0),
        }
    }

    /// What readers may see.
    pub(super) fn shape(&self) -> Shape {
        *lock(&self.shape)
    }

    /// Lets readers see more.
    pub(super) fn publish(&self, shape: Shape) {
        let mut current = lock(&self.shape);
        if shape.size > current.size {
            *current = shape;
        }
    }

    pub(super) fn index(&self) -> MutexGuard<'_, Index> {
        lock(&self.index)
    }

    /// The transactions that were aborted here.
    pub(super) fn aborted(&self) -> MutexGuard<'_, AbortedIndex> {
        lock(&self.aborted)
    }

    pub(super) fn path(&self) -> PathBuf {
        self.id.path(&self.folder, "log")
    }

    pub(super) fn index_path(&self) -> PathBuf {
        self.id.path(&self.folder, "index")
    }

    pub(super) fn aborted_path(&self) -> PathBuf {
        self.id.path(&self.folder, "aborted")
    }

    pub(super) fn synced(&self) -> u64 {
        self.synced.load(Ordering::Acquire)
    }

    pub(super) fn set_synced(&self, bytes: u64) {
        self.synced.fetch_max(bytes, Ordering::AcqRel);
    }

    pub(super) fn modified(&self) -> i64 {
        self.modified.load(Ordering::Acquire)
    }

    /// The time of the newest record, or of the last change where no record has a time.
    pub(super) fn newest_ms(&self) -> i64 {
        let shape = self.shape();
        if shape.max_timestamp >= 0 || shape.size == 0 {
            return shape.max_timestamp;
        }
        let changed = match self.modified() {
            0 => fs::metadata(self.path()).map_or(i64::MAX, |metadata| file::modified(&metadata)),
            known => known,
        };
        changed / 1_000_000
    }

    pub(super) fn set_modified(&self, modified: i64) {
        self.modified.store(modified, Ordering::Release);
    }

    /// The file; with `create` it is made when missing.
    pub(super) fn file(&self, create: bool) -> Result<Arc<File>, Error> {
        let open = || {
            OpenOptions::new()
                .read(true)
                .write(true)
                .create(create)
                .truncate(false)
                .open(self.path())
        };
        self.handle
            .file(open)
            .map_err(|source| self.failed("open", source))
    }

    /// Closes the file if nobody asked for it since the last call.
    pub(super) fn rest(&self) {
        self.handle.rest();
    }

    /// Closes the file, until it is asked for again.
    pub(super) fn close(&self) {
        self.handle.close();
    }

    /// Forces `bytes` of the segment, which are written, to the disk; false when they were there already.
    pub(super) fn sync(&self, bytes: u64) -> Result<bool, Error> {
        if bytes <= self.synced() {
            return Ok(false);
        }
        let file = self.file(false)?;
        file::sync(&file).map_err(|source| self.failed("sync", source))?;
        self.set_synced(bytes);
        Ok(true)
    }

    /// Removes the files. Readers that have them open keep reading.
    pub(super) fn remove(&self) -> Result<(), Error> {
        self.handle.close();
        for path in [self.path(), self.index_path(), self.aborted_path()] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::file("remove", &path)(error));
                }
                _ => {}
            }
            failpoint::reached()?;
        }
        Ok(())
    }

    /// Where the first batch is whose last offset is at least `offset`.
    pub(super) fn find_offset(&self, offset: i64) -> Result<Option<Place>, Error> {
        let start = self.entry(|index, path| index.by_offset(offset, path))?;
        self.walk(start, |header| header.last_offset() >= offset)
    }

    /// Where the first batch is that has records of `timestamp` or later, at or after `from`.
    pub(super) fn find_time(&self, timestamp: i64, from: i64) -> Result<Option<Place>, Error> {
        let start = self.entry(|index, path| index.by_time(timestamp, path))?;
        self.walk(start, |header| {
            header.max_timestamp >= timestamp && header.last_offset() >= from
        })
    }

    /// The place of the first batch.
    pub(super) fn first(&self) -> Result<Option<Place>, Error> {
        self.walk(0, |_| true)
    }

    /// The place of the next batch behind one.
    pub(super) fn after(&self, (position, header): Place) -> Result<Option<Place>, Error> {
        let next = position + header.size().unwrap_or(HEADER_SIZE) as u64;
        self.walk(next, |_| true)
    }

    /// Reads whole batches from `position` on that begin before `end`: at most `max_bytes`, but with `at_least_one` the first one
    /// whatever its size.
    pub(super) fn read(
        &self,
        position: u64,
        end: i64,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<Batches, Error> {
        let left =
            usize::try_from(self.shape().size.saturating_sub(position)).unwrap_or(usize::MAX);
        let least = if at_least_one { HEADER_SIZE } else { 0 };
        let file = self.file(false)?;
        let wanted = max_bytes.max(least).min(left);
        let mut bytes = self.exactly(&file, position, wanted)?;
        if at_least_one
            && let Some(first) = Header::parse(&bytes)
            && let Some(size) = first.size().filter(|size| *size > wanted && *size <= left)
        {
            bytes = self.exactly(&file, position, size)?;
        }
        let mut whole = 0;
        let mut next = None;
        let mut cut = None;
        while let Some(rest) = bytes.get(whole..)
            && let Some(header) = Header::parse(rest).filter(|header| header.base_offset < end)
        {
            let size = header
                .size()
                .ok_or_else(|| self.corrupt(position + whole as u64, "impossible length"))?;
            let Some(batch) = rest.get(..size) else {
                cut = Some(size);
                break;
            };
            let at = position + whole as u64;
            if at < self.inherited && !batch::checksum_holds(&header, batch) {
                return Err(self.corrupt(at, "the checksum does not match"));
            }
            whole += size;
            next = Some((
                header.last_offset().saturating_add(1),
                position + whole as u64,
            ));
        }
        let hidden = Header::parse(&bytes).is_some_and(|first| first.base_offset >= end);
        if whole == 0 && at_least_one && left > 0 && !hidden {
            return Err(self.corrupt(position, "the batch is longer than the file"));
        }
        bytes.truncate(whole);
        Ok(Batches {
            bytes: bytes.into(),
            next,
            cut,
        })
    }

    /// Looks something up in the index, which is built again if it does not fit the segment.
    fn entry(
        &self,
        look: impl Fn(&Index, &Path) -> io::Result<Option<Entry>>,
    ) -> Result<u64, Error> {
        let path = self.index_path();
        let mut index = self.index();
        // Where to begin; none when the entry is not of this segment.
        let begin = |entry: Option<Entry>| match entry {
            None => Some(0),
            // Written, but not yet to be seen.
            Some(entry) if entry.position >= self.shape().size => Some(entry.position),
            Some(entry) => {
                let there = self.walk(entry.position, |_| true).ok().flatten();
                let same = there.is_some_and(|(_, header)| header.base_offset == entry.offset);
                same.then_some(entry.position)
            }
        };
        match look(&index, &path).map(begin) {
            Ok(Some(position)) => return Ok(position),
            Ok(None) => {}
            Err(error) if is_rebuilt_after(&error) => {}
            Err(error) => return Err(Error::file("read", &path)(error)),
        }
        tracing::warn!(path = %path.display(), "index is missing or damaged, built again");
        *index = self.build_index(&path)?;
        let position = look(&index, &path)
            .map(begin)
            .map_err(Error::file("read", &path))?;
        Ok(position.unwrap_or(0))
    }

    fn build_index(&self, path: &Path) -> Result<Index, Error> {
        fs::remove_file(path).ok();
        let mut index = Index::new(self.base, 0);
        let mut time_before = -1;
        let mut place = self.walk(0, |_| true)?;
        while let Some((position, header)) = place {
            let size = header.size().unwrap_or(HEADER_SIZE) as u64;
            let entry = Entry {
                offset: header.base_offset,
                position,
                time_before,
            };
            index.observe(entry, size, REBUILT_INTERVAL, || path.to_path_buf());
            time_before = time_before.max(header.max_timestamp);
            place = self.after((position, header))?;
        }
        // What could not be written is found by walking.
        index.write(path).ok();
        Ok(index)
    }

    /// Goes through the headers of the batches that begin at `from` or later, with their markers.
    pub(super) fn visit(
        &self,
        from: i64,
        mut each: impl FnMut(&Header, Option<Marker>),
    ) -> Result<(), Error> {
        let Some(first) = self.find_offset(from)? else {
            return Ok(());
        };
        let file = self.file(false)?;
        let (mut position, mut failed) = (first.0, None);
        self.walk(first.0, |header| {
            let size = header.size().unwrap_or(HEADER_SIZE) as u64;
            match marker::read(&file, position, size, header) {
                Ok(marker) if header.base_offset >= from => each(header, marker),
                Ok(_) => {}
                Err(error) => failed = Some(error),
            }
            position += size;
            failed.is_some()
        })?;
        failed.map_or(Ok(()), |source| Err(self.failed("read", source)))
    }

    /// The first batch from `position` on for which `wanted` holds.
    fn walk(
        &self,
        mut position: u64,
        mut wanted: impl FnMut(&Header) -> bool,
    ) -> Result<Option<Place>, Error> {
        let size = self.shape().size;
        if position >= size {
            return Ok(None);
        }
        let file = self.file(false)?;
        // Small batches lie many in a chunk: one read serves all their headers.
        let (mut chunk, mut chunk_at) = (Vec::new(), position);
        while position < size {
            let inside = usize::try_from(position - chunk_at).unwrap_or(usize::MAX);
            let header = match chunk.get(inside..).and_then(Header::parse) {
                Some(header) => Some(header),
                None => {
                    chunk = file::read_at(&file, position, WALK_BYTES)
                        .map_err(|source| self.failed("read", source))?;
                    chunk_at = position;
                    Header::parse(&chunk)
                }
            };
            let header = header
                .filter(|header| header.magic == 2 && fits(header, size - position))
                .ok_or_else(|| self.corrupt(position, "no record batch begins there"))?;
            if wanted(&header) {
                return Ok(Some((position, header)));
            }
            position += header.size().unwrap_or(HEADER_SIZE) as u64;
        }
        Ok(None)
    }

    fn exactly(&self, file: &File, position: u64, length: usize) -> Result<Vec<u8>, Error> {
        let bytes =
            file::read_at(file, position, length).map_err(|source| self.failed("read", source))?;
        if bytes.len() < length {
            return Err(self.corrupt(
                position + bytes.len() as u64,
                "the file is shorter than it was",
            ));
        }
        Ok(bytes)
    }

    pub(super) fn failed(&self, verb: &'static str, source: io::Error) -> Error {
        Error::file(verb, &self.path())(source)
    }

    /// The records of a batch make no sense.
    pub(super) fn failed_inside(&self, header: &Header, error: io::Error) -> Error {
        let reason = format!(
            "the batch of offset {} cannot be opened: {error}",
            header.base_offset
        );
        self.corrupt(0, &reason)
    }

    pub(super) fn corrupt(&self, position: u64, reason: &str) -> Error {
        Error::Corrupt {
            path: self.path(),
            position,
            reason: reason.to_owned(),
        }
    }
}

/// As much as lies between two entries of an index, most often.
const WALK_BYTES: usize = 4096;

/// Distance of entries in an index that is built again.
const REBUILT_INTERVAL: u32 = 4096;

fn fits(header: &Header, left: u64) -> bool {
    header.size().is_some_and(|size| size as u64 <= left)
}

fn is_rebuilt_after(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
    )
}
