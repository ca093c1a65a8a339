//! What goes, when, and that it stays gone.

use super::*;
use crate::log::ReadError;
use crate::log::retention::Retained;

/// Batches of 270 bytes at 0, 1000, 2000, ... ms, two in a segment.
fn filled(config: LogConfig) -> (Place, Partition) {
    let place = Place::new(LogConfig {
        segment_bytes: 600,
        segment_ms: i64::MAX,
        ..config
    });
    let log = place.open();
    for number in 0..6 {
        log.append(
            encode(&[NOW + 1000 * number], 200, Compression::None, None),
            NOW,
        )
        .unwrap();
    }
    assert_eq!((place.bases(), log.size()), (vec![0, 2, 4], 6 * 270));
    (place, log)
}

#[test]
fn segments_go_when_their_newest_record_is_too_old() {
    let (place, log) = filled(LogConfig {
        retention_ms: 60_000,
        ..LogConfig::default()
    });
    assert_eq!(log.retain(NOW + 61_000).unwrap(), Retained::default());
    assert_eq!(
        log.retain(NOW + 61_001).unwrap(),
        Retained {
            segments: 1,
            bytes: 540
        }
    );
    assert_eq!((log.start_offset(), place.bases()), (2, vec![2, 4]));
    assert_eq!(
        log.fetch(1, 100, true),
        Err(ReadError::OutOfRange {
            offset: 1,
            start: 2,
            end: 6
        })
    );
    assert_eq!(offsets(&log, 2), [2, 3, 4, 5]);
}

#[test]
fn the_newest_segment_goes_too_and_offsets_go_on() {
    let (place, log) = filled(LogConfig {
        retention_ms: 60_000,
        ..LogConfig::default()
    });
    assert_eq!(log.retain(NOW + 100_000).unwrap().segments, 3);
    assert_eq!(
        (log.start_offset(), log.end_offset(), log.size()),
        (6, 6, 0)
    );
    drop(log);
    let log = place.open();
    assert_eq!((log.start_offset(), log.end_offset()), (6, 6));
    assert_eq!(log.append(batch(1, 1), NOW).unwrap().base_offset, 6);
    assert_eq!(place.bases(), [6]);
}

#[test]
fn segments_go_while_the_rest_still_has_the_size() {
    for (limit, kept) in [
        (6 * 270, vec![0, 2, 4]),
        (1081, vec![0, 2, 4]),
        (1080, vec![2, 4]),
        (540, vec![4]),
    ] {
        let (place, log) = filled(LogConfig {
            retention_bytes: limit,
            ..LogConfig::default()
        });
        log.retain(NOW).unwrap();
        assert_eq!(place.bases(), kept, "with a limit of {limit}");
    }
}

#[test]
fn without_the_policy_delete_nothing_goes() {
    let config = LogConfig {
        retention_ms: 1,
        retention_bytes: 1,
        delete: false,
        ..LogConfig::default()
    };
    let (place, log) = filled(config);
    assert_eq!(log.retain(NOW + 1_000_000).unwrap(), Retained::default());
    assert_eq!(place.bases(), [0, 2, 4]);
}

#[test]
fn deleted_records_stay_deleted_after_a_kill() {
    let (place, log) = filled(LogConfig::default());
    assert_eq!(log.delete_records(3).unwrap(), 3);
    assert_eq!(place.bases(), [2, 4]);
    assert_eq!(log.delete_records(1).unwrap(), 3);
    assert_eq!(
        log.delete_records(7),
        Err(ReadError::OutOfRange {
            offset: 7,
            start: 3,
            end: 6
        })
    );
    // Without `close`, as a kill leaves it.
    drop(log);
    let log = place.open();
    assert_eq!((log.start_offset(), log.end_offset()), (3, 6));
    assert_eq!(offsets(&log, 3), [3, 4, 5]);
    assert_eq!(log.delete_records(-1).unwrap(), 6);
    drop(log);
    let log = place.open();
    assert_eq!((log.start_offset(), log.end_offset()), (6, 6));
    assert_eq!(log.append(batch(1, 1), NOW).unwrap().base_offset, 6);
}

/// A topic is purged to free a full disk.
#[test]
fn the_space_of_a_log_is_free_when_all_its_records_are_deleted() {
    let (place, log) = filled(LogConfig::default());
    assert_eq!(log.delete_records(-1).unwrap(), 6);
    assert_eq!(place.bases(), [0; 0]);
    // Without `close`, as a kill leaves it.
    drop(log);
    let log = place.open();
    assert_eq!((log.start_offset(), log.end_offset()), (6, 6));
    assert_eq!(log.append(batch(1, 1), NOW).unwrap().base_offset, 6);
}

#[test]
fn a_kill_between_the_decision_and_the_removal_is_made_good() {
    let (place, log) = filled(LogConfig::default());
    let first = fs::read(place.log(0)).unwrap();
    log.delete_records(2).unwrap();
    drop(log);
    fs::write(place.log(0), first).unwrap();
    let log = place.open();
    assert_eq!((log.start_offset(), place.bases()), (2, vec![2, 4]));
}

#[test]
fn silent_producers_are_forgotten() {
    let place = Place::new(LogConfig {
        producer_expiration_ms: 1000,
        ..LogConfig::default()
    });
    let log = place.open();
    log.append(
        Make {
            producer: Some((4, 0, 0)),
            ..MAKE
        }
        .bytes(),
        NOW,
    )
    .unwrap();
    log.retain(NOW + 999).unwrap();
    assert_eq!(log.producers().len(), 1);
    log.retain(NOW + 1000).unwrap();
    assert_eq!(log.producers(), []);
}

#[test]
fn with_the_brokers_time_segments_roll_by_its_clock() {
    let place = Place::new(LogConfig {
        segment_ms: 1000,
        timestamp_type: crate::log::TimestampType::LogAppend,
        ..LogConfig::default()
    });
    let log = place.open();
    // Clients whose clocks stand still.
    for now_ms in [NOW, NOW + 1000, NOW + 1001] {
        log.append(encode(&[5], 10, Compression::None, None), now_ms)
            .unwrap();
    }
    assert_eq!(place.bases(), [0, 2]);
}

#[test]
fn records_without_a_time_age_by_their_segment() {
    let place = Place::new(LogConfig {
        segment_ms: 1000,
        retention_ms: 60_000,
        ..LogConfig::default()
    });
    let log = place.open();
    for now_ms in [NOW, NOW + 1000, NOW + 1001] {
        log.append(encode(&[-1], 10, Compression::None, None), now_ms)
            .unwrap();
    }
    assert_eq!(place.bases(), [0, 2]);
    let changed = |base| {
        let metadata = fs::metadata(place.log(base)).unwrap();
        file::modified(&metadata) / 1_000_000
    };
    let (sealed, active) = (changed(0), changed(2));
    assert_eq!(log.retain(sealed + 60_000).unwrap(), Retained::default());
    assert_eq!(log.retain(active + 60_001).unwrap().segments, 2);
    assert_eq!((log.start_offset(), log.end_offset()), (3, 3));
}

#[test]
fn deleted_records_do_not_come_back_when_a_power_cut_takes_a_later_checkpoint() {
    let place = Place::new(LogConfig {
        segment_bytes: 600,
        ..LogConfig::default()
    });
    let log = place.open();
    for _ in 0..4 {
        log.append(batch(1, 100), NOW).unwrap();
    }
    assert_eq!(log.delete_records(2), Ok(2));
    let checkpoint = place.folder.path().join("checkpoint");
    let before = fs::read(&checkpoint).unwrap();
    while fs::read(&checkpoint).unwrap() == before {
        log.append(batch(1, 100), NOW).unwrap();
    }
    drop(log);
    // It had its name, and nothing in it had reached the disk.
    fs::write(&checkpoint, b"").unwrap();
    let log = place.open();
    assert_eq!(log.start_offset(), 2);
    log.append(batch(1, 100), NOW).unwrap();
    assert_eq!(place.open().start_offset(), 2);
}
