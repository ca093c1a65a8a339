//! Appending: patch, write, publish, wake.
//!
//! There are two ways in. What a client sent is checked first ([`Partition::check`]), becomes a [`ClientBatch`], and is stored by
//! [`Partition::store`]; what the broker itself writes, the marker that ends a transaction, is trusted ([`Partition::mark`]).
//!
//! One batch costs a look at its header, one pass of the checksum, and one write; nothing is copied but the header.
//! Without `fsync` a batch is published when write(2) has returned. With it, writers wait outside the lock until one
//! of them has forced the file to the disk for all that were written by then; only that is published.
//!
//! A write that fails for lack of space is taken back by cutting the file, so the next one may succeed. Any other
//! failure, and every failed sync, is final for the partition: what the disk holds is unknown then.

use std::io::IoSlice;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

use bytes::Bytes;

use super::batch::{self, HEADER_SIZE, Header};
use super::index::Entry;
use super::partition::{Partition, cause};
use super::segment::{Segment, Shape};
use super::{AppendError, LogConfig, Marker, TimestampType, blocking, file, lock};
use crate::error::Error;
use crate::producers::{Counted, Producers};
use crate::snapshot::sync_folder;

/// After so many bytes a checkpoint is made: more than this is not scanned after a kill.
const CHECKPOINT_BYTES: u64 = 64 << 20;

/// Offsets within a segment are stored in 31 bits, as in Apache Kafka.
const MAX_OFFSETS: i64 = i32::MAX as i64;

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

/// A record batch that a client sent, found to be one that may be stored.
#[derive(Clone, Debug)]
pub(crate) struct ClientBatch {
    header: Header,
    bytes: Bytes,
}

impl ClientBatch {
    /// Id and epoch of the producer, if the batch is part of a transaction.
    #[cfg(test)]
    pub(crate) fn transactional(&self) -> Option<(i64, i16)> {
        let sequenced = self.header.sequenced()?;
        sequenced
            .transactional
            .then_some((sequenced.producer_id, sequenced.epoch))
    }
}

/// How many markers a partition had when the coordinator said that a transaction is open: it may have ended since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Markers(u64);

/// What only the one who writes may touch.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) segment: Arc<Segment>,
    /// What is written, which may be more than is published.
    pub(super) shape: Shape,
    pub(super) producers: Producers,
    counted: Counted,
    /// Whether a checkpoint was made since what is known of producers was written to their file.
    pub(super) producers_due: bool,
    /// Bytes written since the last checkpoint.
    since_checkpoint: u64,
    /// Whether the checkpoint no longer tells how the log is.
    pub(super) dirty: bool,
    /// Behind the written bytes lie some of a refused batch.
    torn: bool,
    /// When the first batch was written to this segment by this process, by the broker's clock.
    began_ms: Option<i64>,
}

impl Writer {
    pub(super) fn new(
        segment: &Arc<Segment>,
        (producers, counted): (Producers, Counted),
        dirty: bool,
    ) -> Writer {
        let mut writer = Writer {
            shape: segment.shape(),
            segment: Arc::clone(segment),
            producers,
            counted,
            producers_due: false,
            since_checkpoint: 0,
            dirty,
            torn: false,
            began_ms: None,
        };
        writer.count_producers();
        writer
    }

    /// Has the broker know how many producers there are.
    pub(super) fn count_producers(&mut self) {
        self.counted.set(self.producers.count());
    }

    /// A checkpoint was made.
    pub(super) fn clean(&mut self) {
        self.since_checkpoint = 0;
        self.dirty = false;
        self.producers_due = true;
    }

    fn wrote(&mut self, header: &Header, size: u64, config: &LogConfig) {
        let entry = Entry {
            offset: header.base_offset,
            position: self.shape.size,
            time_before: self.shape.max_timestamp,
        };
        let path = || self.segment.index_path();
        self.segment
            .index()
            .observe(entry, size, config.index_interval_bytes, path);
        self.shape = self.shape.with(header, size);
        self.since_checkpoint += size;
        self.dirty = true;
    }

    /// Whether a batch whose newest record is of `newest` has to go to a new segment.
    fn is_full(
        &mut self,
        header: &Header,
        size: u64,
        newest: i64,
        (config, now_ms): (&LogConfig, i64),
    ) -> bool {
        let began_ms = *self.began_ms.get_or_insert(now_ms);
        if self.shape.size == 0 {
            return false;
        }
        let next_end = self
            .shape
            .end
            .saturating_add(i64::from(header.last_offset_delta));
        // By the records' time when they have one, as in Apache Kafka, so that old data is not kept in new segments.
        let since = |newest: i64| newest.saturating_sub(self.shape.first_timestamp);
        let age = match (self.shape.first_timestamp, newest) {
            (0.., newest @ 0..) => since(newest),
            (0.., _) => since(now_ms),
            _ => now_ms.saturating_sub(began_ms),
        };
        self.shape.size + size > u64::from(config.segment_bytes)
            || next_end - self.segment.base >= MAX_OFFSETS
            || age
                > config.segment_ms.min(match config.compact {
                    true => config.max_compaction_lag_ms,
                    false => i64::MAX,
                })
    }
}

impl Partition {
    /// Checks one record batch as a producer sent it, without looking at what is in the log.
    pub(crate) fn check(&self, records: Bytes, now_ms: i64) -> Result<ClientBatch, AppendError> {
        let header = batch::validate(&records, &self.config(), now_ms)?;
        Ok(ClientBatch {
            header,
            bytes: records,
        })
    }

    /// What to ask for before the coordinator is asked whether a transaction is open.
    pub(crate) fn markers(&self) -> Markers {
        Markers(self.markers.load(Ordering::Acquire))
    }

    /// Appends a batch. It has left for the file when this returns; with `fsync`, it has reached the disk. A batch that an
    /// idempotent producer sent again is not stored twice: its old place is returned. A batch that begins a transaction here is
    /// refused as unverified unless the coordinator knew of it when there were as many markers as now.
    pub(crate) fn store(
        &self,
        batch: &ClientBatch,
        verified: Option<Markers>,
        now_ms: i64,
    ) -> Result<Appended, AppendError> {
        let ClientBatch { header, bytes } = batch;
        let config = self.config();
        let stamp = (config.timestamp_type == TimestampType::LogAppend).then_some(now_ms);
        let appended = |base_offset, time: Option<i64>| Appended {
            base_offset,
            log_append_time: time.unwrap_or(-1),
            log_start_offset: self.start_offset(),
        };
        let mut writer = lock(&self.writer);
        self.may_append()?;
        let verified = verified == Some(self.markers());
        if let Some(sequenced) = header.sequenced()
            && let Some(written) = writer.producers.admit(sequenced, verified)?
        {
            let end = written.last_offset + 1;
            drop(writer);
            self.await_durable(end)?;
            return Ok(appended(
                written.base_offset,
                stamp.map(|_| written.timestamp),
            ));
        }
        let header = self.put(&mut writer, header, bytes, stamp, now_ms)?;
        if let Some(sequenced) = header.sequenced() {
            let (base, time) = (header.base_offset, header.max_timestamp);
            writer.producers.limit(config.max_producers);
            writer.producers.record(sequenced, base, time, now_ms);
        }
        self.show(writer, &config)?;
        Ok(appended(header.base_offset, stamp))
    }

    /// Writes the marker that ends a producer's transaction; returns its offset. A transaction without records here gets one too.
    pub(crate) fn mark(&self, marker: Marker, now_ms: i64) -> Result<i64, AppendError> {
        let config = self.config();
        let (header, bytes) = marker.batch(now_ms);
        let mut writer = lock(&self.writer);
        self.may_append()?;
        let header = self.put(&mut writer, &header, &bytes, None, now_ms)?;
        let offset = header.base_offset;
        if let Some(aborted) = writer.producers.end(marker, offset, now_ms) {
            let segment = &writer.segment;
            segment.aborted().push(aborted, &segment.aborted_path());
        }
        self.markers.fetch_add(1, Ordering::AcqRel);
        self.show(writer, &config)?;
        Ok(offset)
    }

    /// Writes a batch behind all others, in a new segment if need be; returns the header that it got.
    fn put(
        &self,
        writer: &mut Writer,
        header: &Header,
        batch: &[u8],
        stamp: Option<i64>,
        now_ms: i64,
    ) -> Result<Header, AppendError> {
        let config = self.config();
        let size = batch.len() as u64;
        let newest = stamp.unwrap_or(header.max_timestamp);
        if writer.is_full(header, size, newest, (&config, now_ms)) {
            writer.began_ms = Some(now_ms);
            self.roll(writer).map_err(|error| refuse(&error))?;
        }
        let (header, head) = header.stamped(writer.shape.end, stamp, batch);
        let body = batch.get(HEADER_SIZE..).unwrap_or_default();
        self.write(writer, &mut [IoSlice::new(&head), IoSlice::new(body)])?;
        writer.wrote(&header, size, &config);
        Ok(header)
    }

    /// Lets readers see what was written, once it is as durable as it has to be.
    fn show(
        &self,
        mut writer: MutexGuard<'_, Writer>,
        config: &LogConfig,
    ) -> Result<(), AppendError> {
        let unstable = writer.producers.earliest_open().unwrap_or(i64::MAX);
        self.unstable.store(unstable, Ordering::Release);
        if !config.fsync {
            self.publish(&writer.segment, writer.shape);
        }
        if writer.since_checkpoint >= CHECKPOINT_BYTES {
            self.try_checkpoint(&mut writer);
        }
        writer.count_producers();
        let producers_due = std::mem::take(&mut writer.producers_due);
        let end = writer.shape.end;
        drop(writer);
        self.await_durable(end)?;
        self.waiters.wake();
        if producers_due {
            self.try_keep_producers();
        }
        Ok(())
    }

    fn may_append(&self) -> Result<(), AppendError> {
        if self.deleted.load(Ordering::Acquire) {
            return Err(AppendError::Deleted);
        }
        self.failed
            .get()
            .map_or(Ok(()), |reason| Err(AppendError::Storage(reason.clone())))
    }

    /// Writes behind what is written, all or nothing.
    fn write(&self, writer: &mut Writer, parts: &mut [IoSlice<'_>]) -> Result<(), AppendError> {
        let file = match writer.shape.size {
            0 => self.begin(writer),
            _ => writer.segment.file(false),
        };
        let file = file.map_err(|error| refuse(&error))?;
        if writer.torn {
            file.set_len(writer.shape.size)
                .map_err(|error| AppendError::Storage(error.to_string()))?;
            writer.torn = false;
        }
        let Err(source) = file::write_at(&file, writer.shape.size, parts) else {
            return Ok(());
        };
        // Some of the batch may be in the file. Nobody sees it, but it must not be found after a kill either.
        writer.torn = file.set_len(writer.shape.size).is_err();
        let final_failure = !file::is_no_space(&source);
        let error = writer.segment.failed("write", source);
        if final_failure {
            self.poison(Err(error))
                .map_err(|error| AppendError::Storage(cause(&error)))
        } else {
            Err(refuse(&error))
        }
    }

    /// Makes the file of a segment that has none yet, and notes that it is there.
    fn begin(&self, writer: &mut Writer) -> Result<Arc<std::fs::File>, Error> {
        let file = writer.segment.file(true)?;
        if self.config().fsync {
            blocking(|| sync_folder(&self.folder))?;
        }
        if !writer.torn {
            self.try_checkpoint(writer);
        }
        Ok(file)
    }

    /// Seals the writer's segment and begins another.
    pub(super) fn roll(&self, writer: &mut Writer) -> Result<(), Error> {
        let sealed = Arc::clone(&writer.segment);
        if self.config().fsync {
            blocking(|| self.poison(sealed.sync(writer.shape.size)))?;
            self.publish(&sealed, writer.shape);
        }
        let metadata = sealed
            .file(false)?
            .metadata()
            .map_err(|source| sealed.failed("read", source))?;
        sealed.set_modified(file::modified(&metadata));
        sealed.close();
        let next = Arc::new(Segment::new(&self.folder, writer.shape.end));
        self.segments
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::clone(&next));
        writer.shape = next.shape();
        writer.segment = next;
        writer.dirty = true;
        Ok(())
    }

    /// Returns when everything below `end` is published, forcing it to the disk if nobody else does.
    fn await_durable(&self, end: i64) -> Result<(), AppendError> {
        if self.high_watermark().offset() >= end {
            return Ok(());
        }
        blocking(|| {
            let _turn = lock(&self.sync_turn);
            // Whoever had the turn before may have done it for this one too.
            if self.high_watermark().offset() >= end {
                return Ok(());
            }
            self.may_append()?;
            let (segment, shape) = {
                let writer = lock(&self.writer);
                (Arc::clone(&writer.segment), writer.shape)
            };
            self.poison(segment.sync(shape.size))
                .map_err(|error| AppendError::Storage(cause(&error)))?;
            self.publish(&segment, shape);
            Ok(())
        })
    }

    fn publish(&self, segment: &Segment, shape: Shape) {
        segment.publish(shape);
        self.end.fetch_max(shape.end, Ordering::AcqRel);
    }

    /// A checkpoint that may fail: then the last one holds, and more is scanned after a kill.
    pub(super) fn try_checkpoint(&self, writer: &mut Writer) {
        let segments = self.segments();
        let durability = self.durability();
        let written =
            blocking(|| self.checkpoint(writer, self.start_offset(), &segments, durability));
        if let Err(error) = written {
            tracing::warn!(%error, source = %cause(&error), "failed to write a checkpoint");
            writer.clean();
            writer.dirty = true;
        }
    }
}

/// Refuses an append, once, without consequence for later ones.
fn refuse(error: &Error) -> AppendError {
    tracing::error!(%error, source = %cause(error), "append refused");
    AppendError::Storage(cause(error))
}
