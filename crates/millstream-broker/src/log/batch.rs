//! The header of a record batch, message format 2, and what is checked of it before it is stored.
//!
//! ```text
//! 0  base offset        i64  patched       23 last offset delta  i32      51 producer epoch  i16
//! 8  length after here  i32                27 base timestamp     i64      53 base sequence   i32
//! 12 leader epoch       i32  patched       35 max timestamp      i64      57 records         i32
//! 16 magic (2)          i8                 43 producer id        i64      61 the records, maybe compressed
//! 17 crc32c of what follows                attributes at 21, i16: 0-2 compression, 3 timestamp type,
//! 21 attributes         i16                4 transactional, 5 control, 6 delete horizon
//! ```
//!
//! Apache Kafka's protocol guide, "Record Batch". Records are not opened here: an append costs one pass of the
//! checksum and nothing that grows with the number of records.

use bytes::{Buf as _, BufMut as _};

use super::{AppendError, LogConfig, TimestampType, records};
use crate::producers::Sequenced;

/// Bytes before the records.
pub(crate) const HEADER_SIZE: usize = 61;

/// Bytes before those that the length field counts.
pub(crate) const PREFIX_SIZE: usize = 12;

/// Where the bytes begin that the checksum covers.
pub(crate) const CHECKSUM_FROM: usize = 21;
const LEADER_EPOCH: i32 = 0;
const COMPRESSION: i16 = 0x07;
const LOG_APPEND_TIME: i16 = 0x08;
pub(super) const TRANSACTIONAL: i16 = 0x10;
pub(super) const CONTROL: i16 = 0x20;
const DELETE_HORIZON: i16 = 0x40;
const NEWEST_COMPRESSION: i16 = 4;

/// A record without key, value and headers: seven fields of one byte.
const SMALLEST_RECORD: i64 = 7;

/// A batch's header as it stands in its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) base_offset: i64,
    pub(crate) length: i32,
    pub(crate) leader_epoch: i32,
    pub(crate) magic: i8,
    pub(crate) crc: u32,
    pub(crate) attributes: i16,
    pub(crate) last_offset_delta: i32,
    pub(crate) base_timestamp: i64,
    pub(crate) max_timestamp: i64,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) base_sequence: i32,
    pub(crate) count: i32,
}

impl Header {
    /// Reads the fields; `None` when there are fewer bytes than a header has.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Header> {
        let mut bytes = bytes.get(..HEADER_SIZE)?;
        Some(Header {
            base_offset: bytes.get_i64(),
            length: bytes.get_i32(),
            leader_epoch: bytes.get_i32(),
            magic: bytes.get_i8(),
            crc: bytes.get_u32(),
            attributes: bytes.get_i16(),
            last_offset_delta: bytes.get_i32(),
            base_timestamp: bytes.get_i64(),
            max_timestamp: bytes.get_i64(),
            producer_id: bytes.get_i64(),
            producer_epoch: bytes.get_i16(),
            base_sequence: bytes.get_i32(),
            count: bytes.get_i32(),
        })
    }

    pub(super) fn write(&self) -> [u8; HEADER_SIZE] {
        let mut bytes = [0; HEADER_SIZE];
        let mut out = bytes.as_mut_slice();
        out.put_i64(self.base_offset);
        out.put_i32(self.length);
        out.put_i32(self.leader_epoch);
        out.put_i8(self.magic);
        out.put_u32(self.crc);
        out.put_i16(self.attributes);
        out.put_i32(self.last_offset_delta);
        out.put_i64(self.base_timestamp);
        out.put_i64(self.max_timestamp);
        out.put_i64(self.producer_id);
        out.put_i16(self.producer_epoch);
        out.put_i32(self.base_sequence);
        out.put_i32(self.count);
        bytes
    }

    /// Bytes of the whole batch; `None` when the length field cannot be true.
    pub(crate) fn size(&self) -> Option<usize> {
        let size = usize::try_from(self.length)
            .ok()?
            .checked_add(PREFIX_SIZE)?;
        (size >= HEADER_SIZE).then_some(size)
    }

    pub(crate) fn last_offset(&self) -> i64 {
        self.base_offset
            .saturating_add(i64::from(self.last_offset_delta))
    }

    /// The codec's number: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.
    pub(crate) fn compression(&self) -> i16 {
        self.attributes & COMPRESSION
    }

    /// Whether all records carry the broker's time, which is then `max_timestamp`.
    pub(crate) fn is_log_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME != 0
    }

    /// Whether the records belong to a transaction.
    pub(crate) fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Whether this is no client's batch but a marker of the broker's.
    pub(crate) fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// From when on compaction removes the tombstones, or the marker, of the batch; it stands in place of the first timestamp.
    pub(super) fn delete_horizon(&self) -> Option<i64> {
        (self.attributes & DELETE_HORIZON != 0).then_some(self.base_timestamp)
    }

    /// The header with this delete horizon.
    pub(super) fn with_horizon(mut self, horizon_ms: i64) -> Header {
        self.attributes |= DELETE_HORIZON;
        self.base_timestamp = horizon_ms;
        self
    }

    /// The idempotent producer's part, when there is one.
    pub(crate) fn sequenced(&self) -> Option<Sequenced> {
        (self.producer_id >= 0 && !self.is_control()).then_some(Sequenced {
            producer_id: self.producer_id,
            epoch: self.producer_epoch,
            transactional: self.is_transactional(),
            first: self.base_sequence,
            last_offset_delta: self.last_offset_delta,
        })
    }

    /// The header as it is stored at `base_offset`; `batch` are the bytes it came with.
    pub(crate) fn stamped(
        &self,
        base_offset: i64,
        append_time: Option<i64>,
        batch: &[u8],
    ) -> (Header, [u8; HEADER_SIZE]) {
        let mut header = Header {
            base_offset,
            leader_epoch: LEADER_EPOCH,
            ..*self
        };
        if let Some(now) = append_time {
            header.attributes |= LOG_APPEND_TIME;
            header.max_timestamp = now;
            header = header.sealed(batch.get(HEADER_SIZE..).unwrap_or_default());
        }
        (header, header.write())
    }

    /// The header with the checksum that it has before the records in `body`.
    pub(super) fn sealed(self, body: &[u8]) -> Header {
        let fixed = self.write();
        let checksum = crc32c::crc32c(fixed.get(CHECKSUM_FROM..).unwrap_or_default());
        Header {
            crc: crc32c::crc32c_append(checksum, body),
            ..self
        }
    }
}

/// Whether the checksum in the header is that of the batch's bytes.
pub(crate) fn checksum_holds(header: &Header, batch: &[u8]) -> bool {
    batch
        .get(CHECKSUM_FROM..)
        .is_some_and(|covered| crc32c::crc32c(covered) == header.crc)
}

/// Checks what a producer sent: exactly one whole batch that may be stored.
pub(crate) fn validate(
    bytes: &[u8],
    config: &LogConfig,
    now_ms: i64,
) -> Result<Header, AppendError> {
    let corrupt = |what: &str| AppendError::Corrupt(what.to_owned());
    // Offset, length and magic lie at the same place in all formats, old ones may be shorter than our header.
    match bytes.get(16).map(|magic| magic.cast_signed()) {
        Some(2) => {}
        Some(magic @ (0 | 1)) => return Err(AppendError::UnsupportedFormat(magic)),
        Some(_) => return Err(corrupt("unknown magic byte")),
        None => return Err(corrupt("shorter than a header")),
    }
    let header = Header::parse(bytes).ok_or_else(|| corrupt("shorter than a header"))?;
    match header.size() {
        Some(size) if size == bytes.len() => {}
        Some(size) if size < bytes.len() => {
            return Err(AppendError::InvalidRecord(
                "a partition takes exactly one record batch a request",
            ));
        }
        _ => return Err(corrupt("its length is not that of its bytes")),
    }
    if bytes.len() > config.max_message_bytes as usize {
        return Err(AppendError::TooLarge {
            size: bytes.len(),
            limit: config.max_message_bytes,
        });
    }
    if bytes.len() > config.segment_bytes as usize {
        return Err(AppendError::TooLargeForSegment {
            size: bytes.len(),
            limit: config.segment_bytes,
        });
    }
    if !checksum_holds(&header, bytes) {
        return Err(corrupt("its checksum does not match"));
    }
    validate_fields(&header, config, now_ms)?;
    if config.compact {
        validate_keys(&header, bytes)?;
    }
    Ok(header)
}

/// Without a key, nobody could say what a record replaces; with offsets of its own, which record is the newest.
fn validate_keys(header: &Header, batch: &[u8]) -> Result<(), AppendError> {
    let corrupt = |error: std::io::Error| AppendError::Corrupt(error.to_string());
    let bytes = records::inside(header, batch).map_err(corrupt)?;
    for (place, record) in (0..).zip(records::each(&bytes, header.count)) {
        let record = record.map_err(corrupt)?;
        if record.key.is_none() {
            return Err(AppendError::InvalidRecord(
                "a compacted topic takes no record without a key",
            ));
        }
        if record.offset_delta != place {
            return Err(AppendError::InvalidRecord(
                "the offsets of its records do not count up by one",
            ));
        }
    }
    Ok(())
}

fn validate_fields(header: &Header, config: &LogConfig, now_ms: i64) -> Result<(), AppendError> {
    if header.count <= 0 {
        return Err(AppendError::InvalidRecord("it has no records"));
    }
    if header.last_offset_delta != header.count - 1 {
        return Err(AppendError::InvalidRecord(
            "its offsets do not fit the number of its records",
        ));
    }
    let body = i64::from(header.length) - (HEADER_SIZE - PREFIX_SIZE) as i64;
    if header.compression() == 0 && i64::from(header.count) * SMALLEST_RECORD > body {
        return Err(AppendError::InvalidRecord(
            "it has fewer bytes than so many records take",
        ));
    }
    if header.is_control() {
        return Err(AppendError::InvalidRecord(
            "clients may not write control records",
        ));
    }
    if header.attributes & DELETE_HORIZON != 0 {
        return Err(AppendError::InvalidRecord(
            "only the broker sets a delete horizon",
        ));
    }
    if header.is_transactional() && header.producer_id < 0 {
        return Err(AppendError::InvalidRecord(
            "records of a transaction need a producer id",
        ));
    }
    if header.compression() > NEWEST_COMPRESSION {
        return Err(AppendError::UnsupportedCompression(header.compression()));
    }
    if header.producer_id >= 0 && (header.base_sequence < 0 || header.producer_epoch < 0) {
        return Err(AppendError::InvalidRecord(
            "a producer id needs an epoch and a sequence",
        ));
    }
    if config.timestamp_type == TimestampType::Create {
        if header.is_log_append_time() {
            return Err(AppendError::TimestampType);
        }
        // -1 is "no timestamp". The newest record is held to the limit ahead, the first to the one behind: the
        // header tells no more of them.
        let ahead = header.max_timestamp.saturating_sub(now_ms);
        let behind = now_ms.saturating_sub(header.base_timestamp);
        if header.max_timestamp >= 0 && ahead > config.timestamp_after_max_ms {
            return Err(AppendError::InvalidTimestamp {
                timestamp: header.max_timestamp,
                now: now_ms,
            });
        }
        if header.base_timestamp >= 0 && behind > config.timestamp_before_max_ms {
            return Err(AppendError::InvalidTimestamp {
                timestamp: header.base_timestamp,
                now: now_ms,
            });
        }
    }
    Ok(())
}
