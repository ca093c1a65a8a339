//! When what is known of producers goes to the disk.
//!
//! The file is written by whoever made a checkpoint, after the writer's lock is given back: what is copied under it is memory, and
//! appends of others go on. So the file is as old as the checkpoint, or a little older, and the checkpoint notes whether something has
//! changed in between; then the batches since are read again when the log is opened.
//!
//! Batches are removed only after what they say of producers is in the file: before retention, DeleteRecords and compaction.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use super::checkpoint::Checkpoint;
use super::partition::{Partition, cause};
use super::segment::Segment;
use super::{blocking, lock};
use crate::error::Error;
use crate::producers::{self, Excess, Producers};
use crate::snapshot::{Durability, sync_folder};

/// How the file is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    /// All batches before this offset are in it.
    pub(super) offset: i64,
    pub(super) on_disk: bool,
}

impl Kept {
    /// There is no file.
    pub(super) const NOTHING: Kept = Kept {
        offset: -1,
        on_disk: false,
    };

    fn has(self, producers: &Producers, durability: Durability) -> bool {
        let enough = self.on_disk || durability == Durability::Process;
        producers
            .until()
            .is_none_or(|until| self.offset >= until && enough)
    }
}

pub(super) fn path(folder: &Path) -> PathBuf {
    folder.join("producers")
}

/// Removes the file for good.
pub(super) fn remove(folder: &Path) -> Result<(), Error> {
    let path = path(folder);
    match fs::remove_file(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::file("remove", &path)(error)),
        Ok(()) => sync_folder(folder),
    }
}

/// What the file knows of producers, and from where on the log has to be read for the rest.
pub(super) fn known(
    folder: &Path,
    checkpoint: &Checkpoint,
) -> Result<(Producers, i64, Kept), Error> {
    let noted = checkpoint.segments.last().map_or(i64::MIN, |note| note.end);
    let file = producers::read(&path(folder))?;
    let kept = file.as_ref().map_or(Kept::NOTHING, |(offset, _)| Kept {
        offset: *offset,
        on_disk: false,
    });
    let nobody = || Producers::new(usize::MAX);
    let (producers, from) = match (checkpoint.producers_until, file) {
        (Some(-1), _) => (nobody(), noted),
        (Some(until), Some((offset, known))) if offset >= until => (known, offset.max(noted)),
        (_, Some((offset, known))) => (known, offset),
        (_, None) => (nobody(), i64::MIN),
    };
    Ok((producers, from, kept))
}

/// Brings the batches of a segment that begin at `from` or later, and are known to be good, to what is known of producers.
pub(super) fn replay(
    segment: &Segment,
    from: i64,
    now_ms: i64,
    producers: &mut Producers,
) -> Result<(), Error> {
    let from = from.max(segment.base);
    if segment.shape().end <= from || segment.shape().size == 0 {
        return Ok(());
    }
    let visited = segment.visit(from, |header, marker| {
        producers.replay(header, marker, now_ms);
    });
    match visited {
        Err(error @ Error::Corrupt { .. }) => {
            // Whoever reads the records is told.
            tracing::warn!(%error, "producers behind a damaged place are not known");
            Ok(())
        }
        visited => visited,
    }
}

impl Partition {
    /// Has the file hold what is known of producers now; returns the offset before which it knows all batches.
    pub(super) fn keep_producers(&self, durability: Durability) -> Result<i64, Error> {
        let mut kept = lock(&self.kept);
        if self.deleted.load(Ordering::Acquire) {
            return Ok(self.high_watermark().offset());
        }
        let (offset, producers) = {
            let writer = lock(&self.writer);
            let changed = !kept.has(&writer.producers, durability);
            (writer.shape.end, changed.then(|| writer.producers.clone()))
        };
        if let Some(producers) = producers {
            producers.write(&path(&self.folder), offset, durability)?;
            *kept = Kept {
                offset,
                on_disk: durability == Durability::Disk,
            };
        }
        Ok(offset)
    }

    /// The same where it may fail: then the last file holds, and more is read when the log is opened.
    pub(super) fn try_keep_producers(&self) {
        if let Err(error) = blocking(|| self.keep_producers(self.durability())) {
            tracing::warn!(%error, source = %cause(&error), "failed to write the state of producers");
        }
    }

    /// Adds, for each producer without an open transaction, when it last wrote here.
    pub(crate) fn idle_producers(&self, seen: &mut Vec<i64>) {
        lock(&self.writer).producers.idle_since(seen);
    }

    /// Forgets producers; returns how many.
    pub(crate) fn forget_producers(&self, excess: Excess) -> usize {
        let mut writer = lock(&self.writer);
        let Excess { up_to_ms, count } = excess;
        let forgotten = writer.producers.forget_idle(up_to_ms, count);
        writer.count_producers();
        forgotten
    }
}
