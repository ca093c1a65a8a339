//! The transactions that were aborted in one segment: what readers of committed records must skip.
//!
//! ```text
//! 0  "MSAB"   4  version (1), u32
//! 8  entries of 36 bytes: producer id i64, first offset i64, offset of the marker i64, last stable offset then i64, crc32c u32
//! ```
//!
//! An entry lies with the segment that holds the marker, `<base offset>.aborted`, and is written when the marker is. A segment without
//! one has no such file. The file holds nothing that the log does not tell: when it is missing, short or damaged, the partition
//! finds the entries again.

use std::fs::{self, File};
use std::io::{self, IoSlice};
use std::path::Path;

use bytes::{Buf as _, BufMut as _};

use super::file;

const MAGIC: u32 = 0x4d53_4142;
const VERSION: u32 = 1;
const HEAD: u64 = 8;
const ENTRY: usize = 36;
/// Entries that are read at a time.
const AT_ONCE: u32 = 128;

/// A transaction that was aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Aborted {
    pub(crate) producer_id: i64,
    /// Offset of its first record.
    pub(crate) first: i64,
    /// Offset of its marker.
    pub(crate) last: i64,
    /// The last stable offset after the marker: whatever ends later began there or later.
    pub(crate) last_stable: i64,
}

/// The entries of one segment.
#[derive(Debug, Default)]
pub(super) struct AbortedIndex {
    written: u32,
    /// What the disk had no room for yet.
    unwritten: Vec<Aborted>,
    /// Whether the entries have to be found in the log.
    unknown: bool,
}

impl AbortedIndex {
    /// Entries of which `written` are in the file.
    pub(super) fn new(written: u32) -> AbortedIndex {
        AbortedIndex {
            written,
            ..AbortedIndex::default()
        }
    }

    /// Entries that have to be found in the log, should anyone ask.
    pub(super) fn unknown() -> AbortedIndex {
        AbortedIndex {
            unknown: true,
            ..AbortedIndex::default()
        }
    }

    /// Gives up what is known: it has to be found in the log.
    pub(super) fn forget(&mut self) {
        *self = AbortedIndex::unknown();
    }

    /// Whether the entries have to be found in the log.
    pub(super) fn is_unknown(&self) -> bool {
        self.unknown
    }

    /// How many entries are in the file; `None` when it does not have all of them.
    pub(super) fn written(&self) -> Option<u32> {
        (!self.unknown && self.unwritten.is_empty()).then_some(self.written)
    }

    /// Whether nobody was aborted here for certain.
    pub(super) fn is_empty(&self) -> bool {
        !self.unknown && self.written == 0 && self.unwritten.is_empty()
    }

    /// Adds the entry of a marker behind all others.
    pub(super) fn push(&mut self, one: Aborted, path: &Path) {
        if self.unknown {
            return;
        }
        self.unwritten.push(one);
        if let Err(error) = self.write(path) {
            tracing::debug!(path = %path.display(), %error, "aborted range is kept in memory for now");
        }
    }

    /// Takes what was found in the log in place of what was there.
    pub(super) fn rebuild(&mut self, all: Vec<Aborted>, path: &Path) {
        fs::remove_file(path).ok();
        *self = AbortedIndex {
            unwritten: all,
            ..AbortedIndex::default()
        };
        if let Err(error) = self.write(path) {
            tracing::debug!(path = %path.display(), %error, "aborted ranges are kept in memory for now");
        }
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
        for one in &self.unwritten {
            encode(one, &mut bytes);
        }
        let file = file::to_write(path)?;
        file::write_at(&file, position, &mut [IoSlice::new(&bytes)])?;
        self.written += u32::try_from(self.unwritten.len()).unwrap_or(0);
        self.unwritten = Vec::new();
        Ok(())
    }

    /// The entries whose marker is at `from` or later, in the order of their markers, up to the first one after which nobody who began
    /// below `to` was left; `None` when they must be found in the log.
    pub(super) fn ending_since(
        &self,
        from: i64,
        to: i64,
        path: &Path,
    ) -> io::Result<Option<Vec<Aborted>>> {
        if self.unknown {
            return Ok(None);
        }
        let mut found = match self.read_since(from, to, path) {
            Ok(found) => found,
            Err(error) if is_rebuilt_after(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        if found.last().is_none_or(|last| last.last_stable < to) {
            found.extend(self.unwritten.iter().filter(|one| one.last >= from));
        }
        Ok(Some(found))
    }

    fn read_since(&self, from: i64, to: i64, path: &Path) -> io::Result<Vec<Aborted>> {
        if self.written == 0 {
            return Ok(Vec::new());
        }
        let file = file::to_read(path)?;
        let mut head = [0; HEAD as usize];
        if !file::fill_at(&file, 0, &mut head)?
            || (&head[..]).get_u64() != u64::from(MAGIC) << 32 | u64::from(VERSION)
        {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let (mut low, mut high) = (0, self.written);
        while low < high {
            let middle = low + (high - low) / 2;
            let [one] = read(&file, middle, 1)?[..] else {
                return Err(io::ErrorKind::UnexpectedEof.into());
            };
            if one.last < from {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let mut found: Vec<Aborted> = Vec::new();
        while low < self.written && found.last().is_none_or(|last| last.last_stable < to) {
            let count = AT_ONCE.min(self.written - low);
            found.extend(read(&file, low, count)?);
            low += count;
        }
        Ok(found)
    }
}

fn read(file: &File, first: u32, count: u32) -> io::Result<Vec<Aborted>> {
    let length = count as usize * ENTRY;
    let bytes = file::read_at(file, place(first), length)?;
    if bytes.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    bytes.chunks_exact(ENTRY).map(decode).collect()
}

fn place(number: u32) -> u64 {
    HEAD + u64::from(number) * ENTRY as u64
}

fn encode(one: &Aborted, bytes: &mut Vec<u8>) {
    let start = bytes.len();
    bytes.put_i64(one.producer_id);
    bytes.put_i64(one.first);
    bytes.put_i64(one.last);
    bytes.put_i64(one.last_stable);
    bytes.put_u32(crc32c::crc32c(bytes.get(start..).unwrap_or_default()));
}

fn decode(entry: &[u8]) -> io::Result<Aborted> {
    let (mut content, mut checksum) = entry.split_at(ENTRY - 4);
    if checksum.get_u32() != crc32c::crc32c(content) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(Aborted {
        producer_id: content.get_i64(),
        first: content.get_i64(),
        last: content.get_i64(),
        last_stable: content.get_i64(),
    })
}

fn is_rebuilt_after(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aborted(number: i64) -> Aborted {
        Aborted {
            producer_id: number % 3,
            first: 10 * number,
            last: 10 * number + 5,
            last_stable: 10 * number + 6,
        }
    }

    #[test]
    fn every_marker_finds_itself_and_what_follows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.aborted");
        let mut index = AbortedIndex::default();
        assert!(index.is_empty());
        for number in 0..50 {
            index.push(aborted(number), &path);
        }
        for number in 0..50 {
            let rest: Vec<_> = (number..50).map(aborted).collect();
            let last = aborted(number).last;
            assert_eq!(
                index.ending_since(last, i64::MAX, &path).unwrap(),
                Some(rest.clone())
            );
            assert_eq!(
                index.ending_since(last - 9, i64::MAX, &path).unwrap(),
                Some(rest)
            );
        }
        assert_eq!(
            index.ending_since(496, i64::MAX, &path).unwrap(),
            Some(Vec::new())
        );
        let again = AbortedIndex::new(index.written().unwrap());
        assert_eq!(
            again.ending_since(0, i64::MAX, &path).unwrap(),
            index.ending_since(0, i64::MAX, &path).unwrap()
        );
    }

    #[test]
    fn what_began_later_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.aborted");
        let mut index = AbortedIndex::default();
        for number in 0..1000 {
            index.push(aborted(number), &path);
        }
        let found = index.ending_since(0, 15, &path).unwrap().unwrap();
        assert_eq!(found[..2], [aborted(0), aborted(1)]);
        assert!(found.len() <= AT_ONCE as usize);
    }

    #[test]
    fn a_missing_short_or_damaged_file_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.aborted");
        let mut index = AbortedIndex::default();
        index.push(aborted(0), &path);
        index.push(aborted(1), &path);
        let bytes = fs::read(&path).unwrap();
        for position in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[position] ^= 1;
            fs::write(&path, damaged).unwrap();
            assert_eq!(
                index.ending_since(0, i64::MAX, &path).unwrap(),
                None,
                "{position}"
            );
        }
        fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert_eq!(index.ending_since(0, i64::MAX, &path).unwrap(), None);
        fs::remove_file(&path).unwrap();
        assert_eq!(index.ending_since(0, i64::MAX, &path).unwrap(), None);
        index.rebuild(vec![aborted(0), aborted(1)], &path);
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
}
