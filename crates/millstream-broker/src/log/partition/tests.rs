//! What appends and reads of one partition do.

use super::*;
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, Record,
    RecordBatchEncoder, RecordEncodeOptions, TimestampType as RecordTimestamp,
};

fn batch(count: i64, timestamp: i64) -> Bytes {
    let records: Vec<Record> = (0..count)
        .map(|offset| Record {
            transactional: false,
            control: false,
            partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: NO_PRODUCER_EPOCH,
            timestamp_type: RecordTimestamp::Creation,
            offset,
            sequence: NO_SEQUENCE + offset as i32,
            timestamp: timestamp + offset,
            key: None,
            value: Some(Bytes::from(format!("value {offset}"))),
            headers: Default::default(),
            delete_horizon: false,
        })
        .collect();
    let mut bytes = bytes::BytesMut::new();
    let options = RecordEncodeOptions {
        version: 2,
        compression: Compression::None,
    };
    RecordBatchEncoder::encode(&mut bytes, &records, &options).unwrap();
    bytes.freeze()
}

#[test]
fn what_is_appended_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let log = Partition::open(folder.path(), &Arc::default(), 0).unwrap();
    let sent = batch(3, 1000);
    let appended = log.append(sent.clone(), 0).unwrap();
    assert_eq!(
        appended,
        Appended {
            base_offset: 0,
            log_append_time: -1,
            log_start_offset: 0
        }
    );
    assert_eq!(log.append(sent.clone(), 0).unwrap().base_offset, 3);
    let fetched = log.read(4, 1 << 20, true).unwrap();
    assert_eq!(fetched.high_watermark, 6);
    assert_eq!(Header::parse(&fetched.records).unwrap().base_offset, 3);
    assert_eq!(fetched.records[21..], sent[21..]);
    drop(log);
    let log = Partition::open(folder.path(), &Arc::default(), 0).unwrap();
    assert_eq!(log.end_offset(), 6);
}
