//! The bytes of the file, and what becomes of damaged ones.

use super::*;
use crate::log::{Marker, Outcome};
use crate::producers::Sequenced;

/// One producer with an open transaction, one that has ended one and written two batches.
fn example() -> Producers {
    let batch = |producer_id, first, transactional| Sequenced {
        producer_id,
        epoch: 3,
        first,
        last_offset_delta: 9,
        transactional,
    };
    let mut producers = Producers::new(usize::MAX);
    producers.record(batch(7, i32::MAX - 5, true), 100, 1_700_000_000_000, 5000);
    producers.record(batch(8, 0, true), 110, -1, 6000);
    let marker = Marker {
        producer_id: 8,
        epoch: 3,
        outcome: Outcome::Commit,
        coordinator_epoch: 2,
    };
    producers.end(marker, 120, 7000);
    producers.record(batch(8, 10, false), 121, 42, 8000);
    producers
}

#[test]
fn the_bytes_of_version_1_are_read_for_ever() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/producers-1.bin");
    let mut producers = example();
    producers.until = 131;
    assert_eq!(read(&path).unwrap(), Some((131, producers)));
    assert_eq!(std::fs::read(&path).unwrap(), example().encode(131));
}

#[test]
fn every_flipped_bit_and_every_missing_end_is_noticed() {
    let bytes = example().encode(131);
    for position in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[position] ^= 0x10;
        let damaged = decode(&damaged).unwrap_err();
        assert_eq!(damaged, Broken::Damaged("the checksum does not match"));
        decode(&bytes[..position]).unwrap_err();
    }
}

#[test]
fn lengths_that_the_file_does_not_have_are_refused_without_allocating() {
    let mut bytes = Producers::new(1).encode(5);
    bytes[16..20].copy_from_slice(&u32::MAX.to_be_bytes());
    let content = bytes.len() - 4;
    let checksum = crc32c::crc32c(&bytes[..content]);
    bytes[content..].copy_from_slice(&checksum.to_be_bytes());
    let refused = decode(&bytes).unwrap_err();
    assert_eq!(refused, Broken::Damaged("a producer is cut off"));
}

#[test]
fn a_newer_version_is_refused_by_number() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("producers");
    let mut bytes = Producers::new(1).encode(5);
    bytes[7] = 2;
    let content = bytes.len() - 4;
    let checksum = crc32c::crc32c(&bytes[..content]);
    bytes[content..].copy_from_slice(&checksum.to_be_bytes());
    std::fs::write(&path, bytes).unwrap();
    let refused = read(&path).unwrap_err().to_string();
    let expected = format!(
        "format version 2 of `{}` is unknown, this release reads up to 1",
        path.display()
    );
    assert_eq!(refused, expected);
}
