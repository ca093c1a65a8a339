//! Look-ups by time, for every codec, and what they do about batches that lie.

use super::*;
use crate::log::ReadError;

const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

#[test]
fn a_time_finds_the_exact_record_in_every_codec() {
    for codec in CODECS {
        let place = Place::new(LogConfig {
            segment_bytes: 1500,
            index_interval_bytes: 0,
            ..LogConfig::default()
        });
        let log = place.open();
        let mut all = Vec::new();
        for number in 0..20 {
            // Not in order within a batch: the first record that is late enough counts.
            let times: Vec<i64> = [3, 1, 7, 5]
                .iter()
                .map(|delta| NOW + 10 * number + delta)
                .collect();
            let base = log
                .append(encode(&times, 60, codec, None), NOW)
                .unwrap()
                .base_offset;
            all.extend(
                times
                    .iter()
                    .enumerate()
                    .map(|(place, time)| (base + place as i64, *time)),
            );
        }
        assert!(place.bases().len() > 1);
        for time in NOW - 1..NOW + 210 {
            let expected = all.iter().find(|record| record.1 >= time).copied();
            assert_eq!(
                log.offset_for_time(time).unwrap(),
                expected,
                "{codec:?} at {time}"
            );
        }
        assert_eq!(log.max_timestamp().unwrap(), Some((78, NOW + 197)));
        log.delete_records(41).unwrap();
        assert_eq!(log.offset_for_time(NOW).unwrap(), Some((41, NOW + 101)));
    }
}

#[test]
fn the_largest_timestamp_is_looked_for_again_when_it_is_deleted() {
    let place = Place::default();
    let log = place.open();
    assert_eq!(log.max_timestamp().unwrap(), None);
    assert_eq!(log.offset_for_time(0).unwrap(), None);
    for times in [[NOW, NOW + 99], [NOW + 5, NOW + 9], [NOW + 9, NOW + 3]] {
        log.append(encode(&times, 1, Compression::None, None), NOW)
            .unwrap();
    }
    assert_eq!(log.max_timestamp().unwrap(), Some((1, NOW + 99)));
    log.delete_records(2).unwrap();
    assert_eq!(log.max_timestamp().unwrap(), Some((3, NOW + 9)));
    log.delete_records(6).unwrap();
    assert_eq!(log.max_timestamp().unwrap(), None);
}

/// A batch whose records are `body`, however wrong.
fn forged(codec: u8, body: &[u8]) -> Bytes {
    let mut bytes = batch(1, 1)[..HEADER_SIZE].to_vec();
    bytes.extend_from_slice(body);
    bytes[22] = codec;
    let length = bytes.len() as i32 - 12;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    let checksum = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&checksum.to_be_bytes());
    Bytes::from(bytes)
}

fn looked_up(bytes: Bytes) -> String {
    let place = Place::default();
    let log = place.open();
    log.append(bytes, NOW).unwrap();
    match log.offset_for_time(NOW) {
        Err(ReadError::Corrupt(reason)) => reason
            .split(" cannot be opened: ")
            .last()
            .unwrap()
            .to_owned(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn fault_36_a_compression_bomb_is_refused_in_bounded_memory() {
    // One record of 1 GiB of zeros, in 1 MiB of gzip.
    let length = 1_u64 << 30;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let mut record = Vec::new();
    let mut rest = length * 2;
    while rest >= 0x80 {
        record.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    record.push(rest as u8);
    // Its timestamp is before that of the header, so that all of it must be passed over.
    record.extend([0, 1, 0]);
    std::io::Write::write_all(&mut encoder, &record).unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..300 {
        std::io::Write::write_all(&mut encoder, &zeros).unwrap();
    }
    let bomb = forged(1, &encoder.finish().unwrap());
    assert!(bomb.len() < 400_000);
    assert_eq!(
        looked_up(bomb),
        "the batch decompresses to more than 256 MiB"
    );
}

#[test]
fn raw_snappy_without_the_header_of_snappy_java_is_opened_too() {
    // One record: length, attributes, timestamp and offset delta, no key, a value of one byte, no headers.
    let record = [14, 0, 0, 0, 1, 2, b'x', 0];
    let body = snap::raw::Encoder::new().compress_vec(&record).unwrap();
    let place = Place::default();
    let log = place.open();
    log.append(forged(2, &body), NOW).unwrap();
    assert_eq!(log.offset_for_time(NOW).unwrap(), Some((0, NOW)));
}

#[test]
fn fault_36_broken_compression_is_an_error_and_no_crash() {
    // What stands before the reason is the codec's own.
    for codec in 1..=4 {
        assert!(!looked_up(forged(codec, b"this is not compressed at all")).is_empty());
        assert!(!looked_up(forged(codec, b"")).is_empty());
    }
    let claim = [0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0];
    assert_eq!(
        looked_up(forged(2, &claim)),
        "a snappy block claims an impossible length"
    );
    assert_eq!(
        looked_up(forged(0, &[0xff; 16])),
        "a variable-length integer has more than ten bytes"
    );
    assert_eq!(
        looked_up(forged(0, &[1, 0, 0, 0, 0, 0, 0])),
        "a record has a negative length"
    );
}
