//! Goes through a segment batch by batch with every checksum verified: what recovery trusts.
//!
//! Memory is bounded by one chunk whatever lengths the bytes claim; the checksum of a large batch is taken chunk by
//! chunk. `batch_after` tells a torn end (nothing that is a batch follows) from damage in the middle (something does).

use std::fs::File;
use std::io;

use super::batch::{CHECKSUM_FROM, HEADER_SIZE, Header};
use super::file;

const CHUNK: usize = 1 << 20;

/// What stands at a place of the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A whole batch with a valid checksum.
    Batch(Header, u64),
    /// The end of the file.
    End,
    /// Bytes that are no batch, and why.
    Broken(&'static str),
}

/// A position in a segment of `size` bytes.
#[derive(Debug)]
pub(super) struct Scan<'a> {
    file: &'a File,
    size: u64,
    position: u64,
    chunk: Vec<u8>,
    chunk_at: u64,
}

impl<'a> Scan<'a> {
    pub(super) fn new(file: &'a File, size: u64, position: u64) -> Scan<'a> {
        Scan {
            file,
            size,
            position,
            chunk: Vec::new(),
            chunk_at: position,
        }
    }

    /// Where the next batch is expected.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The batch at the position, which is then behind it. Its offsets must not be below `expected`.
    pub(super) fn next(&mut self, expected: i64) -> io::Result<Found> {
        let found = self.at(self.position, expected)?;
        if let Found::Batch(_, size) = found {
            self.position += size;
        }
        Ok(found)
    }

    /// Where the first valid batch at or above `expected` begins after the position.
    pub(super) fn batch_after(&mut self, expected: i64) -> io::Result<Option<u64>> {
        for position in self.position + 1..self.size.saturating_sub(HEADER_SIZE as u64) {
            // Most places are ruled out by their magic byte.
            if self.bytes(position + 16, 1)? == [2]
                && matches!(self.at(position, expected)?, Found::Batch(..))
            {
                return Ok(Some(position));
            }
        }
        Ok(None)
    }

    fn at(&mut self, position: u64, expected: i64) -> io::Result<Found> {
        let left = self.size - position;
        if left == 0 {
            return Ok(Found::End);
        }
        let Some(header) = Header::parse(self.bytes(position, HEADER_SIZE)?) else {
            return Ok(Found::Broken("the file ends inside a header"));
        };
        let size = match header.size() {
            Some(size) if header.magic == 2 => size as u64,
            Some(_) => return Ok(Found::Broken("the magic byte is not 2")),
            None => return Ok(Found::Broken("the length is impossible")),
        };
        if size > left {
            return Ok(Found::Broken("the batch is longer than the file"));
        }
        if header.base_offset < expected || header.last_offset_delta < 0 {
            return Ok(Found::Broken("the offsets do not follow those before"));
        }
        if self.checksum(position + CHECKSUM_FROM as u64, position + size)? != Some(header.crc) {
            return Ok(Found::Broken("the checksum does not match"));
        }
        Ok(Found::Batch(header, size))
    }

    fn checksum(&mut self, mut from: u64, to: u64) -> io::Result<Option<u32>> {
        let mut checksum = 0;
        while from < to {
            let length = usize::try_from(to - from).unwrap_or(CHUNK).min(CHUNK);
            let bytes = self.bytes(from, length)?;
            if bytes.len() < length {
                return Ok(None);
            }
            checksum = crc32c::crc32c_append(checksum, bytes);
            from += length as u64;
        }
        Ok(Some(checksum))
    }

    /// The bytes from `position` on, at most a chunk of them; fewer than `length` at the end of the file.
    fn bytes(&mut self, position: u64, length: usize) -> io::Result<&[u8]> {
        let inside = position >= self.chunk_at
            && position + length as u64 <= self.chunk_at + self.chunk.len() as u64;
        if !inside {
            let left = usize::try_from(self.size.saturating_sub(position)).unwrap_or(CHUNK);
            self.chunk = file::read_at(self.file, position, left.min(CHUNK))?;
            self.chunk_at = position;
        }
        let start = usize::try_from(position - self.chunk_at).unwrap_or(usize::MAX);
        let rest = self.chunk.get(start..).unwrap_or_default();
        Ok(rest.get(..length).unwrap_or(rest))
    }
}
