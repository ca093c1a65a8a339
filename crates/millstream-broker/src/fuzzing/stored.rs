//! What is read from the data folder: it may have been damaged, or put there by anybody.
//!
//! A log and its indexes are opened alone; journals and snapshots take the place of a good one in a folder on which a whole broker starts.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::clients::{NOW, read};
use super::seal;
use crate::broker::Broker;
use crate::clock::Clock;
use crate::config::Config;
use crate::journal::{Format, Journal};
use crate::log::{LogConfig, Marker, Outcome, Partition};
use crate::producers::Census;
use crate::topics::config::Overrides;

/// The first byte of an input says what is done with the others.
fn split(bytes: &[u8]) -> (usize, &[u8]) {
    bytes
        .split_first()
        .map_or((0, bytes), |(kind, rest)| (usize::from(*kind), rest))
}

/// One of a few, by any number.
fn choose<T: Clone>(
    from: impl IntoIterator<Item = T, IntoIter: Clone>,
    number: usize,
) -> Option<T> {
    from.into_iter().cycle().nth(number)
}

/// A log of these bytes; by the first byte as they are, or as one sealed batch behind another.
pub(super) fn logs(folder: &Path, bytes: &[u8]) {
    fs::remove_dir_all(folder).ok();
    fs::create_dir_all(folder).ok();
    let (kind, bytes) = split(bytes);
    let log = match kind % 2 {
        0 => bytes.to_vec(),
        _ => [seal::plain(), seal::batch(bytes)].concat(),
    };
    fs::write(folder.join(format!("{:020}.log", 0)), log).ok();
    if let Ok(log) = Partition::open(
        folder,
        &Arc::new(LogConfig::default()),
        &Census::new(100),
        NOW,
    ) {
        read(&log);
        log.close().ok();
    }
}

/// An index of offsets and times, one of aborted transactions, or the state of producers, beside a log that it may not fit.
pub(super) fn indexes(folder: &Path, bytes: &[u8]) {
    fs::remove_dir_all(folder).ok();
    fs::create_dir_all(folder).ok();
    let (kind, bytes) = split(bytes);
    let config = Arc::new(LogConfig {
        index_interval_bytes: 1,
        ..LogConfig::default()
    });
    let Ok(log) = Partition::open(folder, &config, &Census::new(100), NOW) else {
        return;
    };
    for bytes in [
        seal::plain(),
        seal::plain(),
        seal::transactional(),
        seal::plain(),
    ] {
        if let Ok(batch) = log.check(bytes.into(), NOW) {
            log.store(&batch, Some(log.markers()), NOW).ok();
        }
    }
    let marker = Marker {
        producer_id: 7,
        epoch: 0,
        outcome: Outcome::Abort,
        coordinator_epoch: 0,
    };
    log.mark(marker, NOW).ok();
    log.close().ok();
    drop(log);
    let kinds = [
        ("00000000000000000000.index", 20),
        ("00000000000000000000.aborted", 36),
        ("producers", 0),
    ];
    let Some((name, entry)) = choose(kinds, kind / 2) else {
        return;
    };
    let path = folder.join(name);
    let old = fs::read(&path).unwrap_or_default();
    let new = match (kind % 2, entry) {
        (0, _) => bytes.to_vec(),
        (_, 0) => seal::producers(&old, bytes),
        _ => seal::index(&old, bytes, entry),
    };
    fs::write(&path, new).ok();
    if let Ok(log) = Partition::open(folder, &config, &Census::new(100), NOW) {
        read(&log);
    }
}

/// A data folder with a topic, its journals and its snapshots.
fn config(folder: &Path) -> Config {
    let mut config = Config::ephemeral(folder);
    config.clock = Clock::manual(NOW);
    config
}

/// A fresh copy of a data folder that is made once.
fn furnish(folder: &Path) -> Option<PathBuf> {
    let template = folder.join("template");
    if !template.exists() {
        let broker = Broker::open(config(&template)).ok()?;
        let topic = broker.topics.create("calls", 1, Overrides::new()).ok()?;
        let log = topic.partition(0)?;
        let batch = log.check(seal::plain().into(), NOW).ok()?;
        log.store(&batch, None, NOW).ok()?;
        broker.close().ok()?;
    }
    let copy = folder.join("copy");
    fs::remove_dir_all(&copy).ok();
    copy_all(&template, &copy).ok()?;
    Some(copy)
}

fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy_all(&entry.path(), &target)?,
            false => _ = fs::copy(entry.path(), target)?,
        }
    }
    Ok(())
}

/// Starts on the folder, and ends in order if that was possible.
fn start(folder: &Path) {
    if let Ok(broker) = Broker::open(config(folder)) {
        broker.close().ok();
    }
}

const JOURNALS: [&str; 2] = ["groups.journal", "transactions.journal"];

/// A journal, as it is or of true records: each is as long as the byte before it says.
pub(super) fn journals(folder: &Path, bytes: &[u8]) {
    let (kind, bytes) = split(bytes);
    let (Some(folder), Some(name)) = (furnish(folder), choose(JOURNALS, kind / 2)) else {
        return;
    };
    let path = folder.join(name);
    match kind % 2 {
        0 => {
            let mut journal = fs::read(&path).unwrap_or_default();
            journal.truncate(16);
            journal.extend(bytes);
            fs::write(&path, journal).ok();
        }
        _ => {
            append(&path, bytes);
        }
    }
    start(&folder);
}

fn append(path: &Path, mut bytes: &[u8]) -> Option<()> {
    let head = fs::read(path).ok()?;
    let (magic, rest) = head.split_first_chunk()?;
    let version = u32::from_be_bytes(*rest.first_chunk()?);
    let format = Format {
        magic: *magic,
        version,
    };
    let mut journal = Journal::open(path, format, false, |_| Ok(())).ok()?;
    while let Some((length, rest)) = bytes.split_first() {
        let record;
        (record, bytes) = rest
            .split_at_checked(usize::from(*length))
            .unwrap_or((rest, &[]));
        journal.append(record).ok()?.settle().ok()?;
    }
    journal.flush().ok()
}

const SNAPSHOTS: [&str; 8] = [
    "millstream.json",
    "topics/calls/topic.json",
    "topics/calls/0/checkpoint",
    "topics/calls/0/deleted",
    "producer-ids",
    "acls.json",
    "users.json",
    "quotas.json",
];

/// A snapshot, as it is or with a head that fits.
pub(super) fn snapshots(folder: &Path, bytes: &[u8]) {
    let (kind, bytes) = split(bytes);
    let (Some(folder), Some(name)) = (furnish(folder), choose(SNAPSHOTS, kind / 2)) else {
        return;
    };
    let path = folder.join(name);
    let word = name.rsplit('/').next().unwrap_or(name);
    let named = format!("millstream-{} 1 0", word.trim_end_matches(".json"));
    let old = fs::read(&path).unwrap_or(named.into_bytes());
    let new = match kind % 2 {
        0 => bytes.to_vec(),
        _ => seal::snapshot(&old, bytes),
    };
    fs::write(&path, new).ok();
    start(&folder);
}
