//! What a partition knows of its producers, on the disk: `<partition>/producers`.
//!
//! ```text
//! 0   "MSPR"   4  version (1), u32
//! 8   offset i64: all batches before it are in here   16  number of producers u32
//! 20  each producer: id i64, epoch i16, epoch of the coordinator i32, last seen i64 (milliseconds), first offset of its open
//!     transaction i64 (-1: none), number of batches u8, and each batch: first sequence i32, last sequence i32, first offset i64,
//!     last offset i64, largest timestamp i64
//! end crc32c of all before it, u32
//! ```
//!
//! The file holds nothing that the log did not tell, but for batches that retention or compaction has removed since: when it is missing
//! or damaged, the log is gone through for what it still has.

use std::path::Path;

use bytes::{Buf as _, BufMut as _};

use super::{Producer, Producers, Written};
use crate::descriptors::with_descriptor;
use crate::error::Error;
use crate::snapshot::{self, Durability};

const MAGIC: u32 = 0x4d53_5052;
const VERSION: u32 = 1;
const PRODUCER: usize = 31;
const BATCH: usize = 32;

impl Producers {
    /// Replaces the file: what is known of all batches before `offset`.
    pub(crate) fn write(
        &self,
        path: &Path,
        offset: i64,
        durability: Durability,
    ) -> Result<(), Error> {
        snapshot::replace(path, &self.encode(offset), durability)
    }

    fn encode(&self, offset: i64) -> Vec<u8> {
        let mut all: Vec<_> = self.by_id.values().collect();
        all.sort_by_key(|one| one.id);
        let mut bytes = Vec::with_capacity(24 + all.len() * (PRODUCER + BATCH));
        bytes.put_u32(MAGIC);
        bytes.put_u32(VERSION);
        bytes.put_i64(offset);
        bytes.put_u32(u32::try_from(all.len()).unwrap_or(u32::MAX));
        for one in all {
            bytes.put_i64(one.id);
            bytes.put_i16(one.epoch);
            bytes.put_i32(one.coordinator_epoch);
            bytes.put_i64(one.seen_ms);
            bytes.put_i64(one.open_since.unwrap_or(-1));
            bytes.put_u8(u8::try_from(one.batches.len()).unwrap_or(u8::MAX));
            for written in &one.batches {
                bytes.put_i32(written.first);
                bytes.put_i32(written.last);
                bytes.put_i64(written.base_offset);
                bytes.put_i64(written.last_offset);
                bytes.put_i64(written.timestamp);
            }
        }
        bytes.put_u32(crc32c::crc32c(&bytes));
        bytes
    }
}

/// The offset before which the file knows all batches, and what it knows; `None` when it is missing or damaged.
pub(crate) fn read(path: &Path) -> Result<Option<(i64, Producers)>, Error> {
    let bytes = match with_descriptor(|| std::fs::read(path)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::file("read", path)(error)),
    };
    match decode(&bytes) {
        Ok(known) => Ok(Some(known)),
        Err(Broken::Newer(found)) => Err(Error::FormatVersion {
            path: path.to_path_buf(),
            found,
            newest: VERSION,
        }),
        Err(Broken::Damaged(reason)) => {
            tracing::warn!(path = %path.display(), reason, "state of producers is damaged, found again in the log");
            Ok(None)
        }
    }
}

/// Why the bytes are no state.
#[derive(Debug, PartialEq, Eq)]
enum Broken {
    Damaged(&'static str),
    Newer(u32),
}

fn decode(bytes: &[u8]) -> Result<(i64, Producers), Broken> {
    let short = Broken::Damaged("it is too short");
    let Some((mut content, mut checksum)) = bytes.split_last_chunk::<4>().map(|(a, b)| (a, &b[..]))
    else {
        return Err(short);
    };
    if content.len() < 20 {
        return Err(short);
    }
    if crc32c::crc32c(content) != checksum.get_u32() {
        return Err(Broken::Damaged("the checksum does not match"));
    }
    if content.get_u32() != MAGIC {
        return Err(Broken::Damaged("it does not begin with `MSPR`"));
    }
    match content.get_u32() {
        VERSION => {}
        found => return Err(Broken::Newer(found)),
    }
    let (offset, count) = (content.get_i64(), content.get_u32());
    let mut producers = Producers::new(usize::MAX);
    producers.until = offset;
    for _ in 0..count {
        let one = producer(&mut content).ok_or(Broken::Damaged("a producer is cut off"))?;
        if let Some(first) = one.open_since {
            producers.open.insert((first, one.id));
        }
        producers.by_id.insert(one.id, one);
    }
    Ok((offset, producers))
}

fn producer(content: &mut &[u8]) -> Option<Producer> {
    if content.len() < PRODUCER {
        return None;
    }
    let mut one = Producer::new(content.get_i64(), content.get_i16());
    one.coordinator_epoch = content.get_i32();
    one.seen_ms = content.get_i64();
    one.open_since = Some(content.get_i64()).filter(|first| *first >= 0);
    for _ in 0..content.get_u8() {
        if content.len() < BATCH {
            return None;
        }
        one.batches.push_back(Written {
            first: content.get_i32(),
            last: content.get_i32(),
            base_offset: content.get_i64(),
            last_offset: content.get_i64(),
            timestamp: content.get_i64(),
        });
    }
    Some(one)
}

#[cfg(test)]
mod tests;
