//! What is taken, what is refused, and what is stored of it.

use super::*;
use crate::log::append::Appended;
use crate::log::{AppendError, TimestampType};

#[test]
fn only_offset_and_leader_epoch_of_a_batch_are_changed() {
    let place = Place::default();
    let log = place.open();
    let sent = batch(3, 100);
    let first = log.append(sent.clone(), NOW).unwrap();
    assert_eq!(
        first,
        Appended {
            base_offset: 0,
            log_append_time: -1,
            log_start_offset: 0
        }
    );
    assert_eq!(log.append(sent.clone(), NOW).unwrap().base_offset, 3);
    let stored = log.fetch(3, 1 << 20, true).unwrap().records;
    assert_eq!(stored[..8], 3_i64.to_be_bytes());
    assert_eq!(stored[8..12], sent[8..12]);
    assert_eq!(stored[12..16], 0_i32.to_be_bytes());
    assert_eq!(stored[16..], sent[16..]);
    assert_eq!(fs::read(place.log(0)).unwrap()[sent.len()..], stored);
}

#[test]
fn the_brokers_time_is_stamped_with_a_valid_checksum() {
    let place = Place::new(LogConfig {
        timestamp_type: TimestampType::LogAppend,
        ..LogConfig::default()
    });
    let log = place.open();
    let sent = Make {
        timestamps: &[5, 6, 7],
        producer: Some((9, 0, 0)),
        ..MAKE
    }
    .bytes();
    let appended = log.append(sent.clone(), NOW).unwrap();
    assert_eq!(appended.log_append_time, NOW);
    let stored = headers(&log.fetch(0, 1 << 20, true).unwrap().records);
    assert_eq!(
        (stored[0].max_timestamp, stored[0].is_log_append_time()),
        (NOW, true)
    );
    assert_eq!(log.offset_for_time(NOW).unwrap(), Some((0, NOW)));
    // Sent again later, it keeps its first time.
    assert_eq!(log.append(sent, NOW + 5).unwrap(), appended);
}

#[test]
fn a_batch_sent_again_is_stored_once() {
    let place = Place::default();
    let log = place.open();
    let send = |epoch, sequence| {
        log.append(
            Make {
                producer: Some((4, epoch, sequence)),
                timestamps: &[NOW, NOW],
                ..MAKE
            }
            .bytes(),
            NOW,
        )
    };
    assert_eq!(send(0, 0).unwrap().base_offset, 0);
    assert_eq!(send(0, 2).unwrap().base_offset, 2);
    assert_eq!(send(0, 0).unwrap().base_offset, 0);
    assert_eq!(
        send(0, 5),
        Err(AppendError::OutOfOrderSequence {
            producer_id: 4,
            sequence: 5,
            expected: 4
        })
    );
    assert_eq!(send(1, 0).unwrap().base_offset, 4);
    assert_eq!(
        send(0, 4),
        Err(AppendError::InvalidProducerEpoch {
            producer_id: 4,
            epoch: 0,
            current: 1
        })
    );
    assert_eq!(log.end_offset(), 6);
}

/// Changes a batch and makes its checksum right again.
fn altered(change: impl FnOnce(&mut [u8])) -> Bytes {
    let mut bytes = batch(3, 20).to_vec();
    change(&mut bytes);
    let checksum = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&checksum.to_be_bytes());
    Bytes::from(bytes)
}

#[test]
fn every_kind_of_bad_batch_is_refused_by_its_reason() {
    let config = LogConfig {
        max_message_bytes: 2000,
        segment_bytes: 1500,
        ..LogConfig::default()
    };
    let place = Place::new(config);
    let log = place.open();
    let refusal = |bytes: Bytes| log.append(bytes, NOW).map(|_| ()).unwrap_err();
    let corrupt = |reason: &str| AppendError::Corrupt(reason.to_owned());
    let sent = batch(3, 20);

    assert_eq!(refusal(Bytes::new()), corrupt("shorter than a header"));
    assert_eq!(refusal(sent.slice(..60)), corrupt("shorter than a header"));
    assert_eq!(
        refusal(sent.slice(..sent.len() - 1)),
        corrupt("its length is not that of its bytes")
    );
    assert_eq!(
        refusal(altered(|bytes| bytes[8] = 0x80)),
        corrupt("its length is not that of its bytes")
    );
    assert_eq!(
        refusal(altered(|bytes| bytes[16] = 9)),
        corrupt("unknown magic byte")
    );
    assert_eq!(
        refusal(altered(|bytes| bytes[16] = 1)),
        AppendError::UnsupportedFormat(1)
    );
    let mut flipped = sent.to_vec();
    flipped[70] ^= 1;
    assert_eq!(
        refusal(flipped.into()),
        corrupt("its checksum does not match")
    );
    let two = [sent.clone(), sent.clone()].concat();
    assert_eq!(
        refusal(two.into()),
        AppendError::InvalidRecord("a partition takes exactly one record batch a request")
    );
    assert_eq!(
        refusal(batch(1, 3000)),
        AppendError::TooLarge {
            size: 3070,
            limit: 2000
        }
    );
    assert_eq!(
        refusal(batch(1, 1800)),
        AppendError::TooLargeForSegment {
            size: 1870,
            limit: 1500
        }
    );
    assert_eq!(
        refusal(altered(|bytes| bytes[22] = 5)),
        AppendError::UnsupportedCompression(5)
    );
    let invalid = AppendError::InvalidRecord;
    assert_eq!(
        refusal(altered(|bytes| bytes[57..61].fill(0))),
        invalid("it has no records")
    );
    assert_eq!(
        refusal(altered(|bytes| bytes[60] = 4)),
        invalid("its offsets do not fit the number of its records")
    );
    let claim = |bytes: &mut [u8]| {
        bytes[25] = 0x10;
        bytes[59] = 0x10;
    };
    assert_eq!(
        refusal(altered(claim)),
        invalid("it has fewer bytes than so many records take")
    );
    assert_eq!(
        refusal(altered(|bytes| bytes[22] |= 0x20)),
        invalid("clients may not write control records")
    );
    assert_eq!(
        refusal(altered(|bytes| bytes[43] = 0)),
        invalid("a producer id needs an epoch and a sequence")
    );
    assert_eq!(
        refusal(altered(|bytes| bytes[22] |= 0x08)),
        AppendError::TimestampType
    );
    let late = NOW + 3_600_001;
    assert_eq!(
        log.append(encode(&[late], 1, Compression::None, None), NOW),
        Err(AppendError::InvalidTimestamp {
            timestamp: late,
            now: NOW
        })
    );
    assert_eq!((log.end_offset(), log.size()), (0, 0));
}

#[test]
fn a_new_configuration_holds_from_the_next_append_on() {
    let place = Place::default();
    let log = place.open();
    log.append(batch(1, 500), NOW).unwrap();
    log.configure(&Arc::new(LogConfig {
        max_message_bytes: 100,
        ..LogConfig::default()
    }));
    assert_eq!(
        log.append(batch(1, 500), NOW),
        Err(AppendError::TooLarge {
            size: 570,
            limit: 100
        })
    );
    log.configure(&Arc::new(LogConfig::default()));
    assert_eq!(log.append(batch(1, 500), NOW).unwrap().base_offset, 1);
}

#[test]
fn segments_roll_by_size_and_by_the_records_time() {
    let place = Place::new(LogConfig {
        segment_bytes: 1000,
        segment_ms: 5000,
        ..LogConfig::default()
    });
    let log = place.open();
    for _ in 0..5 {
        log.append(batch(2, 100), NOW).unwrap();
    }
    assert_eq!(place.bases(), [0, 6]);
    log.append(encode(&[NOW + 5000], 1, Compression::None, None), NOW)
        .unwrap();
    assert_eq!(place.bases(), [0, 6]);
    log.append(encode(&[NOW + 5001], 1, Compression::None, None), NOW)
        .unwrap();
    assert_eq!(place.bases(), [0, 6, 11]);
    assert_eq!(offsets(&log, 0), [0, 2, 4, 6, 8, 10, 11]);
}

#[test]
fn with_fsync_many_writers_share_and_none_is_lost() {
    let place = Place::new(LogConfig {
        fsync: true,
        segment_bytes: 4000,
        ..LogConfig::default()
    });
    let log = place.open();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..25 {
                    let appended = log.append(batch(2, 50), NOW).unwrap();
                    assert!(log.end_offset() >= appended.base_offset + 2);
                }
            });
        }
    });
    assert_eq!(offsets(&log, 0), (0..200).step_by(2).collect::<Vec<_>>());
}

#[test]
fn a_deleted_partition_refuses_everything() {
    let place = Place::default();
    let log = place.open();
    log.append(batch(1, 1), NOW).unwrap();
    log.delete();
    assert_eq!(log.append(batch(1, 1), NOW), Err(AppendError::Deleted));
    assert_eq!(log.fetch(0, 100, true), Err(crate::log::ReadError::Deleted));
}
