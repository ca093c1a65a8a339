//! One partition's log: append, read, wait.

use std::fs::{self, File, OpenOptions};
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;

use super::batch::{self, HEADER_SIZE, Header};
use super::file;
use super::waiter::{Registration, Waiter, Waiters};
use super::{AppendError, LogConfig, ReadError, TimestampType};
use crate::error::Error;
use crate::producers::{ProducerState, Producers};

/// Where an appended batch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Appended {
    /// Offset of the first record.
    pub(crate) base_offset: i64,
    /// The broker's timestamp of the records, -1 when they keep the producer's.
    pub(crate) log_append_time: i64,
    /// The first offset of the log.
    pub(crate) log_start_offset: i64,
}

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fetched {
    /// Whole batches; the first may begin before the offset asked for.
    pub(crate) records: Bytes,
    /// The next offset that will be written; also the last stable offset as long as there are no transactions.
    pub(crate) high_watermark: i64,
    /// The first offset of the log.
    pub(crate) log_start_offset: i64,
}

/// What retention removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Retained {
    /// Segments that were removed.
    pub(crate) segments: usize,
    /// Bytes that they had.
    pub(crate) bytes: u64,
}

/// The log of one partition, shared by all who append and read.
#[derive(Debug)]
pub(crate) struct Partition {
    path: PathBuf,
    config: RwLock<Arc<LogConfig>>,
    file: File,
    start: AtomicI64,
    deleted: AtomicBool,
    writer: Mutex<Writer>,
    waiters: Arc<Waiters>,
}

#[derive(Debug, Default)]
struct Writer {
    end: i64,
    size: u64,
    batches: Vec<(Header, u64)>,
    producers: Producers,
}

impl Partition {
    /// Opens the log in folder `dir`, which is created when missing.
    pub(crate) fn open(
        dir: &Path,
        config: &Arc<LogConfig>,
        now_ms: i64,
    ) -> Result<Partition, Error> {
        fs::create_dir_all(dir).map_err(Error::file("create", dir))?;
        let path = dir.join("00000000000000000000.log");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(Error::file("open", &path))?;
        let bytes = fs::read(&path).map_err(Error::file("read", &path))?;
        let mut writer = Writer::default();
        let mut rest = bytes.as_slice();
        while let Some(header) = Header::parse(rest) {
            let Some(batch) = header.size().and_then(|size| rest.split_off(..size)) else {
                break;
            };
            if !batch::checksum_holds(&header, batch) {
                break;
            }
            if let Some(sequenced) = header.sequenced() {
                writer.producers.record(
                    sequenced,
                    header.base_offset,
                    header.max_timestamp,
                    now_ms,
                );
            }
            writer.batches.push((header, writer.size));
            writer.size += batch.len() as u64;
            writer.end = header.last_offset() + 1;
        }
        Ok(Partition {
            path: dir.to_path_buf(),
            config: RwLock::new(Arc::clone(config)),
            file,
            start: AtomicI64::new(0),
            deleted: AtomicBool::new(false),
            writer: Mutex::new(writer),
            waiters: Arc::default(),
        })
    }

    /// Replaces the configuration; it holds from the next operation on.
    pub(crate) fn configure(&self, config: &Arc<LogConfig>) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(config);
    }

    /// Appends one record batch as a producer sent it. What it holds is on its way to the file when this returns;
    /// with `fsync`, it has reached the disk. A batch that an idempotent producer sent again is not stored twice:
    /// its old place is returned.
    pub(crate) fn append(&self, records: Bytes, now_ms: i64) -> Result<Appended, AppendError> {
        if self.deleted.load(Ordering::Acquire) {
            return Err(AppendError::Deleted);
        }
        let config = Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner));
        let header = batch::validate(&records, &config, now_ms)?;
        let mut writer = self.writer();
        if let Some(sequenced) = header.sequenced()
            && let Some(written) = writer.producers.admit(sequenced)?
        {
            return Ok(Appended {
                base_offset: written.base_offset,
                log_append_time: -1,
                log_start_offset: self.start_offset(),
            });
        }
        let stamp = (config.timestamp_type == TimestampType::LogAppend).then_some(now_ms);
        let (header, head) = header.stamped(writer.end, stamp, &records);
        let mut parts = [
            IoSlice::new(&head),
            IoSlice::new(records.get(HEADER_SIZE..).unwrap_or_default()),
        ];
        let written =
            file::write_at(&self.file, writer.size, &mut parts).and_then(|()| match config.fsync {
                true => file::sync(&self.file),
                false => Ok(()),
            });
        if let Err(error) = written {
            self.file.set_len(writer.size).ok();
            return Err(AppendError::Storage(error.to_string()));
        }
        let position = writer.size;
        writer.batches.push((header, position));
        writer.size += records.len() as u64;
        writer.end = header.last_offset() + 1;
        if let Some(sequenced) = header.sequenced() {
            writer
                .producers
                .record(sequenced, header.base_offset, header.max_timestamp, now_ms);
        }
        drop(writer);
        self.waiters.wake();
        Ok(Appended {
            base_offset: header.base_offset,
            log_append_time: stamp.unwrap_or(-1),
            log_start_offset: self.start_offset(),
        })
    }

    /// Reads whole batches, the first being the one that holds `from`: at most `max_bytes` of them, but with
    /// `at_least_one` the first one whatever its size. Nothing at the end of the log.
    pub(crate) fn read(
        &self,
        from: i64,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<Fetched, ReadError> {
        if self.deleted.load(Ordering::Acquire) {
            return Err(ReadError::Deleted);
        }
        let (start, end) = (self.start_offset(), self.end_offset());
        if from < start || from > end {
            return Err(ReadError::OutOfRange {
                offset: from,
                start,
                end,
            });
        }
        let (position, length) = {
            let writer = self.writer();
            let first = writer
                .batches
                .partition_point(|(header, _)| header.last_offset() < from);
            let mut length = 0;
            let mut position = 0;
            for (header, at) in writer.batches.iter().skip(first) {
                let size = header.size().unwrap_or(0);
                if length == 0 {
                    position = *at;
                }
                if length + size > max_bytes && !(at_least_one && length == 0) {
                    break;
                }
                length += size;
            }
            (position, length)
        };
        let records = file::read_at(&self.file, position, length)
            .map_err(|error| ReadError::Storage(error.to_string()))?;
        Ok(Fetched {
            records: records.into(),
            high_watermark: self.end_offset(),
            log_start_offset: start,
        })
    }

    /// The first offset that can be read.
    pub(crate) fn start_offset(&self) -> i64 {
        self.start.load(Ordering::Acquire)
    }

    /// The next offset that will be written, the high watermark.
    pub(crate) fn end_offset(&self) -> i64 {
        self.writer().end
    }

    /// Bytes of all segments.
    pub(crate) fn size(&self) -> u64 {
        self.writer().size
    }

    /// The first record, by offset, whose timestamp is at least `timestamp`: its offset and timestamp.
    pub(crate) fn offset_for_time(&self, timestamp: i64) -> Result<Option<(i64, i64)>, ReadError> {
        let writer = self.writer();
        let found = writer
            .batches
            .iter()
            .find(|(header, _)| header.max_timestamp >= timestamp);
        Ok(found.map(|(header, _)| (header.base_offset, header.max_timestamp)))
    }

    /// The record with the largest timestamp: its offset and timestamp.
    pub(crate) fn max_timestamp(&self) -> Result<Option<(i64, i64)>, ReadError> {
        let writer = self.writer();
        let found = writer
            .batches
            .iter()
            .max_by_key(|(header, _)| header.max_timestamp);
        Ok(found.map(|(header, _)| (header.last_offset(), header.max_timestamp)))
    }

    /// Moves the start of the log to `before`, or to the high watermark for -1; returns the new start.
    pub(crate) fn delete_records(&self, before: i64) -> Result<i64, ReadError> {
        let (start, end) = (self.start_offset(), self.end_offset());
        let before = if before == -1 { end } else { before };
        if before < 0 || before > end {
            return Err(ReadError::OutOfRange {
                offset: before,
                start,
                end,
            });
        }
        self.start.fetch_max(before, Ordering::AcqRel);
        Ok(self.start_offset())
    }

    /// The end of what was written in the leader epoch `epoch` or before it, and that epoch: there is only epoch 0.
    pub(crate) fn end_offset_for_epoch(&self, epoch: i32) -> Option<(i32, i64)> {
        (epoch >= 0).then(|| (0, self.end_offset()))
    }

    /// What is known of idempotent producers.
    pub(crate) fn producers(&self) -> Vec<ProducerState> {
        self.writer().producers.describe()
    }

    /// Has `waiter` woken at each append, and at deletion, until the registration is dropped.
    pub(crate) fn on_append(&self, waiter: &Arc<Waiter>) -> Registration {
        self.waiters.register(waiter)
    }

    /// Housekeeping that the broker calls every now and then: retention by time and size, expiry of producers.
    pub(crate) fn retain(&self, now_ms: i64) -> Result<Retained, Error> {
        let expiration = self
            .config
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .producer_expiration_ms;
        self.writer().producers.expire(now_ms, expiration);
        Ok(Retained::default())
    }

    /// Forces everything written to the disk.
    pub(crate) fn flush(&self) -> Result<(), Error> {
        file::sync(&self.file).map_err(Error::file("sync", &self.path))
    }

    /// Flushes, and notes that nothing needs to be checked when the log is opened again.
    pub(crate) fn close(&self) -> Result<(), Error> {
        self.flush()
    }

    /// Refuses everything from now on and wakes those who wait. Removing the folder is the caller's.
    pub(crate) fn delete(&self) {
        self.deleted.store(true, Ordering::Release);
        self.waiters.wake();
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
