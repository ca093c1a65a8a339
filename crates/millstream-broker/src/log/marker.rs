//! The control batch that ends a transaction in a partition: one record that says "commit" or "abort".
//!
//! ```text
//! key    version i16 (0) | type i16 (0 abort, 1 commit)
//! value  version i16 (0) | coordinator epoch i32
//! ```
//!
//! Apache Kafka's `EndTransactionMarker`. Only the coordinator of transactions writes them; clients may not.

use std::fs::File;
use std::io;

use bytes::{Buf as _, BufMut as _};

use super::batch::{self, HEADER_SIZE, Header, PREFIX_SIZE};
use super::file;

/// How a transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// Its records count.
    Commit,
    /// Its records are as if they had never been sent.
    Abort,
}

/// The end of a producer's transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marker {
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
    pub(crate) outcome: Outcome,
    pub(crate) coordinator_epoch: i32,
}

/// The one record: length, attributes, deltas, key and value with their lengths, no headers.
const RECORD_SIZE: usize = 17;
const KEY: std::ops::Range<usize> = 5..9;
const VALUE: std::ops::Range<usize> = 10..16;

impl Marker {
    /// The bytes of the batch, to be placed by [`Header::stamped`].
    pub(super) fn batch(&self, now_ms: i64) -> (Header, Vec<u8>) {
        let mut record = Vec::with_capacity(RECORD_SIZE);
        // Lengths are zigzag numbers of one byte.
        record.put_slice(&[16 << 1, 0, 0, 0, 4 << 1]);
        record.put_i16(0);
        record.put_i16(match self.outcome {
            Outcome::Abort => 0,
            Outcome::Commit => 1,
        });
        record.put_u8(6 << 1);
        record.put_i16(0);
        record.put_i32(self.coordinator_epoch);
        record.put_u8(0);
        let header = Header {
            base_offset: 0,
            length: (HEADER_SIZE - PREFIX_SIZE + RECORD_SIZE) as i32,
            leader_epoch: 0,
            magic: 2,
            crc: 0,
            attributes: batch::TRANSACTIONAL | batch::CONTROL,
            last_offset_delta: 0,
            base_timestamp: now_ms,
            max_timestamp: now_ms,
            producer_id: self.producer_id,
            producer_epoch: self.epoch,
            base_sequence: -1,
            count: 1,
        };
        let header = header.sealed(&record);
        let mut bytes = header.write().to_vec();
        bytes.extend_from_slice(&record);
        (header, bytes)
    }

    /// The marker in a batch; `None` when it is none.
    fn parse(header: &Header, body: &[u8]) -> Option<Marker> {
        let (mut key, mut value) = (body.get(KEY)?, body.get(VALUE)?);
        let (_, kind) = (key.get_i16(), key.get_i16());
        value.advance(2);
        Some(Marker {
            producer_id: header.producer_id,
            epoch: header.producer_epoch,
            outcome: match kind {
                0 => Outcome::Abort,
                1 => Outcome::Commit,
                _ => return None,
            },
            coordinator_epoch: value.get_i32(),
        })
    }
}

/// The marker in the batch of `size` bytes at `position`, if it is one.
pub(super) fn read(
    file: &File,
    position: u64,
    size: u64,
    header: &Header,
) -> io::Result<Option<Marker>> {
    if !header.is_control() || size != (HEADER_SIZE + RECORD_SIZE) as u64 {
        return Ok(None);
    }
    let body = file::read_at(file, position + HEADER_SIZE as u64, RECORD_SIZE)?;
    Ok(Marker::parse(header, &body))
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::EndTxnMarker;
    use kafka_protocol::protocol::Decodable as _;
    use kafka_protocol::records::RecordBatchDecoder;

    use super::*;

    #[test]
    fn a_marker_is_what_clients_expect() {
        for (outcome, kind) in [(Outcome::Abort, 0), (Outcome::Commit, 1)] {
            let marker = Marker {
                producer_id: 77,
                epoch: 3,
                outcome,
                coordinator_epoch: 5,
            };
            let (header, bytes) = marker.batch(1234);
            assert_eq!(Header::parse(&bytes), Some(header));
            assert!(batch::checksum_holds(&header, &bytes));
            assert_eq!(header.size(), Some(bytes.len()));
            assert_eq!(Marker::parse(&header, &bytes[HEADER_SIZE..]), Some(marker));
            let record = &RecordBatchDecoder::decode_all(&mut bytes::Bytes::from(bytes)).unwrap()
                [0]
            .records[0];
            assert!(record.control && record.transactional);
            assert_eq!(record.timestamp, 1234);
            assert_eq!(record.key.as_deref(), Some(&[0, 0, 0, kind][..]));
            let mut value = record.value.clone().unwrap().slice(2..);
            let value = EndTxnMarker::decode(&mut value, 0).unwrap();
            assert_eq!(value.coordinator_epoch, 5);
        }
    }
}
