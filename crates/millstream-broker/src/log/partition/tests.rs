//! What a partition does, seen from outside and on the disk.
//!
//! Batches are made by the Kafka crate, so that what is stored is what clients send.

mod append;
mod compaction;
mod faults;
mod model;
mod producers;
mod read;
mod recovery;
mod retention;
mod search;
mod together;
mod transactions;

use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use kafka_protocol::records::Compression;
use tempfile::TempDir;

use super::*;
use crate::log::append::Appended;
use crate::log::batch::{HEADER_SIZE, Header};
use crate::log::read::{Fetched, Span};
use crate::log::testing::encode_with;
use crate::log::{AppendError, Isolation, ReadError};

impl Partition {
    /// As a client that is in no transaction.
    fn append(&self, records: Bytes, now_ms: i64) -> Result<Appended, AppendError> {
        self.store(&self.check(records, now_ms)?, None, now_ms)
    }

    /// As a reader of all records.
    fn fetch(&self, from: i64, max_bytes: usize, first: bool) -> Result<Fetched, ReadError> {
        self.read(Span {
            from,
            max_bytes,
            at_least_one: first,
            isolation: Isolation::Uncommitted,
        })
    }

    fn end_offset(&self) -> i64 {
        self.high_watermark().offset()
    }
}

/// A folder for one partition, and its configuration.
struct Place {
    folder: TempDir,
    config: LogConfig,
}

impl Place {
    fn new(config: LogConfig) -> Place {
        Place {
            folder: tempfile::tempdir().unwrap(),
            config,
        }
    }

    fn open(&self) -> Partition {
        self.try_open().unwrap()
    }

    fn try_open(&self) -> Result<Partition, Error> {
        Partition::open(
            self.folder.path(),
            &Arc::new(self.config.clone()),
            &Census::new(1000),
            NOW,
        )
    }

    /// As if the machine had been started again since, without all that was forced to the disk.
    fn in_another_boot(&self) {
        let checkpoint = self.folder.path().join("checkpoint");
        let text = fs::read_to_string(&checkpoint).unwrap();
        let (_, body) = text.split_once('\n').unwrap();
        let body = body.trim().replace(crate::boot::boot(), "another");
        let body = body.replace("\"synced\":true", "\"synced\":false");
        let checksum = crc32c::crc32c(body.as_bytes());
        fs::write(
            &checkpoint,
            format!("millstream-log 4 {checksum:08x}\n{body}\n"),
        )
        .unwrap();
    }

    fn log(&self, base: i64) -> PathBuf {
        self.folder.path().join(format!("{base:020}.log"))
    }

    /// The base offsets of all segment files.
    fn bases(&self) -> Vec<i64> {
        let names = fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        let mut bases: Vec<i64> = names
            .filter_map(|name| name.to_str()?.strip_suffix(".log")?.parse().ok())
            .collect();
        bases.sort_unstable();
        bases
    }
}

impl Default for Place {
    fn default() -> Place {
        Place::new(LogConfig::default())
    }
}

/// The broker's time in these tests.
const NOW: i64 = 1_700_000_000_000;

/// What a batch is made of.
#[derive(Clone, Copy, Debug)]
struct Make {
    timestamps: &'static [i64],
    value: usize,
    compression: Compression,
    producer: Option<(i64, i16, i32)>,
}

const MAKE: Make = Make {
    timestamps: &[NOW],
    value: 10,
    compression: Compression::None,
    producer: None,
};

impl Make {
    fn bytes(self) -> Bytes {
        encode(self.timestamps, self.value, self.compression, self.producer)
    }
}

/// A batch of `count` records with values of `value` bytes.
fn batch(count: usize, value: usize) -> Bytes {
    encode(&vec![NOW; count], value, Compression::None, None)
}

fn encode(
    timestamps: &[i64],
    value: usize,
    compression: Compression,
    producer: Option<(i64, i16, i32)>,
) -> Bytes {
    encode_with(timestamps, value, compression, producer, false)
}

/// The headers of all batches in `bytes`, which must be whole and have valid checksums.
fn headers(mut bytes: &[u8]) -> Vec<Header> {
    let mut headers = Vec::new();
    while !bytes.is_empty() {
        let header = Header::parse(bytes).unwrap();
        let (batch, rest) = bytes.split_at(header.size().unwrap());
        assert!(crate::log::batch::checksum_holds(&header, batch));
        headers.push(header);
        bytes = rest;
    }
    headers
}

/// Base offsets of all batches from `from` to the end.
fn offsets(log: &Partition, mut from: i64) -> Vec<i64> {
    let mut offsets = Vec::new();
    while from < log.end_offset() {
        let fetched = log.fetch(from, 1000, true).unwrap();
        let found = headers(&fetched.records);
        from = found.last().unwrap().last_offset() + 1;
        offsets.extend(found.iter().map(|header| header.base_offset));
    }
    offsets
}
