//! Sequences, epochs, duplicates and expiry of idempotent producers, and the ids they get.

use super::ids::BLOCK;
use super::*;

fn batch(epoch: i16, first: i32, count: i32) -> Sequenced {
    Sequenced {
        producer_id: 7,
        epoch,
        first,
        last_offset_delta: count - 1,
        transactional: false,
    }
}

fn written(batches: &[(i16, i32, i32)]) -> Producers {
    let mut producers = Producers::new(usize::MAX);
    let mut offset = 100;
    for &(epoch, first, count) in batches {
        assert_eq!(producers.admit(batch(epoch, first, count), false), Ok(None));
        producers.record(batch(epoch, first, count), offset, 5, 1000);
        offset += i64::from(count);
    }
    producers
}

fn out_of_order(sequence: i32, expected: i32) -> Result<Option<Written>, AppendError> {
    Err(AppendError::OutOfOrderSequence {
        producer_id: 7,
        sequence,
        expected,
    })
}

#[test]
fn a_batch_sent_again_is_told_its_old_offsets() {
    let producers = written(&[(0, 0, 10), (0, 10, 5)]);
    let again = producers.admit(batch(0, 0, 10), false).unwrap().unwrap();
    assert_eq!(
        (again.base_offset, again.last_offset, again.timestamp),
        (100, 109, 5)
    );
    let again = producers.admit(batch(0, 10, 5), false).unwrap().unwrap();
    assert_eq!((again.base_offset, again.last_offset), (110, 114));
}

#[test]
fn a_gap_or_a_step_back_is_refused() {
    let producers = written(&[(0, 0, 10)]);
    assert_eq!(
        producers.admit(batch(0, 11, 1), false),
        out_of_order(11, 10)
    );
    assert_eq!(producers.admit(batch(0, 0, 9), false), out_of_order(0, 10));
    assert_eq!(producers.admit(batch(0, 10, 1), false), Ok(None));
}

#[test]
fn five_batches_are_remembered_and_a_sixth_is_not() {
    let producers = written(&[
        (0, 0, 1),
        (0, 1, 1),
        (0, 2, 1),
        (0, 3, 1),
        (0, 4, 1),
        (0, 5, 1),
    ]);
    assert_eq!(
        producers
            .admit(batch(0, 1, 1), false)
            .unwrap()
            .unwrap()
            .base_offset,
        101
    );
    assert_eq!(producers.admit(batch(0, 0, 1), false), out_of_order(0, 6));
}

#[test]
fn sequences_wrap_inside_a_batch_and_between_two() {
    let mut producers = written(&[(0, i32::MAX - 2, 5)]);
    assert_eq!(producers.describe()[0].last_sequence, 1);
    assert_eq!(producers.admit(batch(0, 2, 1), false), Ok(None));
    assert_eq!(
        producers
            .admit(batch(0, i32::MAX - 2, 5), false)
            .unwrap()
            .unwrap()
            .last_offset,
        104
    );
    producers = written(&[(0, i32::MAX - 2, 3)]);
    assert_eq!(producers.describe()[0].last_sequence, i32::MAX);
    assert_eq!(producers.admit(batch(0, 0, 1), false), Ok(None));
    assert_eq!(producers.admit(batch(0, 1, 1), false), out_of_order(1, 0));
}

#[test]
fn a_new_epoch_begins_at_zero_and_fences_the_old_one() {
    let mut producers = written(&[(3, 0, 10)]);
    assert_eq!(producers.admit(batch(4, 10, 1), false), out_of_order(10, 0));
    assert_eq!(producers.admit(batch(4, 0, 10), false), Ok(None));
    producers.record(batch(4, 0, 10), 110, 5, 1000);
    assert_eq!(
        producers.admit(batch(3, 10, 1), false),
        Err(AppendError::InvalidProducerEpoch {
            producer_id: 7,
            epoch: 3,
            current: 4
        })
    );
    assert_eq!(producers.describe()[0].producer_epoch, 4);
}

#[test]
fn an_unknown_producer_begins_anywhere() {
    assert_eq!(
        Producers::new(usize::MAX).admit(batch(2, 77, 3), false),
        Ok(None)
    );
}

#[test]
fn silence_is_forgotten_after_the_time_allowed() {
    let mut producers = written(&[(0, 0, 10)]);
    assert_eq!(producers.expire(1999, 1000), 0);
    assert_eq!(producers.expire(2000, 1000), 1);
    assert_eq!(producers.describe(), []);
}

#[test]
fn what_recovery_cut_off_may_be_sent_again() {
    let mut producers = written(&[(0, 0, 10), (0, 10, 5)]);
    producers.truncate(112);
    assert_eq!(producers.admit(batch(0, 10, 5), false), Ok(None));
    producers.truncate(100);
    assert_eq!(producers.describe(), []);
}

fn known(producers: &Producers) -> Vec<i64> {
    producers
        .describe()
        .iter()
        .map(|one| one.producer_id)
        .collect()
}

#[test]
fn at_the_limit_the_longest_silent_are_forgotten_and_nobody_with_an_open_transaction() {
    let mut producers = Producers::new(4);
    let of = |producer_id, transactional| Sequenced {
        producer_id,
        transactional,
        ..batch(0, 0, 1)
    };
    producers.record(of(1, true), 100, 5, 1000);
    producers.record(of(2, false), 101, 5, 1001);
    producers.record(of(3, false), 102, 5, 1002);
    producers.record(of(4, false), 103, 5, 1003);
    // Number 2 has written again since.
    producers.record(of(2, false), 104, 5, 1004);
    producers.record(of(5, false), 105, 5, 1005);
    assert_eq!(known(&producers), [1, 2, 4, 5]);
    for id in 6..10 {
        producers.record(of(id, true), 100 + id, 5, 1000 + id);
    }
    assert_eq!(known(&producers), [1, 6, 7, 8, 9]);
    assert_eq!(producers.earliest_open(), Some(100));
}

#[test]
fn a_million_producers_that_write_once_take_bounded_memory() {
    let mut producers = Producers::new(1000);
    for producer_id in 0..1_000_000 {
        let one = Sequenced {
            producer_id,
            ..batch(0, 0, 1)
        };
        producers.record(one, producer_id, 5, producer_id);
        assert!(producers.count() <= 1000);
    }
    assert!(known(&producers).contains(&999_999));
}

#[test]
fn the_census_names_the_longest_silent_of_all_partitions() {
    let census = Census::new(8);
    let (mut first, mut second) = (Counted::new(&census), Counted::new(&census));
    first.set(6);
    second.set(2);
    assert!(!census.is_over());
    second.set(4);
    assert!(census.is_over());
    // Of ten, seven stay: three go, the oldest of them at 1, 2 and 3.
    let excess = census.excess(&mut [9, 1, 8, 3, 7, 2]);
    assert_eq!(
        excess,
        Some(Excess {
            up_to_ms: 3,
            count: 3
        })
    );
    drop(first);
    assert!(!census.is_over());
}

#[test]
fn ids_are_never_given_twice() {
    let data = tempfile::tempdir().unwrap();
    let ids = ProducerIds::open(data.path()).unwrap();
    let mut given: Vec<i64> = (0..BLOCK + 1).map(|_| ids.allocate().unwrap()).collect();
    drop(ids);
    let ids = ProducerIds::open(data.path()).unwrap();
    given.push(ids.allocate().unwrap());
    assert_eq!(given.last(), Some(&(2 * BLOCK)));
    given.dedup();
    assert_eq!(given.len() as i64, BLOCK + 2);
}

#[test]
fn a_transaction_does_not_begin_where_an_earlier_one_of_its_producer_is_open() {
    let transactional = |epoch| Sequenced {
        transactional: true,
        ..batch(epoch, 0, 1)
    };
    let mut producers = Producers::new(usize::MAX);
    assert_eq!(producers.admit(transactional(3), true), Ok(None));
    producers.record(transactional(3), 100, 5, 1000);
    assert_eq!(
        producers.admit(transactional(4), true),
        Err(AppendError::EarlierTransaction { producer_id: 7 })
    );
    let marker = Marker {
        producer_id: 7,
        epoch: 3,
        outcome: Outcome::Abort,
        coordinator_epoch: 0,
    };
    producers.end(marker, 101, 1000);
    assert_eq!(producers.admit(transactional(4), true), Ok(None));
}
