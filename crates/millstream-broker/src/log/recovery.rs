//! Opens a partition's folder: decides which bytes are known to be good and checks the rest.
//!
//! After a clean stop, and after a kill for all that the checkpoint covers, nothing is read but the checkpoint. What
//! was written later, and any file that was changed behind our back, is scanned with all checksums. Then
//! - bytes at the end of the last segment that are no batch, with no batch after them, are what a kill in the middle
//!   of a write leaves: they are cut off and reported;
//! - everything else that does not fit is damage and refused with file and position, as a missing or shortened file is: going on
//!   would hide a loss. There is one exception: where the machine has lost power since and the bytes were never
//!   forced to the disk, the log ends at the first damage, as in Apache Kafka; what is given up is reported.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::aborted::AbortedIndex;
use super::batch::Header;
use super::checkpoint::{self, Checkpoint, Note};
use super::index::{Entry, Index};
use super::producer_file::{self, Kept};
use super::scan::{Found, Scan};
use super::segment::{Id, Segment, Shape};
use super::{LogConfig, Marker, Outcome, file, isolation, marker};
use crate::boot::boot;
use crate::descriptors::with_descriptor;
use crate::error::Error;
use crate::producers::Producers;

/// A log as it was found.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) segments: Vec<Arc<Segment>>,
    pub(super) start: i64,
    pub(super) producers: Producers,
    /// How the file of producers is.
    pub(super) kept: Kept,
    /// The offset up to which the log was compacted.
    pub(super) cleaned: i64,
    /// The highest generation of a file.
    pub(super) generation: u32,
    /// Whether the checkpoint no longer tells how the files are.
    pub(super) changed: bool,
    /// Bytes that were read to check them.
    pub(super) scanned: u64,
    /// Bytes that were cut off.
    pub(super) cut: u64,
}

/// A segment file as it lies in the folder.
#[derive(Clone, Copy, Debug)]
struct Lying {
    id: Id,
    base: i64,
    size: u64,
    modified: i64,
}

/// What the checkpoint says of one file, held against the file.
enum Verdict {
    /// Nothing to do.
    Good(Shape),
    /// Good up to there, the rest is to be checked.
    Grown(Shape),
    /// To be checked from the beginning.
    Unknown,
}

struct Recovery<'a> {
    folder: Arc<Path>,
    interval: u32,
    now_ms: i64,
    notes: &'a [Note],
    same_boot: bool,
    max_producers: usize,
    /// The offset from which on batches tell what is not known of producers yet.
    producers_from: i64,
    /// All producers since the start of the log, as long as every segment was gone through from its beginning.
    seen: Option<Producers>,
    out: Recovered,
}

/// Opens the folder, which is created when missing.
pub(super) fn open(folder: &Path, config: &LogConfig, now_ms: i64) -> Result<Recovered, Error> {
    let lying = list(folder)?;
    let checkpoint = Checkpoint::read(folder)?;
    let known = checkpoint.is_some();
    let checkpoint = checkpoint.unwrap_or_default();
    let (mut producers, producers_from, kept) = producer_file::known(folder, &checkpoint)?;
    producers.limit(config.max_producers);
    let mut recovery = Recovery {
        folder: Arc::from(folder),
        interval: config.index_interval_bytes,
        now_ms,
        notes: &checkpoint.segments,
        // Without a checkpoint nothing excuses damage.
        same_boot: !known || (!checkpoint.boot.is_empty() && checkpoint.boot == boot()),
        max_producers: config.max_producers,
        producers_from,
        seen: Some(Producers::new(config.max_producers)),
        out: Recovered {
            segments: Vec::new(),
            start: checkpoint.start.max(checkpoint::deleted_before(folder)?),
            producers,
            kept,
            cleaned: checkpoint.cleaned,
            generation: lying.iter().map(|one| one.id.generation).max().unwrap_or(0),
            changed: !known && !lying.is_empty(),
            scanned: 0,
            cut: 0,
        },
    };
    let lying = recovery.drop_leftovers(lying)?;
    recovery.check_missing(&lying)?;
    recovery.segments(&lying)?;
    recovery.finish()
}

impl Recovery<'_> {
    /// Removes files that a kill left: segments whose removal was decided, and what compaction had not committed, or not removed yet.
    fn drop_leftovers(&mut self, lying: Vec<Lying>) -> Result<Vec<Lying>, Error> {
        let mut kept: Vec<Lying> = Vec::new();
        for one in lying {
            let counts = match self.notes {
                // Of one base the older files are whole until they are removed, and they are removed in order.
                [] => kept.last().is_none_or(|before| before.base < one.base),
                [.., last] if one.base > last.base => one.id.generation == 0,
                notes => notes.iter().any(|note| note.id() == one.id),
            };
            match counts {
                true => kept.push(one),
                false => {
                    tracing::info!(path = %one.id.path(&self.folder, "log").display(), "left over file removed");
                    self.segment(Shape::empty(one.base), Index::new(one.base, 0), one.id)
                        .remove()?;
                }
            }
        }
        Ok(kept)
    }

    fn check_missing(&self, lying: &[Lying]) -> Result<(), Error> {
        let missing = self
            .notes
            .iter()
            .find(|note| note.size > 0 && !lying.iter().any(|lying| lying.id == note.id()));
        match missing {
            Some(note) => Err(Error::Corrupt {
                path: note.id().path(&self.folder, "log"),
                position: 0,
                reason: format!(
                    "the file is missing, it held offsets {} to {}",
                    note.base,
                    note.end - 1
                ),
            }),
            None => Ok(()),
        }
    }

    fn segments(&mut self, lying: &[Lying]) -> Result<(), Error> {
        let mut rest = lying.iter();
        while let Some(one) = rest.next() {
            let expected = self.out.segments.last().map(|before| before.shape().end);
            if expected.is_some_and(|expected| one.base < expected) {
                if self.compacted_into_the_one_before(one) {
                    self.segment(Shape::empty(one.base), Index::new(one.base, 0), one.id)
                        .remove()?;
                    continue;
                }
                return Err(self.corrupt(
                    one.id,
                    0,
                    "its offsets overlap with those of the segment before",
                ));
            }
            let is_last = rest.as_slice().is_empty();
            let ended = self.one(*one, is_last)?;
            if ended && !is_last {
                // Power was lost and so were bytes before these: nothing may follow a gap.
                for lost in rest.by_ref() {
                    tracing::error!(path = %lost.id.path(&self.folder, "log").display(), bytes = lost.size, "segment behind lost bytes is given up");
                    self.out.cut += lost.size;
                    self.segment(Shape::empty(lost.base), Index::new(lost.base, 0), lost.id)
                        .remove()?;
                }
            }
        }
        Ok(())
    }

    /// Without a checkpoint, a kill while compaction removed what it had replaced shows by that alone.
    fn compacted_into_the_one_before(&self, one: &Lying) -> bool {
        let before = self.out.segments.last();
        self.notes.is_empty()
            && before.is_some_and(|before| before.id.generation > one.id.generation)
    }

    /// Takes one file in; true when the log had to be ended inside it.
    fn one(&mut self, lying: Lying, is_last: bool) -> Result<bool, Error> {
        let note = self.notes.iter().find(|note| note.base == lying.base);
        let (shape, written) = match self.judge(lying, note)? {
            Verdict::Good(shape) => {
                let segment = self.segment(
                    shape,
                    Index::new(lying.base, note.map_or(0, |note| note.index)),
                    lying.id,
                );
                segment.set_modified(lying.modified);
                *segment.aborted() = aborted(note);
                if note.is_some_and(|note| note.synced) {
                    segment.set_synced(shape.size);
                }
                producer_file::replay(
                    &segment,
                    self.producers_from,
                    self.now_ms,
                    &mut self.out.producers,
                )?;
                self.out.segments.push(Arc::new(segment));
                self.seen = None;
                return Ok(false);
            }
            Verdict::Grown(shape) => (shape, note.map_or(0, |note| note.index)),
            Verdict::Unknown => (Shape::empty(lying.base), 0),
        };
        self.out.changed = true;
        if shape.size > 0 {
            self.seen = None;
        }
        self.scan(lying, shape, written, is_last)
    }

    fn judge(&self, lying: Lying, note: Option<&Note>) -> Result<Verdict, Error> {
        let Some(note) = note else {
            return Ok(Verdict::Unknown);
        };
        let believed = self.same_boot || note.synced;
        if lying.size < note.size {
            // Only a lost page cache excuses that: what a kill tears is longer than the checkpoint says.
            if !believed {
                return Ok(Verdict::Unknown);
            }
            let reason = format!(
                "the file has only {} of its {} bytes",
                lying.size, note.size
            );
            return Err(self.corrupt(lying.id, lying.size, &reason));
        }
        Ok(match believed {
            true if lying.size == note.size && lying.modified == note.modified => {
                Verdict::Good(note.shape())
            }
            true if lying.size > note.size
                && self.notes.last().is_some_and(|last| last.base == note.base) =>
            {
                Verdict::Grown(note.shape())
            }
            _ => Verdict::Unknown,
        })
    }

    /// Checks a file from the end of `known` on and takes it in; true when the log had to be ended inside it.
    fn scan(
        &mut self,
        lying: Lying,
        known: Shape,
        written: u32,
        is_last: bool,
    ) -> Result<bool, Error> {
        let segment = self.segment(known, Index::new(lying.base, written), lying.id);
        self.begin_aborted(&segment, known);
        producer_file::replay(
            &segment,
            self.producers_from,
            self.now_ms,
            &mut self.out.producers,
        )?;
        let file = segment.file(false)?;
        let mut shape = known;
        let mut scan = Scan::new(&file, lying.size, known.size);
        let broken = loop {
            match scan
                .next(shape.end)
                .map_err(|source| segment.failed("read", source))?
            {
                Found::Batch(header, size) => {
                    let entry = Entry {
                        offset: header.base_offset,
                        position: shape.size,
                        time_before: shape.max_timestamp,
                    };
                    segment
                        .index()
                        .observe(entry, size, self.interval, || segment.index_path());
                    let marker = marker::read(&file, shape.size, size, &header)
                        .map_err(|source| segment.failed("read", source))?;
                    shape = shape.with(&header, size);
                    self.replay(&segment, &header, marker);
                }
                Found::End => break None,
                Found::Broken(reason) => break Some(reason),
            }
        };
        self.out.scanned += lying.size - known.size;
        if let Some(reason) = broken {
            self.refuse_damage(&segment, &mut scan, shape.end, Damage { reason, is_last })?;
            tracing::warn!(
                path = %segment.path().display(),
                position = shape.size,
                bytes = lying.size - shape.size,
                offset = shape.end,
                reason,
                "torn end of a log is cut off"
            );
            let cut = file.set_len(shape.size).and_then(|()| file.sync_all());
            cut.map_err(|source| segment.failed("truncate", source))?;
            self.out.cut += lying.size - shape.size;
        }
        segment.publish(shape);
        if let Err(error) = segment.index().write(&segment.index_path()) {
            tracing::debug!(path = %segment.index_path().display(), %error, "failed to write to an index");
        }
        let metadata = file
            .metadata()
            .map_err(|source| segment.failed("read", source))?;
        segment.set_modified(file::modified(&metadata));
        segment.close();
        self.out.segments.push(Arc::new(segment));
        Ok(broken.is_some())
    }

    /// What is known of the aborted transactions of a segment before the scan adds the rest.
    fn begin_aborted(&self, segment: &Segment, known: Shape) {
        if known.size > 0 {
            let note = self.notes.iter().find(|note| note.base == segment.base);
            *segment.aborted() = aborted(note);
        } else if self.seen.is_some() {
            let path = segment.aborted_path();
            segment.aborted().rebuild(Vec::new(), &path);
        } else if segment.base < self.known() {
            *segment.aborted() = AbortedIndex::unknown();
        }
    }

    /// Whether the log may end where the scan stopped, at `offset`: not if that would hide damage.
    fn refuse_damage(
        &self,
        segment: &Segment,
        scan: &mut Scan<'_>,
        offset: i64,
        damage: Damage,
    ) -> Result<(), Error> {
        let note = self.notes.iter().find(|note| note.base == segment.base);
        let was_good = note.is_some_and(|note| scan.position() < note.size);
        let on_disk = was_good && note.is_some_and(|note| note.synced);
        if !self.same_boot && !on_disk {
            return Ok(());
        }
        let after = scan
            .batch_after(offset)
            .map_err(|source| segment.failed("read", source))?;
        let follows = match after {
            Some(after) => format!("a valid record batch follows at byte {after}"),
            None if !damage.is_last => "segments follow".to_owned(),
            None if was_good => "it was good before".to_owned(),
            None => return Ok(()),
        };
        let reason = format!("{} (offset {offset}), and {follows}", damage.reason);
        Err(segment.corrupt(scan.position(), &reason))
    }

    /// The end of what the checkpoint tells.
    fn known(&self) -> i64 {
        self.notes.last().map_or(i64::MIN, |note| note.end)
    }

    /// Notes what a batch does to the producers' state, as far as their file does not know it, and to the aborted ranges.
    fn replay(&mut self, segment: &Segment, header: &Header, marker: Option<Marker>) {
        let seen = self.seen.as_mut();
        let mut aborted = seen.and_then(|seen| seen.replay(header, marker, self.now_ms));
        if header.base_offset >= self.producers_from {
            aborted = self.out.producers.replay(header, marker, self.now_ms);
        } else if self.seen.is_none()
            && marker.is_some_and(|marker| marker.outcome == Outcome::Abort)
        {
            // The file of producers is younger: it does not know any more where the transaction began.
            segment.aborted().forget();
        }
        if let Some(aborted) = aborted {
            segment.aborted().push(aborted, &segment.aborted_path());
        }
    }

    /// Adds what a log needs that has no file yet, and makes start, end and producers agree.
    fn finish(mut self) -> Result<Recovered, Error> {
        let end = self.out.segments.last().map(|segment| segment.shape().end);
        // The last segment noted may have no file yet. It counts unless bytes before it were given up.
        let noted = match self.notes {
            [.., before, last] if end == Some(before.end) => last.base,
            [only] => only.base,
            _ => self.out.start,
        };
        let lowest = noted.max(self.out.start);
        if end.is_none_or(|end| end < lowest) {
            let next = Segment::new(&self.folder, lowest);
            self.out.segments.push(Arc::new(next));
        }
        let first = self.out.segments.first().map_or(0, |segment| segment.base);
        self.out.start = self.out.start.max(first);
        let end = end.unwrap_or(lowest);
        self.out.cleaned = self.out.cleaned.min(end);
        self.out.producers.truncate(end);
        if end < self.producers_from || end < self.out.kept.offset {
            // Markers were taken for written that are gone.
            let mut seen = Producers::new(self.max_producers);
            for segment in &self.out.segments {
                isolation::replay(segment, segment.shape().size, &mut seen)?;
            }
            self.out.producers.reopen(&seen);
            // New batches will have the offsets of those that the file knows.
            producer_file::remove(&self.folder)?;
            self.out.kept = Kept::NOTHING;
        }
        Ok(self.out)
    }

    fn segment(&self, shape: Shape, index: Index, id: Id) -> Segment {
        Segment::existing(&self.folder, shape, index, id)
    }

    fn corrupt(&self, id: Id, position: u64, reason: &str) -> Error {
        Error::Corrupt {
            path: id.path(&self.folder, "log"),
            position,
            reason: reason.to_owned(),
        }
    }
}

fn aborted(note: Option<&Note>) -> AbortedIndex {
    match note.map_or(Some(0), |note| note.aborted) {
        Some(written) => AbortedIndex::new(written),
        None => AbortedIndex::unknown(),
    }
}

/// Bytes that are no batch, and whether they are in the last segment.
struct Damage {
    reason: &'static str,
    is_last: bool,
}

/// The segment files of a folder by base offset. Temporary files, indexes and aborted ranges without a segment are removed.
fn list(folder: &Path) -> Result<Vec<Lying>, Error> {
    fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
    let mut found = Vec::new();
    let mut indexes = Vec::new();
    for entry in with_descriptor(|| fs::read_dir(folder)).map_err(Error::file("read", folder))? {
        let entry = entry.map_err(Error::file("read", folder))?;
        let path = entry.path();
        let name = entry.file_name();
        let Some((stem, extension)) = name.to_str().and_then(|name| name.rsplit_once('.')) else {
            continue;
        };
        match (extension, Id::parse(stem)) {
            ("log", Some(id)) => {
                let metadata = entry.metadata().map_err(Error::file("read", &path))?;
                if !metadata.is_file() {
                    let reason = "it is not a regular file".to_owned();
                    return Err(Error::Corrupt {
                        path,
                        position: 0,
                        reason,
                    });
                }
                found.push(Lying {
                    id,
                    base: id.base,
                    size: metadata.len(),
                    modified: file::modified(&metadata),
                });
            }
            ("index" | "aborted", Some(id)) => indexes.push((id, path)),
            ("tmp", _) => fs::remove_file(&path).map_err(Error::file("remove", &path))?,
            _ => {}
        }
    }
    found.sort_by_key(|lying| lying.id);
    for (id, path) in indexes {
        if found.binary_search_by_key(&id, |lying| lying.id).is_err() {
            fs::remove_file(&path).map_err(Error::file("remove", &path))?;
        }
    }
    Ok(found)
}
