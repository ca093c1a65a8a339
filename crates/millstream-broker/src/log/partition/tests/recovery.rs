//! Opening after clean stops, kills, power cuts and damage. (Faults 38, 40 and 42 of docs/faults.md.)
//!
//! Dropping a partition without `close` is what a kill leaves: everything written, nothing noted.

use super::*;
use crate::log::recovery;

fn look(place: &Place) -> recovery::Recovered {
    recovery::open(place.folder.path(), &place.config, NOW).unwrap()
}

/// Ten batches of 270 bytes, four in a segment.
fn filled(place: &Place) {
    let log = place.open();
    for number in 0..10 {
        log.append(
            Make {
                value: 200,
                producer: Some((1, 0, number)),
                ..MAKE
            }
            .bytes(),
            NOW,
        )
        .unwrap();
    }
    assert_eq!(place.bases(), [0, 4, 8]);
}

fn rolled() -> Place {
    Place::new(LogConfig {
        segment_bytes: 4 * 270,
        ..LogConfig::default()
    })
}

#[test]
fn after_a_clean_stop_nothing_is_read() {
    let place = rolled();
    filled(&place);
    place.open().close().unwrap();
    let found = look(&place);
    assert_eq!((found.scanned, found.cut, found.changed), (0, 0, false));
    let log = place.open();
    assert_eq!(offsets(&log, 0), (0..10).collect::<Vec<_>>());
    assert_eq!(log.producers()[0].last_sequence, 9);
}

#[test]
fn after_a_kill_only_what_was_not_noted_is_read() {
    let place = rolled();
    filled(&place);
    assert_eq!(look(&place).scanned, 2 * 270);
    let log = place.open();
    log.close().unwrap();
    log.append(
        Make {
            value: 200,
            producer: Some((1, 0, 10)),
            ..MAKE
        }
        .bytes(),
        NOW,
    )
    .unwrap();
    drop(log);
    assert_eq!(look(&place).scanned, 270);
    let log = place.open();
    assert_eq!(
        (log.end_offset(), log.producers()[0].last_sequence),
        (11, 10)
    );
    assert_eq!(log.max_timestamp().unwrap(), Some((0, NOW)));
}

#[test]
fn fault_38_a_torn_end_is_cut_off_wherever_it_is_torn() {
    let place = rolled();
    filled(&place);
    let whole = fs::read(place.log(8)).unwrap();
    let checkpoint = fs::read(place.folder.path().join("checkpoint")).unwrap();
    for length in 270..540 {
        fs::write(place.log(8), &whole[..length]).unwrap();
        fs::write(place.folder.path().join("checkpoint"), &checkpoint).unwrap();
        assert_eq!(look(&place).cut, length as u64 - 270);
        assert_eq!(fs::metadata(place.log(8)).unwrap().len(), 270);
    }
    let log = place.open();
    assert_eq!((log.end_offset(), log.producers()[0].last_sequence), (9, 8));
    // What was cut off was never acknowledged; its producer sends it again.
    let again = Make {
        value: 200,
        producer: Some((1, 0, 9)),
        ..MAKE
    }
    .bytes();
    assert_eq!(log.append(again, NOW).unwrap().base_offset, 9);
}

#[test]
fn fault_38_bytes_behind_the_end_are_cut_off_even_after_a_clean_stop() {
    let place = rolled();
    filled(&place);
    place.open().close().unwrap();
    let mut bytes = fs::read(place.log(8)).unwrap();
    bytes.extend([0; 5000]);
    fs::write(place.log(8), bytes).unwrap();
    assert_eq!(look(&place).cut, 5000);
    assert_eq!(offsets(&place.open(), 0), (0..10).collect::<Vec<_>>());
}

/// Changes one byte of a file and says how opening is refused.
fn refusal(place: &Place, base: i64, position: usize) -> String {
    let mut bytes = fs::read(place.log(base)).unwrap();
    bytes[position] ^= 0x40;
    fs::write(place.log(base), &bytes).unwrap();
    let error = place.try_open().map(|_| ()).unwrap_err().to_string();
    bytes[position] ^= 0x40;
    fs::write(place.log(base), &bytes).unwrap();
    error
}

#[test]
fn fault_38_damage_in_the_middle_is_refused_with_file_and_offset() {
    for clean in [false, true] {
        let place = rolled();
        filled(&place);
        if clean {
            place.open().close().unwrap();
        }
        let log = |base| place.log(base).display().to_string();
        assert_eq!(
            refusal(&place, 8, 100),
            format!(
                "`{}` is corrupt at byte 0: the checksum does not match (offset 8), and a valid record batch follows at byte 270",
                log(8)
            )
        );
        // A length that points behind the end does not hide what follows.
        assert_eq!(
            refusal(&place, 8, 8),
            format!(
                "`{}` is corrupt at byte 0: the batch is longer than the file (offset 8), and a valid record batch follows at byte 270",
                log(8)
            )
        );
        assert_eq!(
            refusal(&place, 4, 3 * 270 + 100),
            format!(
                "`{}` is corrupt at byte 810: the checksum does not match (offset 7), and segments follow",
                log(4)
            )
        );
        assert_eq!(offsets(&place.open(), 0), (0..10).collect::<Vec<_>>());
    }
}

#[test]
fn fault_38_a_missing_or_short_segment_is_refused() {
    let place = rolled();
    filled(&place);
    let bytes = fs::read(place.log(4)).unwrap();
    fs::write(place.log(4), &bytes[..1000]).unwrap();
    assert_eq!(
        place.try_open().map(|_| ()).unwrap_err().to_string(),
        format!(
            "`{}` is corrupt at byte 1000: the file has only 1000 of its 1080 bytes",
            place.log(4).display()
        )
    );
    fs::remove_file(place.log(4)).unwrap();
    assert_eq!(
        place.try_open().map(|_| ()).unwrap_err().to_string(),
        format!(
            "`{}` is corrupt at byte 0: the file is missing, it held offsets 4 to 7",
            place.log(4).display()
        )
    );
}

#[test]
fn fault_38_a_last_segment_that_is_shorter_or_worse_than_before_is_refused() {
    let place = rolled();
    filled(&place);
    place.open().close().unwrap();
    let bytes = fs::read(place.log(8)).unwrap();
    assert_eq!(bytes.len(), 540);
    for length in [0, 100, 270, 539] {
        fs::write(place.log(8), &bytes[..length]).unwrap();
        assert_eq!(
            place.try_open().map(|_| ()).unwrap_err().to_string(),
            format!(
                "`{}` is corrupt at byte {length}: the file has only {length} of its 540 bytes",
                place.log(8).display()
            )
        );
    }
    let mut damaged = bytes;
    damaged[500] ^= 1;
    fs::write(place.log(8), damaged).unwrap();
    assert_eq!(
        place.try_open().map(|_| ()).unwrap_err().to_string(),
        format!(
            "`{}` is corrupt at byte 270: the checksum does not match (offset 9), and it was good before",
            place.log(8).display()
        )
    );
}

#[test]
fn fault_38_without_a_checkpoint_everything_is_read() {
    let place = rolled();
    filled(&place);
    place.open().close().unwrap();
    let checkpoint = place.folder.path().join("checkpoint");
    for damage in [None, Some(&b"millstream-log 2 00000000\n{}"[..])] {
        fs::remove_file(&checkpoint).unwrap();
        if let Some(bytes) = damage {
            fs::write(&checkpoint, bytes).unwrap();
        }
        assert_eq!(look(&place).scanned, 10 * 270);
        let log = place.open();
        assert_eq!(
            (log.end_offset(), log.producers()[0].last_sequence),
            (10, 9)
        );
        log.close().unwrap();
        assert_eq!(look(&place).scanned, 0);
    }
}

#[test]
fn fault_38_after_a_power_cut_the_log_ends_where_the_disk_stopped() {
    let place = rolled();
    filled(&place);
    // The machine was started again since, and pages of segment 4 never reached the disk.
    place.in_another_boot();
    let mut bytes = fs::read(place.log(4)).unwrap();
    bytes[270..600].fill(0);
    fs::write(place.log(4), bytes).unwrap();
    let found = look(&place);
    assert_eq!((found.scanned, found.cut), (8 * 270, 5 * 270));
    assert_eq!(place.bases(), [0, 4]);
    let log = place.open();
    assert_eq!(offsets(&log, 0), [0, 1, 2, 3, 4]);
    assert_eq!(log.producers()[0].last_sequence, 4);
}

#[test]
fn fault_42_a_checkpoint_of_a_newer_release_is_refused() {
    let place = rolled();
    filled(&place);
    let checkpoint = place.folder.path().join("checkpoint");
    let text = fs::read_to_string(&checkpoint).unwrap();
    fs::write(
        &checkpoint,
        text.replacen("millstream-log 4", "millstream-log 5", 1),
    )
    .unwrap();
    assert_eq!(
        place.try_open().map(|_| ()).unwrap_err().to_string(),
        format!(
            "format version 5 of `{}` is unknown, this release reads up to 4",
            checkpoint.display()
        )
    );
}

#[test]
fn fault_40_a_folder_in_place_of_a_segment_is_named() {
    let place = rolled();
    fs::create_dir(place.log(0)).unwrap();
    assert_eq!(
        place.try_open().map(|_| ()).unwrap_err().to_string(),
        format!(
            "`{}` is corrupt at byte 0: it is not a regular file",
            place.log(0).display()
        )
    );
}

#[test]
fn a_kill_while_a_segment_begins_leaves_an_empty_file() {
    let place = rolled();
    filled(&place);
    fs::write(place.log(10), b"").unwrap();
    let log = place.open();
    assert_eq!(log.append(batch(1, 1), NOW).unwrap().base_offset, 10);
    assert_eq!(offsets(&log, 0), (0..11).collect::<Vec<_>>());
}

#[test]
fn leftovers_of_a_kill_are_removed() {
    let place = rolled();
    filled(&place);
    fs::write(place.folder.path().join("checkpoint.tmp"), "half").unwrap();
    fs::write(
        place.folder.path().join("00000000000000000003.index"),
        "old",
    )
    .unwrap();
    place.open();
    assert!(!place.folder.path().join("checkpoint.tmp").exists());
    assert!(
        !place
            .folder
            .path()
            .join("00000000000000000003.index")
            .exists()
    );
}

#[test]
fn fault_38_a_checkpoint_that_a_power_cut_left_unreadable_excuses_what_else_it_did() {
    let place = rolled();
    filled(&place);
    // The checkpoint was renamed into place, and its bytes never reached the disk; nor did those of a batch.
    fs::write(place.folder.path().join("checkpoint"), [0; 300]).unwrap();
    let mut bytes = fs::read(place.log(4)).unwrap();
    bytes[270..600].fill(0);
    fs::write(place.log(4), bytes).unwrap();
    assert_eq!(offsets(&place.open(), 0), [0, 1, 2, 3, 4]);
}
