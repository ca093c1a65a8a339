//! Transactions in one partition: what readers of committed records see, whatever happens to the process and its files.

use std::collections::{HashMap, HashSet};

use super::*;
use crate::log::{Aborted, Marker, Outcome};

/// A batch of `count` records of a transaction.
fn sent(producer_id: i64, epoch: i16, sequence: i32, count: usize) -> Bytes {
    let producer = Some((producer_id, epoch, sequence));
    encode_with(&vec![NOW; count], 40, Compression::None, producer, true)
}

/// Appends as the coordinator lets one; returns the first offset.
fn write(log: &Partition, bytes: Bytes) -> i64 {
    let batch = log.check(bytes, NOW).unwrap();
    let verified = Some(log.markers());
    log.store(&batch, verified, NOW).unwrap().base_offset
}

fn end(log: &Partition, producer_id: i64, epoch: i16, outcome: Outcome) -> i64 {
    let marker = Marker {
        producer_id,
        epoch,
        outcome,
        coordinator_epoch: 0,
    };
    log.mark(marker, NOW).unwrap()
}

fn committed(log: &Partition, from: i64, max_bytes: usize) -> Fetched {
    log.read(Span {
        from,
        max_bytes,
        at_least_one: true,
        isolation: Isolation::Committed,
    })
    .unwrap()
}

/// The base offsets of all batches that a client shows to a reader of committed records, with the client's own rule: a
/// producer's records are skipped from the first offset of an aborted transaction to its marker.
fn seen(log: &Partition, from: i64, max_bytes: usize) -> Vec<i64> {
    let mut seen = Vec::new();
    let mut next = from;
    while next < log.last_stable().offset() {
        let fetched = committed(log, next, max_bytes);
        let mut aborted = fetched.aborted.clone();
        aborted.sort_by_key(|one| one.first);
        let mut coming = aborted.into_iter().peekable();
        let mut skipped = HashSet::new();
        for header in headers(&fetched.records) {
            while let Some(one) = coming.next_if(|one| one.first <= header.last_offset()) {
                skipped.insert(one.producer_id);
            }
            if header.is_control() {
                skipped.remove(&header.producer_id);
            } else if header.base_offset >= from
                && !(header.is_transactional() && skipped.contains(&header.producer_id))
            {
                seen.push(header.base_offset);
            }
            next = header.last_offset() + 1;
        }
    }
    seen
}

#[test]
fn committed_records_are_seen_and_aborted_ones_are_not() {
    let place = Place::default();
    let log = place.open();
    assert_eq!(write(&log, sent(1, 0, 0, 2)), 0);
    assert_eq!(write(&log, sent(2, 0, 0, 2)), 2);
    assert_eq!((log.last_stable().offset(), log.end_offset()), (0, 4));
    assert_eq!(committed(&log, 0, 9999).records, Bytes::new());
    assert_eq!(end(&log, 1, 0, Outcome::Abort), 4);
    assert_eq!(log.last_stable().offset(), 2);
    assert_eq!(end(&log, 2, 0, Outcome::Commit), 5);
    assert_eq!((log.last_stable().offset(), log.end_offset()), (6, 6));
    assert_eq!(seen(&log, 0, 9999), [2]);
    let fetched = committed(&log, 0, 9999);
    let aborted = Aborted {
        producer_id: 1,
        first: 0,
        last: 4,
        last_stable: 2,
    };
    assert_eq!(fetched.aborted, [aborted]);
    assert_eq!(committed(&log, 5, 9999).aborted, []);
    assert_eq!(log.fetch(0, 9999, true).unwrap().aborted, []);
}

#[test]
fn a_transaction_begins_only_where_its_coordinator_still_knows_it() {
    let place = Place::default();
    let log = place.open();
    let unverified = Err(AppendError::Unverified {
        producer_id: 1,
        epoch: 0,
    });
    let first = log.check(sent(1, 0, 0, 1), NOW).unwrap();
    assert_eq!(first.transactional(), Some((1, 0)));
    assert_eq!(log.store(&first, None, NOW), unverified);
    let asked = log.markers();
    end(&log, 1, 0, Outcome::Abort);
    assert_eq!(log.store(&first, Some(asked), NOW), unverified);
    let appended = log.store(&first, Some(log.markers()), NOW).unwrap();
    assert_eq!(appended.base_offset, 1);
    // It is open here now: what follows needs no question.
    let second = log.check(sent(1, 0, 1, 1), NOW).unwrap();
    assert_eq!(log.store(&second, None, NOW).unwrap().base_offset, 2);
    let outside = encode(&[NOW], 1, Compression::None, Some((1, 0, 2)));
    assert_eq!(
        log.append(outside, NOW),
        Err(AppendError::OutsideTransaction { producer_id: 1 })
    );
}

#[test]
fn a_marker_of_a_later_epoch_fences_and_begins_sequences_anew() {
    let place = Place::default();
    let log = place.open();
    write(&log, sent(1, 0, 0, 3));
    end(&log, 1, 1, Outcome::Abort);
    let late = log.check(sent(1, 0, 3, 1), NOW).unwrap();
    assert_eq!(
        log.store(&late, Some(log.markers()), NOW),
        Err(AppendError::InvalidProducerEpoch {
            producer_id: 1,
            epoch: 0,
            current: 1
        })
    );
    let gap = log.check(sent(1, 1, 3, 1), NOW).unwrap();
    assert_eq!(
        log.store(&gap, Some(log.markers()), NOW),
        Err(AppendError::OutOfOrderSequence {
            producer_id: 1,
            sequence: 3,
            expected: 0
        })
    );
    assert_eq!(write(&log, sent(1, 1, 0, 1)), 4);
    let state = log.producers()[0];
    assert_eq!(
        (
            state.producer_epoch,
            state.open_since,
            state.coordinator_epoch
        ),
        (1, Some(4), 0)
    );
}

#[test]
fn an_open_transaction_does_not_stop_retention() {
    let place = Place::new(LogConfig {
        segment_bytes: 200,
        retention_ms: 1000,
        producer_expiration_ms: 1000,
        ..LogConfig::default()
    });
    let log = place.open();
    write(&log, sent(1, 0, 0, 1));
    for _ in 0..3 {
        log.append(batch(1, 100), NOW).unwrap();
    }
    assert_eq!(log.last_stable().offset(), 0);
    log.retain(NOW + 1001).unwrap();
    assert_eq!((log.start_offset(), log.last_stable().offset()), (4, 4));
    // The producer is remembered until its transaction ends, over a restart too.
    drop(log);
    let log = place.open();
    assert_eq!(log.producers()[0].open_since, Some(0));
    log.append(batch(1, 100), NOW).unwrap();
    assert_eq!((log.last_stable().offset(), log.end_offset()), (4, 5));
    end(&log, 1, 0, Outcome::Abort);
    assert_eq!(log.last_stable().offset(), 6);
    log.retain(NOW + 1001).unwrap();
    assert_eq!(log.producers(), []);
}

#[test]
fn a_checkpoint_that_knows_more_than_the_log_is_not_believed() {
    let place = Place::default();
    let log = place.open();
    write(&log, sent(1, 0, 0, 1));
    let size = fs::metadata(place.log(0)).unwrap().len();
    end(&log, 1, 0, Outcome::Abort);
    log.close().unwrap();
    drop(log);
    place.in_another_boot();
    let file = fs::OpenOptions::new()
        .write(true)
        .open(place.log(0))
        .unwrap();
    file.set_len(size).unwrap();
    let log = place.open();
    assert_eq!((log.end_offset(), log.last_stable().offset()), (1, 0));
    assert_eq!(log.producers()[0].open_since, Some(0));
    end(&log, 1, 0, Outcome::Commit);
    assert_eq!(seen(&log, 0, 9999), [0]);
}

/// Which batches belong to which end of which transaction.
#[derive(Default)]
struct Model {
    /// Offsets of batches that are visible once nothing before them is open.
    visible: Vec<i64>,
    /// Per producer: epoch, next sequence, offsets of the batches of its open transaction.
    producers: HashMap<i64, (i16, i32, Vec<i64>)>,
}

impl Model {
    fn check(&self, log: &Partition, random: &mut fastrand::Rng, seed: u64) {
        let open = self.producers.values().filter_map(|one| one.2.first());
        let stable = open.copied().min().unwrap_or(log.end_offset());
        assert_eq!(log.last_stable().offset(), stable, "seed {seed}");
        let from = random.i64(0..=stable);
        let mut expected: Vec<i64> = self
            .visible
            .iter()
            .copied()
            .filter(|offset| (from..stable).contains(offset))
            .collect();
        expected.sort_unstable();
        assert_eq!(
            seen(log, from, random.usize(1..3000)),
            expected,
            "seed {seed}"
        );
    }
}

fn history(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let place = Place::new(LogConfig {
        segment_bytes: random.u32(400..4000),
        fsync: random.u8(0..8) == 0,
        ..LogConfig::default()
    });
    let mut log = place.open();
    let mut model = Model::default();
    for _ in 0..150 {
        let id = random.i64(0..4);
        let known = model.producers.entry(id).or_default();
        match random.u8(0..20) {
            0..=2 => {
                let base = log.append(batch(1, 50), NOW).unwrap().base_offset;
                model.visible.push(base);
            }
            3..=10 => {
                let offset = write(&log, sent(id, known.0, known.1, 1));
                known.1 += 1;
                known.2.push(offset);
            }
            11..=15 => {
                let outcome = match random.bool() {
                    true => Outcome::Commit,
                    false => Outcome::Abort,
                };
                if random.bool() {
                    (known.0, known.1) = (known.0 + 1, 0);
                }
                end(&log, id, known.0, outcome);
                let offsets = std::mem::take(&mut known.2);
                if outcome == Outcome::Commit {
                    model.visible.extend(offsets);
                }
            }
            16 => {
                log.close().unwrap();
                log = place.open();
            }
            17 => {
                drop(log);
                log = place.open();
            }
            18 if random.bool() => {
                log.close().unwrap();
                // As if somebody had copied the folder: nothing is believed, and aborted ranges have to be found again.
                for base in place.bases() {
                    let file = fs::OpenOptions::new().write(true).open(place.log(base));
                    let later = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1);
                    file.unwrap().set_modified(later).unwrap();
                }
                log = place.open();
            }
            18 => {
                log.close().unwrap();
                for base in place.bases() {
                    fs::remove_file(place.folder.path().join(format!("{base:020}.aborted"))).ok();
                }
                log = place.open();
            }
            _ => {
                drop(log);
                fs::remove_file(place.folder.path().join("checkpoint")).ok();
                log = place.open();
            }
        }
        model.check(&log, &mut random, seed);
    }
}

#[test]
fn random_histories_show_committed_records_and_no_others() {
    for seed in 0..60 {
        history(seed);
    }
}

/// A log of several segments, each with an aborted transaction.
fn with_aborted_transactions(place: &Place) -> Partition {
    let log = place.open();
    for sequence in 0..20 {
        write(&log, sent(1, 0, sequence, 1));
        end(&log, 1, 0, Outcome::Abort);
    }
    assert!(log.segments().len() > 4);
    log
}

fn unknown(log: &Partition) -> usize {
    let segments = log.segments();
    let unknown = segments.iter().filter(|one| one.aborted().is_unknown());
    unknown.count()
}

#[test]
fn the_scan_of_a_copied_folder_finds_what_was_aborted() {
    let place = Place::new(LogConfig {
        segment_bytes: 500,
        ..LogConfig::default()
    });
    with_aborted_transactions(&place).close().unwrap();
    for base in place.bases() {
        let file = fs::OpenOptions::new().write(true).open(place.log(base));
        let later = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1);
        file.unwrap().set_modified(later).unwrap();
    }
    let log = place.open();
    // The start has read everything: no reader has to do it again.
    assert_eq!(unknown(&log), 0);
    assert!(seen(&log, 0, 9999).is_empty());
}

#[test]
fn aborted_ranges_that_are_missing_are_found_in_one_go() {
    let place = Place::new(LogConfig {
        segment_bytes: 500,
        ..LogConfig::default()
    });
    let log = with_aborted_transactions(&place);
    for segment in log.segments() {
        segment.aborted().forget();
    }
    committed(&log, 0, 1);
    assert_eq!(unknown(&log), 0);
    assert!(seen(&log, 0, 9999).is_empty());
}
