//! Compaction: of each key, the newest record stays.
//!
//! One pass first notes, from where the last one ended, the newest offset of each key (`keys`), then writes all sealed segments anew
//! without what a later record replaces (`rewrite`), several small ones into one. Memory is bounded by the number of keys that are noted
//! at a time: a log with more of them takes several passes. The active segment is never touched, nor one that reaches beyond the last
//! stable offset or holds records that are too young.
//!
//! New files have a generation in their names. They are forced to the disk; then the checkpoint that names them is renamed into its
//! place, which is the one point of commit; then readers are given the new segments; then the old files are removed. What a kill leaves,
//! recovery knows by the checkpoint. Appends go on meanwhile; a retention that removes a segment under the pass voids it.
//!
//! Rules are those of Apache Kafka's `LogCleaner`: records without a key go; the newest record of a key stays, if it is a tombstone until
//! its delete horizon, `delete.retention.ms` after the first pass that met it; records of aborted transactions go; a marker stays until
//! its horizon, counted from the first pass that found no record of its transaction.

mod aborts;
mod keys;
mod rewrite;

use std::fs;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::partition::Partition;
use super::read::is_missing;
use super::segment::{Id, Segment};
use super::{LogConfig, blocking, lock};
use crate::error::Error;
use crate::failpoint;
use crate::snapshot::{Durability, sync_folder};
use aborts::Aborts;
use keys::Keys;
use rewrite::{Output, Rewrite};

/// What a pass may use, and when it has to give up.
#[derive(Clone, Copy)]
pub(crate) struct Pass<'a> {
    /// The time of day.
    pub(crate) now_ms: i64,
    /// Most keys that are noted at a time.
    pub(crate) most_keys: usize,
    /// Whether the broker stops.
    pub(crate) stopping: &'a dyn Fn() -> bool,
}

/// What a pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Compacted {
    /// Bytes of the segments before.
    pub(crate) before: u64,
    /// Bytes of those that took their place.
    pub(crate) after: u64,
}

impl Partition {
    /// Makes one pass if there is enough to gain from it; `None` when there is not, or it was given up.
    pub(crate) fn compact(&self, pass: Pass<'_>) -> Result<Option<Compacted>, Error> {
        let config = self.config();
        if !config.compact || self.uncleanable.get().is_some() {
            return Ok(None);
        }
        let Some(dirty) = self.dirty(&config, pass.now_ms) else {
            return Ok(None);
        };
        let done = blocking(|| self.pass(&dirty, &config, pass));
        let overtaken = |error: &Error| is_missing(error) || self.deleted.load(Ordering::Acquire);
        if done.as_ref().is_err_and(overtaken) {
            // What was to be compacted was removed meanwhile.
            return Ok(None);
        }
        if let Err(Error::Corrupt { .. }) = &done {
            // It would be the same with every pass.
            self.uncleanable.get_or_init(|| ());
        }
        done
    }

    /// The sealed segments that a pass would go through, if it is time for one.
    fn dirty(&self, config: &LogConfig, now_ms: i64) -> Option<Vec<Arc<Segment>>> {
        let cleaned = self.cleaned.load(Ordering::Acquire);
        let stable = self.last_stable().offset();
        let mut segments = self.segments();
        segments.pop();
        let young = |segment: &Segment| {
            config.min_compaction_lag_ms > 0
                && segment.newest_ms() > now_ms.saturating_sub(config.min_compaction_lag_ms)
        };
        let open = |segment: &Segment| segment.shape().end > stable;
        let end = segments
            .iter()
            .position(|segment| open(segment) || (segment.shape().end > cleaned && young(segment)))
            .unwrap_or(segments.len());
        segments.truncate(end);
        let bytes = |dirty: bool| -> u64 {
            let shapes = segments.iter().map(|segment| segment.shape());
            shapes
                .filter(|shape| (shape.end > cleaned) == dirty)
                .map(|shape| shape.size)
                .sum()
        };
        let (clean, dirty) = (bytes(false), bytes(true));
        #[expect(clippy::cast_precision_loss, reason = "a ratio")]
        let ratio = dirty as f64 / (clean + dirty).max(1) as f64;
        let oldest = segments
            .iter()
            .find(|segment| segment.shape().end > cleaned)
            .map_or(i64::MAX, |segment| segment.shape().first_timestamp);
        let overdue = now_ms.saturating_sub(oldest) > config.max_compaction_lag_ms;
        (dirty > 0 && (ratio >= config.min_dirty_ratio || overdue)).then_some(segments)
    }

    fn pass(
        &self,
        segments: &[Arc<Segment>],
        config: &LogConfig,
        pass: Pass<'_>,
    ) -> Result<Option<Compacted>, Error> {
        let mut keys = Keys::new(self.cleaned.load(Ordering::Acquire), pass.most_keys);
        for segment in segments {
            if (pass.stopping)() {
                return Ok(None);
            }
            if !keys.note(segment, &self.aborts(segment)?)? {
                break;
            }
        }
        let concerned = segments.partition_point(|segment| segment.base < keys.end());
        let segments = segments.get(..concerned).unwrap_or_default();
        let outcome = self.write_anew(segments, &keys, config, pass);
        if let Err(error) = &outcome
            && !failpoint::is_kill(error)
        {
            tracing::warn!(folder = %self.folder.display(), %error, "log was not compacted");
        }
        outcome
    }

    fn aborts(&self, segment: &Segment) -> Result<Aborts, Error> {
        self.aborted_between(segment.base, segment.shape().end)
            .map(Aborts::new)
    }

    fn write_anew(
        &self,
        segments: &[Arc<Segment>],
        keys: &Keys,
        config: &LogConfig,
        pass: Pass<'_>,
    ) -> Result<Option<Compacted>, Error> {
        let generation = self.generation.fetch_add(1, Ordering::AcqRel) + 1;
        let mut rewrite = Rewrite::new(keys, pass.now_ms, config.delete_retention_ms);
        let mut written = Vec::new();
        let done = (|| {
            for group in groups(segments, config) {
                let Some(first) = group.first() else { continue };
                let id = Id {
                    base: first.base,
                    generation,
                };
                let mut output = Output::create(&self.folder, id, config.index_interval_bytes)?;
                written.push(id);
                for segment in group {
                    if (pass.stopping)() {
                        return Ok(None);
                    }
                    rewrite.segment(segment, &self.aborts(segment)?, &mut output)?;
                    failpoint::reached()?;
                }
                let end = group.last().map_or(first.base, |last| last.shape().end);
                rewrite.finished.push(output.finish(end)?);
                failpoint::reached()?;
            }
            self.keep_producers(Durability::Disk)?;
            sync_folder(&self.folder)?;
            failpoint::reached()?;
            self.commit(segments, &rewrite.finished, keys.end())
        })();
        match &done {
            Ok(Some(_)) => {}
            Err(error) if failpoint::is_kill(error) => {}
            // Nothing refers to them.
            Ok(None) | Err(_) if !self.refers_to(&written) => discard(&self.folder, &written),
            Ok(None) | Err(_) => {}
        }
        done
    }

    /// Puts new segments in the place of old ones, unless some of those are gone.
    fn commit(
        &self,
        old: &[Arc<Segment>],
        new: &[Arc<Segment>],
        cleaned: i64,
    ) -> Result<Option<Compacted>, Error> {
        let size = |all: &[Arc<Segment>]| all.iter().map(|one| one.shape().size).sum();
        let compacted = Compacted {
            before: size(old),
            after: size(new),
        };
        {
            let mut writer = lock(&self.writer);
            let now = self.segments();
            let same = now.len() >= old.len()
                && old.iter().zip(&now).all(|(old, now)| Arc::ptr_eq(old, now));
            if !same || self.deleted.load(Ordering::Acquire) {
                return Ok(None);
            }
            let rest = now.get(old.len()..).unwrap_or_default();
            let segments: Vec<_> = new.iter().chain(rest).map(Arc::clone).collect();
            let before = self.cleaned.swap(cleaned, Ordering::AcqRel);
            let noted = self.checkpoint(
                &mut writer,
                self.start_offset(),
                &segments,
                Durability::Disk,
            );
            if let Err(error) = noted {
                self.cleaned.store(before, Ordering::Release);
                return Err(error);
            }
            failpoint::reached()?;
            *self
                .segments
                .write()
                .unwrap_or_else(PoisonError::into_inner) = segments;
        }
        for segment in old {
            segment.remove()?;
            failpoint::reached()?;
        }
        tracing::info!(folder = %self.folder.display(), before = compacted.before, after = compacted.after, "log compacted");
        Ok(Some(compacted))
    }

    /// Whether one of these files may be named by the checkpoint: it was written, and perhaps renamed, when its folder could not be synced.
    fn refers_to(&self, written: &[Id]) -> bool {
        let checkpoint = super::checkpoint::Checkpoint::read(&self.folder);
        checkpoint.map_or(true, |checkpoint| {
            let notes = checkpoint.unwrap_or_default().segments;
            notes.iter().any(|note| written.contains(&note.id()))
        })
    }
}

/// Neighbours that together are no larger than one segment may be.
fn groups<'a>(segments: &'a [Arc<Segment>], config: &LogConfig) -> Vec<&'a [Arc<Segment>]> {
    let mut groups = Vec::new();
    let mut rest = segments;
    while let Some(first) = rest.first() {
        let mut size = 0;
        let fits = |segment: &&Arc<Segment>| {
            let shape = segment.shape();
            size += shape.size;
            size <= u64::from(config.segment_bytes)
                && shape.end.saturating_sub(first.base) < i64::from(i32::MAX)
        };
        let count = rest.iter().take_while(fits).count().max(1);
        let (group, more) = rest.split_at(count);
        groups.push(group);
        rest = more;
    }
    groups
}

fn discard(folder: &std::path::Path, written: &[Id]) {
    for id in written {
        for extension in ["log", "index", "aborted"] {
            let path = id.path(folder, extension);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::debug!(path = %path.display(), %error, "failed to remove");
                }
                _ => {}
            }
        }
    }
}
