//! Record batches for tests of this package.
//!
//! They are made by the Kafka crate, so that what is stored is what clients send.

use bytes::{Bytes, BytesMut};
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, Record,
    RecordBatchEncoder, RecordEncodeOptions, TimestampType as RecordTimestamp,
};

/// One record per timestamp, with values of `value` bytes; `producer` is id, epoch and first sequence.
pub(crate) fn encode_with(
    timestamps: &[i64],
    value: usize,
    compression: Compression,
    producer: Option<(i64, i16, i32)>,
    transactional: bool,
) -> Bytes {
    let (id, epoch, sequence) =
        producer.unwrap_or((NO_PRODUCER_ID, NO_PRODUCER_EPOCH, NO_SEQUENCE));
    let records: Vec<Record> = timestamps
        .iter()
        .enumerate()
        .map(|(place, timestamp)| Record {
            transactional,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
            producer_id: id,
            producer_epoch: epoch,
            timestamp_type: RecordTimestamp::Creation,
            offset: place as i64,
            sequence: sequence.wrapping_add(place as i32),
            timestamp: *timestamp,
            key: None,
            value: Some(Bytes::from(vec![b'a' + place as u8 % 26; value])),
            headers: Default::default(),
        })
        .collect();
    let mut bytes = BytesMut::new();
    let options = RecordEncodeOptions {
        version: 2,
        compression,
    };
    RecordBatchEncoder::encode(&mut bytes, &records, &options).unwrap();
    bytes.freeze()
}
