//! What is known of producers, over kills, power cuts, retention and damage.

use super::*;
use crate::producers::ProducerState;

fn sent(id: i64, sequence: i32) -> Bytes {
    Make {
        value: 200,
        producer: Some((id, 0, sequence)),
        ..MAKE
    }
    .bytes()
}

/// What the disk tells after a kill.
fn known(place: &Place) -> Vec<(i64, i32)> {
    let of = |one: &ProducerState| (one.producer_id, one.last_sequence);
    place.open().producers().iter().map(of).collect()
}

fn file(place: &Place) -> PathBuf {
    place.folder.path().join("producers")
}

fn small_segments() -> Place {
    Place::new(LogConfig {
        segment_bytes: 4 * 270,
        retention_ms: 60_000,
        ..LogConfig::default()
    })
}

#[test]
fn appends_go_on_while_the_state_of_producers_is_written() {
    let place = Place::default();
    let log = place.open();
    log.append(sent(1, 0), NOW).unwrap();
    log.append(sent(1, 1), NOW).unwrap();
    // Whoever opens it to write waits until somebody reads it.
    let slow = place.folder.path().join("producers.tmp");
    let mode = rustix::fs::Mode::RWXU;
    rustix::fs::mknodat(rustix::fs::CWD, &slow, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    std::thread::scope(|scope| {
        let keeping = scope.spawn(|| log.keep_producers(Durability::Process));
        while log.kept.try_lock().is_ok() {
            std::thread::yield_now();
        }
        assert_eq!(log.append(sent(1, 2), NOW).unwrap().base_offset, 2);
        let written = fs::read(&slow).unwrap();
        assert_eq!(keeping.join().unwrap().unwrap(), 2);
        // What was known when it began.
        assert_eq!(written[8..16], 2_i64.to_be_bytes());
    });
}

#[test]
fn a_missing_or_damaged_state_of_producers_is_found_again_in_the_log() {
    let place = small_segments();
    let log = place.open();
    for number in 0..10 {
        log.append(sent(number % 3, number as i32 / 3), NOW)
            .unwrap();
    }
    log.close().unwrap();
    drop(log);
    let expected = [(0, 3), (1, 2), (2, 2)];
    assert_eq!(known(&place), expected);
    let whole = fs::read(file(&place)).unwrap();
    for length in 0..whole.len() {
        fs::write(file(&place), &whole[..length]).unwrap();
        assert_eq!(known(&place), expected, "{length} bytes");
    }
    for damaged in [&b"nonsense"[..], &[0; 4096]] {
        fs::write(file(&place), damaged).unwrap();
        assert_eq!(known(&place), expected);
    }
    fs::remove_file(file(&place)).unwrap();
    assert_eq!(known(&place), expected);
}

#[test]
fn what_came_after_the_state_was_written_is_read_from_the_log() {
    let place = small_segments();
    let log = place.open();
    log.append(sent(1, 0), NOW).unwrap();
    log.close().unwrap();
    let early = fs::read(file(&place)).unwrap();
    for number in 1..10 {
        log.append(sent(1, number), NOW).unwrap();
    }
    log.close().unwrap();
    drop(log);
    fs::write(file(&place), early).unwrap();
    assert_eq!(known(&place), [(1, 9)]);
}

#[test]
fn who_wrote_only_to_removed_segments_is_known_after_a_kill() {
    let place = small_segments();
    let log = place.open();
    log.append(sent(9, 0), NOW).unwrap();
    for number in 0..7 {
        log.append(sent(1, number), NOW + 100_000).unwrap();
    }
    assert_eq!(log.delete_records(6), Ok(6));
    assert_eq!(place.bases(), [4]);
    drop(log);
    assert_eq!(known(&place), [(1, 6), (9, 0)]);
    let log = place.open();
    log.append(sent(8, 0), NOW + 100_000).unwrap();
    assert!(log.retain(NOW + 200_000).unwrap().segments > 0);
    drop(log);
    assert_eq!(known(&place), [(1, 6), (8, 0), (9, 0)]);
}

#[test]
fn a_state_of_batches_that_a_power_cut_took_is_not_believed() {
    loses_its_last_batch(|log| log.close().unwrap());
}

/// The checkpoint is of before: it says that nobody has written.
#[test]
fn a_state_that_is_newer_than_its_checkpoint_is_not_believed_without_its_batches() {
    loses_its_last_batch(|log| _ = log.keep_producers(Durability::Process).unwrap());
}

/// Two batches of one producer, of whom a power cut takes the second after the state was kept.
fn loses_its_last_batch(keep: impl FnOnce(&Partition)) {
    let place = Place::default();
    let log = place.open();
    log.append(sent(1, 0), NOW).unwrap();
    log.append(sent(1, 1), NOW).unwrap();
    keep(&log);
    drop(log);
    place.in_another_boot();
    let bytes = fs::read(place.log(0)).unwrap();
    fs::write(place.log(0), &bytes[..bytes.len() / 2]).unwrap();
    let log = place.open();
    assert_eq!(log.end_offset(), 1);
    // Another producer takes the place of what was lost, and the broker is killed.
    log.append(sent(2, 0), NOW).unwrap();
    log.append(sent(2, 1), NOW).unwrap();
    drop(log);
    assert_eq!(known(&place), [(1, 0), (2, 1)]);
}

#[test]
fn one_partition_remembers_no_more_producers_than_it_may() {
    let place = Place::new(LogConfig {
        max_producers: 10,
        ..LogConfig::default()
    });
    let log = place.open();
    for id in 0..100 {
        log.append(sent(id, 0), NOW + id).unwrap();
        assert!(log.producers().len() <= 10);
    }
    drop(log);
    // The log has all of them.
    assert!(known(&place).len() <= 10);
}

#[test]
fn random_histories_are_remembered_over_kills() {
    for seed in 0..30 {
        let mut random = fastrand::Rng::with_seed(seed);
        let place = small_segments();
        let mut log = place.open();
        let mut next = [0; 5];
        for step in 0..60 {
            match random.u8(..20) {
                0 => log.close().unwrap(),
                1 => drop(log.retain(NOW + random.i64(0..120_000)).unwrap()),
                2 => {
                    let before = random.i64(log.start_offset()..=log.end_offset());
                    log.delete_records(before).unwrap();
                }
                3 | 4 => {
                    let before = log.producers();
                    drop(log);
                    log = place.open();
                    assert_eq!(log.producers(), before, "seed {seed}, step {step}");
                }
                _ => {
                    let id = random.usize(..next.len());
                    log.append(sent(id as i64, next[id]), NOW).unwrap();
                    next[id] += 1;
                }
            }
        }
    }
}
