//! Disks that are full or broken. (Faults 37 and 39 of docs/faults.md.)

use rustix::io::Errno;

use super::*;
use crate::log::AppendError;
use crate::log::file::faults;

#[test]
fn fault_37_a_full_disk_refuses_and_recovers_by_itself() {
    for left in [0, 1, 61, 100, 269] {
        let place = Place::default();
        let log = place.open();
        let send = |number| {
            log.append(
                Make {
                    value: 200,
                    producer: Some((1, 0, number)),
                    ..MAKE
                }
                .bytes(),
                NOW,
            )
        };
        send(0).unwrap();
        faults::space_left(Some(left));
        let refused = Err(AppendError::Storage(
            "No space left on device (os error 28)".to_owned(),
        ));
        assert_eq!(send(1), refused);
        assert_eq!(send(1), refused);
        assert_eq!(
            send(1).map_err(|error| error.code()),
            Err(kafka_protocol::ResponseError::KafkaStorageError)
        );
        // Reading goes on, nothing torn is seen or stays.
        assert_eq!((offsets(&log, 0), log.end_offset()), (vec![0], 1));
        assert_eq!(fs::metadata(place.log(0)).unwrap().len(), 270);
        faults::space_left(None);
        assert_eq!(send(1).unwrap().base_offset, 1);
        drop(log);
        assert_eq!(offsets(&place.open(), 0), [0, 1]);
    }
}

#[test]
fn fault_37_the_first_record_may_meet_a_full_disk() {
    let place = Place::default();
    let log = place.open();
    faults::space_left(Some(100));
    let refused = Err(AppendError::Storage(
        "No space left on device (os error 28)".to_owned(),
    ));
    assert_eq!(log.append(batch(1, 200), NOW), refused);
    faults::space_left(None);
    assert_eq!(log.append(batch(1, 200), NOW).unwrap().base_offset, 0);
    assert_eq!(offsets(&log, 0), [0]);
}

#[test]
fn fault_39_a_failed_sync_ends_appends_for_good() {
    let place = Place::new(LogConfig {
        fsync: true,
        ..LogConfig::default()
    });
    let log = place.open();
    log.append(batch(1, 200), NOW).unwrap();
    faults::fail_sync(Some(Errno::IO));
    let refused = Err(AppendError::Storage(
        "Input/output error (os error 5)".to_owned(),
    ));
    assert_eq!(log.append(batch(1, 200), NOW), refused);
    // The second sync would succeed, and prove nothing.
    faults::fail_sync(None);
    assert_eq!(log.append(batch(1, 200), NOW), refused);
    assert_eq!((offsets(&log, 0), log.end_offset()), (vec![0], 1));
}

#[test]
fn fault_39_a_write_that_fails_otherwise_is_final_too() {
    let place = Place::default();
    let log = place.open();
    log.append(batch(1, 200), NOW).unwrap();
    faults::fail_write(Some(Errno::IO));
    let refused = Err(AppendError::Storage(
        "Input/output error (os error 5)".to_owned(),
    ));
    assert_eq!(log.append(batch(1, 200), NOW), refused);
    faults::fail_write(None);
    assert_eq!(log.append(batch(1, 200), NOW), refused);
    assert_eq!(offsets(&log, 0), [0]);
    drop(log);
    assert_eq!(offsets(&place.open(), 0), [0]);
}
