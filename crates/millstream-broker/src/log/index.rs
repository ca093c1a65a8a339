//! The sparse index of one segment: for some batches their offset, their place in the file, and the largest
//! timestamp before them. One file serves look-ups by offset and by time.
//!
//! ```text
//! 0  "MSIX"   4  version (1), u32
//! 8  entries of 20 bytes: offset - segment's base u32, position u32, largest timestamp before it i64, crc32c u32
//! ```
//!
//! Entries are collected in memory and written when enough are there, when a checkpoint is made, and when the segment
//! is sealed; a checkpoint knows how many are written. The file holds nothing that the segment does not tell:
//! whenever it is missing, short or damaged it is built again. An idle index costs neither memory nor a descriptor.

use std::fs::File;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use bytes::{Buf as _, BufMut as _};

use super::file;

const MAGIC: u32 = 0x4d53_4958;
const VERSION: u32 = 1;
const HEAD: u64 = 8;
const ENTRY: usize = 20;

/// Entries kept in memory before they are written.
const UNWRITTEN: usize = 128;

/// One batch that can be found at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Base offset of the batch.
    pub(super) offset: i64,
    /// Where the batch begins in the segment.
    pub(super) position: u64,
    /// Largest timestamp of all batches of the segment before it.
    pub(super) time_before: i64,
}

/// Index of the segment that begins with offset `base`.
#[derive(Debug)]
pub(super) struct Index {
    base: i64,
    written: u32,
    unwritten: Vec<Entry>,
    /// Bytes of batches since the last entry.
    since: u64,
}

impl Index {
    /// An index of which `written` entries are in the file.
    pub(super) fn new(base: i64, written: u32) -> Index {
        Index {
            base,
            written,
            unwritten: Vec::new(),
            since: 0,
        }
    }

    /// How many entries are in the file.
    pub(super) fn written(&self) -> u32 {
        self.written
    }

    /// Learns of a batch of `size` bytes, after all before it.
    pub(super) fn observe(
        &mut self,
        entry: Entry,
        size: u64,
        interval: u32,
        path: impl FnOnce() -> PathBuf,
    ) {
        if self.since > u64::from(interval) {
            self.since = 0;
            self.unwritten.push(entry);
            if self.unwritten.len() >= UNWRITTEN
                && let Err(error) = self.write(&path())
            {
                // Half as many entries find the same batches, only more slowly: memory stays bounded.
                tracing::debug!(base = self.base, %error, "failed to write to an index");
                let mut keep = false;
                self.unwritten.retain(|_| {
                    keep = !keep;
                    keep
                });
            }
        }
        self.since += size;
    }

    /// Writes what is only in memory.
    pub(super) fn write(&mut self, path: &Path) -> io::Result<()> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::with_capacity(HEAD as usize + self.unwritten.len() * ENTRY);
        let position = match self.written {
            0 => {
                bytes.put_u32(MAGIC);
                bytes.put_u32(VERSION);
                0
            }
            written => place(written),
        };
        self.unwritten
            .iter()
            .for_each(|entry| self.encode(*entry, &mut bytes));
        let file = file::to_write(path)?;
        file::write_at(&file, position, &mut [IoSlice::new(&bytes)])?;
        self.written += u32::try_from(self.unwritten.len()).unwrap_or(0);
        self.unwritten = Vec::new();
        Ok(())
    }

    /// The last entry at or before `offset`. An error of kind `InvalidData`, `NotFound` or `UnexpectedEof` means that
    /// the file must be built again.
    pub(super) fn by_offset(&self, offset: i64, path: &Path) -> io::Result<Option<Entry>> {
        self.last(path, |entry| entry.offset <= offset)
    }

    /// The last entry before which all timestamps are smaller than `timestamp`.
    pub(super) fn by_time(&self, timestamp: i64, path: &Path) -> io::Result<Option<Entry>> {
        self.last(path, |entry| entry.time_before < timestamp)
    }

    /// The last entry for which `holds`, which is true of a first part of the entries and of none after it.
    fn last(&self, path: &Path, holds: impl Fn(&Entry) -> bool) -> io::Result<Option<Entry>> {
        let known = self.unwritten.partition_point(&holds);
        if let Some(entry) = known
            .checked_sub(1)
            .and_then(|last| self.unwritten.get(last))
        {
            return Ok(Some(*entry));
        }
        if self.written == 0 {
            return Ok(None);
        }
        let file = file::to_read(path)?;
        let mut head = [0; HEAD as usize];
        if !file::fill_at(&file, 0, &mut head)?
            || (&head[..]).get_u64() != u64::from(MAGIC) << 32 | u64::from(VERSION)
        {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let (mut low, mut high, mut found) = (0, self.written, None);
        while low < high {
            let middle = low + (high - low) / 2;
            let entry = self.read(&file, middle)?;
            if holds(&entry) {
                found = Some(entry);
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(found)
    }

    fn read(&self, file: &File, number: u32) -> io::Result<Entry> {
        let mut bytes = [0; ENTRY];
        if !file::fill_at(file, place(number), &mut bytes)? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (content, mut checksum) = bytes.split_at(ENTRY - 4);
        if checksum.get_u32() != crc32c::crc32c(content) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut content = content;
        Ok(Entry {
            offset: self.base + i64::from(content.get_u32()),
            position: u64::from(content.get_u32()),
            time_before: content.get_i64(),
        })
    }

    fn encode(&self, entry: Entry, bytes: &mut Vec<u8>) {
        let start = bytes.len();
        // Both fit: a segment is rolled before its offsets or its size outgrow 31 bits.
        bytes.put_u32(u32::try_from(entry.offset - self.base).unwrap_or(u32::MAX));
        bytes.put_u32(u32::try_from(entry.position).unwrap_or(u32::MAX));
        bytes.put_i64(entry.time_before);
        bytes.put_u32(crc32c::crc32c(bytes.get(start..).unwrap_or_default()));
    }
}

fn place(number: u32) -> u64 {
    HEAD + u64::from(number) * ENTRY as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: i64) -> Entry {
        Entry {
            offset: 1000 + 10 * number,
            position: 5000 * number as u64,
            time_before: 7 * number,
        }
    }

    /// Entries 1 to 299, of which 256 are in the file.
    fn filled(path: &Path) -> Index {
        let mut index = Index::new(1000, 0);
        for number in 0..300 {
            index.observe(entry(number), 5000, 4096, || path.to_path_buf());
        }
        index
    }

    #[test]
    fn every_offset_and_time_finds_the_entry_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index");
        let mut index = filled(&path);
        assert_eq!((index.written, index.unwritten.len()), (256, 43));
        for _ in 0..2 {
            for number in 1..300 {
                let offset = entry(number).offset;
                assert_eq!(index.by_offset(offset, &path).unwrap(), Some(entry(number)));
                assert_eq!(
                    index.by_offset(offset + 9, &path).unwrap(),
                    Some(entry(number))
                );
                assert_eq!(
                    index.by_time(7 * number + 1, &path).unwrap(),
                    Some(entry(number))
                );
            }
            assert_eq!(index.by_offset(1009, &path).unwrap(), None);
            assert_eq!(index.by_time(7, &path).unwrap(), None);
            index.write(&path).unwrap();
        }
        assert_eq!((index.written, index.unwritten.len()), (299, 0));
    }

    #[test]
    fn a_missing_short_or_damaged_file_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index");
        let index = filled(&path);
        let bytes = std::fs::read(&path).unwrap();
        let look = || index.by_offset(1011, &path).map_err(|error| error.kind());
        assert_eq!(look(), Ok(Some(entry(1))));
        for position in [0, 5, 8, 27] {
            let mut damaged = bytes.clone();
            damaged[position] ^= 1;
            std::fs::write(&path, damaged).unwrap();
            assert_eq!(look(), Err(io::ErrorKind::InvalidData));
        }
        std::fs::write(&path, &bytes[..20]).unwrap();
        assert_eq!(look(), Err(io::ErrorKind::UnexpectedEof));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(look(), Err(io::ErrorKind::NotFound));
    }
}
