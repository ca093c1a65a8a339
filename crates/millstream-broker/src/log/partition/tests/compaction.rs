//! Compaction: what stays, what goes and when, and that no kill shows.

use std::collections::{BTreeMap, HashMap};

use bytes::BytesMut;
use kafka_protocol::records::{
    Record, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};

use super::*;
use crate::failpoint::die_after;
use crate::log::compaction::{Compacted, Pass};
use crate::log::{Marker, Outcome};

const DAY_MS: i64 = 86_400_000;

pub(super) type Pair<'a> = (&'a str, Option<&'a str>);

/// A batch of keys with values; `None` is a tombstone.
pub(super) fn keyed(pairs: &[Pair<'_>], compression: Compression) -> Bytes {
    records(pairs, compression, None)
}

/// The same, as part of a producer's transaction: id and first sequence.
fn records(pairs: &[Pair<'_>], compression: Compression, producer: Option<(i64, i32)>) -> Bytes {
    let (id, sequence) = producer.unwrap_or((-1, -1));
    let epoch = if producer.is_some() { 0 } else { -1 };
    let record = |(place, (key, value)): (usize, &Pair<'_>)| Record {
        transactional: producer.is_some(),
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id: id,
        producer_epoch: epoch,
        timestamp_type: TimestampType::Creation,
        offset: place as i64,
        sequence: sequence.wrapping_add(place as i32),
        timestamp: NOW + place as i64,
        key: Some(Bytes::copy_from_slice(key.as_bytes())),
        value: value.map(|value| Bytes::copy_from_slice(value.as_bytes())),
        headers: [("header".into(), Some(Bytes::from_static(b"kept")))]
            .into_iter()
            .collect(),
    };
    let all: Vec<Record> = pairs.iter().enumerate().map(record).collect();
    let mut bytes = BytesMut::new();
    let options = RecordEncodeOptions {
        version: 2,
        compression,
    };
    RecordBatchEncoder::encode(&mut bytes, &all, &options).unwrap();
    bytes.freeze()
}

pub(super) fn compacted() -> LogConfig {
    LogConfig {
        compact: true,
        delete: false,
        min_dirty_ratio: 0.0,
        ..LogConfig::default()
    }
}

fn compact_at(log: &Partition, now_ms: i64) -> Result<Option<Compacted>, Error> {
    log.compact(Pass {
        now_ms,
        most_keys: 1000,
        stopping: &|| false,
    })
}

pub(super) fn compact(log: &Partition) {
    compact_at(log, NOW).unwrap().expect("a pass");
}

/// Ends the active segment, as its size or age would.
pub(super) fn seal(log: &Partition) {
    let mut writer = lock(&log.writer);
    if writer.shape.size > 0 {
        log.roll(&mut writer).unwrap();
    }
}

/// All records as a client decodes them, control records left out.
fn all(log: &Partition) -> Vec<Record> {
    let mut found = Vec::new();
    let mut from = log.start_offset();
    loop {
        let fetched = log.fetch(from, 400, true).unwrap();
        let Some(last) = headers(&fetched.records).last().copied() else {
            return found;
        };
        let mut bytes = fetched.records.clone();
        for set in RecordBatchDecoder::decode_all(&mut bytes).unwrap() {
            found.extend(set.records.into_iter().filter(|record| !record.control));
        }
        from = last.last_offset() + 1;
    }
}

/// Offset, key and value of all records.
fn shown(log: &Partition) -> Vec<(i64, String, Option<String>)> {
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let all = all(log).into_iter();
    all.map(|record| {
        let key = text(record.key.as_ref().unwrap());
        (record.offset, key, record.value.as_ref().map(text))
    })
    .collect()
}

fn one(offset: i64, key: &str, value: &str) -> (i64, String, Option<String>) {
    (offset, key.to_owned(), Some(value.to_owned()))
}

#[test]
fn of_each_key_the_newest_record_stays_in_its_place() {
    let place = Place::new(compacted());
    let log = place.open();
    let none = Compression::None;
    log.append(keyed(&[("a", Some("1")), ("b", Some("1"))], none), NOW)
        .unwrap();
    seal(&log);
    log.append(keyed(&[("a", Some("2")), ("c", Some("1"))], none), NOW)
        .unwrap();
    seal(&log);
    log.append(keyed(&[("b", Some("2"))], none), NOW).unwrap();
    compact(&log);
    // The active segment is not looked at.
    let expected = [
        one(1, "b", "1"),
        one(2, "a", "2"),
        one(3, "c", "1"),
        one(4, "b", "2"),
    ];
    assert_eq!(shown(&log), expected);
    assert_eq!((log.start_offset(), log.end_offset()), (0, 5));
    let first = &all(&log)[0];
    assert_eq!((first.timestamp, first.headers.len()), (NOW + 1, 1));
    // Two segments became one.
    assert_eq!(log.segments().len(), 2);
    drop(log);
    let log = place.open();
    assert_eq!(shown(&log), expected);
    seal(&log);
    compact(&log);
    assert_eq!(shown(&log), expected[1..]);
    assert_eq!(compact_at(&log, NOW).unwrap(), None);
}

#[test]
fn a_tombstone_stays_until_its_horizon() {
    let place = Place::new(compacted());
    let log = place.open();
    let none = Compression::None;
    for pairs in [
        [("a", Some("1")), ("b", Some("1"))],
        [("a", None), ("c", Some("1"))],
    ] {
        log.append(keyed(&pairs, none), NOW).unwrap();
    }
    seal(&log);
    compact(&log);
    let tombstone = (2, "a".to_owned(), None);
    let left = [one(1, "b", "1"), tombstone, one(3, "c", "1")];
    assert_eq!(shown(&log), left);
    let times: Vec<_> = all(&log).iter().map(|record| record.timestamp).collect();
    assert_eq!(times, [NOW + 1, NOW, NOW + 1]);
    for (now_ms, left) in [
        (NOW + DAY_MS - 1, &[0_usize, 1, 2][..]),
        (NOW + DAY_MS, &[0, 2]),
    ] {
        log.append(keyed(&[("x", Some("1"))], none), NOW).unwrap();
        seal(&log);
        compact_at(&log, now_ms).unwrap().expect("a pass");
        let expected = [
            one(1, "b", "1"),
            (2, "a".to_owned(), None),
            one(3, "c", "1"),
        ];
        let expected: Vec<_> = left.iter().map(|place| expected[*place].clone()).collect();
        let found: Vec<_> = shown(&log)
            .into_iter()
            .filter(|record| record.1 != "x")
            .collect();
        assert_eq!(found, expected, "at {now_ms}");
    }
}

#[test]
fn every_codec_is_opened_and_closed_again() {
    for compression in [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ] {
        let place = Place::new(compacted());
        let log = place.open();
        // More than one block of snappy.
        let large = "x".repeat(100_000);
        let pairs = [
            ("a", Some("1")),
            ("b", Some(large.as_str())),
            ("c", Some("1")),
        ];
        log.append(keyed(&pairs, compression), NOW).unwrap();
        log.append(keyed(&[("a", Some("2"))], compression), NOW)
            .unwrap();
        seal(&log);
        compact(&log);
        let expected = [one(1, "b", &large), one(2, "c", "1"), one(3, "a", "2")];
        assert_eq!(shown(&log), expected, "{compression:?}");
        let codecs = headers(&log.fetch(0, 1 << 20, true).unwrap().records);
        let codecs: Vec<_> = codecs.iter().map(Header::compression).collect();
        assert_eq!(codecs, [compression as i16; 2]);
    }
}

#[test]
fn a_pass_is_made_when_it_is_worth_it() {
    let none = Compression::None;
    let place = Place::new(LogConfig {
        min_dirty_ratio: 0.5,
        ..compacted()
    });
    let log = place.open();
    let write = |keys: &[&str]| {
        for key in keys {
            log.append(keyed(&[(key, Some("1"))], none), NOW).unwrap();
        }
        seal(&log);
    };
    write(&["a", "b", "c"]);
    compact(&log);
    write(&["d", "e"]);
    assert_eq!(compact_at(&log, NOW).unwrap(), None);
    write(&["f"]);
    compact(&log);
    // A record that is too old is not left to wait.
    write(&["g"]);
    log.configure(&Arc::new(LogConfig {
        min_dirty_ratio: 0.5,
        max_compaction_lag_ms: 1000,
        ..compacted()
    }));
    assert_eq!(compact_at(&log, NOW + 1000).unwrap(), None);
    compact_at(&log, NOW + 1001).unwrap().expect("a pass");
    // One that is too young is.
    write(&["h"]);
    log.configure(&Arc::new(LogConfig {
        min_compaction_lag_ms: 1000,
        ..compacted()
    }));
    assert_eq!(compact_at(&log, NOW + 999).unwrap(), None);
    compact_at(&log, NOW + 1000).unwrap().expect("a pass");
}

#[test]
fn more_keys_than_may_be_noted_take_more_passes() {
    let place = Place::new(compacted());
    let log = place.open();
    let keys: Vec<String> = (0..20)
        .map(|number| format!("key {}", number % 10))
        .collect();
    for key in &keys {
        log.append(keyed(&[(key, Some("1"))], Compression::None), NOW)
            .unwrap();
    }
    seal(&log);
    let mut passes = 0;
    let few = Pass {
        now_ms: NOW,
        most_keys: 3,
        stopping: &|| false,
    };
    while log.compact(few).unwrap().is_some() {
        passes += 1;
    }
    assert_eq!(passes, 7);
    let offsets: Vec<_> = shown(&log).into_iter().map(|record| record.0).collect();
    assert_eq!(offsets, (10..20).collect::<Vec<_>>());
}

fn write(log: &Partition, bytes: Bytes) -> i64 {
    let batch = log.check(bytes, NOW).unwrap();
    let verified = Some(log.markers());
    log.store(&batch, verified, NOW).unwrap().base_offset
}

fn end(log: &Partition, producer_id: i64, outcome: Outcome) -> i64 {
    let marker = Marker {
        producer_id,
        epoch: 0,
        outcome,
        coordinator_epoch: 0,
    };
    log.mark(marker, NOW).unwrap()
}

/// The offsets of all batches, control batches included.
fn batches(log: &Partition) -> Vec<i64> {
    let mut found = Vec::new();
    let mut from = 0;
    loop {
        let fetched = log.fetch(from, 1 << 20, true).unwrap();
        let headers = headers(&fetched.records);
        let Some(last) = headers.last() else {
            return found;
        };
        from = last.last_offset() + 1;
        found.extend(headers.iter().map(|header| header.base_offset));
    }
}

#[test]
fn what_was_aborted_goes_and_its_marker_goes_after_its_horizon() {
    let place = Place::new(compacted());
    let log = place.open();
    let none = Compression::None;
    let mut next = 0;
    let mut sent = |key, value| {
        let batch = records(&[(key, Some(value))], none, Some((7, next)));
        next += 1;
        write(&log, batch)
    };
    assert_eq!(sent("a", "kept"), 0);
    assert_eq!(end(&log, 7, Outcome::Commit), 1);
    assert_eq!(sent("a", "aborted"), 2);
    assert_eq!(end(&log, 7, Outcome::Abort), 3);
    assert_eq!(sent("b", "open"), 4);
    seal(&log);
    // The segment holds records of an open transaction.
    assert_eq!(compact_at(&log, NOW).unwrap(), None);
    assert_eq!(end(&log, 7, Outcome::Commit), 5);
    compact(&log);
    // What was aborted replaces nothing.
    let left = [one(0, "a", "kept"), one(4, "b", "open")];
    assert_eq!(shown(&log), left);
    assert_eq!(batches(&log), [0, 1, 3, 4, 5]);
    let again = |now_ms| {
        log.append(keyed(&[("x", Some("1"))], none), NOW).unwrap();
        seal(&log);
        compact_at(&log, now_ms).unwrap().expect("a pass");
        batches(&log)
    };
    // No record is left of what the marker at 3 ended: its time runs from now on.
    assert_eq!(again(NOW), [0, 1, 3, 4, 5, 6]);
    assert_eq!(again(NOW + DAY_MS - 1), [0, 1, 3, 4, 5, 7]);
    assert_eq!(again(NOW + DAY_MS), [0, 1, 4, 5, 8]);
    let committed = log.read(Span {
        from: 0,
        max_bytes: 1 << 20,
        at_least_one: true,
        isolation: Isolation::Committed,
    });
    assert_eq!(committed.unwrap().aborted, []);
    drop(log);
    assert_eq!(batches(&place.open()), [0, 1, 4, 5, 8]);
}

#[test]
fn a_record_without_key_is_refused_and_an_older_one_goes() {
    let place = Place::default();
    let log = place.open();
    log.append(batch(1, 10), NOW).unwrap();
    log.append(keyed(&[("a", Some("1"))], Compression::None), NOW)
        .unwrap();
    log.configure(&Arc::new(compacted()));
    assert_eq!(
        log.append(batch(1, 10), NOW).unwrap_err(),
        AppendError::InvalidRecord("a compacted topic takes no record without a key")
    );
    seal(&log);
    compact(&log);
    assert_eq!(shown(&log), [one(1, "a", "1")]);
}

#[test]
fn a_reader_at_an_end_that_was_compacted_away_waits() {
    let place = Place::default();
    let log = place.open();
    log.append(batch(2, 10), NOW).unwrap();
    log.configure(&Arc::new(compacted()));
    seal(&log);
    compact(&log);
    // Nothing is left, and nothing has to be looked for again before something comes.
    let fetched = log.fetch(0, 1000, true).unwrap();
    assert_eq!((fetched.records.len(), fetched.looked_to), (0, 2));
    let next = keyed(&[("a", Some("1"))], Compression::None);
    assert_eq!(log.append(next, NOW).unwrap().base_offset, 2);
    assert_eq!(shown(&log), [one(2, "a", "1")]);
}

#[test]
fn a_reader_that_goes_on_meets_the_new_files() {
    let place = Place::new(compacted());
    let log = place.open();
    for number in 0..30 {
        let key = format!("key {}", number % 15);
        log.append(keyed(&[(&key, Some("1"))], Compression::None), NOW)
            .unwrap();
    }
    seal(&log);
    // The place where this read ended is remembered, and is another one in the new file.
    let first = headers(&log.fetch(0, 1000, true).unwrap().records);
    let next = first.last().unwrap().last_offset() + 1;
    compact(&log);
    assert_eq!(offsets(&log, next), (15..30).collect::<Vec<_>>());
}

/// What the log says of each key.
fn state(log: &Partition) -> BTreeMap<String, String> {
    let mut state = BTreeMap::new();
    for (_, key, value) in shown(log) {
        match value {
            Some(value) => state.insert(key, value),
            None => state.remove(&key),
        };
    }
    state
}

#[test]
fn a_kill_at_any_step_leaves_the_old_log_or_the_new_one() {
    for no_checkpoint in [false, true] {
        for step in 0.. {
            let place = Place::new(LogConfig {
                segment_bytes: 400,
                ..compacted()
            });
            let log = place.open();
            let mut expected = BTreeMap::new();
            for number in 0..20 {
                let (key, value) = (format!("key {}", number % 4), format!("value {number}"));
                log.append(keyed(&[(&key, Some(&value))], Compression::None), NOW)
                    .unwrap();
                expected.insert(key, value);
            }
            assert!(log.segments().len() > 4);
            die_after(Some(step));
            let done = compact_at(&log, NOW);
            die_after(None);
            drop(log);
            if no_checkpoint {
                fs::remove_file(place.folder.path().join("checkpoint")).unwrap();
            }
            let log = place.open();
            let context = format!("step {step}, without checkpoint: {no_checkpoint}");
            assert_eq!(state(&log), expected, "{context}");
            assert_eq!(log.end_offset(), 20, "{context}");
            // It goes on as if nothing had been.
            log.append(keyed(&[("key 0", Some("last"))], Compression::None), NOW)
                .unwrap();
            seal(&log);
            compact(&log);
            expected.insert("key 0".to_owned(), "last".to_owned());
            assert_eq!(state(&log), expected, "{context}");
            assert_eq!(shown(&log).len(), 4, "{context}");
            let files = fs::read_dir(place.folder.path()).unwrap();
            let logs = files.filter(|file| {
                let path = file.as_ref().unwrap().path();
                path.extension().is_some_and(|extension| extension == "log")
            });
            let with_file = log
                .segments()
                .iter()
                .filter(|one| one.path().exists())
                .count();
            assert_eq!(logs.count(), with_file, "{context}");
            if done.is_ok() {
                assert!(step > 10, "there are {step} steps");
                break;
            }
        }
    }
}

#[test]
fn retention_that_comes_between_voids_the_pass() {
    let place = Place::new(LogConfig {
        delete: true,
        retention_ms: 60_000,
        ..compacted()
    });
    let log = place.open();
    log.append(keyed(&[("a", Some("1"))], Compression::None), NOW)
        .unwrap();
    seal(&log);
    log.append(keyed(&[("a", Some("2"))], Compression::None), NOW + 50_000)
        .unwrap();
    seal(&log);
    let looked = std::cell::Cell::new(0);
    let stopping = || {
        looked.set(looked.get() + 1);
        if looked.get() == 2 {
            log.delete_records(1).unwrap();
        }
        false
    };
    let pass = Pass {
        now_ms: NOW,
        most_keys: 1000,
        stopping: &stopping,
    };
    assert_eq!(log.compact(pass).unwrap(), None);
    assert_eq!(
        (log.start_offset(), shown(&log)),
        (1, vec![one(1, "a", "2")])
    );
    assert_eq!(log.segments().len(), 2);
}

/// Whether the log has of each key the newest record. A tombstone may be gone, and nothing else.
fn check_newest(log: &Partition, newest: &HashMap<String, (i64, Option<String>)>, context: &str) {
    let found = shown(log);
    assert!(found.is_sorted_by_key(|record| record.0), "{context}");
    let found: HashMap<_, _> = found
        .into_iter()
        .map(|(offset, key, value)| (key, (offset, value)))
        .collect();
    for (key, expected) in newest {
        match found.get(key) {
            Some(found) => assert_eq!(found, expected, "{context}, {key}"),
            None => assert_eq!(expected.1, None, "{context}, {key}"),
        }
    }
}

#[test]
fn random_histories_are_compacted_to_the_newest_records() {
    for seed in 0..40 {
        let mut random = fastrand::Rng::with_seed(seed);
        let place = Place::new(LogConfig {
            segment_bytes: 2000,
            ..compacted()
        });
        let mut log = place.open();
        let mut newest: HashMap<String, (i64, Option<String>)> = HashMap::new();
        let mut now_ms = NOW;
        for step in 0..200 {
            match random.u8(0..20) {
                0 => seal(&log),
                1 => {
                    now_ms += random.i64(0..DAY_MS);
                    die_after(random.bool().then(|| random.usize(0..12)));
                    let done = compact_at(&log, now_ms);
                    die_after(None);
                    if done.is_err() {
                        drop(log);
                        log = place.open();
                    }
                }
                2 => {
                    drop(log);
                    log = place.open();
                }
                _ => {
                    let count = random.usize(1..5);
                    let pairs: Vec<(String, Option<String>)> = (0..count)
                        .map(|_| {
                            let key = format!("key {}", random.u8(0..30));
                            (
                                key,
                                random.u8(0..4).checked_sub(1).map(|_| step.to_string()),
                            )
                        })
                        .collect();
                    let given: Vec<Pair<'_>> = pairs
                        .iter()
                        .map(|(key, value)| (key.as_str(), value.as_deref()))
                        .collect();
                    let codec = [Compression::None, Compression::Lz4][random.usize(0..2)];
                    let base = log.append(keyed(&given, codec), NOW).unwrap().base_offset;
                    for (offset, (key, value)) in (base..).zip(pairs) {
                        newest.insert(key, (offset, value));
                    }
                }
            }
            check_newest(&log, &newest, &format!("seed {seed}, step {step}"));
        }
    }
}

#[test]
fn a_record_with_an_offset_of_its_own_is_refused() {
    let place = Place::new(compacted());
    let log = place.open();
    let mut wild = keyed(&[("a", Some("1"))], Compression::None).to_vec();
    // Behind the length, the attributes and the time of the only record: 20 in the protocol's encoding.
    assert_eq!(wild[HEADER_SIZE + 3], 0);
    wild[HEADER_SIZE + 3] = 40;
    let checksum = crc32c::crc32c(&wild[21..]);
    wild[17..21].copy_from_slice(&checksum.to_be_bytes());
    assert_eq!(
        log.append(wild.into(), NOW).unwrap_err(),
        AppendError::InvalidRecord("the offsets of its records do not count up by one")
    );
}
