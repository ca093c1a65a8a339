//! A record batch that is built in place: each record is encoded straight into the bytes that are sent.
//!
//! The header's place is kept free and filled when the batch is sealed, because sequence and producer are known only then. A sealed
//! batch can be stamped again with another producer epoch and sequence (KIP-360): its records stay as they are.

use bytes::Bytes;

use super::batch::{HEADER_BYTES, Header, Producer};
use super::compression::Compression;
use super::{Malformed, varint};
use crate::Error;

/// The largest offset delta and sequence step of one batch.
const MOST_RECORDS: i32 = i32::MAX / 2;

/// A header of a record: its name and its value.
pub type HeaderPair<'a> = (&'a str, Option<&'a [u8]>);

/// A batch that still takes records.
#[derive(Debug)]
pub struct Builder {
    bytes: Vec<u8>,
    count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl Default for Builder {
    fn default() -> Self {
        Self::with_capacity(0)
    }
}

impl Builder {
    /// An empty batch with memory for so many bytes of records.
    pub fn with_capacity(bytes: usize) -> Self {
        let mut start = Vec::with_capacity(HEADER_BYTES + bytes);
        start.resize(HEADER_BYTES, 0);
        Self {
            bytes: start,
            count: 0,
            base_timestamp: 0,
            max_timestamp: i64::MIN,
        }
    }

    /// How many records it holds.
    pub fn count(&self) -> i32 {
        self.count
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Its bytes so far, header included, uncompressed.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Whether so many more records of the given size can be counted by one batch.
    pub fn is_full(&self) -> bool {
        self.count >= MOST_RECORDS
    }

    /// Encodes a record behind the others; returns its index in the batch.
    pub fn append(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[HeaderPair<'_>],
    ) -> i32 {
        if self.count == 0 {
            self.base_timestamp = timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        let delta = timestamp.wrapping_sub(self.base_timestamp);
        let index = self.count;
        let out = &mut self.bytes;
        let body = body_size(delta, index, key, value, headers);
        out.reserve(body + 10);
        varint::put(out, length(body));
        out.push(0);
        varint::put(out, delta);
        varint::put(out, i64::from(index));
        put_nullable(out, key);
        put_nullable(out, value);
        varint::put(out, length(headers.len()));
        for (name, value) in headers {
            put_nullable(out, Some(name.as_bytes()));
            put_nullable(out, *value);
        }
        self.count += 1;
        index
    }

    /// Compresses and seals the batch; it takes no more records.
    pub fn seal(
        mut self,
        compression: Compression,
        producer: Producer,
        transactional: bool,
    ) -> Result<Sealed, Error> {
        let plain = self.bytes.len();
        if compression != Compression::None {
            let mut packed = Vec::with_capacity(HEADER_BYTES + plain / 2);
            packed.resize(HEADER_BYTES, 0);
            let records = self.bytes.get(HEADER_BYTES..).unwrap_or_default();
            compression.compress(records, &mut packed)?;
            self.bytes = packed;
        }
        let header = Header {
            base_offset: 0,
            leader_epoch: -1,
            attributes: Header::attributes(compression, transactional),
            last_offset_delta: self.count - 1,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer,
            count: self.count,
        };
        header.seal(&mut self.bytes);
        Ok(Sealed {
            header,
            bytes: Bytes::from(self.bytes),
        })
    }
}

/// A batch as it is sent, shared with the requests that carry it.
#[derive(Clone, Debug)]
pub struct Sealed {
    header: Header,
    bytes: Bytes,
}

impl Sealed {
    /// All of it, header first.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The header that was written.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Its records, uncompressed.
    pub fn plain(&self) -> Result<Bytes, Malformed> {
        let body = self.bytes.slice(HEADER_BYTES..);
        match self.header.compression()? {
            Compression::None => Ok(body),
            compression => {
                let mut plain = Vec::new();
                compression.decompress(&body, &mut plain, usize::MAX)?;
                Ok(Bytes::from(plain))
            }
        }
    }

    /// Seals it again for another producer epoch and sequence.
    pub fn restamp(&mut self, producer: Producer) {
        if self.header.producer != producer {
            self.header.producer = producer;
            let mut bytes = self.bytes.to_vec();
            self.header.seal(&mut bytes);
            self.bytes = Bytes::from(bytes);
        }
    }
}

/// Bytes that a record takes in a batch, at most.
pub fn most_bytes(key: Option<&[u8]>, value: Option<&[u8]>, headers: &[HeaderPair<'_>]) -> usize {
    body_size(i64::MAX, MOST_RECORDS, key, value, headers).saturating_add(5)
}

fn body_size(
    delta: i64,
    index: i32,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[HeaderPair<'_>],
) -> usize {
    let mut size = 1
        + varint::size(delta)
        + varint::size(i64::from(index))
        + nullable_size(key)
        + nullable_size(value)
        + varint::size(length(headers.len()));
    for (name, value) in headers {
        size += nullable_size(Some(name.as_bytes())) + nullable_size(*value);
    }
    size
}

fn nullable_size(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varint::size(length(bytes.len())) + bytes.len())
}

fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => varint::put(out, -1),
        Some(bytes) => {
            varint::put(out, length(bytes.len()));
            out.extend_from_slice(bytes);
        }
    }
}

fn length(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}
