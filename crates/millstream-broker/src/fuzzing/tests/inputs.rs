//! Inputs of a seed: what was good once, changed here and there, and things that are like nothing.

use kafka_protocol::records::Compression;

use crate::api;
use crate::log::testing::encode_with;

const NUMBERS: [i64; 8] = [0, 1, 2, -1, 127, 255, i32::MAX as i64, i64::MIN];

pub(super) fn input(target: &str, random: &mut fastrand::Rng) -> Vec<u8> {
    let mut input = match target {
        "frames" => [vec![0, 0, 0, random.u8(..)], request(random)].concat(),
        "requests" => return request(random),
        "batches" | "logs" => [vec![random.u8(..)], batch(random)].concat(),
        "journals" => [vec![random.u8(..)], records(random)].concat(),
        "snapshots" => [vec![random.u8(..)], document(random)].concat(),
        _ => bytes(random, 200),
    };
    if random.u32(0..4) > 0 {
        spoil(&mut input, random);
    }
    input
}

fn bytes(random: &mut fastrand::Rng, most: usize) -> Vec<u8> {
    let length = random.usize(0..most);
    (0..length).map(|_| random.u8(..)).collect()
}

/// Changes, removes and repeats bytes in a few places behind the first.
fn spoil(input: &mut Vec<u8>, random: &mut fastrand::Rng) {
    for _ in 0..random.usize(1..6) {
        let at = random.usize(1..input.len().max(2)).min(input.len());
        match random.u32(0..5) {
            0 => input.truncate(at),
            1 => input.insert(at, random.u8(..)),
            2 => {
                let again: Vec<u8> = input[at..]
                    .iter()
                    .copied()
                    .take(random.usize(1..40))
                    .collect();
                input.splice(at..at, again);
            }
            _ => {
                let number = NUMBERS[random.usize(..NUMBERS.len())].to_be_bytes();
                let width = [1, 2, 4, 8][random.usize(..4)];
                for (byte, new) in input[at..].iter_mut().zip(&number[8 - width..]) {
                    *byte = *new;
                }
            }
        }
    }
}

/// A request of any API and version, of fields as protocols have them.
fn request(random: &mut fastrand::Rng) -> Vec<u8> {
    let all: Vec<_> = api::table().collect();
    let api = all[random.usize(..all.len())];
    let version = random.i16(api.min..=api.max);
    let mut frame = Vec::new();
    frame.extend((api.key as i16).to_be_bytes());
    frame.extend(version.to_be_bytes());
    frame.extend([0, 0, 0, 1, 0, 0]);
    if api.key.request_header_version(version) >= 2 {
        frame.push(0);
    }
    let flexible = api.key.request_header_version(version) >= 2;
    for _ in 0..random.usize(0..30) {
        field(&mut frame, flexible, random);
    }
    frame
}

const WORDS: [&str; 5] = ["calls", "group", "a", "range", ""];

fn field(frame: &mut Vec<u8>, flexible: bool, random: &mut fastrand::Rng) {
    match random.u32(0..8) {
        0 => frame.push(random.u8(0..4)),
        1 => frame.extend(random.i16(-1..3).to_be_bytes()),
        2 => frame.extend(random.i32(-1..3).to_be_bytes()),
        3 => frame.extend(random.i64(-1..3).to_be_bytes()),
        4 => frame.extend(NUMBERS[random.usize(..NUMBERS.len())].to_be_bytes()),
        5 => {
            let batch = batch(random);
            frame.extend(u32::try_from(batch.len()).unwrap().to_be_bytes());
            frame.extend(batch);
        }
        _ => {
            let word = WORDS[random.usize(..WORDS.len())];
            let length = u8::try_from(word.len()).unwrap();
            match flexible {
                true => frame.push(length + 1),
                false => frame.extend([0, length]),
            }
            frame.extend(word.as_bytes());
        }
    }
}

fn batch(random: &mut fastrand::Rng) -> Vec<u8> {
    const CODECS: [Compression; 5] = [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ];
    let codec = CODECS[random.usize(..5)];
    let producer = random.bool().then_some((7, 0, 0));
    let times = vec![super::super::clients::NOW; random.usize(1..5)];
    let batch = encode_with(
        &times,
        random.usize(0..50),
        codec,
        producer,
        producer.is_some(),
    );
    batch.to_vec()
}

/// Records of a journal: kinds that there are, and fields like theirs.
fn records(random: &mut fastrand::Rng) -> Vec<u8> {
    let mut all = Vec::new();
    for _ in 0..random.usize(0..6) {
        let mut record = vec![random.u8(0..12)];
        for _ in 0..random.usize(0..12) {
            match random.u32(0..4) {
                0 => record.push(random.u8(0..6)),
                1 => record.extend(random.i32(-1..5).to_be_bytes()),
                2 => record.extend(random.i64(-1..5).to_be_bytes()),
                _ => {
                    let word = WORDS[random.usize(..WORDS.len())];
                    record.extend(u32::try_from(word.len()).unwrap().to_be_bytes());
                    record.extend(word.as_bytes());
                }
            }
        }
        record.truncate(255);
        all.push(u8::try_from(record.len()).unwrap());
        all.extend(record);
    }
    all
}

/// A document of JSON with the fields of snapshots.
fn document(random: &mut fastrand::Rng) -> Vec<u8> {
    const FIELDS: [&str; 12] = [
        "\"id\":\"a\"",
        "\"partitions\":3",
        "\"partitions\":-1",
        "\"configs\":{}",
        "\"before\":-5",
        "\"next\":9223372036854775807",
        "\"segments\":[]",
        "\"boot\":\"x\"",
        "\"producers\":[]",
        "\"start\":7",
        "\"cluster_id\":\"c\"",
        "\"before\":9223372036854775807",
    ];
    let count = random.usize(0..6);
    let fields: Vec<&str> = (0..count)
        .map(|_| FIELDS[random.usize(..FIELDS.len())])
        .collect();
    format!("{{{}}}", fields.join(",")).into_bytes()
}
