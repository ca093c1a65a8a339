//! The header of a record batch, message format 2.
//!
//! ```text
//! 0  base offset        i64         23 last offset delta  i32      51 producer epoch  i16
//! 8  length after here  i32         27 base timestamp     i64      53 base sequence   i32
//! 12 leader epoch       i32         35 max timestamp      i64      57 records         i32
//! 16 magic (2)          i8          43 producer id        i64      61 the records, maybe compressed
//! 17 crc32c of what follows         attributes at 21, i16: 0-2 compression, 3 log append time,
//! 21 attributes         i16         4 transactional, 5 control, 6 delete horizon
//! ```
//!
//! Source: Apache Kafka's protocol guide, "Record Batch".

use super::Malformed;
use super::compression::Compression;
use super::cursor::Cursor;

/// Bytes before the records.
pub const HEADER_BYTES: usize = 61;
/// Bytes before those that the length field counts.
pub(crate) const PREFIX_BYTES: usize = 12;
/// Where the bytes begin that the checksum covers.
pub(crate) const CHECKED_FROM: usize = 21;

const MAGIC: i8 = 2;
const CODEC: i16 = 0x07;
const LOG_APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;

/// Who wrote a batch, and its place among all that it wrote to this partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Producer {
    /// The broker's number for it; -1 without idempotence.
    pub id: i64,
    /// Fences earlier holders of the id.
    pub epoch: i16,
    /// Sequence of the first record; each record counts one.
    pub sequence: i32,
}

impl Producer {
    /// A producer without idempotence.
    pub const NONE: Producer = Producer {
        id: -1,
        epoch: -1,
        sequence: -1,
    };
}

/// The fields of a batch's header that somebody reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Offset of the first record, before compaction.
    pub base_offset: i64,
    /// Epoch of the leader that wrote it; -1 if it is not known.
    pub leader_epoch: i32,
    /// Compression, kind of time, transactional, control.
    pub attributes: i16,
    /// Distance from the first to the last offset. Compaction keeps it.
    pub last_offset_delta: i32,
    /// Milliseconds since 1970 from which records count theirs.
    pub base_timestamp: i64,
    /// The newest timestamp; that of all records if the broker set it.
    pub max_timestamp: i64,
    /// Who wrote it.
    pub producer: Producer,
    /// How many records are there.
    pub count: i32,
}

impl Header {
    /// The offset after the last one of this batch.
    pub fn next_offset(&self) -> i64 {
        self.base_offset
            .saturating_add(i64::from(self.last_offset_delta))
            .saturating_add(1)
    }

    /// How the records are compressed.
    pub fn compression(&self) -> Result<Compression, Malformed> {
        Compression::of_number(self.attributes & CODEC)
    }

    /// Whether the broker gave all records their time.
    pub fn is_log_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME != 0
    }

    /// Whether it belongs to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Whether it holds a marker, and no records of an application.
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// Writes the header of `batch` in front of its records, and the checksum over all.
    pub(crate) fn seal(&self, batch: &mut [u8]) {
        let length = i32::try_from(batch.len().saturating_sub(PREFIX_BYTES)).unwrap_or(i32::MAX);
        let mut checked = [0; HEADER_BYTES - CHECKED_FROM];
        let mut out = Fields::new(&mut checked);
        out.put(self.attributes.to_be_bytes());
        out.put(self.last_offset_delta.to_be_bytes());
        out.put(self.base_timestamp.to_be_bytes());
        out.put(self.max_timestamp.to_be_bytes());
        out.put(self.producer.id.to_be_bytes());
        out.put(self.producer.epoch.to_be_bytes());
        out.put(self.producer.sequence.to_be_bytes());
        out.put(self.count.to_be_bytes());
        let checksum = crc32c::crc32c_append(
            crc32c::crc32c(&checked),
            batch.get(HEADER_BYTES..).unwrap_or_default(),
        );
        let mut out = Fields::new(batch);
        out.put(self.base_offset.to_be_bytes());
        out.put(length.to_be_bytes());
        out.put(self.leader_epoch.to_be_bytes());
        out.put(MAGIC.to_be_bytes());
        out.put(checksum.to_be_bytes());
        out.put(checked);
    }

    pub(crate) fn attributes(compression: Compression, transactional: bool) -> i16 {
        let transactional = if transactional { TRANSACTIONAL } else { 0 };
        compression.number() | transactional
    }
}

/// Fields of known size, written one after the other.
struct Fields<'a> {
    rest: &'a mut [u8],
}

impl<'a> Fields<'a> {
    fn new(rest: &'a mut [u8]) -> Self {
        Self { rest }
    }

    fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        if let Some((place, rest)) = std::mem::take(&mut self.rest).split_first_chunk_mut::<N>() {
            *place = bytes;
            self.rest = rest;
        }
    }
}

/// One batch in a frame: header read, checksum compared, records not opened yet.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Its header.
    pub header: Header,
    /// Its records as they came, maybe compressed.
    pub body: &'a [u8],
}

impl<'a> Batch<'a> {
    /// Takes the next batch from the front of `bytes`. `None` at the end, and where a broker cut the last batch off.
    pub fn split(bytes: &mut &'a [u8]) -> Result<Option<Batch<'a>>, Malformed> {
        let mut cursor = Cursor::new(bytes);
        if cursor.left() < PREFIX_BYTES {
            return Ok(None);
        }
        let base_offset = cursor.i64()?;
        let length = cursor.i32()?;
        let size = usize::try_from(length).unwrap_or(0);
        if size < HEADER_BYTES - PREFIX_BYTES {
            return Err(Malformed::Length {
                length: i64::from(length),
                available: cursor.left(),
            });
        }
        if cursor.left() < size {
            return Ok(None);
        }
        let rest = cursor.rest();
        let mut batch = Cursor::new(cursor.take(size)?);
        let leader_epoch = batch.i32()?;
        let magic = batch.i8()?;
        if magic != MAGIC {
            return Err(Malformed::Magic { magic });
        }
        let stored = batch.u32()?;
        let computed = crc32c::crc32c(batch.rest());
        if stored != computed {
            return Err(Malformed::Checksum { stored, computed });
        }
        let header = Header {
            base_offset,
            leader_epoch,
            attributes: batch.i16()?,
            last_offset_delta: batch.i32()?,
            base_timestamp: batch.i64()?,
            max_timestamp: batch.i64()?,
            producer: Producer {
                id: batch.i64()?,
                epoch: batch.i16()?,
                sequence: batch.i32()?,
            },
            count: batch.i32()?,
        };
        if header.count < 0 || header.last_offset_delta < 0 || base_offset < 0 {
            return Err(Malformed::Count {
                count: header.count,
            });
        }
        *bytes = rest.get(size..).unwrap_or_default();
        Ok(Some(Batch {
            header,
            body: batch.rest(),
        }))
    }
}
