//! The log of one partition: what its parts share.
//!
//! Writers take turns behind `writer`; what they have finished they publish (a segment's shape, then `end`), and
//! readers look only at what is published. So reading never waits for a write, and nobody sees half of one:
//! `append` and `read` meet in two atomics; a reader that comes between them publishes the second. Locks are taken in
//! this order and held for as little as possible: `kept`, `sync_turn`, `writer`, `segments`, a segment's own. Neither is held
//! across an await.
//!
//! A partition that is not used holds no descriptor and some hundred bytes.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use super::append::Writer;
use super::checkpoint::{Checkpoint, Note};
use super::producer_file::Kept;
use super::read::{Hints, is_missing};
use super::recovery;
use super::segment::Segment;
use super::waiter::{Registration, Waiter, Waiters};
use super::{LogConfig, file, lock};
use crate::boot::boot;
use crate::error::Error;
use crate::producers::{Census, Counted, ProducerState};
use crate::snapshot::Durability;

/// The log of one partition, shared by all who append and read.
#[derive(Debug)]
pub(crate) struct Partition {
    pub(super) folder: Arc<Path>,
    config: RwLock<Arc<LogConfig>>,
    /// By base offset; never empty, the last one is appended to.
    pub(super) segments: RwLock<Vec<Arc<Segment>>>,
    pub(super) start: AtomicI64,
    /// The high watermark.
    pub(super) end: AtomicI64,
    /// Where the earliest open transaction began, or `i64::MAX`.
    pub(super) unstable: AtomicI64,
    /// The offset up to which the log was compacted.
    pub(super) cleaned: AtomicI64,
    /// The generation that was last given to a compacted segment.
    pub(super) generation: AtomicU32,
    /// Why the log cannot be compacted, once its bytes made no sense.
    pub(super) uncleanable: OnceLock<()>,
    /// How many markers were written: what was verified before the last one has to be verified again.
    pub(super) markers: AtomicU64,
    pub(super) writer: Mutex<Writer>,
    /// Held by the one who writes the file of producers.
    pub(super) kept: Mutex<Kept>,
    /// Held by the one who forces the file to the disk for all who wait.
    pub(super) sync_turn: Mutex<()>,
    pub(super) hints: Mutex<Hints>,
    /// Held by who goes through the log for aborted transactions.
    pub(super) finding: Mutex<()>,
    pub(super) waiters: Arc<Waiters>,
    /// Why nothing can be appended any more, once the disk has failed.
    pub(super) failed: OnceLock<String>,
    pub(super) deleted: AtomicBool,
}

impl Partition {
    /// Opens the log in `folder`, which is created when missing. A torn end is cut off and reported, damage refused.
    pub(crate) fn open(
        folder: &Path,
        config: &Arc<LogConfig>,
        census: &Arc<Census>,
        now_ms: i64,
    ) -> Result<Partition, Error> {
        let found = recovery::open(folder, config, now_ms)?;
        let counted = Counted::new(census);
        let active = found.segments.last().map(Arc::clone);
        let folder: Arc<Path> = Arc::from(folder);
        let active = active.unwrap_or_else(|| Arc::new(Segment::new(&folder, found.start)));
        let cut = found.cut > 0;
        let unstable = found.producers.earliest_open().unwrap_or(i64::MAX);
        let partition = Partition {
            folder,
            config: RwLock::new(Arc::clone(config)),
            start: AtomicI64::new(found.start),
            end: AtomicI64::new(active.shape().end),
            unstable: AtomicI64::new(unstable),
            cleaned: AtomicI64::new(found.cleaned),
            generation: AtomicU32::new(found.generation),
            uncleanable: OnceLock::new(),
            markers: AtomicU64::new(0),
            writer: Mutex::new(Writer::new(
                &active,
                (found.producers, counted),
                found.changed,
            )),
            kept: Mutex::new(found.kept),
            segments: RwLock::new(found.segments),
            sync_turn: Mutex::default(),
            hints: Mutex::default(),
            finding: Mutex::default(),
            waiters: Arc::default(),
            failed: OnceLock::new(),
            deleted: AtomicBool::new(false),
        };
        if cut {
            partition.try_checkpoint(&mut lock(&partition.writer));
        }
        Ok(partition)
    }

    /// Replaces the configuration; it holds from the next operation on.
    pub(crate) fn configure(&self, config: &Arc<LogConfig>) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(config);
    }

    pub(super) fn config(&self) -> Arc<LogConfig> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The first offset that can be read.
    pub(crate) fn start_offset(&self) -> i64 {
        self.start.load(Ordering::Acquire)
    }

    /// Bytes of all segments.
    pub(crate) fn size(&self) -> u64 {
        self.segments()
            .iter()
            .map(|segment| segment.shape().size)
            .sum()
    }

    /// The leader epoch not above `epoch` and where it ended: there is only epoch 0, which goes on.
    pub(crate) fn end_offset_for_epoch(&self, epoch: i32) -> Option<(i32, i64)> {
        (epoch >= 0).then(|| (0, self.high_watermark().offset()))
    }

    /// What is known of producers with an id.
    pub(crate) fn producers(&self) -> Vec<ProducerState> {
        lock(&self.writer).producers.describe()
    }

    /// The producers, with their epochs, that have a transaction open.
    pub(crate) fn open_transactions(&self) -> Vec<(i64, i16)> {
        if self.unstable.load(Ordering::Acquire) == i64::MAX {
            return Vec::new();
        }
        let producers = self.producers().into_iter();
        producers
            .filter(|one| one.open_since.is_some())
            .map(|one| (one.producer_id, one.producer_epoch))
            .collect()
    }

    /// Has `waiter` woken at each append, and at deletion, until the registration is dropped.
    pub(crate) fn on_append(&self, waiter: &Arc<Waiter>) -> Registration {
        self.waiters.register(waiter)
    }

    /// Forces everything written to the disk.
    pub(crate) fn flush(&self) -> Result<(), Error> {
        self.sync(&self.segments())
    }

    /// Forces whole segments to the disk, as far as they are published.
    pub(super) fn sync(&self, segments: &[Arc<Segment>]) -> Result<(), Error> {
        for segment in segments {
            let forced = self.poison(segment.sync(segment.shape().size));
            if forced.as_ref().is_err_and(is_missing) && !self.has(segment) {
                // Compaction or retention came between.
                continue;
            }
            if forced? {
                let mut writer = lock(&self.writer);
                // The checkpoint can say so now.
                writer.dirty = true;
                if segment.base != writer.segment.base {
                    segment.close();
                }
            }
        }
        Ok(())
    }

    /// Flushes, and notes that nothing needs to be checked when the log is opened again.
    pub(crate) fn close(&self) -> Result<(), Error> {
        if self.deleted.load(Ordering::Acquire) {
            return Ok(());
        }
        self.flush()?;
        self.keep_producers(self.durability())?;
        let mut writer = lock(&self.writer);
        if writer.dirty {
            self.checkpoint(
                &mut writer,
                self.start_offset(),
                &self.segments(),
                self.durability(),
            )?;
        }
        self.segments().iter().for_each(|segment| segment.close());
        Ok(())
    }

    /// Refuses everything from now on and wakes those who wait. Removing the folder is the caller's.
    pub(crate) fn delete(&self) {
        {
            // Who has one of these ends first: it would make its file in the folder of a topic that takes the name.
            let _nobody_keeps = lock(&self.kept);
            let _nobody_writes = lock(&self.writer);
            self.deleted.store(true, Ordering::Release);
        }
        self.segments().iter().for_each(|segment| segment.close());
        self.waiters.wake();
    }

    /// Whether the segment is still part of the log.
    fn has(&self, segment: &Arc<Segment>) -> bool {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        segments.iter().any(|one| Arc::ptr_eq(one, segment))
    }

    pub(super) fn segments(&self) -> Vec<Arc<Segment>> {
        self.segments
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// A failed sync or write is final: what the kernel still holds of the file is unknown, asking again would lie.
    pub(super) fn poison<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        if let Err(
            error @ Error::File {
                verb: "sync" | "write",
                ..
            },
        ) = &result
        {
            tracing::error!(%error, source = %cause(error), "disk failed, the partition takes no more records");
            self.failed.get_or_init(|| cause(error));
        }
        result
    }

    /// What a checkpoint has to survive.
    pub(super) fn durability(&self) -> Durability {
        match self.config().fsync {
            true => Durability::Disk,
            false => Durability::Process,
        }
    }

    /// Notes how `segments` are, of which the last is the writer's.
    pub(super) fn checkpoint(
        &self,
        writer: &mut Writer,
        start: i64,
        segments: &[Arc<Segment>],
        durability: Durability,
    ) -> Result<(), Error> {
        let mut notes = Vec::with_capacity(segments.len());
        for segment in segments {
            notes.push(note(segment, segment.base == writer.segment.base)?);
        }
        let checkpoint = Checkpoint {
            boot: boot().to_owned(),
            start,
            segments: notes,
            producers_until: Some(writer.producers.until().unwrap_or(-1)),
            cleaned: self.cleaned.load(Ordering::Acquire),
            ..Checkpoint::default()
        };
        checkpoint.write(&self.folder, durability)?;
        writer.clean();
        Ok(())
    }
}

/// Closes many logs, several at a time: each waits for the disk, which takes many syncs as fast as one. All are
/// closed as far as they can be; the first error is returned.
pub(crate) fn close_all(partitions: &[Arc<Partition>]) -> Result<(), Error> {
    let next = AtomicUsize::new(0);
    let first_error = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..CLOSING_THREADS.min(partitions.len()) {
            scope.spawn(|| {
                while let Some(partition) = partitions.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = partition.close() {
                        lock(&first_error).get_or_insert(error);
                    }
                }
            });
        }
    });
    first_error
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
        .map_or(Ok(()), Err)
}

const CLOSING_THREADS: usize = 16;

fn note(segment: &Segment, active: bool) -> Result<Note, Error> {
    let shape = segment.shape();
    let mut index = segment.index();
    // Only entries that are written count; with fewer of them the rest is found by walking.
    if let Err(error) = index.write(&segment.index_path()) {
        tracing::debug!(path = %segment.index_path().display(), %error, "failed to write to an index");
    }
    let mut aborted = segment.aborted();
    if let Err(error) = aborted.write(&segment.aborted_path()) {
        tracing::debug!(path = %segment.aborted_path().display(), %error, "failed to write aborted ranges");
    }
    if active && shape.size > 0 {
        let metadata = segment
            .file(false)?
            .metadata()
            .map_err(|source| segment.failed("read", source))?;
        segment.set_modified(file::modified(&metadata));
    }
    Ok(Note {
        base: segment.base,
        generation: segment.id.generation,
        size: shape.size,
        end: shape.end,
        first_timestamp: shape.first_timestamp,
        max_timestamp: shape.max_timestamp,
        max_timestamp_batch: shape.max_timestamp_batch,
        index: index.written(),
        aborted: aborted.written(),
        modified: segment.modified(),
        synced: segment.synced() >= shape.size,
    })
}

/// What the system said, for an answer to a client: paths are for the broker's log only.
pub(super) fn cause(error: &Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

#[cfg(test)]
mod tests;
