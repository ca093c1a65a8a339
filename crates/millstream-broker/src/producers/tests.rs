//! Sequences, epochs, duplicates and expiry of idempotent producers, and the ids they get.

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
    let mut producers = Producers::default();
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
    assert_eq!(Producers::default().admit(batch(2, 77, 3), false), Ok(None));
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

#[test]
fn a_stored_state_is_the_same_afterwards() {
    let producers = written(&[(0, 0, 10), (0, 10, 5)]);
    let text = serde_json::to_string(&producers).unwrap();
    assert_eq!(serde_json::from_str::<Producers>(&text).unwrap(), producers);
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
    let mut producers = Producers::default();
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
