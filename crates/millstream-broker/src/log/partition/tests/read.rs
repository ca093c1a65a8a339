//! Which batches a read gives, and that readers, writers and retention do not disturb each other.

use super::*;
use crate::log::ReadError;

/// Ten batches of two records and 100 bytes of values each, in segments of three.
fn filled() -> (Place, Partition, usize) {
    let place = Place::new(LogConfig {
        segment_bytes: 600,
        index_interval_bytes: 150,
        ..LogConfig::default()
    });
    let log = place.open();
    let sent = batch(2, 50);
    for _ in 0..10 {
        log.append(sent.clone(), NOW).unwrap();
    }
    assert_eq!(place.bases(), [0, 6, 12, 18]);
    (place, log, sent.len())
}

#[test]
fn a_read_begins_with_the_batch_that_holds_the_offset() {
    let (_place, log, _) = filled();
    for from in 0..20 {
        let fetched = log.fetch(from, 10_000, true).unwrap();
        let found = headers(&fetched.records);
        assert_eq!(found[0].base_offset, from / 2 * 2);
        // A read ends with its segment.
        assert_eq!(
            found.last().unwrap().last_offset() + 1,
            (from / 6 * 6 + 6).min(20)
        );
        assert_eq!(
            (fetched.high_watermark.offset(), fetched.log_start_offset),
            (20, 0)
        );
    }
}

#[test]
fn a_read_gives_whole_batches_within_the_limit() {
    let (_place, log, size) = filled();
    let count =
        |limit, at_least_one| headers(&log.fetch(0, limit, at_least_one).unwrap().records).len();
    assert_eq!(count(2 * size, false), 2);
    assert_eq!(count(2 * size - 1, false), 1);
    assert_eq!(count(size - 1, false), 0);
    assert_eq!(count(0, false), 0);
    for limit in [0, 1, 61, size - 1, size] {
        assert_eq!(count(limit, true), 1, "with a limit of {limit}");
    }
}

#[test]
fn the_end_is_empty_and_beyond_it_is_out_of_range() {
    let (_place, log, _) = filled();
    assert_eq!(log.fetch(20, 1000, true).unwrap().records, Bytes::new());
    let outside = |offset| {
        Err(ReadError::OutOfRange {
            offset,
            start: 0,
            end: 20,
        })
    };
    assert_eq!(log.fetch(21, 1000, true), outside(21));
    assert_eq!(log.fetch(-1, 1000, true), outside(-1));
}

#[test]
fn a_batch_larger_than_any_limit_is_still_read_whole() {
    let place = Place::default();
    let log = place.open();
    log.append(batch(1, 10), NOW).unwrap();
    log.append(batch(1, 1_000_000), NOW).unwrap();
    log.append(batch(1, 10), NOW).unwrap();
    let read = log.fetch(1, 100, true).unwrap();
    assert_eq!(
        headers(&read.records)
            .iter()
            .map(|header| header.base_offset)
            .collect::<Vec<_>>(),
        [1]
    );
    assert_eq!(offsets(&log, 0), [0, 1, 2]);
}

#[test]
fn indexes_that_are_lost_or_damaged_are_built_again() {
    let place = Place::new(LogConfig {
        segment_bytes: 30_000,
        ..LogConfig::default()
    });
    let log = place.open();
    for _ in 0..45 {
        log.append(batch(2, 1000), NOW).unwrap();
    }
    assert_eq!(place.bases(), [0, 28, 56, 84]);
    log.close().unwrap();
    drop(log);
    let index = |base: i64| place.folder.path().join(format!("{base:020}.index"));
    assert!(index(0).exists());
    fs::remove_file(index(0)).unwrap();
    let bytes = fs::read(index(28)).unwrap();
    fs::write(index(28), &bytes[..bytes.len() - 3]).unwrap();
    let mut damaged = fs::read(index(56)).unwrap();
    damaged[13] ^= 0xff;
    fs::write(index(56), damaged).unwrap();
    let log = place.open();
    for from in 0..90 {
        assert_eq!(
            headers(&log.fetch(from, 1, true).unwrap().records)[0].base_offset,
            from / 2 * 2
        );
    }
    assert!(index(0).exists());
}

#[test]
fn damage_that_a_kill_cannot_cause_is_named_when_it_is_read() {
    let (place, log, size) = filled();
    log.close().unwrap();
    drop(log);
    let log = place.open();
    // Behind the back of the running broker.
    let mut bytes = fs::read(place.log(6)).unwrap();
    bytes[size + 70] ^= 1;
    fs::write(place.log(6), bytes).unwrap();
    assert_eq!(headers(&log.fetch(6, size, true).unwrap().records).len(), 1);
    let reason = format!(
        "`{}` is corrupt at byte {size}: the checksum does not match",
        place.log(6).display()
    );
    assert_eq!(log.fetch(8, 1000, true), Err(ReadError::Corrupt(reason)));
}

#[test]
fn readers_and_a_writer_go_on_at_the_same_time() {
    let place = Place::new(LogConfig {
        segment_bytes: 3000,
        ..LogConfig::default()
    });
    let log = place.open();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut from = 0;
                while from < 1000 {
                    for header in headers(&log.fetch(from, 500, true).unwrap().records) {
                        assert_eq!(header.base_offset, from);
                        from += 2;
                    }
                }
            });
        }
        for _ in 0..500 {
            log.append(batch(2, 40), NOW).unwrap();
        }
    });
}

#[test]
fn what_was_read_is_never_out_of_range() {
    let place = Place::new(LogConfig::default());
    let log = place.open();
    for _ in 0..3 {
        log.append(batch(2, 40), NOW).unwrap();
    }
    // A writer that has published its segment and not yet the log's end.
    log.end.store(4, Ordering::Release);
    let fetched = log.fetch(0, 1000, true).unwrap();
    assert_eq!(headers(&fetched.records).len(), 3);
    assert_eq!(fetched.high_watermark.offset(), 6);
    assert!(log.fetch(6, 1000, true).unwrap().records.is_empty());
}

#[test]
fn retention_under_readers_is_safe() {
    let place = Place::new(LogConfig {
        segment_bytes: 700,
        ..LogConfig::default()
    });
    let log = place.open();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut from = 0;
                while from < 1000 {
                    match log.fetch(from, 500, true) {
                        Ok(fetched) => {
                            for header in headers(&fetched.records) {
                                assert_eq!(header.base_offset, from);
                                from += 2;
                            }
                        }
                        Err(ReadError::OutOfRange { start, .. }) => from = start,
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
        for _ in 0..100 {
            for _ in 0..5 {
                log.append(batch(2, 40), NOW).unwrap();
            }
            log.delete_records(log.end_offset() - 4).unwrap();
            log.retain(NOW).unwrap();
        }
    });
    assert_eq!(log.start_offset(), 996);
}

#[test]
fn an_idle_partition_keeps_no_file_open() {
    let (place, log, _) = filled();
    assert_eq!(offsets(&log, 0).len(), 10);
    let open = || {
        let links = fs::read_dir("/proc/self/fd")
            .unwrap()
            .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        links
            .filter(|link| link.starts_with(place.folder.path()))
            .count()
    };
    assert_eq!(open(), 1);
    log.retain(NOW).unwrap();
    log.retain(NOW).unwrap();
    assert_eq!(open(), 0);
    assert_eq!(offsets(&log, 0).len(), 10);
}
